"""Fitted pipelines of scikit-learn as a `Preparation`, exactly or not at all."""

import math

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from fastnn.tables.preparation import MISSING, Preparation

__all__ = ["preparation_of", "target_scale", "taken_apart"]

CAN = ("StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, SimpleImputer, OneHotEncoder, "
       "OrdinalEncoder, and a ColumnTransformer and pipelines of them can")


def taken_apart(pipeline, est):
    """Return the steps before an estimator, and the transformer of its target, or None.

    Parameters
    ----------
    pipeline : Pipeline or TransformedTargetRegressor
        Fitted, with ``est`` as its last step.
    est : estimator

    Raises
    ------
    ValueError
        When ``est`` is not its last step.
    """
    target = None
    if isinstance(pipeline, TransformedTargetRegressor):
        check_is_fitted(pipeline)
        target, pipeline = pipeline.transformer_, pipeline.regressor_
    if pipeline is est:
        return [], target
    steps = list(getattr(pipeline, "steps", []))
    if steps and isinstance(steps[-1][1], TransformedTargetRegressor) and target is None:
        check_is_fitted(steps[-1][1])
        target = steps[-1][1].transformer_
        steps[-1] = steps[-1][0], steps[-1][1].regressor_
    if not steps or steps[-1][1] is not est:
        raise ValueError("pipeline must be a fitted Pipeline with this estimator as its last step, "
                         "or a TransformedTargetRegressor of it")
    return [(name, step) for name, step in steps[:-1] if step not in (None, "passthrough")], target


def preparation_of(steps):
    """Return the `Preparation` of fitted transformers, one after the other.

    Parameters
    ----------
    steps : list of (str, transformer)

    Raises
    ------
    TypeError, ValueError
        When a step cannot be saved exactly; it is named.
    """
    first = steps[0][1]
    check_is_fitted(first)
    n = first.n_features_in_
    names = getattr(first, "feature_names_in_", None)
    names = [f"x{i}" for i in range(n)] if names is None else [str(name) for name in names]
    stripped = [name.strip() for name in names]  # as a table has them
    if len(set(stripped)) == n:
        names = stripped
    stages, width = [], n
    for name, step in steps:
        check_is_fitted(step)
        stage, wider = _stage(name, step, width)
        if stages and len(stages[-1]) == len(stage) == 1 and (
                stage[0]["columns"] == list(range(width))):  # one chain: what it knows, all know
            before = stages[-1][0]["steps"]
            _refuse_two_kinds(name, before, stage[0]["steps"])
            before += stage[0]["steps"]
        else:
            stages.append(stage)
        width = wider
    return Preparation(names, stages, width)


def _stage(name, step, n):
    """Return the blocks of a step of n columns, and how many it gives."""
    if not isinstance(step, ColumnTransformer):
        steps, width = _chain(name, step, n)
        return [{"columns": list(range(n)), "steps": steps}], width
    if step.transformer_weights:
        raise ValueError(f"step {name!r} has transformer_weights, which cannot be saved")
    stage, width = [], 0
    for inner, transformer, _ in step.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        indices = step._transformer_to_input_indices[inner]
        columns = [int(i) for i in indices]
        if not columns:
            continue
        steps, own = _chain(f"{name}__{inner}", transformer, len(columns))
        stage.append({"columns": columns, "steps": steps})
        width += own
    return stage, width


def _chain(name, step, n):
    """Return the steps of a transformer, or of a pipeline of them, and how many columns it
    gives."""
    if step is None or isinstance(step, str) and step == "passthrough":
        return [], n
    if isinstance(step, Pipeline):
        found = []
        for inner, one in step.steps:
            more, n = _chain(f"{name}__{inner}", one, n)
            _refuse_two_kinds(f"{name}__{inner}", found, more)
            found += more
        return found, n
    kind = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        kind = None
    if kind == "FunctionTransformer" and step.func is None:
        return [], n
    if kind not in _KINDS:
        raise TypeError(f"step {name!r} is {type(step).__name__}, which cannot be saved; {CAN}. "
                        "Others: export the pipeline to ONNX")
    return _KINDS[kind](name, step, n)


def _refuse_two_kinds(name, before, steps):
    """Refuse missing values that an imputer has left: None where it looks for NaN, or so."""
    filled = [len(step["values"]) for step in before if step["op"] == "impute"]
    known = next((step["categories"] for step in steps if "categories" in step), [])
    if filled and any(MISSING in one for one in known[:filled[-1]]):
        raise ValueError(f"step {name!r} has missing values for a category that the imputer before "
                         "it leaves: None and NaN are told apart, which cannot be saved")


