"""Networks of other libraries as ours, and ours as scikit-learn's.

Each function reads what the other library's objects hold and imports none of them, except `onnx`
and, for `to_sklearn`, scikit-learn. A layer that has no counterpart is refused by name: what comes
back predicts the same.

_keras, _torch (state_dict: of one without its module), _onnx (_onnx_nodes: what a graph holds;
_onnx_activations: which of ours one is) and _sklearn read; chain is what they read into.
"""

from fastnn.interop._keras import from_keras
from fastnn.interop._onnx import from_onnx
from fastnn.interop._sklearn import from_sklearn, to_sklearn
from fastnn.interop._torch import from_torch

__all__ = ["SKOPS_TRUSTED", "from_keras", "from_onnx", "from_sklearn", "from_torch",
           "to_sklearn"]
# What skops has to trust to load a model of fastnn; the fitted state holds plain values only. The
# others are what its parameters may be, which hold plain values too: no functions.
SKOPS_TRUSTED = [
    "fastnn.estimators.MLPClassifier", "fastnn.estimators.MLPRegressor",
    "fastnn.estimators.tabular.TabularClassifier", "fastnn.estimators.tabular.TabularRegressor",
    "fastnn.mlp.MLP", "fastnn.tabular.model.TabularModel",
    "fastnn.training.evolution.EvolutionStrategy", "fastnn.training.lbfgs.LBFGS",
    *(f"fastnn.training.{module}.{name}" for module, names in (
        ("losses", "AbsoluteError BinaryCrossEntropy CrossEntropy Focal Gamma GaussianNLL Hinge "
                   "Huber LogCosh Perceptron Poisson Quantile SquaredError SquaredHinge Tweedie"),
        ("optimizers", "AdaMax Adadelta Adagrad Adam AdamW EMA Lion Muon Nadam RMSprop Rprop SGD"),
        ("schedules", "Constant CosLog4 Cosine Exponential FlatThenCosine InverseScaling OneCycle "
                      "Polynomial Step")) for name in names.split())]
