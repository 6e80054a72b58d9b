"""Networks with more inputs or outputs than before, and their vectors."""

from fastnn.core import validation
from fastnn.network.initializers import STARTS
from fastnn.network.spec import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Heads,
    NetworkSpec,
    PReLU,
    Repeat,
    Scale,
)

__all__ = ["grown_spec", "grown_vector", "starting_vector"]

PER_UNIT = Activation, Dropout, Scale, PReLU, BatchNorm  # what a unit comes to is its own affair


def grown_spec(spec, n_in=None, n_out=None):
    """Return the description of a network with more inputs or outputs.

    Raises
    ------
    ValueError
        When there would be fewer; when something else than a `Dense` layer, or the `Heads` of an
        ensemble, decides the width.
    """
    layers = list(spec.layers)
    if n_in is not None:
        _check_more("n_in", n_in, spec.n_in)
        _end_of(layers, range(len(layers)), "n_in", "first", (*PER_UNIT, Repeat), Dense)
    if n_out is not None:
        _check_more("n_out", n_out, spec.n_out)
        at = _end_of(layers, range(len(layers) - 1, -1, -1), "n_out", "last", PER_UNIT,
                     (Dense, Heads))
        last = layers[at]
        layers[at] = (Heads(n_out, last.members) if isinstance(last, Heads)
                      else Dense(n_out, last.activation))
    fields = {name: getattr(spec, name) for name in spec.__slots__}
    return NetworkSpec(**{**fields, "n_in": spec.n_in if n_in is None else n_in, "layers": layers})


def _check_more(name, value, now):
    if validation.check_units(name, value) < now:
        raise ValueError(f"{name}={value} must be at least {now}, as many as there are")


def _end_of(layers, numbers, name, which, passed, wanted):
    """Return the number of the first ``wanted`` layer in this order; those before it must be
    ``passed``."""
    for number in numbers:
        if isinstance(layers[number], wanted):
            return number
        if not isinstance(layers[number], passed):
            break
    raise ValueError(f"{name} cannot grow: beside a {type(layers[number]).__name__} layer; the "
                     f"{which} layer with a W must be Dense, and what is {which} beside it "
                     "elementwise")


def grown_vector(layout, wider, flat, onto=None):
    """Return a flat vector of the wider layout with the numbers of one of this layout; what is new
    is 0, or that of another vector.

    Raises
    ------
    ValueError
        When the layout is not a wider one, but another.
    """
    found = wider.allocate() if onto is None else wider.copy(onto)
    mine, givens = wider.views(found), layout.views(flat)
    if len(mine) != len(givens) or any(
            own.ndim != given.ndim or any(map(int.__lt__, own.shape, given.shape))
            for own, given in zip(mine, givens, strict=True)):
        raise ValueError("the network was made anew with other layers, not grown: take new steps "
                         "of it, net.steps(optimizer)")
    for own, given in zip(mine, givens, strict=True):
        own[tuple(map(slice, given.shape))] = given
    return found


def starting_vector(layout):
    """Return the flat vector of what new weights start with: 0, and factors that leave alone what
    they multiply."""
    found = layout.allocate()
    for block, view in zip(layout.blocks, layout.views(found), strict=True):
        view[:] = 1 if block.kind == "scale" else STARTS.get(block.kind, 0)
    return found
