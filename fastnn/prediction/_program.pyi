from typing import final

from fastnn.network.parameters import ParameterLayout

@final
class Program:
    def __new__(cls, layout: ParameterLayout, n_ops: int | None) -> Program: ...
