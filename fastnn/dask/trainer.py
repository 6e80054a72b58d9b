"""What the driver of epochs takes for a `Trainer`: rounds of tasks, one for each shard."""

import itertools
import time
from contextlib import closing

import cloudpickle
import numpy as np

from fastnn.core.notices import warn
from fastnn.core.version import __version__
from fastnn.dask import tasks
from fastnn.dask.cluster import Graph
from fastnn.training.callbacks import Callback
from fastnn.training.epochs import check_state, is_count, is_number
from fastnn.training.evolution import trainable_mask
from fastnn.training.optimizers import EMA

__all__ = ["GradientTrainer", "Marks", "RoundState", "RoundTrainer", "losses_of"]

MOST_AHEAD = 8  # rounds that go to the scheduler at once
SECONDS_AHEAD = 10.0  # that they take, at most
AHEAD_OF_OTHERS = 0.15  # of the time of a round that the first of them has gone, when the others go
HELD = 1 << 24  # bytes of a state, up to which what a round has used is dropped in the next one
SECONDS_HELD = 0.2  # of a round, from which on that pays
TRIAL_STEPS = 16  # of the first rounds, where the time of a round decides how many there are
MOST_TRIALS = 6


class _Shared:
    """What both kinds have: the network, where it stands, and what goes to the workers.

    Parameters
    ----------
    net : MLP
    info : BoundLoss
    shards : Shards
    optimizer : Optimizer or None, default=None
    """

    def __init__(self, net, info, shards, optimizer=None):
        self.net, self.info, self.shards, self.optimizer = net, info, shards, optimizer
        self.layout, self.dtype, self.frozen = net._layout, net.dtype, net.frozen
        self.parameters = self.layout.copy(net.parameters)
        self.optimizer_state, self.step = (), 0
        self.isas = ()

    @property
    def published(self):
        """What to predict with: the parameters, or their average where the optimizer takes one."""
        if isinstance(self.optimizer, EMA) and self.step:
            return self.optimizer_state[self.optimizer.n_states - 1]
        return self.parameters

    def cancel(self):
        """Nothing runs in another thread."""

    def describe(self, **more):
        """Put together what all rounds have in common, pickled, so that Dask does not look into it.

        It goes to the workers within the state: as a task of its own, which all workers hold, the
        message of each task would have the addresses of them all."""
        self.fit = cloudpickle.dumps(
            {"version": __version__, "spec": self.net.spec.to_plain(), "loss": self.info.loss,
             "gemm": self.net.gemm, "n_threads": self.net.n_threads or 1, **more})

    def begin(self, **state):
        """Return a graph, and the key of the state that its first round begins with."""
        graph, cluster = Graph(), self.shards.cluster
        state = {"fit": self.fit, "parameters": self.parameters.copy(), "loss": 0.0, **state}
        return graph, graph.add(cluster.key("start", (next(cluster.rounds),)), tasks.keep, state)

    def look(self, found):
        """Warn where workers compute with different instructions."""
        if len(found["isas"]) > 1 and self.isas != found["isas"]:
            warn(f"workers compute with different instruction sets ({', '.join(found['isas'])}): "
                 "the last bits of the result depend on which worker has which shard. Set "
                 "FASTNN_ISA to one that all have")
        self.isas = found["isas"]


