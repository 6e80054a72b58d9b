"""What a fit wishes of each block of parameters: its learning rate, penalties and decay, whether it
is frozen. `Wishes` says whether any of it differs from a plain fit, which pays nothing then."""

import functools
import math
from dataclasses import fields, replace
from numbers import Real
from typing import NamedTuple

from fastnn.core import _kernels
from fastnn.core.notices import shown
from fastnn.training.optimizer_base import start_rate
from fastnn.training.optimizers import BY_NAME, EMA, Adam, Muon


class Settings(NamedTuple):
    """Those of one block; blocks with equal ones are a group."""

    hyperparameters: tuple
    rate_factor: float = 1.0     # of the learning rate of the step
    l2: float = 0.0
    l1: float = 0.0
    decay: float = 0.0           # apart from the gradient, where the optimizer's row has none
    frozen: bool = False
    limit: float = math.inf      # of the norm of a unit's incoming weights
    muon_decay: float | None = None  # of a matrix that Muon makes orthogonal


class Wishes:
    """What is to be done with the parameters at each step.

    Parameters
    ----------
    layout : ParameterLayout
    optimizer : Optimizer or None
        None: only losses and gradients.
    alpha, l1 : float, default=0.0
        Penalties of the weights, where ``optimizer.layers`` does not say otherwise.
    clip_norm, clip_value, max_norm : float or None, default=None
    frozen : sequence of int, default=()
        Numbers of layers.

    Attributes
    ----------
    settings : list of Settings
        One for each block; empty where ``plain``.
    mean_decay : float or None
        That of `EMA`.
    muon : Muon or None
    plain : bool
        Whether the update can be the plain one.
    whole : bool
        Whether the update needs the whole gradient.
    """

    __slots__ = ("clip_norm", "clip_value", "hyperparameters", "mean_decay", "muon", "n_weights",
                 "of_weights", "plain", "settings", "whole")

    def __init__(self, layout, optimizer, *, alpha=0.0, l1=0.0, clip_norm=None, clip_value=None,
                 max_norm=None, frozen=()):
        self.clip_norm = math.inf if clip_norm is None else clip_norm
        self.clip_value = math.inf if clip_value is None else clip_value
        self.mean_decay = self.muon = None
        if isinstance(optimizer, EMA):
            self.mean_decay, optimizer = optimizer.decay, optimizer.optimizer
        if isinstance(optimizer, Muon):
            self.muon = optimizer
        layers = (optimizer.layers if optimizer is not None else None) or {}
        _check_numbers(layers, layout)
        self.hyperparameters = () if optimizer is None else _hyperparameters(optimizer)
        base = Settings(self.hyperparameters, l2=alpha, l1=l1,
                        limit=math.inf if max_norm is None else max_norm)
        self.settings = []
        hidden = _hidden_matrices(layout)
        for block in layout.blocks:
            own = layers.get(block.layer, {})
            found = base._replace(frozen=block.layer in frozen)
            if own or self.muon:
                found = self._of_layer(found, optimizer, own, block, hidden)
            if not block.decay:
                found = found._replace(l2=0.0, l1=0.0)
            if block.kind != "weight":
                found = found._replace(limit=math.inf)
            elif layout.ops[block.op].kind == "embed" and not math.isinf(found.limit):
                raise ValueError(f"max_norm={found.limit} cannot be had for an Embed: leave it "
                                 f"out, or give layers={{{block.layer}: dict(max_norm=None)}} to "
                                 "the optimizer")
            self.settings.append(found)
        if self.muon and all(one.muon_decay is None for one in self.settings):
            raise ValueError(
                f"Muon finds no hidden matrix in {layout.spec}: between the first and the last "
                "Dense layer there must be another one, or layers={number: dict(muon=True)} must "
                "name one; use Adam")
        penalties = []
        plain = self.mean_decay is None and math.isinf(self.clip_norm) and math.isinf(
            self.clip_value)
        for block, one in zip(layout.blocks, self.settings, strict=True):
            plain = plain and one == Settings(self.hyperparameters, l2=alpha * block.decay)
            if block.kind == "weight":
                penalties.append((one.l2, one.l1))
        self.plain = plain
        self.of_weights = penalties
        if plain:  # nothing is kept that says the same of each block
            self.settings, self.of_weights = (), alpha
        self.n_weights = len(penalties)
        self.whole = self.muon is not None or not math.isinf(self.clip_norm)

    @property
    def penalties(self):
        """Pairs (alpha, l1), one for each W; those of a plain fit are all the same."""
        return [(self.of_weights, 0.0)] * self.n_weights if self.plain else self.of_weights

    def _of_layer(self, found, optimizer, own, block, hidden):
        """Return the settings of a block whose layer has own ones, or of Muon."""
        factor = own.get("learning_rate_factor", 1.0)
        if "learning_rate" in own:
            factor = own["learning_rate"] / start_rate(optimizer)
        if "max_norm" in own:
            limit = own["max_norm"]
            found = found._replace(limit=math.inf if limit is None else limit)
        found = found._replace(l2=own.get("alpha", found.l2), l1=own.get("l1", found.l1))
        inner, decay = optimizer, own.get("weight_decay")
        if self.muon is not None:
            if block.kind == "weight" and own.get("muon", block in hidden):
                return found._replace(
                    rate_factor=factor,
                    muon_decay=optimizer.weight_decay if decay is None else decay)
            inner = optimizer.adam
            factor *= start_rate(inner) / start_rate(optimizer)
        found = found._replace(rate_factor=factor)
        if decay is None:
            return found
        if any(field.name == "weight_decay" for field in fields(inner)):
            return found._replace(
                hyperparameters=_hyperparameters(replace(inner, weight_decay=decay)))
        return found._replace(decay=decay)


