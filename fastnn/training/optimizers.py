"""Optimizers: what the user sets. Their updates are rows of csrc/optimizers.def.

A hyperparameter's place in ``hyperparameters`` is its place in ``h[]`` of that row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

from fastnn.core import _kernels
from fastnn.core.imports import imported
from fastnn.core.notices import shown
from fastnn.core.validation import check_count, check_name
from fastnn.training.optimizer_base import LAYER_KEYS, Optimizer, WholeFit, declared
from fastnn.training.schedules import Schedule


def check_optimizer(optimizer):
    """Return an optimizer whose update there is, of a name the one with its defaults; what it says
    in ``hyperparameters`` is checked where it is read.
    """
    if isinstance(optimizer, WholeFit):
        return optimizer
    if isinstance(optimizer, str):
        return BY_NAME[check_name("optimizer", optimizer, tuple(BY_NAME), "optimizer")]()
    if isinstance(optimizer, type) and issubclass(optimizer, (Optimizer, WholeFit)):
        raise TypeError(f"optimizer={optimizer.__name__} is a class, must be an Optimizer, an "
                        f"object: {optimizer.__name__}()")
    if not isinstance(optimizer, Optimizer):
        is_rate = isinstance(optimizer, (Real, Schedule))
        rate = "schedule" if isinstance(optimizer, Schedule) else shown(optimizer)
        cure = f"; a learning rate goes into one: fastnn.Adam({rate})" if is_rate else ""
        raise TypeError(f"optimizer={shown(optimizer)} must be an Optimizer, such as "
                        f"fastnn.Adam(), or the name of one{cure}")
    name, known = getattr(optimizer, "row", None), tuple(_kernels.OPTIMIZERS)
    if not isinstance(name, str):
        raise TypeError(f"{type(optimizer).__name__}.name={shown(name)} must be a string, one of: "
                        f"{', '.join(known)}")
    if name not in known:
        raise ValueError(f"{type(optimizer).__name__}.name={shown(name)} has no update: it must be "
                         f"one of: {', '.join(known)}. How to add one: CONTRIBUTING.md, \"A new "
                         "optimizer\"")
    return optimizer


def takes_steps(optimizer):
    """Return whether an optimizer steps along a gradient; None, for L-BFGS, does not."""
    return isinstance(optimizer, Optimizer) and optimizer.trained_by == Optimizer.trained_by


def check_steps(optimizer, kind, name, settings):
    """Refuse settings of steps along a gradient with an optimizer that takes none.

    Parameters
    ----------
    optimizer : Optimizer, WholeFit or None
    kind, name : str
        How the user has said it: "optimizer", "LBFGS".
    settings : dict
        Those that are not their defaults, by name.
    """
    if takes_steps(optimizer):
        return
    for setting, value in settings.items():
        raise ValueError(f"{setting}={value} cannot be had with {kind}={name}: only {kind}s that "
                         "step along a gradient know it")


def trainer_of(optimizer):
    """Return the class that trains with an optimizer; None: that of losses and gradients."""
    module, name = (Optimizer if optimizer is None else optimizer).trained_by
    return getattr(imported(module), name)


@declared
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    v = momentum v + g, w -= learning_rate v (Polyak 1964); with ``nesterov``
    w -= learning_rate (g + momentum v) (Nesterov 1983).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=0.01
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    momentum : float in [0, 1], default=0.9
        Share of the last velocity that stays.
    nesterov : bool, default=False
        Whether to step along the gradient and the velocity that follows.
    velocity : {"gradient", "step"}, default="gradient"
        "step" keeps the learning rate inside the velocity, v = momentum v - learning_rate g,
        w += v (Sutskever et al. 2013; scikit-learn). The same while the learning rate is constant.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "sgd"
    learning_rate: float | Callable[[int], float] | Schedule = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    velocity: str = "gradient"

    def __post_init__(self):
        super().__post_init__()
        if self.velocity not in ("gradient", "step"):
            raise ValueError(f"velocity={self.velocity!r} must be 'gradient' or 'step'")

    @property
    def row(self) -> str:
        """Name of the row of csrc/optimizers.def: without momentum one that has no velocity."""
        return "sgd" if self.momentum else "plain_sgd"

    @property
    def n_states(self) -> int:
        """Number of state vectors: the velocity, which stays 0 without momentum, as checkpoints
        have it.
        """
        return 1

    @property
    def is_lazy(self) -> bool:
        """Whether the update leaves a weight whose gradient is 0 as it is: without momentum."""
        return self.momentum == 0

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.momentum, self.nesterov, self.velocity == "step"


@declared
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g², and with the bias corrections
    m̂ = m / (1 - beta1^t), v̂ = v / (1 - beta2^t): w -= learning_rate m̂ / (√v̂ + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Shares of the running averages that stay: of the gradient and of its square.
    eps : float, default=1e-8
        Added to the denominator.
    eps_hat : bool, default=False
        Add eps before the bias correction, as in the paper's section 2 and in scikit-learn:
        w -= learning_rate √(1 - beta2^t) / (1 - beta1^t) m / (√v + eps).
    amsgrad : bool, default=False
        Divide by the largest v so far in the place of the last one (Reddi, Kale & Kumar 2018; its
        bias correction is that of v, as in PyTorch).
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    eps_hat: bool = False
    amsgrad: bool = False

    @property
    def row(self) -> str:
        """Name of the row of csrc/optimizers.def that has the update."""
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def squares(self) -> tuple[int, ...]:
        """Numbers of the state vectors that are sums of squares."""
        return (1, 2) if self.amsgrad else (1,)

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.beta1, self.beta2, self.eps, self.eps_hat


@declared
@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    w -= learning_rate weight_decay w, then Adam's step; biases decay too.

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Shares of the running averages that stay: of the gradient and of its square.
    eps : float, default=1e-8
        Added to the denominator.
    weight_decay : float, default=0.01
        Decay apart from the gradient, in proportion to the learning rate.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "adamw"
    squares = (1,)
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.beta1, self.beta2, self.eps, self.weight_decay


@declared
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012).

    v = rho v + (1 - rho) g², w -= learning_rate g / (√v + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    rho : float in [0, 1), default=0.9
        Share of the running averages that stays.
    eps : float, default=1e-8
        Added to the denominator.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "rmsprop"
    squares = (0,)
    rho: float = 0.9
    eps: float = 1e-8

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.rho, self.eps


@declared
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011): s += g², w -= learning_rate g / (√s + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=0.01
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    eps : float, default=1e-10
        Added to the denominator.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "adagrad"
    squares = (0,)
    learning_rate: float | Callable[[int], float] | Schedule = 0.01
    eps: float = 1e-10

    @property
    def is_lazy(self) -> bool:
        """Whether the update leaves a weight whose gradient is 0 as it is: unless eps is 0 in
        float32, where 0 / 0 is NaN.
        """
        return self.eps > 1e-37

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return (self.eps,)


@declared
@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012).

    v = rho v + (1 - rho) g², Δ = √(u + eps) / √(v + eps) g, u = rho u + (1 - rho) Δ²,
    w -= learning_rate Δ.

    Parameters
    ----------
    learning_rate : float or callable, default=1.0
        The paper has none, which is 1; a callable gets the epoch (from 0) and returns it.
    rho : float in [0, 1), default=0.9
        Share of the running averages that stays.
    eps : float, default=1e-6
        Added to the denominator.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "adadelta"
    squares = (0, 1)
    learning_rate: float | Callable[[int], float] | Schedule = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.rho, self.eps


@declared
@dataclass(frozen=True)
class AdaMax(Optimizer):
    """AdaMax, Adam in the maximum norm (Kingma & Ba 2015, algorithm 2).

    m = beta1 m + (1 - beta1) g, u = max(beta2 u, |g| + eps),
    w -= learning_rate / (1 - beta1^t) m / u. The paper has no eps; this is PyTorch's form.

    Parameters
    ----------
    learning_rate : float or callable, default=2e-3
        Step size; a callable gets the epoch (from 0) and returns it.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Shares that stay: of the running average of the gradient, of its running maximum.
    eps : float, default=1e-8
        Added to the denominator.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "adamax"
    squares = (1,)
    learning_rate: float | Callable[[int], float] | Schedule = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.beta1, self.beta2, self.eps


