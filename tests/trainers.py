"""Trainers of chains of dense layers."""

from fastnn.network.parameters import ParameterLayout
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer


def make_layout(sizes, dtype):
    """Where the parameters of a chain lie."""
    return ParameterLayout(NetworkSpec.chain(sizes, dtype=dtype))


def make_trainer(sizes, activations, output, loss, *, dtype, dropout=0.0, **settings):
    """A `Trainer`: sizes from the inputs on, one activation for each hidden layer."""
    spec = NetworkSpec.chain(sizes, activations, output, dtype=dtype, dropout=dropout)
    return Trainer(spec, loss, **settings)
