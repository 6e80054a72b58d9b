"""Products of the Hessian with a vector of parameters: the body of `MLP.hvp`."""

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import check_finite, dense_rows, require
from fastnn.training._curvature import BENDS, BOWLS, Curvature
from fastnn.training.plan import has_batch_norm

__all__ = ["hvp"]

# of operations whose second derivative is known
KINDS = ("dense", "layer_norm", "batch_norm", "scale", "prelu", "copy", "add", "repeat", "heads",
         "embed", "glu")
BLOCK_ROWS = 96  # that are worked on together, where their number is free


def hvp(net, X, y, v, *, loss, sample_weight, alpha):
    """Return H v; see `MLP.hvp`."""
    snapshot = net._snapshot  # of one moment: what X, y and weights call may change the network
    layout = snapshot.layout
    info = net._bound(loss)
    refuse(layout, info)
    alpha = validation.check_nonnegative("alpha", alpha)
    v = _direction(layout, v)
    X, y, weights = net._check_data(X, y, sample_weight, info, in_place=False)
    if net._layout is not layout:
        raise RuntimeError("the network has been changed within this call, by what its data called")
    n_rows = X.shape[0]
    if has_batch_norm(layout):
        blocks = _shards(net._trainer((X, y, weights), info, 0.0, snapshot.parameters).plan, n_rows)
    else:
        blocks = list(range(0, n_rows, max(1, BLOCK_ROWS // layout.spec.members)))
    blocks.append(n_rows)
    X = dense_rows(X)
    found = Curvature(layout, info, int(max(np.diff(blocks)))).product(
        snapshot.parameters, v, X, y, weights, blocks)
    total = n_rows if weights is None else weights.sum(dtype=np.float64)
    n_out = layout.spec.n_out
    terms = max({"mean": n_out, "half": n_out // 2, "sum": 1}[info.reduction], 1)
    found /= found.dtype.type(terms * layout.spec.members * total)
    if alpha:
        slopes, _ = layout.weights_and_biases(found)
        for slope, own in zip(slopes, layout.weights_and_biases(v)[0], strict=True):
            slope += found.dtype.type(alpha / total) * own
    return found


def _shards(plan, n_rows):
    """Return the first row of each shard that `loss_and_grad` takes the statistics of."""
    starts = []
    for first in range(0, n_rows, plan.batch):
        rows = min(plan.batch, n_rows - first)
        starts += [first + i * plan.shard_rows for i in range(max(1, rows // plan.shard_rows))]
    return starts


def _direction(layout, v):
    """Return v as a flat vector whose gaps are 0, as is what stands in it for running averages."""
    v = require("v", v, layout.dtype)
    if v.shape != (layout.size,):
        raise ValueError(f"v has shape {v.shape}, must be a vector like net.parameters: "
                         f"({layout.size},)")
    v = layout.copy(v)
    layout.clear_gaps(v)
    for block, view in zip(layout.blocks, layout.views(v), strict=True):
        if not block.trainable:
            view[:] = 0
    check_finite("v", v, layout.dtype)
    return v


def refuse(layout, info):
    """Raise ValueError where a second derivative is not known."""
    if info.name not in BOWLS or info.is_custom:
        raise ValueError(f"the second derivative of loss={info.name!r} is not known: hvp has "
                         f"{', '.join(BOWLS)}")
    ops = list(layout.ops)
    if info.link != "identity":  # the loss is one of the raw outputs
        ops[-1] = ops[-1]._replace(activation="identity")
    for op in ops:
        if op.kind not in KINDS:
            name = op.function.name if op.function is not None else op.kind
            raise ValueError(f"the second derivative of {name!r} is not known: hvp has layers of "
                             f"kinds {', '.join(KINDS)} and fastnn's own activations")
        for name in (op.activation, op.gate):
            if name not in BENDS:
                raise ValueError(f"the second derivative of activation {name!r} is not known: hvp "
                                 f"has {', '.join(BENDS)}")
