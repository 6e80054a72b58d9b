"""What the estimators add to scikit-learn's messages: which name was meant, which column is wrong,
and the cure."""

import re
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from fastnn.core import cures, words
from fastnn.core.arrays import not_numeric
from fastnn.core.notices import shown
from fastnn.core.validation import check_real
from fastnn.training.optimizers import BY_NAME

__all__ = ["Names", "about_data", "about_split", "check_parameters", "refuse_dates",
           "refuse_missing", "takes_gaps", "unknown_labels"]

_PARAMETER = re.compile(r"^The '(\w+)' parameter of (\w+) ")
_OF_CLASSES = ("log_loss", "focal", "hinge", "squared_hinge", "cross_entropy",
               "binary_cross_entropy")
_OF_VALUES = ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", "gaussian_nll",
              "poisson", "gamma", "tweedie")
_SOLVERS = {cls.__name__: name for name, cls in BY_NAME.items()}


class Names(StrOptions):
    """The constraint of a string, whose names a message lists in their order."""

    def __str__(self):
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def check_parameters(est, check):
    """Check an estimator's parameters by scikit-learn's ``check``; an error says what was meant."""
    try:
        check()
    except InvalidParameterError as error:
        raise _about_parameter(error, est) from None
    for name, constraints in est._parameter_constraints.items():
        value = getattr(est, name)
        if isinstance(value, Integral) and any(
                isinstance(one, Interval) and one.type is Real for one in constraints):
            check_real(name, int(value))  # of any size to scikit-learn


def _about_parameter(error, est):
    """Return scikit-learn's error of a parameter, with what was meant."""
    found = _PARAMETER.match(str(error))
    if found is None:
        return error
    name = found[1]
    said = _said(est, name, getattr(est, name))
    return InvalidParameterError(f"{error}{said}") if said else error


def _said(est, name, value):
    if name == "loss" and not isinstance(value, str) and (
            isinstance(value, Real) or np.iterable(value)):
        return (" The first parameter of MLPRegressor is loss, as in scikit-learn: write "
                f"MLPRegressor(hidden_layer_sizes={shown(value)}).")
    if name == "learning_rate" and isinstance(value, Real):
        return f" The step size is learning_rate_init={shown(value)}."
    if name == "solver" and not isinstance(value, str):
        return _of_solver(value)
    if not isinstance(value, str):
        return ""
    if name == "categorical_features":
        return f" One column is a list, too: [{shown(value)}]."
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", value):
        return f" That is text: write {name}={value}."
    known = []
    for constraint in est._parameter_constraints[name]:
        known += getattr(constraint, "options", ()) if isinstance(constraint, StrOptions) else ()
    kind = {"activation": "activation", "solver": "optimizer", "loss": "loss"}.get(name)
    meant = None if kind is None else words.meant(value, known, kind)
    if meant is not None:
        return f" Did you mean {meant!r}?"
    if name == "loss":
        for others, other in ((_OF_VALUES, "MLPRegressor"), (_OF_CLASSES, "MLPClassifier")):
            meant = words.meant(value, others, kind)
            if meant is not None and meant not in known:
                return f" {meant!r} is a loss of {other}."
    said = words.of_name(value, known)
    return f" {said[2].upper()}{said[3:]}" + ("" if said.endswith("?") else ".") if said else ""


def _of_solver(value):
    if type(value).__name__ == "LBFGS":
        return " L-BFGS goes by its name here: solver='lbfgs'."
    if isinstance(value, type) and value.__name__ in _SOLVERS:
        return f" That is a class: fastnn.{value.__name__}() makes an object."
    return ""


