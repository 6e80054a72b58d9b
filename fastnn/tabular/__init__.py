"""Models of tables: a schema, encodings, ensembles of networks, and what they predict.

`fastnn.TabularClassifier` and `fastnn.TabularRegressor` are the doors; a `TabularModel` is what
they fit and what a file holds. Nothing here needs scikit-learn, and predicting needs NumPy alone.

================  ==================================================================================
task              what is predicted: losses, outputs, scaled targets, limits of predictions
metrics           by what the best epoch is chosen, and importances are measured
encoding          numbers and categories of a schema to `Codes`, by loops of _encode
cuts, statistics  edges where the target jumps; what it was like where categories were the same
effects           what categories add where the other columns are the same
recipe            how the networks are trained: presets, with the reason beside each choice
linear, trees     whether, and in which share, networks get a linear model or boosted trees
blending          what these two share: units that hand another model on to the outputs
boosting, forest  the trees of one fold, grown by _trees; those of all folds as numbers of a row,
                  by _forest
calibration       a temperature of the probabilities
networks          `Ensemble`: what a recipe returns
model             `TabularModel`: from a table to a prediction
importances       how much a model needs each column; explain: what each has contributed
intervals         how far off it may be, by rows that it keeps (reference)
saved, files      a model as plain values and arrays, for pickles and files
groups, progress  the columns of a table among its inputs; how far a fit is
================  ==================================================================================
"""

from fastnn.tabular.model import TabularModel

__all__ = ["TabularModel"]
