"""The one place where tests make a Trainer of a chain of dense layers."""

from fastnn._training import Trainer


def make_trainer(sizes, activations, output, loss, **settings):
    """A Trainer; ``settings`` are its keyword arguments: dtype, optimizer, batch_size, ..."""
    return Trainer(sizes, activations, output, loss, **settings)
