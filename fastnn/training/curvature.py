"""Products of the Hessian with a vector of parameters: the body of `MLP.hvp`."""

import numpy as np

from fastnn.core import validation
from fastnn.training._curvature import BENDS, BOWLS, Curvature

__all__ = ["hvp"]

KINDS = ("dense", "layer_norm", "copy", "add")  # of operations whose second derivative is known


def hvp(net, X, y, v, *, loss, sample_weight, alpha):
    """Return H v; see `MLP.hvp`."""
    info = net._bound(loss)
    refuse(net._layout, info)
    alpha = validation.check_nonnegative("alpha", alpha)
    v = _direction(net, v)
    X, y, weights = net._check_data(X, y, sample_weight, info, in_place=False)
    X = validation.dense_rows(X)
    found = Curvature(net._layout, info).product(net.parameters, v, X, y, weights)
    total = len(X) if weights is None else weights.sum(dtype=np.float64)
    n_out = net._layout.spec.n_out
    terms = max({"mean": n_out, "half": n_out // 2, "sum": 1}[info.reduction], 1)
    found /= found.dtype.type(terms * total)
    if alpha:
        slopes, _ = net._layout.weights_and_biases(found)
        for slope, own in zip(slopes, net._layout.weights_and_biases(v)[0], strict=True):
            slope += found.dtype.type(alpha / total) * own
    return found


def _direction(net, v):
    """Return v as a flat vector whose gaps are 0."""
    try:
        return net._layout.adopted(validation.require("v", v, net.dtype))
    except ValueError as error:
        raise ValueError(f"v must be a vector like net.parameters: {error}") from None


def refuse(layout, info):
    """Raise ValueError where a second derivative is not known."""
    if info.name not in BOWLS or info.is_custom:
        raise ValueError(f"the second derivative of loss={info.name!r} is not known: hvp has "
                         f"{', '.join(BOWLS)}")
    for op in layout.ops:
        if op.kind not in KINDS:
            name = op.function.name if op.function is not None else op.kind
            raise ValueError(f"the second derivative of {name!r} is not known: hvp has layers of "
                             f"kinds {', '.join(KINDS)} and fastnn's own activations")
        if op.activation not in BENDS:
            raise ValueError(f"the second derivative of activation {op.activation!r} is not "
                             f"known: hvp has {', '.join(BENDS)}")
