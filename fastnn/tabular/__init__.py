"""Models of tables: a schema, encodings, ensembles of networks, and what they predict.

`fastnn.TabularClassifier` and `fastnn.TabularRegressor` are the doors; a `TabularModel` is what
they fit and what a file holds. Nothing here needs scikit-learn, and predicting needs NumPy alone.

==============  ==================================================================================
task            what is predicted: losses, outputs, scaled targets, limits of predictions
metrics         by what the best epoch is chosen, and importances are measured
encoding        numbers and categories of a schema to `Codes`
forest, trees   boosted trees as numbers of a row; whether and in which share networks have them
recipe          how the networks are trained: presets, with the reason beside each choice
networks        `Ensemble`: what a recipe returns
model           `TabularModel`: from a table to a prediction
==============  ==================================================================================
"""

from fastnn.tabular.model import TabularModel

__all__ = ["TabularModel"]
