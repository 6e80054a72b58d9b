from typing import Any, NamedTuple

from numpy.typing import NDArray

class ActivationInfo(NamedTuple):
    name: str
    needs_z: bool

class LossInfo(NamedTuple):
    name: str
    link: str
    reduction: str
    targets: str
    n_parameters: int
    whole_rows: bool

class OptimizerInfo(NamedTuple):
    name: str
    n_state: int

ACTIVATIONS: dict[str, ActivationInfo]
ALIASES: dict[str, str]
LOSSES: dict[str, LossInfo]
OPTIMIZERS: dict[str, OptimizerInfo]
VECMATH: tuple[str, ...]
MAX_TASKS: int
N_COEFFICIENTS: int
HAS_OPENMP: bool

def address(array: NDArray[Any]) -> int: ...
def form_team(threads: int) -> bool: ...
def isa() -> str: ...
def available_isas() -> tuple[str, ...]: ...
def activation_index(name: str) -> int: ...
def output_index(name: str) -> int: ...
def loss_index(name: str) -> int: ...
def optimizer_index(name: str) -> int: ...