class RoundTrainer(_Shared):
    """Local steps on every shard, then their mean and an outer step (local SGD, Stich 2019;
    DiLoCo, Douillard et al. 2023); see `tasks.outer_step`.

    The rounds of an epoch follow one another on the workers: a task takes the outer step, and its
    result goes to the next round's tasks and to this process, which is the checkpoint.

    Parameters
    ----------
    net, info, shards, optimizer
        See `_Shared`.
    batch_size : int
        Of the steps on a shard.
    shuffle : bool
    local_steps : int or None
        Steps of a round; None: as many as take ``round_seconds``, by the first rounds.
    round_seconds : float
    outer : (float, float)
        Learning rate and momentum of the outer step.
    settings : dict
        Of the trainers of the shards.
    epochs_before : int
        That the network had been trained before this fit.
    steps : StepLimit
        Of the shard with the most rows.
    after_round : callable
        Called after each round but the last one of an epoch.
    """

    def __init__(self, net, info, shards, optimizer, *, batch_size, shuffle, local_steps,
                 round_seconds, outer, settings, epochs_before, steps, after_round):
        super().__init__(net, info, shards, optimizer)
        self.batch_size, self.shuffle, self.steps = batch_size, shuffle, steps
        self.local_steps, self.round_seconds = local_steps, round_seconds
        self.epochs_before, self.after_round = epochs_before, after_round
        n = shards.n
        self.order_keys = np.array([net._key(1, *([s] if s else [])) for s in range(n)], np.uint64)
        self.mask_keys = np.array([net._key(0, epochs_before, *([s] if s else []))
                                   for s in range(n)], np.uint64)
        moved = trainable_mask(self.layout, self.frozen) > 0
        fixed = [(block.at, block.at + block.size) for block in self.layout.blocks
                 if block.layer in self.frozen]
        self.describe(optimizer=optimizer, batch_size=batch_size, shuffle=shuffle, outer=outer,
                      settings=settings, alone=n == 1, fixed=fixed,
                      mean=optimizer.n_states - 1 if isinstance(optimizer, EMA) else None,
                      moved=None if moved.all() else moved)
        self.optimizer_state = tuple(self.layout.allocate() for _ in range(optimizer.n_states + 1))
        self.loss_sum = self.rows_done = 0.0  # of the epoch that is being done
        self.seconds = None  # that the last round took
        self.trial, self.trials = TRIAL_STEPS, 0
        self.used = []  # futures of what no round needs any more

    def set_state(self, states, step):
        """Go on from saved state; see `Trainer.set_state`."""
        for own, saved in zip(self.optimizer_state, states, strict=True):
            own[:] = saved
        self.step = step

    def run_epoch(self, epoch, *, learning_rate, stop_if_diverged=True):
        """Do the rounds of an epoch that are not done yet; see `Trainer.run_epoch`."""
        first = self.step - epoch * self.steps.per_epoch
        end = self.steps.of(epoch)
        if first == 0:
            self.loss_sum = self.rows_done = 0.0
        while first < end:
            ahead, rounds, last = self.ahead, [], first
            while last < end and len(rounds) < ahead:
                rounds.append((last, min(last + (self.local_steps or self.trial), end)))
                last = rounds[-1][1]
            with closing(self.run_rounds(self.epochs_before + epoch, rounds,
                                         learning_rate)) as losses:
                for loss in losses:
                    if not np.isfinite(loss):
                        return loss
                    first = self.step - epoch * self.steps.per_epoch
                    if first < end:
                        self.after_round()
        return self.loss_sum / self.rows_done

    @property
    def ahead(self):
        """How many rounds go to the scheduler at once: what is lost with the last copy of a state
        is done again from the first of them."""
        if self.local_steps is None or self.seconds is None:
            return 1
        return max(1, min(MOST_AHEAD, int(SECONDS_AHEAD / self.seconds)))

    def run_rounds(self, epoch, rounds, rates):
        """Do some rounds; yield the loss of each.

        Parameters
        ----------
        epoch : int
        rounds : list of (first, last)
            Steps of the epoch.
        rates : float or array
            Learning rates of the epoch's steps.
        """
        cluster = self.shards.cluster
        *kept, velocity = (state.copy() for state in self.optimizer_state)
        graph, key = self.begin(states=tuple(kept), velocity=velocity)
        states, parts, totals, step = [], [], [], self.step
        nbytes = sum(one.nbytes for one in (self.parameters, *self.optimizer_state))
        holds = nbytes <= HELD and (self.seconds or 0.0) >= SECONDS_HELD
        places, begun = self.shards.places(), time.monotonic()
        try:
            # the first round goes ahead: while it runs, the scheduler has time for the others
            for some in filter(None, (rounds[:1], rounds[1:])):
                if states:
                    cluster.wait(states, AHEAD_OF_OTHERS * self.seconds)
                ends, used, graph = [], [], graph or Graph()
                for first, last in some:
                    own, total = self.steps_of(epoch, first, last, step, rates)
                    key, between = self.shards.add_round(
                        graph, places, tasks.local_steps, tasks.outer_step, key, own,
                        {"rows": total}, "local-steps", nbytes, tasks.add_moved)
                    ends.append(key)
                    used.append(between if holds else [])
                    totals.append(total)
                    step += last - first
                futures = iter(cluster.send(graph, ends + [one for own in used for one in own]))
                states += itertools.islice(futures, len(ends))
                parts += [list(itertools.islice(futures, len(own))) for own in used]
                graph = None
            for i, ((first, last), total) in enumerate(zip(rounds, totals, strict=True)):
                if self.used:
                    cluster.wait([states[i]], AHEAD_OF_OTHERS * self.seconds)
                    self.drop()
                found, = cluster.fetch([states[i]])
                if i:  # the last two stay: what is lost with a worker is made from them
                    parts[i].append(states[i - 1])
                    states[i - 1] = None
                self.used, parts[i] = parts[i], None
                if not holds:
                    self.drop()
                self.look(found)
                if np.isfinite(found["loss"]):
                    self.set_state((*found["states"], found["velocity"]), self.step + last - first)
                    self.parameters[:] = found["parameters"]
                    self.loss_sum += found["loss_sum"]
                    self.rows_done += total
                now = time.monotonic()
                self.seconds, begun = max(now - begun, 1e-3), now
                if self.local_steps is None:
                    self.measure(last - first)
                yield found["loss"]
        finally:
            cluster.give_up(states)
            cluster.give_up(future for some in parts for future in some or ())

    def drop(self):
        """Give up what rounds have used. Each worker is told of it, and answers: that would be at
        the end of a round, when what is waited for has to go the same way."""
        self.shards.cluster.give_up(self.used)
        self.used = []

    def measure(self, steps):
        """Choose how many steps a round has, or how many the next one tries, by what the last
        round took: not the first one, in which workers read their rows."""
        self.trials += 1
        wanted = max(1, int(steps * self.round_seconds / self.seconds))
        if self.trials > MOST_TRIALS or self.trials > 1 and (
                self.seconds > 0.5 * self.round_seconds):
            self.local_steps = wanted
        elif self.trials > 1:  # what a round costs is part of the time: no more at a step
            self.trial = min(wanted, 4 * steps)

    def steps_of(self, epoch, first, last, step, rates):
        """Return what each shard is told of a round, and how many rows the round has."""
        rows = self.shards.rows
        done = [min(last * min(self.batch_size, n), n) - min(first * min(self.batch_size, n), n)
                for n in rows]
        total = sum(done)
        if isinstance(rates, np.ndarray):
            rates = rates[first:last].copy()
        common = {"epoch": epoch, "steps": (first, last), "step": step, "rates": rates}
        return [None if not done[i] else
                {**common, "number": i, "rows": n, "share": done[i] / total,
                 "order_key": int(self.order_keys[i]), "mask_key": int(self.mask_keys[i])}
                for i, n in enumerate(rows)], total