def _shift(name, step, n):
    mean, scale = ((step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)
                   if type(step).__name__ == "StandardScaler" else
                   (step.center_ if step.with_centering else None,
                    step.scale_ if step.with_scaling else None))
    return [{"op": "shift", "mean": _floats(np.zeros(n) if mean is None else mean),
             "scale": _floats(np.ones(n) if scale is None else scale)}], n


def _max_abs(name, step, n):
    return [{"op": "shift", "mean": [0.0] * n, "scale": _floats(step.scale_)}], n


def _min_max(name, step, n):
    limits = _floats(step.feature_range) if step.clip else None
    return [{"op": "stretch", "scale": _floats(step.scale_), "add": _floats(step.min_),
             "limits": limits}], n


def _imputer(name, step, n):
    missing = step.missing_values
    if not _is_missing(missing):
        raise ValueError(f"step {name!r} takes {missing!r} for missing, which cannot be saved: "
                         "only NaN and None can")
    values = []
    for value in np.asarray(step.statistics_, object).tolist():
        if _is_missing(value):
            raise ValueError(f"step {name!r} has a column without a value, which it leaves out; "
                             "that cannot be saved: drop the column before")
        values.append(value if isinstance(value, str) else float(value))
    marks = [] if step.indicator_ is None else [int(i) for i in step.indicator_.features_]
    return [{"op": "impute", "values": values, "marks": marks}], n + len(marks)


def _one_hot(name, step, n):
    if step.handle_unknown not in ("error", "ignore", "warn", "infrequent_if_exist"):
        raise ValueError(f"step {name!r} has handle_unknown={step.handle_unknown!r}, which cannot "
                         "be saved")
    _refuse_infrequent(name, step)
    known = [_categories(name, one) for one in step.categories_]
    drop = [None] * n if step.drop_idx_ is None else [
        None if i is None else int(i) for i in step.drop_idx_]
    width = sum(map(len, known)) - sum(i is not None for i in drop)
    unknown = "error" if step.handle_unknown == "error" else "ignore"
    return [{"op": "one_hot", "categories": known, "drop": drop, "unknown": unknown}], width


def _ordinal(name, step, n):
    _refuse_infrequent(name, step)
    known = [_categories(name, one) for one in step.categories_]
    unknown = "error" if step.handle_unknown == "error" else "ignore"
    missing = _or_none(step.encoded_missing_value)
    if any(None in one.tolist() for one in step.categories_):  # a category like any other
        missing = [float(own.index(MISSING)) if None in one.tolist() else missing
                   for own, one in zip(known, step.categories_, strict=True)]
    return [{"op": "ordinal", "categories": known, "unknown": unknown,
             "unknown_value": _or_none(step.unknown_value), "missing_value": missing}], n


def _refuse_infrequent(name, step):
    if getattr(step, "_infrequent_enabled", False):
        raise ValueError(f"step {name!r} puts infrequent categories together, which cannot be "
                         "saved")


def _categories(name, values):
    """Return categories as JSON has them."""
    found = []
    for value in values.tolist():
        if _is_missing(value):
            found.append(dict(MISSING))
        elif isinstance(value, (str, bool, int, float)):
            found.append(value)
        else:
            raise TypeError(f"step {name!r} has the category {value!r}, which cannot be saved: "
                            "only strings, numbers and booleans can")
    if found.count(MISSING) > 1:
        raise ValueError(f"step {name!r} tells None and NaN apart, which cannot be saved")
    return found


def _is_missing(value):
    return value is None or type(value).__name__ == "NAType" or value != value


def _or_none(value):
    return None if value is None or math.isnan(value) else float(value)


def _floats(values):
    return np.asarray(values, float).tolist()


_KINDS = {"StandardScaler": _shift, "RobustScaler": _shift, "MaxAbsScaler": _max_abs,
          "MinMaxScaler": _min_max, "SimpleImputer": _imputer, "OneHotEncoder": _one_hot,
          "OrdinalEncoder": _ordinal}


def target_scale(transformer):
    """Return (scale, add), float64 arrays, of y = z scale + add, which turns predictions z into
    the units of before a transformer.

    Raises
    ------
    TypeError
        When it is no scaler.
    """
    name = type(transformer).__name__
    if name in ("StandardScaler", "RobustScaler", "MaxAbsScaler", "MinMaxScaler"):
        steps, _ = _KINDS[name]("transformer", transformer, transformer.n_features_in_)
        step = steps[0]
        scale = np.array(step["scale"])
        if step["op"] == "shift":
            return scale, np.array(step["mean"])
        return 1 / scale, -np.array(step["add"]) / scale  # limits are not those of the way back
    raise TypeError(f"the transformer of the target is {name}, which cannot be saved: scalers can")
