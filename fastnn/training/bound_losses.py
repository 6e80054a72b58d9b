"""What a network makes of a loss: by its name, for its outputs, and as plain values for files."""

from copy import copy
from dataclasses import dataclass, fields
from numbers import Real
from typing import NamedTuple

from fastnn.core import _kernels
from fastnn.core.arrays import refuse_masked
from fastnn.core.notices import hint, shown
from fastnn.core.validation import check_count, check_name
from fastnn.training.losses import BY_NAME, CrossEntropy, Custom, Focal, Loss

__all__ = ["BoundLoss", "as_loss", "check_loss", "describe", "from_description"]

# the loss of an output where none is named; squared_error with any other
DEFAULTS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson",
            "step": "perceptron"}


class BoundLoss(NamedTuple):
    """A loss for the outputs of one network: what its row says, and its parameters.

    Attributes
    ----------
    name : str
        Of the row in csrc/losses.def; of `Custom` its own.
    link, reduction, targets : str
    whole_rows : bool
        As the row has them.
    labels : {"rows", "one_hot", None}
        How integer labels are taken: by the kernel, as rows of zeros and ones, or not at all.
    n_targets : int
        Columns of y.
    repeats : bool
        Whether a single column of y stands for all.
    parameters : list of tuple
        Of each output; empty where the row has none.
    loss : Loss
        What was bound.
    """

    name: str
    link: str
    reduction: str
    targets: str
    whole_rows: bool
    labels: str | None
    n_targets: int
    repeats: bool
    parameters: list
    loss: Loss

    @property
    def is_custom(self):
        """Whether Python functions compute it."""
        return isinstance(self.loss, Custom)


@dataclass(frozen=True)
class _Row(Loss):
    """A row of csrc/losses.def that has no class here: by its name, without parameters."""

    name: str = ""

    def parameters(self, n_out):
        """Return its parameters, which it must not have."""
        if _kernels.LOSSES[self.name].n_parameters and self.name != "binary_focal":
            raise ValueError(f"loss={self.name!r} has parameters: give an object of a class of "
                             "fastnn.losses")
        return (Focal().gamma,) if self.name == "binary_focal" else ()