class GradientTrainer(_Shared):
    """The loss over all rows and its gradient, for L-BFGS.

    Parameters
    ----------
    net, info, shards
        See `_Shared`.
    alpha : float, default=0.0
        L2 penalty.
    """

    def __init__(self, net, info, shards, *, alpha=0.0):
        super().__init__(net, info, shards)
        self.alpha = alpha
        self.describe()
        self.weights, _ = self.layout.weights_and_biases(self.parameters)

    def loss_and_grad(self, grad=None):
        """Return the loss, penalty included, and put its gradient into ``grad``; see
        `Trainer.loss_and_grad`."""
        self.step += 1
        graph, key = self.begin()
        own = [{"number": i, "slope": grad is not None} for i in range(self.shards.n)]
        end, _ = self.shards.add_round(graph, self.shards.places(), tasks.gradient,
                                       tasks.whole_gradient, key, own, {},
                                       "loss" if grad is None else "gradient",
                                       self.parameters.nbytes)
        cluster = self.shards.cluster
        found, = cluster.fetch(cluster.send(graph, [end]))
        self.look(found)
        weight = found["weight"]
        if not weight > 0:  # of all rows together it is checked before
            raise ValueError("the rows that are held out have no sample_weight above 0: give "
                             "validation_data")
        if grad is not None:
            np.divide(found["vectors"][0], weight, out=found["vectors"][0])
            grad[:] = found["vectors"][0]
        return (found["loss"] + self._penalty(grad, weight)) / weight

    def _penalty(self, grad, weight):
        """Return the penalty times the weight of all rows; its gradient is added."""
        if not self.alpha:
            return 0.0
        slopes = (None,) * len(self.weights)
        if grad is not None:
            slopes, _ = self.layout.weights_and_biases(grad)
        total = 0.0
        for w, slope in zip(self.weights, slopes, strict=True):
            total += 0.5 * self.alpha * float(np.square(w, dtype=np.float64).sum())
            if slope is not None:
                slope += self.dtype.type(self.alpha / weight) * w
        return total


def losses_of(net, info, shards):
    """Return a function from parameters to the mean loss on shards: those of validation rows."""
    trainer = GradientTrainer(net, info, shards)

    def evaluate(parameters):
        trainer.parameters[:] = parameters
        return trainer.loss_and_grad()

    return evaluate


class Marks(Callback):
    """What a checkpoint says of a fit on workers.

    Parameters
    ----------
    settings : dict
        What decides the result beside the settings of `MLP.fit`.
    """

    def __init__(self, settings):
        self.settings = settings

    def describe(self):
        """Return what decides the result."""
        return self.settings


class RoundState(Marks):
    """What a checkpoint has to hold of an epoch that is not at its end."""

    trainer = None

    def get_state(self):
        """Return the sums of the epoch, and how many steps a round has."""
        trainer = self.trainer
        return {"loss_sum": float(trainer.loss_sum), "rows_done": float(trainer.rows_done),
                "local_steps": trainer.local_steps}

    def set_state(self, state):
        """Go on from there: a file must not name other attributes."""
        check_state(state, loss_sum=is_number, rows_done=is_number,
                    local_steps=lambda value: value is None or is_count(value))
        for name, value in state.items():
            setattr(self.trainer, name, value)
