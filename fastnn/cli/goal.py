"""What is to be predicted: numbers, or classes; found out from the target's values."""

from dataclasses import dataclass

import numpy as np

from fastnn.cli.common import CommandError, count
from fastnn.cli.hints import why_text

__all__ = ["Goal", "find_goal"]

MAX_FLOAT32 = 1e30     # of a target that a network of float32 gives
MAX_TARGET = 1e140     # its square, summed over the rows, is a number too
MAX_CLASS_VALUES = 20  # different whole numbers in a target that is taken for classes


@dataclass
class Goal:
    """The target: numbers, or codes of classes."""

    names: list
    why: str
    values: np.ndarray | None = None     # (n_rows, n_targets), for regression
    classes: np.ndarray | None = None
    codes: np.ndarray | None = None      # (n_rows,)
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    hint: str = ""                       # why the values are text, where they look like numbers

    def describe(self):
        if self.classes is None:
            return f"regression of {', '.join(map(repr, self.names))} ({self.why})"
        shown = ", ".join(map(str, self.classes[:6])) + (", ..." if len(self.classes) > 6 else "")
        return (f"classification of {self.names[0]!r} into {len(self.classes)} classes: {shown} "
                f"({self.why})")

    def scale_targets(self, rows, dtype):
        """Mean and scale of the rows for training; the dtype to train in."""
        if self.values is None:
            return dtype or "float32"
        values = self.values[rows]
        largest = np.abs(self.values).max(axis=0)
        for name, size in zip(self.names, largest, strict=True):
            limit = MAX_FLOAT32 if dtype == "float32" else MAX_TARGET
            if size > limit:
                raise CommandError(f"the target {name!r} has values of up to {size:g}: too large "
                                   f"to compute with{' in float32' * (limit == MAX_FLOAT32)}; "
                                   "give it in other units")
        self.mean, self.scale = values.mean(axis=0), values.std(axis=0)
        for name, scale in zip(self.names, self.scale, strict=True):
            if not scale > 0:
                raise CommandError(f"the target {name!r} has one value only in the rows to learn "
                                   "from: there is nothing to predict")
        # float32 holds 7 digits: too few for what varies in the fifth
        return dtype or ("float64" if (np.abs(self.mean) > 1e4 * self.scale).any()
                         or (largest > MAX_FLOAT32).any() else "float32")


def find_goal(frame, targets, task):
    """Return the goal of a task that was asked for, or "auto"."""
    if len(targets) > 1:
        if task == "classification":
            raise CommandError("--target names several columns: that goes with regression; for "
                               "classification train one model for each")
        values = [_target_numbers(frame[name], name) for name in targets]
        return Goal(targets, "several targets", values=np.column_stack(values))
    name, = targets
    series = frame[name]
    kind, why = _kind_of_target(series, name)
    if task == "auto":
        _refuse_typing_errors(series, name)
        task = "regression" if kind == "number" else "classification"
    else:
        why = "as asked"
    hint = why_text(series, target=True)
    if task == "regression":
        return Goal(targets, why, values=_target_numbers(series, name).reshape(-1, 1))
    classes, codes = _target_classes(series, name)
    if len(classes) == 1:
        raise CommandError(f"the target {name!r} has one class only, {classes[0].item()!r}: there "
                           "is nothing to tell apart")
    if len(classes) > max(MAX_CLASS_VALUES, len(series) // 2):
        raise CommandError(f"the target {name!r} has {len(classes)} classes in "
                           f"{len(series)} rows: too many to learn; is it the right column"
                           + (", or --task regression?" if not hint and _are_numbers(series)
                              else "?") + (f"\n{hint}" if hint else ""))
    return Goal(targets, why, classes=classes, codes=codes, hint=hint)


def _are_numbers(series):
    from pandas import to_numeric

    return bool(to_numeric(series.astype(object), errors="coerce").notna().all())


def _kind_of_target(series, name):
    """Whether a target's values are classes, and how one can tell."""
    from pandas.api import types

    if types.is_datetime64_any_dtype(series.dtype) or types.is_complex_dtype(series.dtype):
        raise CommandError(f"the target {name!r} has dtype {series.dtype}; turn it into numbers or "
                           "classes first")
    if types.is_bool_dtype(series.dtype):
        return "class", "true or false"
    if not types.is_numeric_dtype(series.dtype):
        return "class", "text"
    values = series.to_numpy(np.float64)
    different = len(np.unique(values))
    if (values == np.floor(values)).all() and different <= min(MAX_CLASS_VALUES, len(values) // 5):
        return "few numbers", (f"{different} different whole numbers; if they are amounts: "
                               "--task regression")
    return "number", f"{different:,} different numbers"


def _refuse_typing_errors(series, name):
    """Refuse a few words among numbers, which would make a class of each number."""
    from pandas import to_numeric

    if series.dtype.kind in "biuf":
        return
    words = to_numeric(series.astype(object), errors="coerce").isna().to_numpy()
    if 0 < words.sum() < 0.1 * len(series):
        first = int(words.argmax())
        raise CommandError(
            f"the target {name!r} holds numbers, but {series.iloc[first]!r} in row "
            f"{series.index[first]}" + (f" and more in {count(int(words.sum()) - 1, 'row')}"
                                        if words.sum() > 1 else "")
            + ": correct these, or leave them empty; if the numbers are names of classes: --task "
            "classification")


def _target_numbers(series, name):
    from fastnn.tables.encoder import Column, _numbers

    try:
        return _numbers(Column(name, "number"), series)
    except ValueError as error:
        hint = why_text(series, target=True)
        raise CommandError(f"a regression needs numbers, but {error}"
                           + (f"\n{hint}" if hint else "")) from None


def _target_classes(series, name):
    from pandas.api import types

    if types.is_bool_dtype(series.dtype):
        values = series.to_numpy(bool)
    elif types.is_numeric_dtype(series.dtype):
        values = series.to_numpy(np.float64)
        if not (values == np.floor(values)).all() or np.abs(values).max() > 2**53:
            raise CommandError(f"the target {name!r} has numbers that are not whole: no classes; "
                               "leave out --task classification")
        values = values.astype(np.int64)
    else:
        values = np.array(list(map(str, series)))
    return np.unique(values, return_inverse=True)