@declared
@dataclass(frozen=True)
class Nadam(Optimizer):
    """Nadam, Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form.

    m and v̂ as in `Adam`; with μ_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and Π_t = μ_1 ... μ_t:
    w -= learning_rate ((1 - μ_t) / (1 - Π_t) g + μ_{t+1} / (1 - Π_{t+1}) m) / (√v̂ + eps).

    Parameters
    ----------
    learning_rate : float or callable, default=2e-3
        Step size; a callable gets the epoch (from 0) and returns it.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Shares of the running averages that stay: of the gradient and of its square.
    eps : float, default=1e-8
        Added to the denominator.
    momentum_decay : float, default=4e-3
        How fast the momentum comes near beta1.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "nadam"
    squares = (1,)
    learning_rate: float | Callable[[int], float] | Schedule = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.beta1, self.beta2, self.eps, self.momentum_decay


@declared
@dataclass(frozen=True)
class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller & Braun 1993): signs of gradients alone; for batches of
    all rows.

    Each parameter has a step size of its own. Where the gradient keeps its sign it grows by
    ``eta_plus``, where the sign changes it shrinks by ``eta_minus``, and there no step is taken
    (Igel & Hüsken 2000, iRprop-, and PyTorch); w -= sign(g) step.

    Parameters
    ----------
    learning_rate : float or callable, default=0.01
        Step size at the first step; later ones have no influence. Where a function or a schedule
        starts with 0, no step is taken before it is above 0, which is then the first.
    eta_minus : float in (0, 1), default=0.5
        Factor of a step where the sign of the gradient changes.
    eta_plus : float > 1, default=1.2
        Factor of a step where it stays.
    step_min, step_max : float, default=1e-6, 50
        Least and greatest step size.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "rprop"
    squares = (1,)
    learning_rate: float | Callable[[int], float] | Schedule = 0.01
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0

    def __post_init__(self):
        super().__post_init__()
        if self.step_min > self.step_max:
            raise ValueError(f"step_min={self.step_min} must be <= step_max={self.step_max}")

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.eta_minus, self.eta_plus, self.step_min, self.step_max


@declared
@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion (Chen et al. 2023): the sign of an average of gradients.

    w -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay w),
    m = beta2 m + (1 - beta2) g; biases decay too.

    Parameters
    ----------
    learning_rate : float or callable, default=1e-4
        Step size; a callable gets the epoch (from 0) and returns it.
    beta1, beta2 : float in [0, 1), default=0.9, 0.99
        Share of the momentum in the direction of a step, and of what stays of it.
    weight_decay : float, default=0.0
        Decay apart from the gradient, in proportion to the learning rate.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`.
    """

    name: ClassVar[str] = "lion"
    learning_rate: float | Callable[[int], float] | Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.beta1, self.beta2, self.weight_decay