def as_loss(loss):
    """Return the loss of a name, or the object as it is.

    Raises
    ------
    TypeError
        When it is neither; ValueError when no loss has this name.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"loss={loss.__name__} is a class, must be an object: {loss.__name__}()")
    if callable(loss):
        raise TypeError(f"loss={shown(loss)} must be a name or an object; a function needs its "
                        "derivative, too: fastnn.losses.Custom(function, derivative)")
    names = tuple({**BY_NAME, **_kernels.LOSSES})
    name = check_name("loss", loss, names, "loss")
    if name == "squared_error" and loss[:1] in "mM":
        hint("half", f"loss={loss!r} is taken as 'squared_error', which is ½ (prediction - y)², as "
                     "in scikit-learn's MLPRegressor: half of the mean squared error that Keras, "
                     "PyTorch and sklearn.metrics give")
    return BY_NAME[name]() if name in BY_NAME else _Row(name)


def check_loss(loss, output, n_out):
    """Return the `BoundLoss` of a network's outputs.

    Parameters
    ----------
    loss : str, Loss or None
        None: the one that goes with the output.
    output : str
        Activation of the output.
    n_out : int

    Raises
    ------
    TypeError, ValueError
        When it is none, or does not go with the output or the number of outputs.
    """
    loss = as_loss(DEFAULTS.get(output, "squared_error") if loss is None else loss)
    if isinstance(loss, Custom):
        return BoundLoss(loss.name, "identity", loss.reduction, "real", False, None, n_out, False,
                         [], _unmasked(loss))
    info = _kernels.LOSSES[check_name(f"{type(loss).__name__}.row({output!r})", loss.row(output),
                                      tuple(_kernels.LOSSES))]
    hinges = loss.name in ("hinge", "squared_hinge")
    fits = info.link == output or hinges and output == "identity" or (
        info.link == "identity" and output != "softmax" and not info.whole_rows)
    if not fits:
        link = {"focal": "'softmax' or 'sigmoid'"}.get(loss.name, repr(info.link))
        if hinges:
            link = "'identity' or 'step'"
        others = [name for name, one in _kernels.LOSSES.items() if one.link == output]
        with_output = f"; with {output!r} go {', '.join(map(repr, others))}" if others else ""
        raise ValueError(f"loss={loss.name!r} must go with output={link}, not {output!r}"
                         f"{with_output}")
    said = f"{type(loss).__name__}.n_targets({n_out})"
    n_targets = check_count(said, loss.n_targets(n_out))
    if n_targets > n_out:
        raise ValueError(f"{said}={n_targets} must be <= {n_out}: the loss has no more outputs to "
                         "compare with targets")
    parameters = _check_parameters(loss, info, n_out)
    labels = "rows" if info.whole_rows and info.targets == "unit" else (
        "one_hot" if hinges else None)
    repeats = isinstance(getattr(loss, "level", None), tuple)
    return BoundLoss(info.name, info.link, info.reduction, info.targets, info.whole_rows, labels,
                     n_targets, repeats, parameters, loss)


def _check_parameters(loss, info, n_out):
    """Return a list of the parameters of each output, as many as the row of the loss has: the
    kernels read them unchecked, and a class of the user's may say anything."""
    rows, count = loss.parameters(n_out), info.n_parameters
    if info.name == "cross_entropy" and not rows:  # which has a kernel without smoothing
        count = 0
    if isinstance(rows, tuple) and rows:
        rows = [rows] * n_out
    if not isinstance(rows, (list, tuple)) or len(rows) != (n_out if count else 0) or any(
            type(row) is not tuple or len(row) != count
            or not all(isinstance(value, Real) for value in row) for row in rows):
        raise ValueError(f"{type(loss).__name__}.parameters({n_out}) gives {shown(rows)}, must "
                         f"give {count} numbers for each output, as the row {info.name!r} of the "
                         "losses has")
    return list(rows)


def describe(loss):
    """Return a loss as plain values, for files: its name alone where that says all.

    Parameters
    ----------
    loss : str, Loss or BoundLoss
    """
    loss = loss.loss if isinstance(loss, BoundLoss) else as_loss(loss)
    if isinstance(loss, (Custom, _Row)):
        return loss.name
    found = {}
    for field in fields(loss):
        value = getattr(loss, field.name)
        found[field.name] = list(value) if isinstance(value, tuple) else float(value)
    if not found or isinstance(loss, CrossEntropy) and not loss.label_smoothing:
        return loss.name
    return {"name": loss.name, **found}


def from_description(plain):
    """Return the loss that `describe` has described; a name is returned as it is."""
    if not isinstance(plain, dict):
        return plain
    settings = dict(plain)
    name = check_name("loss", settings.pop("name", None), tuple(BY_NAME))
    known = {field.name for field in fields(BY_NAME[name])}
    if not settings.keys() <= known:
        raise ValueError(f"loss {name!r} has no {sorted(settings.keys() - known)[0]!r}")
    return BY_NAME[name](**settings)


class _Unmasked:
    """A function of a `Custom` loss, whose results must not hide values: NumPy would use what lies
    behind their masks."""

    def __init__(self, what, function):
        self.what, self.function = what, function

    def __call__(self, y, output):
        found = self.function(y, output)
        refuse_masked(self.what, found)
        return found


def _unmasked(loss):
    """Return a `Custom` loss whose functions are `_Unmasked`."""
    if isinstance(loss.value, _Unmasked):
        return loss
    found = copy(loss)
    for field in ("value", "derivative"):
        function = _Unmasked(f"{field} of loss {loss.name!r}", getattr(loss, field))
        object.__setattr__(found, field, function)  # it is frozen
    return found
