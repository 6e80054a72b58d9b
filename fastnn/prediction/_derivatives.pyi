from typing import Any, final

from numpy.typing import NDArray

from fastnn.network.parameters import ParameterLayout

@final
class Derivatives:
    def __new__(cls, layout: ParameterLayout) -> Derivatives: ...
    def jacobian(
        self, parameters: NDArray[Any], X: object, raw: bool, threads: int
    ) -> NDArray[Any]: ...
    def jvp(
        self, parameters: NDArray[Any], X: object, V: object, raw: bool, threads: int
    ) -> NDArray[Any]: ...
    def vjp(
        self, parameters: NDArray[Any], X: object, U: object, raw: bool, threads: int
    ) -> NDArray[Any]: ...
    def vjp_inside(
        self, parameters: NDArray[Any], X: object, D: object, threads: int
    ) -> NDArray[Any]: ...
