"""The public names of `fastnn.prediction`, as they have always been called."""

from fastnn.prediction.predictor import Predictor, as_predictor
from fastnn.prediction.scaler import Scaler

__all__ = ["Predictor", "Scaler", "as_predictor"]
