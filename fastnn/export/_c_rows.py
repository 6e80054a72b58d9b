"""Embeddings and gates in C: several calls each, of the functions of other operations."""

from itertools import accumulate

__all__ = ["BACK_CALLS", "CALLS", "USES"]

# kind -> the functions that its calls need, where it has others than its own
USES = {"embed": ("dense",), "glu": ("copy", "glu")}


def _embed(op, p, names, x, z):
    """Return a dense layer's call for each column."""
    units, calls = op.row_units, []
    for c, (count, end) in enumerate(zip(op.counts, accumulate(op.counts), strict=True)):
        first = end - count
        calls.append(f"{p}_dense({count}, {units}, {names['weight']} + {first * units}, "
                     f"{names['bias']} + {c * units}, {x} + {first}, {z} + {c * units});")
    return calls


def _glu(op, p, names, x, z):
    """Return the calls of z = v, then f(v), then u f(v)."""
    gate = [] if op.gate == "identity" else [f"{p}_{op.gate}({op.n_out}, {z});"]
    return [f"{p}_copy({op.n_out}, {x} + {op.n_out}, {z});", *gate,
            f"{p}_glu({op.n_out}, {x}, {z});"]


def _embed_back(op, p, names, x, d, dx):
    units, calls = op.row_units, []
    for c, (count, end) in enumerate(zip(op.counts, accumulate(op.counts), strict=True)):
        first = end - count
        calls.append(f"{p}_dense_back({count}, {units}, {names['weight']} + {first * units}, "
                     f"{d} + {c * units}, {dx} + {first});")
    return calls


def _glu_back(op, p, names, x, d, dx):
    """Return the calls of dx = d f(v) beside d u f'(v)."""
    n = op.n_out
    gate = [f"{p}_set({n}, {d}, {dx} + {n});"]
    if op.gate != "identity":
        gate = [f"{p}_{op.gate}({n}, {dx});", f"{p}_set({n}, {x} + {n}, {dx} + {n});",
                f"{p}_{op.gate}_slope({n}, {dx}, {dx} + {n});", f"{p}_times({n}, {d}, {dx} + {n});"]
    return [f"{p}_set({n}, {x} + {n}, {dx});", *gate, f"{p}_times({n}, {x}, {dx} + {n});",
            f"{p}_times({n}, {d}, {dx});"]


# from an `Op`, the prefix, the names of its parameters and its places to the calls
CALLS = {"embed": _embed, "glu": _glu}
BACK_CALLS = {"embed": _embed_back, "glu": _glu_back}
