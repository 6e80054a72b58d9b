"""The public names of `fastnn.training.optimizers`, as they have always been called."""

from fastnn.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]