def about_data(error, X, y=None):
    """Return scikit-learn's error of the data, with the column that is wrong, or the cure.

    Parameters
    ----------
    error : ValueError or TypeError
    X
        As the user gave it.
    y : default=None
        The same; None where the error is not of y.
    """
    text = str(error)
    found = next(filter(None, (cures.no_array(name, data) for name, data in (("X", X), ("y", y))
                               if data is not None and not sp.issparse(data))), None)
    if found is not None:
        return type(error)(f"{text}\n{found}")
    if "inhomogeneous" in text:
        found = cures.ragged("X", X, False) or cures.ragged("y", y, True)
    elif any(part in text for part in ("could not convert", "invalid literal",
                                       "must be a string or a real number")):
        found = _first_text(X, y)
    elif "inconsistent numbers of samples" in text and y is not None:
        shape = np.shape(X) if not sp.issparse(X) else X.shape
        if len(shape) == 2 and shape[1] == len(y):
            array = cures.array_of("X", X, "T")
            found = f"X has {shape[0]} rows and {shape[1]} columns: {array}.T?"
    elif "array with dim" in text and np.ndim(X) > 2:
        found = f"{cures.array_of('X', X, 'reshape')}.reshape(len(X), -1) makes one row of each"
    return error if found is None else type(error)(f"{text}\n{found}")


def takes_gaps(error, est):
    """Return the end of a message on missing values in X: which estimator takes them."""
    if "Input X contains NaN" not in str(error):
        return ""
    return f" {_of_tables(est)} takes missing values, text and dates as they are."


def _of_tables(est):
    return f"fastnn.Tabular{'Regressor' if isinstance(est, RegressorMixin) else 'Classifier'}"


def _first_text(X, y):
    for name, data in (("X", X), ("y", y)):
        if data is None or sp.issparse(data):
            continue
        array = np.asarray(data, dtype=object)
        found = cures.text_hint(name, data, array) if array.ndim in (1, 2) else None
        if found is not None and name == "X":
            return (f"{found}. fastnn.TabularClassifier and TabularRegressor take text as it is"
                    if "encode it" in found else found)
        if found is not None and "holds dates" in found:
            return found
        if found is not None:
            return f"{found.removesuffix(f': {cures.ENCODE}')}; class names are for MLPClassifier"
    return None


def about_split(error, fraction, n_samples):
    """Return the error of early stopping's split, with what the split is."""
    return ValueError(f"early_stopping holds out {fraction:.0%} of {n_samples} rows, too few for "
                      "that: give more rows, a larger validation_fraction, or X_val= and y_val=. "
                      f"{error}")


def unknown_labels(kind, y, other):
    """Return the error of a target that holds no labels, by scikit-learn's name for what it is.

    Parameters
    ----------
    kind : str
    y : array-like
    other : str
        The estimator that takes other values.
    """
    if kind == "unknown" and np.ndim(y) == 1 and len(y):
        first = np.asarray(y, dtype=object)[0]
        return ValueError(f"Unknown label type: y holds values of type {type(first).__name__}, "
                          f"{shown(first)} in row 0: numpy.asarray(y).astype(str) makes text "
                          "of them")
    return ValueError(f"Unknown label type: {kind}. y must hold one label per row, or zeros and "
                      f"ones in one column per label; {other} takes other values")


def refuse_missing(y):
    """Raise where a value of y is missing, as None or NaN among objects."""
    if sp.issparse(y) or getattr(getattr(y, "dtype", None), "kind", "O") != "O":
        return
    row = cures.missing_row(np.asarray(y, dtype=object))
    if row is not None:
        raise ValueError(f"y has a missing value in row {row}: fill it, or leave the row out")


def refuse_dates(name, data):
    """Raise where data hold dates or durations: as numbers they would be counts of the unit that
    they happen to have, and a missing one -9e18."""
    place = cures.dates_in(data)
    if place is not None:
        column = data.columns[place]
        values = data.iloc[:, place] if hasattr(data, "iloc") else data[column]
        kind = np.asarray(values).dtype.kind
        said = (f"holds durations: make numbers of them, such as days, {name}[{column!r}] / "
                f"{cures.DAY}" if kind == "m" else
                "holds dates: make numbers of them, such as days since one of them")
        raise TypeError(f"column {column!r} of {name} {said}")
    if isinstance(data, (list, tuple)):
        for first in data[:1]:  # its types are those of the others
            for value in first if isinstance(first, (list, tuple)) else (first,):
                if _are_dates(value):
                    raise not_numeric(name, data[:1], np.asarray(data[:1], dtype=object))
    elif _are_dates(data):
        raise not_numeric(name, data, np.asarray(data))


def _are_dates(value):
    dtype = getattr(value, "dtype", None)
    return cures.is_date(dtype) if dtype is not None else False
