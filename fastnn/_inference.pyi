from typing import Any, final

from numpy.typing import NDArray

from fastnn.plan import ParameterLayout

@final
class Network:
    @property
    def parameters(self) -> NDArray[Any]: ...
    @property
    def layout(self) -> ParameterLayout: ...
    @property
    def epochs_done(self) -> int: ...
    def __new__(
        cls,
        layout: ParameterLayout,
        activations: tuple[str, ...],
        output: str,
        parameters: NDArray[Any],
        epochs_done: int = 0,
    ) -> Network: ...
    def accepts(self, X: object, writes: bool = False) -> bool: ...
    def predict(self, x: NDArray[Any], out: NDArray[Any] | None, threads: int) -> NDArray[Any]: ...

def is_ready(x: object, columns: int) -> bool: ...
def all_finite(x: NDArray[Any]) -> bool: ...
def scale_rows(
    x: NDArray[Any],
    mean: NDArray[Any],
    scale: NDArray[Any],
    limits: tuple[float, float] | None,
    to_double: bool,
) -> NDArray[Any]: ...
