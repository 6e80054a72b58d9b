"""The public names of `fastnn.training.losses`."""

from fastnn.training.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Custom,
    Focal,
    Gamma,
    GaussianNLL,
    Hinge,
    Huber,
    LogCosh,
    Loss,
    Perceptron,
    Poisson,
    Quantile,
    SquaredError,
    SquaredHinge,
    Tweedie,
)

__all__ = ["AbsoluteError", "BinaryCrossEntropy", "CrossEntropy", "Custom", "Focal", "Gamma",
           "GaussianNLL", "Hinge", "Huber", "LogCosh", "Loss", "Perceptron", "Poisson", "Quantile",
           "SquaredError", "SquaredHinge", "Tweedie"]
