# The public names, for editors and type checkers. At run time each is imported when first used.
from fastnn import export as export
from fastnn import losses as losses
from fastnn.config import show_config as show_config
from fastnn.core.version import __version__ as __version__
from fastnn.estimators import MLPClassifier as MLPClassifier
from fastnn.estimators import MLPRegressor as MLPRegressor
from fastnn.files.container import ModelFormatError as ModelFormatError
from fastnn.interop import (
    SKOPS_TRUSTED as SKOPS_TRUSTED,
)
from fastnn.interop import (
    from_keras as from_keras,
)
from fastnn.interop import (
    from_onnx as from_onnx,
)
from fastnn.interop import (
    from_sklearn as from_sklearn,
)
from fastnn.interop import (
    from_torch as from_torch,
)
from fastnn.interop import (
    to_sklearn as to_sklearn,
)
from fastnn.loading import load as load
from fastnn.mlp import MLP as MLP
from fastnn.network.spec import (
    Activation as Activation,
)
from fastnn.network.spec import (
    Dense as Dense,
)
from fastnn.network.spec import (
    Dropout as Dropout,
)
from fastnn.network.spec import (
    LayerNorm as LayerNorm,
)
from fastnn.network.spec import (
    NetworkSpec as NetworkSpec,
)
from fastnn.network.spec import (
    Residual as Residual,
)
from fastnn.prediction.predictor import Predictor as Predictor
from fastnn.prediction.scaler import Scaler as Scaler
from fastnn.tables.encoder import TableEncoder as TableEncoder
from fastnn.training.history import (
    DivergenceWarning as DivergenceWarning,
)
from fastnn.training.history import (
    History as History,
)
from fastnn.training.history import (
    StopFit as StopFit,
)
from fastnn.training.optimizers import (
    SGD as SGD,
)
from fastnn.training.optimizers import (
    Adagrad as Adagrad,
)
from fastnn.training.optimizers import (
    Adam as Adam,
)
from fastnn.training.optimizers import (
    AdamW as AdamW,
)
from fastnn.training.optimizers import (
    RMSprop as RMSprop,
)

__all__ = [
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Dense",
    "DivergenceWarning",
    "Dropout",
    "History",
    "LayerNorm",
    "MLP",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFormatError",
    "NetworkSpec",
    "Predictor",
    "RMSprop",
    "Residual",
    "SGD",
    "SKOPS_TRUSTED",
    "Scaler",
    "StopFit",
    "TableEncoder",
    "__version__",
    "export",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "load",
    "losses",
    "show_config",
    "to_sklearn",
]