@declared
@dataclass(frozen=True)
class Muon(Optimizer):
    """Muon (Jordan 2024): orthogonal steps for hidden matrices, Adam for all other parameters.

    Of a matrix W (n_in, n_out) with gradient G: M = momentum M + (1 - momentum) G,
    U = (1 - momentum) G + momentum M with ``nesterov``, else M; X = U / |U|, then ``steps`` times
    X = a X + b X X'X + c X X'X X'X with (a, b, c) = (3.4445, -4.7750, 2.0315), in the dtype of the
    network; w -= learning_rate (√max(1, n_out / n_in) X + weight_decay W).

    Hidden matrices are the W of all dense layers but the first and the last one; those, biases,
    gains get the update of ``adam``.

    Parameters
    ----------
    learning_rate : float or callable, default=0.02
        Step size of the matrices; a callable gets the epoch (from 0) and returns it.
    momentum : float in [0, 1), default=0.95
        Share of the last velocity that stays.
    nesterov : bool, default=True
        Whether to step along the gradient and the velocity that follows.
    steps : int, default=5
        Steps of Newton and Schulz.
    weight_decay : float, default=0.0
        Of the matrices.
    adam : Adam or AdamW, default=Adam()
        For the rest. Where the learning rate of Muon changes, its one changes in proportion.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`. Beside those ``muon=True`` or ``False``: whether the
        layer's W is one of the matrices.
    """

    name: ClassVar[str] = "muon"
    layer_keys: ClassVar[tuple[str, ...]] = (*LAYER_KEYS, "muon")
    learning_rate: float | Callable[[int], float] | Schedule = 0.02
    momentum: float = 0.95
    nesterov: bool = True
    steps: int = 5
    weight_decay: float = 0.0
    adam: Adam | AdamW = Adam()

    def __post_init__(self):
        super().__post_init__()
        if self.momentum == 1:
            raise ValueError("momentum=1 must be in [0, 1)")
        object.__setattr__(self, "steps", check_count("steps", self.steps))
        if not isinstance(self.adam, (Adam, AdamW)):
            raise TypeError(f"adam={self.adam!r} must be an Adam or AdamW")
        if self.adam.layers is not None:
            raise ValueError("adam.layers must be None: give layers to Muon")

    @property
    def row(self) -> str:
        """Name of the row of csrc/optimizers.def for all but the matrices."""
        return self.adam.row

    @property
    def squares(self) -> tuple[int, ...]:
        """Numbers of the state vectors that are sums of squares."""
        return self.adam.squares

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.adam.hyperparameters


