"""Owner of the C function table and of the registry of names.

The instruction set is chosen once, at import: the best one this processor and system can run, or
the one that the environment variable ``FASTNN_ISA`` names.
"""

import os
from collections import namedtuple

cimport numpy as cnp

from fastnn.core._team cimport (
    FNN_HAS_OPENMP,
    FNN_MAX_TASKS,
    fnn_team_form,
    fnn_team_prepare,
)

cnp.import_array()

fnn_team_prepare()  # here, because every way to a team of threads leads through this module


def form_team(int threads):
    """Return whether the calling thread can lead a team of so many threads; they are then there."""
    cdef bint possible
    with nogil:
        possible = fnn_team_form(threads)
    return possible


def address(cnp.ndarray array not None):
    """Return where the first element lies."""
    return <size_t>cnp.PyArray_DATA(array)


ActivationInfo = namedtuple("ActivationInfo", "name needs_z")
LossInfo = namedtuple("LossInfo", "name link reduction targets n_parameters whole_rows")
OptimizerInfo = namedtuple("OptimizerInfo", "name n_state")


cdef str text(const char* s):
    return (<bytes>s).decode("ascii")


def _read_aliases():
    aliases = {}
    cdef int i = 0
    while fnn_aliases[i].alias != NULL:
        aliases[text(fnn_aliases[i].alias)] = text(fnn_aliases[i].name)
        i += 1
    return aliases


ACTIVATIONS = {
    text(fnn_activations[i].name): ActivationInfo(
        text(fnn_activations[i].name), bool(fnn_activations[i].needs_z))
    for i in range(FNN_N_ACTIVATIONS)
}
ALIASES = _read_aliases()
LOSSES = {
    text(fnn_losses[i].name): LossInfo(
        text(fnn_losses[i].name), text(fnn_losses[i].link), text(fnn_losses[i].reduction),
        text(fnn_losses[i].targets), fnn_losses[i].n_parameters, bool(fnn_losses[i].whole_rows))
    for i in range(FNN_N_LOSSES)
}
OPTIMIZERS = {
    text(fnn_optimizers[i].name): OptimizerInfo(
        text(fnn_optimizers[i].name), fnn_optimizers[i].n_state)
    for i in range(FNN_N_OPTIMIZERS)
}
VECMATH = ("exp", "log", "log1p", "tanh", "sigmoid", "normcdf", "tanh_softplus")
MAX_TASKS = FNN_MAX_TASKS  # that a phase of an epoch is cut into, at most
N_COEFFICIENTS = FNN_N_COEFFICIENTS  # numbers of an optimizer's update, at most
HAS_OPENMP = bool(FNN_HAS_OPENMP)

_ACTIVATION_INDEX = {name: i for i, name in enumerate(ACTIVATIONS)}
_ACTIVATION_INDEX.update({alias: _ACTIVATION_INDEX[name] for alias, name in ALIASES.items()})
_LOSS_INDEX = {name: i for i, name in enumerate(LOSSES)}
_OPTIMIZER_INDEX = {name: i for i, name in enumerate(OPTIMIZERS)}


def activation_index(name):
    """Return the place of an elementwise activation in the function table."""
    return _ACTIVATION_INDEX[name]


def output_index(name):
    """Return the place of an elementwise activation in the function table, or that of softmax."""
    return FNN_OUTPUT_SOFTMAX if name == "softmax" else _ACTIVATION_INDEX[name]


def loss_index(name):
    """Return the place of a loss in the function table."""
    return _LOSS_INDEX[name]


def optimizer_index(name):
    """Return the place of an optimizer in the function table."""
    return _OPTIMIZER_INDEX[name]


cdef int activation_needs_z(int activation) noexcept nogil:
    return fnn_activations[activation].needs_z


cdef void step_coefficients(int optimizer, double t, double lr, const double* h,
                            double* c) noexcept nogil:
    fnn_step_coefficients(optimizer, t, lr, h, c)


# ---- choice of the instruction set ----

def _built():
    names = []
    cdef int i = 0
    while fnn_built()[i] != NULL:
        names.append(text(fnn_built()[i].name))
        i += 1
    return tuple(names)


cdef const fnn_kernels* find(name) except NULL:
    """The table called ``name``; ValueError where it is unknown or does not run here."""
    cdef int i = 0
    while fnn_built()[i] != NULL:
        if text(fnn_built()[i].name) == name:
            if not fnn_runs(fnn_built()[i]):
                raise ValueError(f"{name!r} does not run on this processor; "
                                 f"these do: {', '.join(available_isas())}")
            return fnn_built()[i]
        i += 1
    raise ValueError(f"{name!r} is not an instruction set of this build; "
                     f"known: {', '.join(_built())}")


def available_isas():
    """Return the instruction sets that this build holds and this processor runs, best first."""
    names = []
    cdef int i = 0
    while fnn_built()[i] != NULL:
        if fnn_runs(fnn_built()[i]):
            names.append(text(fnn_built()[i].name))
        i += 1
    return tuple(names)


def isa():
    """Return the name of the instruction set in use."""
    return text(kernels.name)


def _select():
    global kernels
    wanted = os.environ.get("FASTNN_ISA") or available_isas()[0]
    try:
        kernels = find(wanted)
    except ValueError as error:
        raise ImportError(f"FASTNN_ISA={wanted}: {error}") from None


_select()
