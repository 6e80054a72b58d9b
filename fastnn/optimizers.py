"""The public names of `fastnn.training.optimizers`, as they have always been called."""

from fastnn.training.optimizers import (
    EMA,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdaMax,
    AdamW,
    Lion,
    Muon,
    Nadam,
    Optimizer,
    RMSprop,
    Rprop,
)

__all__ = ["EMA", "SGD", "AdaMax", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "Muon", "Nadam",
           "Optimizer", "RMSprop", "Rprop"]
