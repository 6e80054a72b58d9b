"""Rows of validation through a pipeline: they are transformed as X is, and y_val is not."""

import numpy as np
import pytest
from tabular_data import COUNT, LABELS, TABLE, THREE, TWO, VALUE

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables.errors import TableWarning

FRAME = pd.DataFrame(TABLE)
NUMBERS = FRAME[["a", "b"]]
TWO_VALUES = np.stack([VALUE, -VALUE], axis=1)  # as many columns as X has


def scaled():
    return ColumnTransformer([("scale", StandardScaler(), ["a", "b"]),
                              ("keep", "passthrough", ["c"])],
                             verbose_feature_names_out=False).set_output(transform="pandas")


@pytest.mark.parametrize(("make", "X", "y", "step"), [
    (TabularRegressor, NUMBERS, VALUE, StandardScaler),
    (TabularRegressor, NUMBERS, TWO_VALUES, StandardScaler),
    (TabularClassifier, NUMBERS, LABELS, StandardScaler),
    (TabularClassifier, FRAME, TWO, scaled),
    (TabularClassifier, FRAME, THREE, scaled),
    (TabularRegressor, FRAME, COUNT, lambda: FunctionTransformer(lambda frame: frame[["c", "a"]])),
])
def test_rows_of_validation_go_through_the_steps(make, X, y, step):
    with config_context(enable_metadata_routing=True):
        model = make(random_state=0).set_fit_request(X_val=True, y_val=True)
        pipe = Pipeline([("step", step()), ("model", model)], transform_input=["X_val"])
        pipe.fit(X[:180], y[:180], X_val=X[180:], y_val=y[180:])
        before = step().fit(X[:180])
        alone = make(random_state=0).fit(before.transform(X[:180]), y[:180],
                                         X_val=before.transform(X[180:]), y_val=y[180:])
        np.testing.assert_array_equal(pipe.predict(X), alone.predict(before.transform(X)))
        kept = pipe[-1].model_.reference.inputs.numbers
        np.testing.assert_array_equal(kept, alone.model_.reference.inputs.numbers)
        assert len(kept) == 60 and abs(kept).max() < 6  # scaled, not as they came


@pytest.mark.parametrize(("column", "value", "said"), [
    ("a", "text", "column 'a': 1 value not understood"), ("c", "new", "such as 'new'")])
def test_what_is_not_understood_of_rows_of_validation_is_told(column, value, said):
    held = {name: list(values) for name, values in TABLE.items()}
    held[column][3] = value
    with pytest.warns(TableWarning, match=f"X_val: .*{said}"):
        TabularRegressor(random_state=0).fit(TABLE, VALUE, X_val=held, y_val=VALUE)
