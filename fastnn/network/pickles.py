"""What a pickle of an `MLP` holds, checked: a file may say anything."""

from typing import NamedTuple

import numpy as np

from fastnn.core import validation
from fastnn.network.parameters import ParameterLayout
from fastnn.network.spec import NetworkSpec

__all__ = ["State", "read_state"]

MAX_EPOCHS = 1 << 48  # of a file, beyond any fit
# what pickles hold: always, and those of version 0.1.0 beside it
# ("_frozen" only where layers are)
ALWAYS = {"_initializer", "_n_threads", "_gemm", "_seed", "_seeded", "_epochs_done", "parameters"}
CHAIN = {"sizes", "activations", "output", "dtype", "dropout"}


class State(NamedTuple):
    """The checked state of an `MLP`."""

    layout: ParameterLayout
    parameters: np.ndarray
    epochs_done: int
    frozen: tuple
    settings: dict   # attributes that MLP checks itself as it sets them
    seed: int
    seeded: bool
    added: dict      # attributes that users have added


def read_state(state, kind):
    """Return the `State` that a dict holds.

    Parameters
    ----------
    state : dict
    kind : type
        MLP: nothing that users have added may stand in the place of what it has.
    """
    state = dict(state)
    if "spec" not in state:  # of version 0.1.0
        for name in ("initializer", "n_threads", "gemm"):
            state[f"_{name}"] = state.pop(name, None)
    frozen = state.pop("_frozen", ())
    keys = ALWAYS | ({"spec"} if "spec" in state else CHAIN)
    missing = sorted(keys - state.keys())
    if missing:
        raise ValueError(f"the state of an MLP lacks {missing[0]!r}")
    # what users have added stays, but nothing gets into the place of what MLP reads and calls
    added = {name: value for name, value in state.items() if name not in keys}
    for name in added:
        if not isinstance(name, str) or name in ("_layout", "_snapshot") or hasattr(kind, name):
            raise ValueError(f"the state of an MLP must not hold {name!r}")
    if "spec" in state:
        spec = NetworkSpec.from_plain(state["spec"])
    else:
        spec = NetworkSpec.chain(state["sizes"], state["activations"], state["output"],
                                 dtype=state["dtype"], dropout=state["dropout"])
    layout = ParameterLayout(spec)
    seed = validation.check_count("_seed", state["_seed"], minimum=0)
    seeded = validation.check_flag("_seeded", state["_seeded"])
    epochs_done = validation.check_count("_epochs_done", state["_epochs_done"], minimum=0)
    if epochs_done > MAX_EPOCHS:
        raise ValueError(f"_epochs_done={epochs_done} must be <= {MAX_EPOCHS}")
    settings = {name: state[f"_{name}"] for name in ("initializer", "gemm", "n_threads")}
    return State(layout, layout.adopted(state["parameters"]), epochs_done,
                 layout.check_layers(frozen), settings, seed, seeded, added)
