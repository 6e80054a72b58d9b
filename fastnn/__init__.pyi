# The public names, for editors and type checkers. At run time each is imported when first used.
from fastnn import display as display
from fastnn import encoders as encoders
from fastnn import estimators as estimators
from fastnn import export as export
from fastnn import interop as interop
from fastnn import losses as losses
from fastnn import optimizers as optimizers
from fastnn import schedules as schedules
from fastnn import sources as sources
from fastnn import tables as tables
from fastnn import tabular as tabular
from fastnn.config import show_config as show_config
from fastnn.core.notices import HintWarning as HintWarning
from fastnn.core.version import __version__ as __version__
from fastnn.ensemble import fit_many as fit_many
from fastnn.estimators import MLPClassifier as MLPClassifier
from fastnn.estimators import MLPRegressor as MLPRegressor
from fastnn.estimators.tabular import TabularClassifier as TabularClassifier
from fastnn.estimators.tabular import TabularRegressor as TabularRegressor
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
from fastnn.network.layers import (
    GLU as GLU,
)
from fastnn.network.layers import (
    Activation as Activation,
)
from fastnn.network.layers import (
    BatchNorm as BatchNorm,
)
from fastnn.network.layers import (
    CustomActivation as CustomActivation,
)
from fastnn.network.layers import (
    Dense as Dense,
)
from fastnn.network.layers import (
    Dropout as Dropout,
)
from fastnn.network.layers import (
    Embed as Embed,
)
from fastnn.network.layers import (
    Heads as Heads,
)
from fastnn.network.layers import (
    LayerNorm as LayerNorm,
)
from fastnn.network.layers import (
    PReLU as PReLU,
)
from fastnn.network.layers import (
    Repeat as Repeat,
)
from fastnn.network.layers import (
    Residual as Residual,
)
from fastnn.network.layers import (
    Scale as Scale,
)
from fastnn.network.spec import (
    NetworkSpec as NetworkSpec,
)
from fastnn.prediction.predictor import Predictor as Predictor
from fastnn.prediction.scaler import Scaler as Scaler
from fastnn.tables.encoder import TableEncoder as TableEncoder
from fastnn.training._steps import (
    Steps as Steps,
)
from fastnn.training.epochs import (
    Callback as Callback,
)
from fastnn.training.epochs import (
    FitState as FitState,
)
from fastnn.training.evolution import EvolutionStrategy as EvolutionStrategy
from fastnn.training.history import (
    DivergenceWarning as DivergenceWarning,
)
from fastnn.training.history import (
    History as History,
)
from fastnn.training.history import (
    StopFit as StopFit,
)
from fastnn.training.lbfgs import LBFGS as LBFGS
from fastnn.training.loggers import (
    CSVLogger as CSVLogger,
)
from fastnn.training.loggers import (
    MLflowLogger as MLflowLogger,
)
from fastnn.training.loggers import (
    OptunaPruning as OptunaPruning,
)
from fastnn.training.loggers import (
    TensorBoard as TensorBoard,
)
from fastnn.training.optimizers import (
    EMA as EMA,
)
from fastnn.training.optimizers import (
    SGD as SGD,
)
from fastnn.training.optimizers import (
    Adadelta as Adadelta,
)
from fastnn.training.optimizers import (
    Adagrad as Adagrad,
)
from fastnn.training.optimizers import (
    Adam as Adam,
)
from fastnn.training.optimizers import (
    AdaMax as AdaMax,
)
from fastnn.training.optimizers import (
    AdamW as AdamW,
)
from fastnn.training.optimizers import (
    Lion as Lion,
)
from fastnn.training.optimizers import (
    Muon as Muon,
)
from fastnn.training.optimizers import (
    Nadam as Nadam,
)
from fastnn.training.optimizers import (
    RMSprop as RMSprop,
)
from fastnn.training.optimizers import (
    Rprop as Rprop,
)
from fastnn.training.range_test import (
    find_learning_rate as find_learning_rate,
)
from fastnn.training.snapshots import (
    RecordPath as RecordPath,
)
from fastnn.training.snapshots import (
    Snapshots as Snapshots,
)
from fastnn.training.stopping import (
    EarlyStopping as EarlyStopping,
)
from fastnn.training.stopping import (
    ReduceOnPlateau as ReduceOnPlateau,
)
from fastnn.training.stopping import (
    TimeLimit as TimeLimit,
)

__all__ = [
    "Activation",
    "AdaMax",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "CustomActivation",
    "Dense",
    "DivergenceWarning",
    "Dropout",
    "EMA",
    "EarlyStopping",
    "Embed",
    "EvolutionStrategy",
    "FitState",
    "GLU",
    "Heads",
    "HintWarning",
    "History",
    "LBFGS",
    "LayerNorm",
    "Lion",
    "MLP",
    "MLPClassifier",
    "MLPRegressor",
    "MLflowLogger",
    "ModelFormatError",
    "Muon",
    "Nadam",
    "NetworkSpec",
    "OptunaPruning",
    "PReLU",
    "Predictor",
    "RMSprop",
    "RecordPath",
    "ReduceOnPlateau",
    "Repeat",
    "Residual",
    "Rprop",
    "SGD",
    "SKOPS_TRUSTED",
    "Scale",
    "Scaler",
    "Snapshots",
    "Steps",
    "StopFit",
    "TableEncoder",
    "TabularClassifier",
    "TabularRegressor",
    "TensorBoard",
    "TimeLimit",
    "__version__",
    "display",
    "encoders",
    "estimators",
    "export",
    "find_learning_rate",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "interop",
    "load",
    "losses",
    "optimizers",
    "schedules",
    "show_config",
    "sources",
    "tables",
    "tabular",
    "to_sklearn",
]
