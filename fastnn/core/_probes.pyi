from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

# float32 or float64, as the argument
_Real: TypeAlias = NDArray[Any]

def activate(name: str, z: ArrayLike, isa: str | None = None) -> _Real: ...
def activation_derivative(name: str, z: ArrayLike, isa: str | None = None) -> _Real: ...
def softmax(z: ArrayLike, isa: str | None = None) -> _Real: ...
def loss(
    name: str,
    z: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    isa: str | None = None,
    ceiling: float = ...,
    parameters: ArrayLike | None = None,
) -> tuple[float, _Real]: ...
def column_sums(x: ArrayLike, isa: str | None = None) -> _Real: ...
def coefficients(
    name: str, t: float, learning_rate: float, hyperparameters: Sequence[float]
) -> NDArray[np.float64]: ...
def update(
    name: str,
    w: _Real,
    g: ArrayLike,
    states: Sequence[_Real],
    coefficients: ArrayLike,
    isa: str | None = None,
    decay: float = 0.0,
    scale: float = 1.0,
) -> float: ...
def dropout(
    x: ArrayLike,
    rate: float,
    key: int,
    counter: tuple[int, int, int] = (0, 0, 0),
    isa: str | None = None,
) -> _Real: ...
def dense(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike,
    activation: str = "identity",
    isa: str | None = None,
) -> _Real: ...
def product(
    a: ArrayLike,
    b: ArrayLike,
    transpose_a: bool = False,
    *,
    bias: ArrayLike | None = None,
    relu: bool = False,
    gate: ArrayLike | None = None,
    index: ArrayLike | None = None,
    panels: bool = False,
    bias_by_rows: bool = False,
    room: bool = False,
    isa: str | None = None,
) -> _Real: ...
def row_product(a: ArrayLike, b: ArrayLike, isa: str | None = None) -> _Real: ...
def transposed(x: ArrayLike, isa: str | None = None) -> _Real: ...
def permutation(
    n: int, seed: int, stream: int = 0, isa: str | None = None
) -> NDArray[np.intp]: ...
def vecmath(name: str, x: ArrayLike, isa: str | None = None) -> _Real: ...
def layer_norm(
    x: ArrayLike, gain: ArrayLike, bias: ArrayLike, eps: float, isa: str | None = None
) -> tuple[_Real, _Real]: ...
def layer_norm_gradients(
    dz: ArrayLike, x: ArrayLike, gain: ArrayLike, stats: ArrayLike, isa: str | None = None
) -> tuple[_Real, _Real]: ...
