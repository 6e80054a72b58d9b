"""Drop-in replacements for scikit-learn's `MLPClassifier` and `MLPRegressor`.

Parameters, attributes, messages and random draws are scikit-learn's: with the same seed both end
with the same weights, to rounding. It differs where scikit-learn has a fault:

====================================  =============================  =============================
where                                 scikit-learn                   here
====================================  =============================  =============================
lbfgs, several regression outputs     gradient is n_outputs times    gradient of the loss
                                      that of the loss
float32 input with lbfgs              coefs_ become float64          coefs_ stay float32
early stopping, then a warm start     best weights are overwritten   best weights are kept
that finds nothing better             by the later ones
float64 input to a float32 model      predicts in float64            predicts in float32
training diverges                     goes on until max_iter         stops at once; after the
                                                                     ValueError the weights are
                                                                     those before the fit
MLPRegressor(solver="lbfgs")          partial_fit runs a whole fit   has no partial_fit
partial_fit with warm_start=True      every batch must hold every    a batch may hold some of the
                                      class                          classes
targets < 0 with loss="poisson"       NaN                            ValueError
====================================  =============================  =============================

As in scikit-learn, early stopping splits off its rows stratified for two classes only.
"""

from fastnn.core.imports import held_back

try:
    with held_back():
        import sklearn.utils._param_validation  # noqa: F401
        from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "the estimators of fastnn need scikit-learn 1.7 or newer: "
        'pip install "fastnn-mlp[sklearn]"'
    ) from error

with held_back():
    from fastnn.estimators.classifier import MLPClassifier
    from fastnn.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

for _class in (MLPClassifier, MLPRegressor):
    _class.__module__ = __name__  # what pickles and the lists of skops name
del _class
