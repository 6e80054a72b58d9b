"""`TabularModel`: from a table to a prediction."""

import numpy as np

from fastnn.prediction import decision
from fastnn.tabular import recipe
from fastnn.tabular.inputs import Schema

__all__ = ["TabularModel", "fit_model"]


class TabularModel:
    """A fitted model of a table.

    Parameters
    ----------
    schema : Schema
    task : Task
    ensemble : Ensemble
    classes : array (n_classes,) or None
        Labels in the order of their numbers; None for a regression.
    """

    def __init__(self, schema, task, ensemble, classes=None):
        self.schema, self.task, self.ensemble, self.classes = schema, task, ensemble, classes

    def outputs(self, table, *, strict=False, n_threads=None):
        """Return the outputs of the networks, float64 (n_rows, n_out)."""
        return self.ensemble.outputs(self.schema.apply(table, strict=strict), n_threads)

    def predict(self, table, *, strict=False, n_threads=None):
        """Return labels (n,), zeros and ones (n, n_labels), or values (n,) or (n, n_out)."""
        found = self.outputs(table, strict=strict, n_threads=n_threads)
        if self.task.kind == "multilabel":
            return decision.labels(found).astype(np.intp)
        if self.classes is not None:
            return self.classes[decision.class_numbers(found, len(self.classes))]
        found = self.task.predictions(found)
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_proba(self, table, *, strict=False, n_threads=None):
        """Return the probability of each class or label, float64 (n_rows, n_classes)."""
        found = self.outputs(table, strict=strict, n_threads=n_threads)
        return decision.class_probabilities(found) if self.task.kind == "binary" else found


def fit_model(X, y, task, *, classes=None, preset="default", categorical_features="auto",
              sample_weight=None, validation=None, **settings):
    """Return the `TabularModel` of a table.

    Parameters
    ----------
    X : table
    y : array
        Numbers of classes (n,), zeros and ones (n, n_labels), or float64 (n, n_targets).
    task : Task
    validation : tuple (X, y, sample_weight or None) or None
    """
    schema = Schema.learn(X, categorical_features=categorical_features)
    inputs = schema.apply(X)
    if validation is not None:
        X_val, y_val, weight = validation
        validation = schema.apply(X_val), task.targets(y_val), weight
    ensemble = recipe.fit(inputs, task.targets(y), task, preset=preset,
                          sizes=schema.category_sizes, sample_weight=sample_weight,
                          validation=validation, **settings)
    return TabularModel(schema, task, ensemble, classes)
