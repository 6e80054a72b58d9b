from typing import Any

import numpy as np
from typing_extensions import disjoint_base

@disjoint_base
class Tables:
    def __new__(cls, edges: Any, edge_starts: Any, scales: Any, seen: Any, maps: Any,
                map_starts: Any, firsts: Any) -> Tables: ...
    def encode(self, numbers: np.ndarray, codes: np.ndarray, rows: np.ndarray,
               values: np.ndarray) -> None: ...
