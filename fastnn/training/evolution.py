"""An evolution strategy: learning from losses alone, without their gradients.

`EvolutionStrategy` is what the user sets, `Population` the `Trainer` whose steps are generations;
so hooks, schedules, checkpoints and rules of epochs are those of every other fit.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnn.core import validation
from fastnn.core._signals import Guarded
from fastnn.core.arrays import check_finite, require
from fastnn.core.imports import imported
from fastnn.core.memory import aligned_zeros
from fastnn.core.notices import shown
from fastnn.core.threads import resolve_threads, sole_fit
from fastnn.training._trainer import Trainer
from fastnn.training.callbacks import StepLimit
from fastnn.training.history import StopFit
from fastnn.training.optimizer_base import LAYER_KEYS, declared
from fastnn.training.optimizers import Optimizer
from fastnn.training.schedules import Schedule, StepRates

if TYPE_CHECKING:
    from fastnn.core.types import Array, ArrayLike, Seed

__all__ = ["EvolutionStrategy", "Population", "trainable_mask"]

BATCH_ROWS = 1024  # that a member sees at a time
# Floating-point operations that pay for one more thread: of a generation, as to start one takes
# some 50 us, and of a member, as each evaluation has the GIL for some 10 us.
THREAD_FLOPS = 5e6
MEMBER_FLOPS = 2e5


@declared
@dataclass(frozen=True)
class EvolutionStrategy(Optimizer):
    """An evolution strategy (Rechenberg 1973) as Salimans et al. 2017 have it.

    A generation draws noise e_1, ..., e_n, normal, n = population / 2, and evaluates the losses of
    w + sigma e_i and w - sigma e_i over the same rows: antithetic pairs. Losses become ranks,
    centred: u = rank / (population - 1) - 1/2, equal losses getting the mean of their ranks, and
    those that are not finite the worst one. The estimate of the gradient is

        g = 1 / (population sigma) sum_i (u(w + sigma e_i) - u(w - sigma e_i)) e_i

    and w takes Adam's step with it (Kingma & Ba 2015). No derivative is asked for: activations such
    as "step" learn too. The size of the loss means nothing, so ``learning_rate`` is about the size
    of a step of each weight.

    In `MLP.fit` each batch is a generation: with ``batch_size`` at least the number of rows an
    epoch is one. ``history.loss`` has the loss of w before the step. Members are evaluated in
    ``n_threads`` threads, whose number changes no bit: noise is that of (seed, generation, pair).
    Dropout is not applied. The noise of a generation is kept: population / 2 vectors of the size of
    the parameters.

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=0.02
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    population : int, default=50
        Members of a generation, an even number.
    sigma : float, default=0.05
        Standard deviation of the noise.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Of Adam.
    eps : float, default=1e-8
        Of Adam.
    layers : dict or None, default=None
        Settings of layers, see `Optimizer`; without alpha and l1, which losses know nothing of.

    Raises
    ------
    TypeError, ValueError
        On a wrong argument.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])
    >>> net = fastnn.MLP((2, 4, 1), "tanh", "sigmoid", random_state=0)
    >>> history = net.fit(X, y, optimizer=fastnn.EvolutionStrategy(0.1, sigma=0.1), epochs=200)
    >>> (net.predict(X) > 0.5).astype(int).ravel().tolist()
    [0, 1, 1, 0]
    """

    name: ClassVar[str] = "adam"  # whose row takes the step
    squares: ClassVar[tuple[int, ...]] = (1,)
    trained_by: ClassVar[tuple[str, str]] = ("fastnn.training.evolution", "Population")
    layer_keys: ClassVar[tuple[str, ...]] = tuple(
        key for key in LAYER_KEYS if key not in ("alpha", "l1"))
    learning_rate: float | Callable[[int], float] | Schedule = 0.02
    population: int = 50
    sigma: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        if validation.check_count("population", self.population, minimum=2) % 2:
            raise ValueError(f"population={self.population} must be even: members come in pairs")
        validation.check_positive("sigma", self.sigma)

    @property
    def hyperparameters(self) -> "tuple[float, ...]":
        """Those of Adam's row."""
        return self.beta1, self.beta2, self.eps, False

    def maximize(self, function: "Callable[[Any], float]", start: "Any", *, generations: int = 100,
                 random_state: "Seed" = None,
                 callback: "Callable[[int, Any, Array], object] | None" = None
                 ) -> "tuple[Any, list[float]]":
        """Look for the vector, or the network, with the largest value of a function.

        For what has no data: controllers that are judged by simulations, for example. Larger is
        better; the function may be random. It is called from this thread alone, ``population``
        times a generation.

        Parameters
        ----------
        function : callable
            From a member to a number: ``function(vector)`` where ``start`` is an array, a new one
            each time; ``function(net)`` where it is an `MLP`, with a copy of it, the same one each
            time, that holds the member's parameters. What is not finite counts as the worst.
        start : array-like (n,) or MLP
            The network gets the parameters of the last generation; an array is left as it is.
        generations : int, default=100
            How many of them.
        random_state : int, numpy.random.Generator, numpy.random.RandomState or None, default=None
            Decides the noise.
        callback : callable or None, default=None
            Called after each generation as callback(generation, found, values): the vector or the
            network as it is then, and the values of the members, an array (population,), the pairs'
            + members first. The search ends when it raises `fastnn.StopFit`.

        Returns
        -------
        found : array (n,) of float64, or the MLP
            What the search has come to.
        values : list of float
            Mean value of the members of each generation.

        Raises
        ------
        TypeError, ValueError
            On a wrong argument.
        RuntimeError
            While the network is being fitted.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> strategy = fastnn.EvolutionStrategy(0.1)
        >>> found, values = strategy.maximize(lambda x: -((x - [1, -2]) ** 2).sum(), np.zeros(2),
        ...                                   generations=200, random_state=0)
        >>> bool(np.abs(found - [1, -2]).max() < 0.1)
        True
        """
        if not callable(function):
            raise TypeError(f"function={shown(function)} must be callable")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback={shown(callback)} must be callable")
        generations = validation.check_count("generations", generations)
        if self.layers:
            raise ValueError(f"layers={self.layers} must be None here: only MLP.fit knows layers")
        seed = validation.check_seed(random_state)
        imported("numpy.random")
        net = start if hasattr(start, "_publish_copy") else None
        if net is None:
            vector = np.array(require("start", start, np.dtype(np.float64)))
            if vector.ndim != 1 or vector.size == 0:
                raise ValueError(f"start has shape {vector.shape}, must be an MLP or a vector (n,)")
            check_finite("start", vector, vector.dtype)
            return self._climb(_Values(function), vector, None, seed, generations, callback)
        with sole_fit(net):
            return self._climb(_Values(function, net), np.array(net.parameters), net, seed,
                               generations, callback)

    def _climb(self, values_of, vector, net, seed, generations, callback):
        """Run the generations of `maximize`."""
        mask = np.ones_like(vector) if net is None else trainable_mask(net._layout,
                                                                               net.frozen)
        source = Noise(seed, mask)
        noise = np.empty((self.population // 2, vector.size), vector.dtype)
        moments, means = (np.zeros_like(vector), np.zeros_like(vector)), []
        rates = StepRates(self, StepLimit(None, generations, 1, 1))  # a generation is an epoch
        for generation in range(generations):
            for pair, row in enumerate(noise):
                source.fill(row, generation, pair)
            values = np.concatenate([
                [values_of(vector + sign * vector.dtype.type(self.sigma) * row) for row in noise]
                for sign in (1, -1)])
            gradient = self.gradient(-values, noise, np.empty_like(vector))
            self._adam(vector, gradient, moments, generation + 1,
                       float(np.ravel(rates.of(generation))[0]))
            means.append(float(values.mean()))
            if net is not None:
                net._publish_copy(vector, net._epochs_done)
            if callback is not None:
                try:
                    callback(generation, vector.copy() if net is None else net, values)
                except StopFit:
                    break
        return (vector if net is None else net), means

    def _adam(self, vector, gradient, moments, step, learning_rate):
        """Take Adam's step, as the row of csrc/optimizers.def does in training."""
        m, v = moments
        m += (1 - self.beta1) * (gradient - m)
        v += (1 - self.beta2) * (gradient * gradient - v)
        spread = np.sqrt(v / (1 - self.beta2**step)) + self.eps
        vector -= learning_rate / (1 - self.beta1**step) * m / spread

    def gradient(self, losses: "ArrayLike", noise: "Array", out: "Array") -> "Array":
        """Return the estimate of the gradient in ``out``, from losses of the + and - members.

        Parameters
        ----------
        losses : array-like (population,)
            Those of the + members first.
        noise : array (population / 2, n)
            A row for each pair.
        out : array (n,)
            Takes the result.

        Returns
        -------
        array (n,)
            The same as ``out``.
        """
        n = len(noise)
        weight = centred_ranks(losses)
        weight = (weight[:n] - weight[n:]) / (2 * n * self.sigma)
        out[:] = 0
        part = np.empty_like(out)  # no BLAS, whose sums would be in an order of its own
        for one, row in zip(weight, noise, strict=True):
            if one != 0:
                np.multiply(row, out.dtype.type(one), out=part)
                out += part
        return out


class _Values:
    """The function of `maximize`, from vectors to numbers."""

    def __init__(self, function, net=None):
        self.function, self.net, self.member = function, net, None
        if net is not None:
            self.member = net.__class__.__new__(net.__class__)
            self.member.__setstate__(net.__getstate__())

    def __call__(self, vector):
        if self.net is not None:
            self.member._publish_copy(vector, self.net._epochs_done)
            vector = self.member
        value = self.function(vector)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"function returned {shown(value)}, must return a number") from None


def centred_ranks(losses):
    """Return the ranks of losses, from -1/2 (the least) to 1/2; ties share the mean of theirs."""
    losses = np.where(np.isfinite(losses), losses, np.inf)
    _, place, count = np.unique(losses, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    return (ends - (count + 1) / 2)[place.reshape(-1)] / (len(losses) - 1) - 0.5


class Noise:
    """The noise of pairs: normal numbers by Philox (Salmon et al. 2011), whose key is seed and
    generation, and whose counter begins with the pair. Of one thread: setting the state of a
    generator takes a sixth of the time of making one.

    Parameters
    ----------
    seed : int
    mask : flat array
        0 where nothing is to be drawn.
    """

    def __init__(self, seed, mask):
        self.mask, self.bits = mask, np.random.Philox(key=0)
        self.state, self.generator = self.bits.state, np.random.Generator(self.bits)
        self.key, self.counter = self.state["state"]["key"], self.state["state"]["counter"]
        self.key[0] = seed & 0xFFFFFFFFFFFFFFFF

    def fill(self, row, generation, pair):
        """Fill a row with the noise of a pair."""
        self.key[1], self.counter[3] = generation, pair
        self.bits.state = self.state
        self.generator.standard_normal(dtype=row.dtype, out=row)
        row *= self.mask


def trainable_mask(layout, frozen=()):
    """Return a flat vector of 1 where there is a parameter to be trained, 0 elsewhere: in gaps, in
    running averages, and in frozen layers, whose numbers are given."""
    mask = layout.allocate()
    for block, view in zip(layout.blocks, layout.views(mask), strict=True):
        view[:] = block.trainable and block.layer not in frozen
    return mask


class Population(Trainer):
    """A `Trainer` whose steps are generations of an `EvolutionStrategy`.

    Parameters are those of `Trainer`; ``seed`` is the key of the noise.
    """

    runs_ahead = False  # generations are made in Python

    def __init__(self, spec, loss, *, optimizer, batch_size, seed=0, n_threads=None, drops=True,
                 **settings):
        super().__init__(spec, loss, optimizer=optimizer, batch_size=batch_size, drops=False,
                         n_threads=1, **settings)
        self.strategy, self.rows = optimizer, batch_size
        self.n_pairs = optimizer.population // 2
        self.noise = aligned_zeros(self.n_pairs * self.layout.size, self.dtype).reshape(
            self.n_pairs, -1)
        self.estimate = self.layout.allocate()
        mask = trainable_mask(self.layout, self.frozen)
        self.members = []  # for each thread a trainer, and a source of noise
        for _ in range(self.useful_threads(resolve_threads(n_threads))):
            self.members.append((Trainer(
                spec, loss, optimizer=None, batch_size=min(batch_size, BATCH_ROWS), drops=False,
                n_threads=1, **settings), Noise(seed, mask)))

    def useful_threads(self, allowed):
        """Return how many threads the members are worth."""
        flops = self.rows * self.layout.training_flops / 3
        if flops < MEMBER_FLOPS:
            return 1
        return max(1, min(allowed, self.n_pairs + 1, int(2 * self.n_pairs * flops / THREAD_FLOPS)))

    def set_data(self, X, y, sample_weight=None, **settings):
        """Take the rows to work on; see `Trainer.set_data`."""
        super().set_data(X, y, sample_weight, **settings)
        for member, _ in self.members:
            member.set_data(X, y, sample_weight, **settings)
        self.n_samples = X.shape[0]

    def set_rows(self, rows):
        """Work on some rows of the data; see `Trainer.set_rows`."""
        super().set_rows(rows)
        for member, _ in self.members:
            member.set_rows(rows)
        self.n_samples = len(rows)

    def cancel(self):
        """Give up; see `Trainer.cancel`."""
        super().cancel()
        for member, _ in self.members:
            member.cancel()

    def run_epoch(self, order=None, *, learning_rate, stop_if_diverged=False):
        """Do one generation for each minibatch; see `Trainer.run_epoch`.

        Parameters
        ----------
        order, stop_if_diverged
            As there.
        learning_rate : float, or array of one for each generation

        Returns
        -------
        float
            Mean over the rows of the loss that their batch had before its step.
        """
        n_rows = self.n_samples if order is None else len(order)
        starts = range(0, n_rows, self.rows)
        rates = np.broadcast_to(learning_rate, len(starts))
        total = 0.0
        for start, rate in zip(starts, rates, strict=True):
            stop = min(start + self.rows, n_rows)
            rows = order[start:stop] if order is not None else (
                None if stop - start == self.n_samples else np.arange(start, stop))
            losses = Generation(self, rows).losses()
            if stop_if_diverged and not np.isfinite(losses[-1]):
                return float(losses[-1])
            total += (stop - start) * losses[-1]
            self.apply(self.strategy.gradient(losses[:-1], self.noise, self.estimate),
                       learning_rate=float(rate))
        return float(total / n_rows)


class Generation:
    """The losses of the members of a generation, and of their centre, by several threads.

    They claim pairs as they come; who evaluates a pair changes nothing.
    """

    def __init__(self, population, rows):
        self.population, self.rows = population, rows
        self.generation = population.step
        self.found = np.empty(2 * population.n_pairs + 1)
        self.tasks = iter(range(population.n_pairs + 1))  # each is taken once, by whoever
        self.threads, self.error, self.ends = [], None, False

    def losses(self):
        """Return the losses of the + members, the - members, and the centre, in this order."""
        with Guarded(self.start, self.join):
            self.work(*self.population.members[0])
        if self.error is not None:
            raise self.error
        return self.found

    def start(self):
        """Start the other threads; this one works too."""
        for member in self.population.members[1:]:
            thread = threading.Thread(target=self.help, args=member, daemon=True,
                                      name="fastnn evolution")
            self.threads.append(thread)
            thread.start()

    def help(self, member, noise):
        """Work in a thread of its own."""
        try:
            self.work(member, noise)
        except BaseException as error:
            self.error, self.ends = error, True

    def join(self):
        """Wait for the other threads; where this one has not come to its end, they end early."""
        if next(self.tasks, None) is not None:
            self.ends = True
        while self.threads:
            if self.threads[-1].ident is not None:
                self.threads[-1].join()
            self.threads.pop()

    def work(self, member, noise):
        """Evaluate pairs until none is left."""
        population, n_pairs = self.population, self.population.n_pairs
        centre, sigma = population.parameters, population.dtype.type(population.strategy.sigma)
        for task in self.tasks:
            if self.ends:
                return
            if task == n_pairs:
                member.parameters[:] = centre
                self.found[-1] = member.loss_and_grad(rows=self.rows)
                continue
            row = population.noise[task]
            noise.fill(row, self.generation, task)
            for sign, at in ((1, task), (-1, n_pairs + task)):
                np.multiply(row, sign * sigma, out=member.parameters)
                np.add(member.parameters, centre, out=member.parameters)
                self.found[at] = member.loss_and_grad(rows=self.rows)
