"""Initial weights. Biases start at 0 unless said otherwise."""

import math

import numpy as np

from fastnn.core.imports import imported

# name -> (distribution, variance of a weight, from fan_in and fan_out)
INITIALIZERS = {
    # Glorot & Bengio 2010
    "glorot_uniform": ("uniform", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    "glorot_normal": ("normal", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    # He et al. 2015
    "he_uniform": ("uniform", lambda fan_in, fan_out: 2 / fan_in),
    "he_normal": ("normal", lambda fan_in, fan_out: 2 / fan_in),
    "normal": ("normal", lambda fan_in, fan_out: 0.05**2),
    "zeros": ("uniform", lambda fan_in, fan_out: 0.0),
}
# where blocks start that are not drawn; biases and means at 0
STARTS = {"gain": 1, "variance": 1, "slope": 0.25}  # He et al. 2015


def initialize(name, weights, rng):
    """Fill the weight matrices, drawing in float64 layer by layer.

    Parameters
    ----------
    name : str
        A key of `INITIALIZERS`.
    weights : list of arrays (n_in, n_out)
    rng : numpy.random.Generator
    """
    distribution, variance = INITIALIZERS[name]
    for w in weights:
        spread = math.sqrt(variance(*w.shape))
        if distribution == "normal":
            w[:] = rng.normal(0.0, spread, w.shape)
        else:
            bound = math.sqrt(3.0) * spread
            w[:] = rng.uniform(-bound, bound, w.shape) if bound else np.zeros(w.shape)


def drawn(layout, name, seed):
    """Return the flat parameters that a network starts with.

    Parameters
    ----------
    layout : ParameterLayout
    name : str
        A key of `INITIALIZERS`.
    seed : int
    """
    parameters = layout.allocate()
    for block, view in zip(layout.blocks, layout.views(parameters), strict=True):
        view[:] = STARTS.get(block.kind, 0)
    members = layout.spec.members
    repeats = next((i for i, op in enumerate(layout.ops) if op.kind == "repeat"), None)
    if name != "zeros" or repeats is not None:
        imported("numpy.random")  # a fifth of the start-up
        rng = np.random.Generator(np.random.Philox(seed))
        weights = layout.weights_and_biases(parameters)[0]
        if layout.ops[0].kind == "embed":
            weights = (*np.split(weights[0], np.cumsum(layout.ops[0].counts)[:-1]), *weights[1:])
        if repeats is not None:
            heads = weights[-1]
            weights = (*weights[:-1], *heads.reshape(members, -1, heads.shape[1]))
            # Gorishniy et al. 2025: random signs, so that members differ from the start
            scale = next(view for block, view in zip(layout.blocks, layout.views(parameters),
                                                     strict=True) if block.op == repeats)
            scale[:] = rng.choice([-1.0, 1.0], scale.shape)
        initialize(name, weights, rng)
    return parameters
