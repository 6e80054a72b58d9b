"""`Predictor`: a trained network with what a service needs around it; NumPy alone.

The scaling of the inputs comes before the network, the names of the classes after it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core._arrays import all_finite, is_ready
from fastnn.core.arrays import check_finite, check_out, dense_rows
from fastnn.core.codes import is_codes, refuse_codes
from fastnn.core.imports import imported
from fastnn.core.notices import shown, suggests
from fastnn.core.rows import check_rows
from fastnn.files import model_parts
from fastnn.prediction import decision
from fastnn.prediction._forward import Snapshot
from fastnn.prediction.scaler import Scaler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, ArrayLike, File, Rows

__all__ = ["Predictor", "as_predictor", "check_exported", "save_network", "tabular_model_of"]

TASKS = ("outputs", "regression", "quantiles", "mean_variance", "classification", "multilabel",
         "margins")
LABELS = ("classification", "multilabel", "margins")  # tasks that have classes


@suggests
class Predictor:
    """A model for serving: it predicts, and cannot be trained.

    `fastnn.load` gives one for a file that holds a scaler or class names, where there is no
    scikit-learn to make an estimator with, and on request. Any number of threads may use one.

    Parameters
    ----------
    net : MLP
        The network.
    task : str, default="outputs"
        What `predict` returns. "outputs": outputs (n_samples, n_out) as they are; "regression": the
        same, but (n_samples,) for a single one; "quantiles": outputs, each row sorted;
        "mean_variance": the first half of them, as "regression" does. "classification": the label
        of each row; "margins": the same from scores, which are no probabilities; "multilabel":
        zeros and ones (n_samples, n_labels).
    classes : array-like (n_classes,) or None, default=None
        Labels in the order of the outputs; two for a single output.
    feature_names : sequence of str or None, default=None
        Names of the inputs. Columns of a data frame are then taken by name.
    scaler : Scaler or None, default=None
        Comes before the network.
    table : TableEncoder, encoders.Encoder or None, default=None
        Turns a data frame into the inputs, comes before the scaler. An `Encoder` turns rows of raw
        numbers and categories into codes, and has neither scaler nor feature names beside it.

    Attributes
    ----------
    net, task, scaler, table
        As given; they cannot be set.
    classes_ : array (n_classes,) or None
    feature_names_in_ : array of str or None
    n_features_in_ : int

    Notes
    -----
    A network keeps its wide weight matrices (with AVX2 those with rows of 1,024 bytes or more,
    else of 4,096) a second time, in the order in which products read them, once it has predicted
    24 rows in batches: as much memory as these matrices take. Answers are the same. Nothing is
    kept while somebody holds the network's parameters or a view of them, who might change them.
    """

    def __init__(self, net: Any, task: str = "outputs", *, classes: ArrayLike | None = None,
                 feature_names: Sequence[str] | None = None, scaler: Scaler | None = None,
                 table: Any = None) -> None:
        if not isinstance(getattr(net, "_snapshot", None), Snapshot):
            raise TypeError(f"net={type(net).__name__} must be an MLP")
        if not isinstance(scaler, (Scaler, type(None))):
            raise TypeError(f"scaler={type(scaler).__name__} must be a Scaler or None")
        if not (table is None or hasattr(table, "transform") and hasattr(table, "n_inputs")):
            raise TypeError(f"table={type(table).__name__} must be a TableEncoder or None")
        n_in, n_out = net.sizes[0], net.sizes[-1]
        self._net = net
        self._task = validation.check_name("task", task, TASKS)
        self._classes = None if classes is None else np.array(classes)
        if (self.classes_ is None) != (task not in LABELS):
            raise ValueError(f"classes={shown(classes)} must be given for classification and "
                             f"multilabel, and for nothing else; task={task!r}")
        if task == "mean_variance" and n_out % 2:
            raise ValueError(f"task={task!r} needs two outputs for each target, has {n_out}")
        wanted = {"classification": ("sigmoid",) if n_out == 1 else ("softmax",),
                  "multilabel": ("sigmoid",), "margins": ("identity",)}.get(task, (net.output,))
        if net.output not in wanted:
            raise ValueError(f"output={net.output!r} gives no probabilities; task={task!r} with "
                             f"{n_out} output(s) needs {wanted[0]!r}: a network of that output, "
                             "and set_weights")
        if self.classes_ is not None:
            expected = (n_out,)
            if task != "multilabel" and n_out == 1:
                expected = (2,) if len(self.classes_) != 1 else (1,)
            if self.classes_.shape != expected:
                raise ValueError(f"classes has shape {self.classes_.shape}, must be {expected}")
        self._feature_names: Array | None = None
        if feature_names is not None:
            names = np.array(list(feature_names), dtype=object)
            if names.shape != (n_in,):
                raise ValueError(f"feature_names has {len(names)} entries, must have {n_in}")
            self._feature_names = names
        if scaler is not None and len(scaler.mean) != n_in:
            raise ValueError(f"scaler is for {len(scaler.mean)} inputs, must be for {n_in}")
        if table is not None and table.n_inputs != n_in:
            raise ValueError(f"table makes {table.n_inputs} inputs, must make {n_in}")
        if getattr(table, "makes_codes", False):
            if scaler is not None or feature_names is not None:
                raise ValueError("scaler and feature_names must be None beside an encoder, which "
                                 "takes numbers as they are and knows the names of its columns")
            if not net._snapshot.looks_up:
                refuse_codes()
        self._scaler = scaler
        self._table = table

    def __getstate__(self):
        return {"net": self.net, "task": self.task, "classes_": self.classes_,
                "feature_names_in_": self.feature_names_in_, "scaler": self.scaler,
                "table": self.table}

    def __setstate__(self, state):
        if state.keys() != {"net", "task", "classes_", "feature_names_in_", "scaler", "table"}:
            raise ValueError(f"the state of a Predictor holds {sorted(map(str, state))}")
        self.__init__(state["net"], state["task"], classes=state["classes_"],
                      feature_names=state["feature_names_in_"], scaler=state["scaler"],
                      table=state["table"])

    def __repr__(self):
        scaled = "" if self.scaler is None else ", scaled"
        return f"<Predictor, {self.task}{scaled}: {self._net!r}>"

    @property
    def net(self) -> Any:
        """The `MLP`."""
        return self._net

    @property
    def task(self) -> str:
        """What `predict` returns."""
        return self._task

    @property
    def classes_(self) -> Array | None:
        """Labels in the order of the outputs, or None."""
        return self._classes

    @property
    def feature_names_in_(self) -> Array | None:
        """Names of the inputs, or None."""
        return self._feature_names

    @property
    def scaler(self) -> Scaler | None:
        """The `Scaler` before the network, or None."""
        return self._scaler

    @property
    def table(self) -> Any:
        """The `TableEncoder` before the scaler, the `Encoder` of codes, or None."""
        return self._table

    @property
    def n_features_in_(self) -> int:
        """Number of inputs."""
        return self._net.sizes[0]

    def predict(self, X: Rows, out: Array | None = None) -> Array:
        """Return labels or values, by ``task``.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix (n_samples, n_features_in_)
            Inputs. What a `TableEncoder` does not understand of a frame counts as missing, with a
            `TableWarning`.
        out : array (n_samples, n_out) of the network's dtype, row-major, or None, default=None
            Takes the result; for outputs and regression only.

        Returns
        -------
        array (n_samples,) or (n_samples, n_out)
            One entry or row for each row of X.

        Raises
        ------
        ValueError
            When the columns do not fit, or a value is NaN or infinite.
        """
        if self.classes_ is None:
            if self.task == "mean_variance" and out is not None:
                raise ValueError("out must be None where means are predicted: outputs are more")
            output = self._outputs(X, out)
            if self.task == "quantiles":
                return decision.quantiles(output, out)
            if self.task == "mean_variance":
                output = decision.means(output)
            single = self.task in ("regression", "mean_variance") and output.shape[1] == 1
            return output[:, 0] if single else output
        if out is not None:
            raise ValueError("out must be None where labels are predicted; predict_proba takes it")
        output = self._outputs(X)
        if self.task == "multilabel":
            return decision.labels(output).astype(np.intp)
        threshold = 0 if self.task == "margins" else decision.THRESHOLD
        return self.classes_[decision.class_numbers(output, len(self.classes_), threshold)]

    def predict_proba(self, X: Rows, out: Array | None = None) -> Array:
        """Return the probability of each class (columns as in ``classes_``) or of each label.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix (n_samples, n_features_in_)
            Inputs.
        out : array (n_samples, n_classes) of the network's dtype, row-major, or None, default=None
            Takes the result.

        Returns
        -------
        array (n_samples, n_classes)
            Columns as in `classes_`, or one for each label.
        """
        if self.classes_ is None or self.task == "margins":
            raise AttributeError(f"a model for {self.task} has no predict_proba")
        if self.task == "multilabel" or self._net.sizes[-1] > 1:
            return self._outputs(X, out)
        output = self._outputs(X)
        if out is not None:
            check_out(out, (len(output), 2), output.dtype)
            if np.may_share_memory(out, self._net.parameters):
                raise ValueError("out lies in the network's parameters, must be memory of its own")
        return decision.class_probabilities(output, out)

    def predict_jacobian(self, X: Rows, *, logits: bool = False) -> Array:
        """Return the derivatives of the network's outputs with respect to unscaled inputs.

        Of values, probabilities or margins, as the network gives them: of one output for two
        classes the probability of the second, of quantiles before they are sorted. An input beyond
        the limits of the scaler, which cuts it off, has the derivative 0.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix (n_samples, n_features_in_)
            Inputs.
        logits : bool, default=False
            Whether to leave the output's activation out: derivatives of scores instead of
            probabilities.

        Returns
        -------
        array (n_samples, n_out, n_features_in_)
            [r, j, i] is that of output j of row r with respect to input i.

        Raises
        ------
        ValueError
            When the columns do not fit, or a value is NaN or infinite; when an activation has no
            derivative; for a model with a table encoder, whose inputs are no numbers.
        """
        if self.table is not None:
            raise ValueError("a model of data frames has no Jacobian, as its columns may be "
                             "categories: take that of the network, "
                             "model.net.jacobian(model.table.transform(frame))")
        inputs = self._inputs(X)
        found = self._net.jacobian(inputs, logits=logits)
        scaler = self._scaler
        if scaler is not None:
            slopes = 1 / scaler.scale
            if scaler.limits is not None:
                low, high = scaler.limits
                slopes = ((inputs > low) & (inputs < high))[:, np.newaxis] * slopes
            found *= slopes.astype(found.dtype)
        return found

    def _outputs(self, X, out=None):
        return self._net.predict(self._inputs(X), out)

    def _inputs(self, X):
        """Return rows as the network takes them, checked and scaled."""
        net, scaler = self._net, self._scaler
        if getattr(self._table, "makes_codes", False):
            if isinstance(X, (list, tuple)) and not _is_table(X):
                raise TypeError(f"X={type(X).__name__} may hold rows or columns, must be an array "
                                "(of objects where kinds are mixed), a data frame, a dict of "
                                "columns or a list of dicts")
            return X if is_codes(X) else self._table.transform(X, net.dtype)
        if getattr(self._table, "takes_arrays", False):
            X = self._table.transform(X)
        ready = is_ready(X, net.sizes[0]) and (scaler is not None or X.dtype == net.dtype)
        if not (ready and all_finite(X)):
            X = self._checked(X)
        if scaler is not None:
            X = scaler._scaled(X, net.dtype)
            if not all_finite(X):
                check_finite("scaled X", X, net.dtype)
        return X

    def _checked(self, X):
        if self.table is not None and _is_table(X):
            read = getattr(self.table, "inputs", None)  # a table of users may have none
            X = (read if callable(read) else self.table.transform)(X)
        elif hasattr(X, "columns") and self.feature_names_in_ is not None:
            X = _named_columns(X, self.feature_names_in_)
        # the scaler rounds once, after it has scaled; a float32 X stays as it is
        dtype = self._net.dtype
        if self.scaler is not None:
            dtype = np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64
        X = check_rows("X", X, self._net.sizes[0], dtype)
        return X if self.scaler is None else dense_rows(X)

    def save(self, path: File, *, max_bytes: int | None = None) -> None:
        """Write the model to a safetensors file; `fastnn.load` reads it.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.

        Raises
        ------
        ValueError
            When the file would be larger.
        """
        model_parts.write(path, self, max_bytes=max_bytes)

    def _predictor(self):
        return self


def _is_table(X):
    """Whether X has names: a frame, a dict of columns, a list of dicts."""
    return hasattr(X, "columns") or hasattr(X, "column") or isinstance(X, dict) or (
        isinstance(X, list) and len(X) > 0 and isinstance(X[0], dict))


def _named_columns(frame, names):
    """Return the columns of a data frame or table in the order of the inputs."""
    have = set(getattr(frame, "column_names", frame.columns))  # the former: pyarrow
    missing = [name for name in names if name not in have]
    if missing:
        hint = imported("fastnn.core.words").of_column(missing[0], sorted(have, key=str), names)
        raise ValueError(f"X has no column {shown(missing[0])}" + (
            f" and lacks {len(missing) - 1} more" if len(missing) > 1 else "") + hint)
    return frame.select(list(names)) if hasattr(frame, "column_names") else frame[list(names)]


def check_exported(predictor, what):
    """Return a predictor whose task a file of another kind can hold.

    Raises
    ------
    ValueError
        When what it predicts is not what its network gives.
    """
    if getattr(predictor.table, "makes_codes", False):
        raise ValueError(f"{what} cannot hold an encoder: export the network alone, "
                         "fastnn.load(path).net, whose inputs are encoder.to_dense(X)")
    if getattr(predictor.table, "takes_arrays", False):
        raise ValueError(f"{what} cannot hold the steps of a pipeline before the network: export "
                         "the pipeline by skl2onnx, see docs/export.md, or the network alone, "
                         "fastnn.load(path, predictor=True).net")
    if predictor.task in ("quantiles", "mean_variance", "margins"):
        gives = {"quantiles": "sorted quantiles", "mean_variance": "means",
                 "margins": "labels from margins"}[predictor.task]
        raise ValueError(f"{what} cannot hold a model that predicts {gives}: export its network, "
                         "fastnn.load(path, predictor=True).net, whose outputs are unsorted "
                         "quantiles, means and logarithms of variances, or margins")
    return predictor


def as_predictor(model):
    """Return a `Predictor` of an MLP, a fitted estimator, or a Predictor as it is.

    Raises
    ------
    TypeError
        When it is neither.
    sklearn.exceptions.NotFittedError
        When the estimator is not fitted.
    """
    if hasattr(model, "_predictor") and not isinstance(model, type):
        return model._predictor()
    hint = ""
    if isinstance(model, type):
        hint = f"; {model.__name__} is a class: give a fitted object of it"
    elif hasattr(model, "steps") and hasattr(model, "named_steps"):
        hint = ("; a pipeline: fastnn.export.register_skl2onnx(), then "
                "skl2onnx.to_onnx(pipe, X[:1])")
    elif type(model).__module__.startswith("sklearn.neural_network"):
        hint = "; of scikit-learn's: fastnn.from_sklearn(model)"
    elif hasattr(model, "best_estimator_"):
        hint = "; what a search has found is its .best_estimator_"
    elif isinstance(model, (str, os.PathLike)):
        hint = f"; of a file: fastnn.load({shown(os.fspath(model))})"
    raise TypeError(f"model={type(model).__name__} must be an MLP, an estimator of fastnn or a "
                    f"Predictor{hint}")


def tabular_model_of(model):
    """Return the `TabularModel` that is exported, None for another model."""
    if isinstance(model, type):
        return None
    if hasattr(model, "_model") and hasattr(model, "_importances"):
        return model._model()
    return model if hasattr(model, "ensemble") and hasattr(model, "schema") else None


def save_network(net, path, scaler, classes, feature_names, max_bytes, encoder=None):
    """Write a network to a file; see `MLP.save`."""
    if not (encoder is None or hasattr(encoder, "transform") and hasattr(encoder, "settings")):
        raise TypeError(f"encoder={type(encoder).__name__} must be a fastnn.encoders.Encoder, or "
                        "a fastnn.TableEncoder")
    if encoder is not None and not hasattr(encoder, "n_inputs"):
        raise ValueError("the encoder is not fitted: call fit(X) first")
    if encoder is not None and encoder.n_inputs != net.sizes[0]:
        raise ValueError(f"encoder makes {encoder.n_inputs} inputs, the network takes "
                         f"{net.sizes[0]}: it must be the encoder that made the rows of the fit")
    if scaler is not None and not isinstance(scaler, Scaler):
        if not isinstance(scaler, (tuple, list)):
            raise TypeError(f"scaler={type(scaler).__name__} must be a fastnn.Scaler or a pair "
                            "(mean, scale); of sklearn's StandardScaler, fitted, (scaler.mean_, "
                            "scaler.scale_)")
        scaler = Scaler(*scaler)
    task = "outputs"
    if classes is not None:
        several = net.output == "sigmoid" and net.sizes[-1] > 1
        task = "multilabel" if several else "classification"
    Predictor(net, task, classes=classes, scaler=scaler, feature_names=feature_names,
              table=encoder).save(path, max_bytes=max_bytes)
