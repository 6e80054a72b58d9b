from typing import Any

import numpy as np

def encode(numbers: np.ndarray, codes: np.ndarray, tables: tuple[Any, ...], rows: np.ndarray,
           values: np.ndarray) -> None: ...