@declared
@dataclass(frozen=True)
class EMA(Optimizer):
    """An exponential moving average of the weights around any optimizer (Polyak & Juditsky 1992).

    After each step mean += (1 - decay) (w - mean), after the first one mean = w, as PyTorch's
    ``AveragedModel`` does. The optimizer goes on from w; predictions, validation and whatever else
    happens between two epochs see the mean, which is what the network has after the fit.

    Parameters
    ----------
    optimizer : Optimizer or str
        The optimizer whose weights are averaged.
    decay : float in [0, 1), default=0.999
        Of one step: about the last 1 / (1 - decay) steps count.
    """

    name: ClassVar[str] = "ema"
    learning_rate: float | Callable[[int], float] | Schedule = field(init=False, repr=False)
    layers: dict[int, dict[str, Any]] | None = field(init=False, repr=False, hash=False)
    optimizer: Optimizer
    decay: float = 0.999

    def __post_init__(self):
        inner = check_optimizer(self.optimizer)
        if isinstance(inner, EMA):
            raise ValueError("optimizer is an EMA: there can be only one")
        if not takes_steps(inner):
            raise ValueError(f"optimizer={type(inner).__name__} takes no steps along a gradient, "
                             "whose weights could be averaged")
        for name, value in (("optimizer", inner), ("learning_rate", inner.learning_rate),
                            ("layers", None)):
            object.__setattr__(self, name, value)
        super().__post_init__()
        object.__setattr__(self, "layers", inner.layers)

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, as the optimizer says it."""
        return self.optimizer.learning_rate_at(epoch)

    @property
    def row(self) -> str:
        """Name of the row of csrc/optimizers.def that has the update."""
        return self.optimizer.row

    @property
    def squares(self) -> tuple[int, ...]:
        """Numbers of the state vectors that are sums of squares."""
        return self.optimizer.squares

    @property
    def n_states(self) -> int:
        """Number of state vectors; the mean is the last one."""
        return self.optimizer.n_states + 1

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        return self.optimizer.hyperparameters


BY_NAME = {cls.name: cls for cls in (
    SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, AdaMax, Nadam, Rprop, Lion, Muon)}
