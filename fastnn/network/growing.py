"""Networks with more inputs or outputs than before, and their vectors."""

from fastnn.core import validation
from fastnn.network.spec import Activation, Dense, Dropout, NetworkSpec

__all__ = ["grown_spec", "grown_vector"]


def grown_spec(spec, n_in=None, n_out=None):
    """Return the description of a network with more inputs or outputs.

    Raises
    ------
    ValueError
        When there would be fewer; when something else than a `Dense` layer decides the width.
    """
    layers = list(spec.layers)
    if n_in is not None:
        _check_more("n_in", n_in, spec.n_in)
        _end_of(layers, range(len(layers)), "n_in", "first")
    if n_out is not None:
        _check_more("n_out", n_out, spec.n_out)
        at = _end_of(layers, range(len(layers) - 1, -1, -1), "n_out", "last")
        layers[at] = Dense(n_out, layers[at].activation)
    fields = {name: getattr(spec, name) for name in spec.__slots__}
    return NetworkSpec(**{**fields, "n_in": spec.n_in if n_in is None else n_in, "layers": layers})


def _check_more(name, value, now):
    if validation.check_count(name, value) < now:
        raise ValueError(f"{name}={value} must be at least {now}, as many as there are")


def _end_of(layers, numbers, name, which):
    """Return the number of the first `Dense` layer in this order; what comes before it must be
    elementwise."""
    for number in numbers:
        if isinstance(layers[number], Dense):
            return number
        if not isinstance(layers[number], (Activation, Dropout)):
            break
    raise ValueError(f"{name} cannot grow: beside a {type(layers[number]).__name__} layer; the "
                     f"{which} layer with parameters must be Dense")


def grown_vector(layout, wider, flat):
    """Return a flat vector of the wider layout with the numbers of one of this layout; what is new
    is 0.

    Raises
    ------
    ValueError
        When the layout is not a wider one, but another.
    """
    found = wider.allocate()
    mine, givens = wider.views(found), layout.views(flat)
    if len(mine) != len(givens) or any(
            own.ndim != given.ndim or any(map(int.__lt__, own.shape, given.shape))
            for own, given in zip(mine, givens, strict=True)):
        raise ValueError("the network was made anew with other layers, not grown: take new steps "
                         "of it, net.steps(optimizer)")
    for own, given in zip(mine, givens, strict=True):
        own[tuple(map(slice, given.shape))] = given
    return found
