from typing import Any, final

from numpy.typing import NDArray

from fastnn.network.parameters import ParameterLayout

@final
class Snapshot:
    @property
    def parameters(self) -> NDArray[Any]: ...
    @property
    def layout(self) -> ParameterLayout: ...
    @property
    def epochs_done(self) -> int: ...
    def __new__(
        cls,
        layout: ParameterLayout,
        parameters: NDArray[Any],
        epochs_done: int = 0,
        n_ops: int | None = None,
    ) -> Snapshot: ...
    @property
    def keeps_panels(self) -> bool: ...
    @property
    def looks_up(self) -> bool: ...
    def accepts(self, X: object, writes: bool = False) -> bool: ...
    def predict(self, x: NDArray[Any], out: NDArray[Any] | None, threads: int) -> NDArray[Any]: ...
    def predict_sparse(
        self,
        start: NDArray[Any],
        column: NDArray[Any],
        value: NDArray[Any],
        out: NDArray[Any] | None,
        threads: int,
        adds: NDArray[Any] | None = None,
    ) -> NDArray[Any]: ...
    def keep_table(self, adds: NDArray[Any]) -> None: ...
