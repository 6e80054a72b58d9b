"""The public names of `fastnn.training.schedules`."""

from fastnn.training.schedules import (
    ByEpoch,
    ByStep,
    Constant,
    Cosine,
    CosLog4,
    Exponential,
    FlatThenCosine,
    InverseScaling,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
)

__all__ = ["ByEpoch", "ByStep", "Constant", "CosLog4", "Cosine", "Exponential", "FlatThenCosine",
           "InverseScaling", "OneCycle", "Polynomial", "Schedule", "Step"]
