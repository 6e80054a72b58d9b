"""`TabularModel`: from a table to a prediction."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.imports import imported
from fastnn.core.notices import warn
from fastnn.core.validation import check_name, check_nonnegative
from fastnn.prediction import decision
from fastnn.tables.errors import TableError, TableWarning
from fastnn.tables.frames import as_table
from fastnn.tables.schema import Schema
from fastnn.tabular import files
from fastnn.tabular.explain import BACKGROUND, SAMPLES, explain
from fastnn.tabular.groups import groups_of, joined
from fastnn.tabular.importances import REPEATS, permutation_importances
from fastnn.tabular.intervals import predict_interval
from fastnn.tabular.metrics import metric_of
from fastnn.tabular.networks import Ensemble
from fastnn.tabular.reference import Reference
from fastnn.tabular.saved import from_parts, to_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, ArrayLike, File
    from fastnn.tables.schema import Inputs

__all__ = ["TabularModel", "fit_model"]


class TabularModel:
    """A fitted model of a table: it predicts, and cannot be trained.

    Parameters
    ----------
    schema : Schema
        Reads a table.
    task : Task
        What is predicted.
    ensemble : Ensemble
        The networks.
    names : sequence of str
        Of all columns of the table of training, those that the schema leaves out, too.
    classes : array (n_classes,) or None, default=None
        Labels in the order of their numbers; None for a regression.
    reference : Reference or None, default=None
        A sample of the rows, for importances, explanations and intervals.
    preparation : Preparation or None, default=None
        Makes the columns that the schema knows, ``names``, of those of a table.
    targets : sequence of str, default=()
        Names of what is predicted, for those who write predictions.

    Attributes
    ----------
    groups : list of Group
        For each column of the table what it became.

    Notes
    -----
    The networks of ``ensemble`` are not to be changed: up to 64 rows are predicted from copies of
    their parameters, made at the first such prediction, more rows from the networks themselves. A
    model of changed networks is another one, ``pickle.loads(pickle.dumps(model))``.
    """

    def __init__(self, schema: Schema, task: Any, ensemble: Ensemble, names: Sequence[str],
                 classes: ArrayLike | None = None, reference: Reference | None = None,
                 preparation: Any = None, targets: Sequence[str] = ()) -> None:
        self.schema, self.task, self.ensemble = schema, task, ensemble
        self.names = tuple(names)
        self.classes = None if classes is None else np.asarray(classes)
        self.reference, self.preparation = reference, preparation
        self.targets = tuple(targets)
        self.groups = groups_of(schema, self.names)
        if preparation is not None:
            self.groups = joined(self.groups, preparation.origins(), preparation.names)

    def __getstate__(self):
        settings, arrays = to_parts(self)
        # labels as they are: a pickle may hold what a file cannot
        return {"settings": json.dumps(settings), "arrays": arrays, "classes": self.classes}

    def __setstate__(self, state):
        if state.keys() != {"settings", "arrays", "classes"}:
            raise ValueError(f"the state of a TabularModel holds {sorted(map(str, state))}")
        parts = from_parts(json.loads(state["settings"]), state["arrays"], state["classes"])
        self.__init__(*parts)

    def __repr__(self):
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.schema.count().items())
        return (f"<TabularModel, {self.task.kind}: {len(self.ensemble.networks)} networks, "
                f"columns: {kinds}>")

    @property
    def classes_(self) -> Array | None:
        """Labels in the order of their numbers; None for a regression."""
        return self.classes

    @property
    def feature_names_in_(self) -> Any:
        """Names of the columns, a tuple."""
        return self.names if self.preparation is None else self.preparation.names

    def outputs(self, table: Any, *, strict: bool = False, n_threads: int | None = None) -> Array:
        """Return the outputs of the networks, float64 (n_rows, n_out).

        Parameters
        ----------
        table : data frame, dict of columns, list of dicts, or array (n_rows, n_columns)
            With the columns of training.
        strict : bool, default=False
            Whether to refuse categories that the fit has not seen.
        n_threads : int or None, default=None
            None: as many as allowed. The results do not depend on it.

        Returns
        -------
        array (n_rows, n_outputs)
            The mean over the networks.
        """
        return self.ensemble.outputs(self.inputs(table, strict), n_threads)

    def inputs(self, table: Any, strict: bool = False) -> Inputs:
        """Return the `Inputs` of a table; warn of what is not understood of it.

        Parameters
        ----------
        table : table, data frame, dict of columns or list of dicts
            With the columns of training, by name.
        strict : bool, default=False
            Whether a value that is not understood, or a category that training did not have, is an
            error.

        Returns
        -------
        Inputs
            One row for each row of the table.
        """
        if self.preparation is not None:
            inputs = self.schema.apply(self.preparation.table(
                table, self.names, {column.name for column in self.schema.columns},
                {column.name for column in self.schema.columns
                 if column.kind in ("category", "date")}, strict), strict)
        elif type(table) is list and len(table) == 1:  # by a service, in a hurry
            inputs = self.schema.apply_row(table[0], strict)
        else:
            inputs = self.schema.apply(table, strict)
        for note in inputs.notes:
            warn(note, TableWarning)
        return inputs

    def predict(self, table: Any, *, strict: bool = False, n_threads: int | None = None) -> Array:
        """Return labels (n,), zeros and ones (n, n_labels), or values (n,) or (n, n_out).

        Parameters
        ----------
        table : table, data frame, dict of columns or list of dicts
            With the columns of training, by name.
        strict : bool, default=False
            Whether a value that is not understood, or a category that training did not have, is an
            error.
        n_threads : int or None, default=None
            None: as many as allowed. The results do not depend on it.

        Returns
        -------
        array (n_rows,) or (n_rows, n_targets)
            Labels or values.
        """
        return self.decided(self.outputs(table, strict=strict, n_threads=n_threads))

    def decided(self, outputs: Array) -> Array:
        """Return what `predict` does, of outputs.

        Parameters
        ----------
        outputs : array (n_rows, n_outputs)
            What `outputs` returned.

        Returns
        -------
        array (n_rows,) or (n_rows, n_targets)
            Labels or values.
        """
        if self.task.kind == "multilabel":
            return decision.labels(outputs).astype(np.intp)
        if self.classes is not None:
            return self.classes[decision.class_numbers(outputs, len(self.classes))]
        found = self.task.predictions(outputs)
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_proba(self, table: Any, *, strict: bool = False,
                      n_threads: int | None = None) -> Array:
        """Return the probability of each class or label, float64 (n_rows, n_classes).

        Parameters
        ----------
        table : table, data frame, dict of columns or list of dicts
            With the columns of training, by name.
        strict : bool, default=False
            Whether a value that is not understood, or a category that training did not have, is an
            error.
        n_threads : int or None, default=None
            None: as many as allowed. The results do not depend on it.

        Returns
        -------
        array (n_rows, n_classes)
            Columns as in ``classes_``.
        """
        return self.probabilities(self.outputs(table, strict=strict, n_threads=n_threads))

    def probabilities(self, outputs: Array) -> Array:
        """Return what `predict_proba` does, of outputs.

        Parameters
        ----------
        outputs : array (n_rows, n_outputs)
            What `outputs` returned.

        Returns
        -------
        array (n_rows, n_classes)
            Columns as in ``classes_``.
        """
        if self.classes is None:
            raise AttributeError("a regression has no predict_proba")
        if len(self.classes) == 1:
            return np.ones((len(outputs), 1))
        if self.task.kind != "binary":
            return outputs
        if len(outputs) == 1:  # of a service, in a hurry: the same numbers
            p = outputs.item()
            return np.array([[1 - p, p]])
        return decision.class_probabilities(outputs)

    def predict_interval(self, table: Any, coverage: float = 0.9, *, strict: bool = False,
                         n_threads: int | None = None) -> Array:
        """Return an interval for each row, see `TabularRegressor.predict_interval`.

        Parameters
        ----------
        table : table, data frame, dict of columns or list of dicts
            With the columns of training, by name.
        coverage : float, default=0.9
            Share of the values that are to lie inside.
        strict : bool, default=False
            Whether a value that is not understood, or a category that training did not have, is an
            error.
        n_threads : int or None, default=None
            None: as many as allowed. The results do not depend on it.

        Returns
        -------
        array (n_rows, 2)
            Lower and upper end.
        """
        if self.classes is not None:
            raise AttributeError("a model of classes has no predict_interval")
        return predict_interval(self, self.outputs(table, strict=strict, n_threads=n_threads),
                                coverage)

    def explain(self, table: Any, *, samples: int = SAMPLES, background: int = BACKGROUND,
                random_state: int = 0, strict: bool = False) -> Any:
        """Return the `Explanation` of rows, see `TabularClassifier.explain`.

        Parameters
        ----------
        table : table, data frame, dict of columns or list of dicts
            With the columns of training, by name.
        samples : int, default=256
            Orders of the columns that are drawn; at most 2**20.
        background : int, default=64
            Rows that stand for what is not known.
        random_state : int, default=0
            Decides what is drawn.
        strict : bool, default=False
            Whether a value that is not understood, or a category that training did not have, is an
            error.

        Returns
        -------
        Explanation
            With ``values``, ``errors`` and ``base_values``.
        """
        return explain(self, table, self.numbers, samples=samples, background=background,
                       seed=random_state, strict=strict)

    def importances(self, *, repeats: int = REPEATS, n_threads: int | None = None) -> Any:
        """Return importances of the columns and their errors, see `permutation_importances`.

        Parameters
        ----------
        repeats : int, default=5
            How often each column is shuffled.
        n_threads : int or None, default=None
            None: as many as allowed. The results do not depend on it.

        Returns
        -------
        tuple of array
            Importances of the columns, and their errors.
        """
        return permutation_importances(self, repeats=repeats, n_threads=n_threads)

    def save(self, path: File, *, max_bytes: int | None = None) -> None:
        """Write the model to a safetensors file; `fastnn.load` reads it.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.
        """
        files.write(path, self, max_bytes)

    @classmethod
    def from_file(cls, arrays: dict[str, Array], settings: Any) -> TabularModel:
        """Return the model of a file that has been read, see `fastnn.load`.

        Parameters
        ----------
        arrays : dict of str to array
            Those of the file.
        settings : dict
            Plain values of the file.
        """
        return files.read(arrays, settings, cls)

    def numbers(self, outputs: Array) -> Array:
        """Return probabilities or values (n, k), which an explanation is about.

        Parameters
        ----------
        outputs : array (n_rows, n_outputs)
            What `outputs` returned.

        Returns
        -------
        array (n_rows,) or (n_rows, n_targets)
            Values.
        """
        return self.task.predictions(outputs) if self.classes is None else (
            self.probabilities(outputs))


def fit_model(X, y, task, *, classes=None, preset="default", categorical_features="auto",
              sample_weight=None, validation=None, eval_metric=None, seed=0, n_threads=None,
              time_limit=None, progress=None, infinities="refuse", checkpoint=None,
              checkpoint_seconds=10.0, random_state=None):
    """Return the `TabularModel` of a table.

    Parameters
    ----------
    X : data frame, dict of columns, list of dicts, array, or Table
    y : array
        Numbers of classes (n,), zeros and ones (n, n_labels), or float64 (n, n_targets).
    task : Task
    classes : array or None, default=None
        Labels in the order of their numbers.
    preset : {"default", "fast", "best"}, default="default"
    categorical_features : default="auto"
        See `Schema.learn`.
    sample_weight : float array (n_rows,) or None, default=None
        Rows of weight 0 are left out.
    validation : tuple (X, y, sample_weight or None) or None, default=None
        Rows to stop by, in the place of folds.
    eval_metric : str, callable or None, default=None
        By what the best epoch is chosen; see `metric_of`.
    seed, n_threads, time_limit, progress
        See `fastnn.tabular.recipe.fit`.
    infinities : {"refuse", "missing", "keep"}, default="refuse"
        See `Schema.learn`.
    checkpoint, checkpoint_seconds
        See `fastnn.fit_many`.
    random_state : int or None, default=None
        What the user has said, for the checkpoint. None: no number, and the seed of the checkpoint
        counts.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument; when no column or fewer than two rows are left.
    """
    start = time.monotonic()
    validation_of, recipe = validation, imported("fastnn.tabular.recipe")  # services need none
    preset = check_name("preset", preset, tuple(recipe.PRESETS))
    checkpoint_seconds = check_nonnegative("checkpoint_seconds", checkpoint_seconds)
    metric = metric_of(eval_metric, task)
    table = as_table(X)
    schema = Schema.learn(table, categorical_features=categorical_features, infinities=infinities)
    inputs, targets = schema.apply(table), task.targets(y)
    validation = None
    if validation_of is not None:
        X_val, y_val, weight = validation_of
        try:
            validation = schema.apply(X_val), task.targets(y_val), weight
        except TableError as error:
            raise TableError(f"X_val: {error}", error.column) from None
        for note in validation[0].notes:
            warn(f"X_val: {note}", TableWarning)
    if sample_weight is not None and (sample_weight == 0).any():
        rows = np.flatnonzero(sample_weight)
        inputs, targets, sample_weight = inputs[rows], targets[rows], sample_weight[rows]
    if len(inputs) < 2:
        raise ValueError(f"X has n_samples={len(inputs)} rows of a weight above 0, training needs "
                         "at least 2")
    for note in schema.notes:
        warn(note, TableWarning)
    if _is_constant(targets):
        constant = task.constant(targets, sample_weight)
        ensemble = Ensemble([], constant=constant, held_out=np.tile(constant, (len(inputs), 1)))
        return TabularModel(schema, task, ensemble, table.names, classes)
    if checkpoint is not None:
        checkpoint = files.open_checkpoint(
            checkpoint, checkpoint_seconds, (inputs, targets, sample_weight), validation, seed,
            preset=preset, random_state=random_state,
            eval_metric=None if metric is None else metric.name)
        seed = checkpoint.seed
    ensemble = recipe.fit(inputs, targets, task, preset=preset, sizes=schema.category_sizes,
                          sample_weight=sample_weight, validation=validation, metric=metric,
                          seed=seed, n_threads=n_threads, time_limit=time_limit, start=start,
                          progress=progress, checkpoint=checkpoint)
    if metric is not None and not metric.was_number:
        warn(f"eval_metric {metric.name!r} has returned NaN each time: no epoch was better than "
             "another, so the networks have hardly learned")
    for note in ensemble.notes:
        warn(note)
    reference = Reference.of(inputs, targets, sample_weight, ensemble, task, validation, seed)
    return TabularModel(schema, task, ensemble, table.names, classes, reference)


def _is_constant(targets):
    return bool((targets == targets[:1]).all())