@functools.cache
def _numbers_of_rows():
    """Return how many numbers the update of each row reads, by the classes that there are."""
    found = {}
    for optimizer in (*(kind() for kind in BY_NAME.values()), Adam(amsgrad=True)):
        found[optimizer.row] = len(optimizer.hyperparameters)
    return found


def _hyperparameters(optimizer):
    """Return the numbers of an optimizer's update, whatever a class of the user's says."""
    values, kind = optimizer.hyperparameters, type(optimizer).__name__
    if not hasattr(values, "__len__"):  # it may have no end
        raise TypeError(f"{kind}.hyperparameters={shown(values)} must be a tuple of numbers")
    if len(values) > _kernels.N_COEFFICIENTS:
        raise ValueError(f"{kind}.hyperparameters has {len(values)} entries, must have at most "
                         f"{_kernels.N_COEFFICIENTS}")
    if not type(optimizer).__module__.startswith("fastnn."):
        for i, value in enumerate(values):
            if not isinstance(value, Real):  # flags, too
                raise TypeError(f"{kind}.hyperparameters[{i}]={shown(value)} must be a number")
        needed = _numbers_of_rows().get(optimizer.row, 0)
        if len(values) < needed:
            raise ValueError(f"{kind}.hyperparameters has {len(values)} entries, must have "
                             f"{needed}: those of the row {optimizer.row!r}")
    return tuple(values)


def _check_numbers(layers, layout):
    with_matrix = [block.layer for block in layout.blocks if block.kind == "weight"
                   and layout.ops[block.op].kind not in ("heads", "embed")]
    for number in sorted(layers):
        if number >= layout.n_layers:
            raise ValueError(f"layers names layer {number}; {layout.spec} has 0..."
                             f"{layout.n_layers - 1}")
        if layers[number].get("muon") and number not in with_matrix:
            raise ValueError(f"layers[{number}]['muon']=True: layer {number} has no W, which Muon "
                             "could make orthogonal")


def _hidden_matrices(layout):
    """Return the W of all dense operations but the first and the last."""
    return [block for block in layout.blocks if block.kind == "weight"][1:-1]
