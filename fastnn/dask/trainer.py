"""What the driver of epochs takes for a `Trainer`: rounds of tasks, one for each shard."""

import time

import numpy as np

from fastnn.core.notices import warn
from fastnn.core.version import __version__
from fastnn.dask import tasks
from fastnn.training.callbacks import Callback
from fastnn.training.evolution import trainable_mask

__all__ = ["GradientTrainer", "RoundState", "RoundTrainer", "losses_of"]

TRIAL_STEPS = 16  # of the first round, where the time of a round decides how many there are


class _Shared:
    """What both kinds have: the network, where it stands, and what goes to the workers.

    Parameters
    ----------
    net : MLP
    info : BoundLoss
    shards : Shards
    optimizer : Optimizer or None
    """

    def __init__(self, net, info, shards, optimizer=None):
        self.net, self.info, self.shards, self.optimizer = net, info, shards, optimizer
        self.layout, self.dtype, self.frozen = net._layout, net.dtype, net.frozen
        self.parameters = self.layout.copy(net.parameters)
        self.optimizer_state, self.step = (), 0
        self.isas = ()

    @property
    def published(self):
        """What to predict with."""
        return self.parameters

    def cancel(self):
        """Nothing runs in another thread."""

    def start(self, **more):
        """Return what a round's tasks have in common."""
        return {"version": __version__, "spec": self.net.spec.to_plain(), "loss": self.info.loss,
                "gemm": self.net.gemm, "n_threads": self.net.n_threads or 1,
                "parameters": self.parameters.copy(), **more}

    def run(self, function, name, only=None, **more):
        """Run a round; return the sum over the shards."""
        found = self.shards.run(function, self.start(**more), name, only)
        if len(found["isas"]) > 1 and self.isas != found["isas"]:
            warn(f"workers compute with different instruction sets ({', '.join(found['isas'])}): "
                 "the last bits of the result depend on which worker has which shard. Set "
                 "FASTNN_ISA to one that all have")
        self.isas = found["isas"]
        return found


class RoundTrainer(_Shared):
    """Local steps on every shard, then their mean and an outer step (local SGD, Stich 2019;
    DiLoCo, Douillard et al. 2023).

    With w the parameters at the start of a round, w_s those of shard s after its steps, p_s the
    part of the round's rows that are of shard s, and d = sum_s p_s (w_s - w):
    v = outer_momentum v + d, w += outer_learning_rate (d + outer_momentum v). States of the
    optimizer become their means. Averages that `BatchNorm` keeps become the mean alone.

    Parameters
    ----------
    net, info, shards, optimizer
        See `_Shared`.
    batch_size : int
        Of the steps on a shard.
    shuffle : bool
    local_steps : int or None
        Steps of a round; None: as many as take ``round_seconds``, by the first round.
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
        self.outer, self.settings, self.epochs_before = outer, settings, epochs_before
        self.after_round = after_round
        n = shards.n
        self.order_keys = np.array([net._key(1, *([s] if s else [])) for s in range(n)], np.uint64)
        self.mask_keys = np.array([net._key(0, epochs_before, *([s] if s else []))
                                   for s in range(n)], np.uint64)
        self.moved = trainable_mask(self.layout, self.frozen) > 0
        self.fixed = [slice(block.at, block.at + block.size) for block in self.layout.blocks
                      if block.layer in self.frozen]
        self.optimizer_state = tuple(self.layout.allocate() for _ in range(optimizer.n_states + 1))
        self.loss_sum = self.rows_done = 0.0  # of the epoch that is being done

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
            last = min(first + (self.local_steps or TRIAL_STEPS), end)
            rates = learning_rate
            if isinstance(rates, np.ndarray):
                rates = rates[first:last].copy()
            begun = time.monotonic()
            loss = self.run_round(self.epochs_before + epoch, first, last, rates)
            if self.local_steps is None:
                seconds = max(time.monotonic() - begun, 1e-3)
                self.local_steps = max(1, int((last - first) * self.round_seconds / seconds))
            if not np.isfinite(loss):
                return loss
            first = last
            if first < end:
                self.after_round()
        return self.loss_sum / self.rows_done

    def run_round(self, epoch, first, last, rates):
        """Do some steps on each shard, and the outer step."""
        batch = self.batch_size
        done = [min(last * min(batch, n), n) - min(first * min(batch, n), n)
                for n in self.shards.rows]
        total = sum(done)
        *states, velocity = self.optimizer_state
        alone = self.shards.n == 1
        found = self.run(
            tasks.local_steps, "local-steps", only=[n > 0 for n in done], epoch=epoch,
            optimizer=self.optimizer, batch_size=batch, shuffle=self.shuffle, step=self.step,
            steps=(first, last), rates=rates, shard_rows=self.shards.rows,
            shares=[n / total for n in done], order_keys=self.order_keys,
            mask_keys=self.mask_keys, states=[state.copy() for state in states],
            settings=self.settings, alone=alone)
        loss = found["loss"] / total
        if not np.isfinite(loss):
            return loss
        change, *means = found["vectors"]
        if alone:
            change = change - self.parameters
        rate, momentum = self.outer
        new = self.parameters + change
        if alone and (rate, momentum) == (1.0, 0.0):
            new = found["vectors"][0]
        else:
            speed = momentum * velocity.astype(np.float64) + change
            outer = self.parameters + rate * (change + momentum * speed)
            new = np.where(self.moved, outer, new)
            speed[~self.moved] = 0
            velocity[:] = speed
        for part in self.fixed:
            new[part] = self.parameters[part]
        self.parameters[:] = new
        for state, mean in zip(states, means, strict=True):
            state[:] = mean
        self.loss_sum += found["loss"]
        self.rows_done += total
        self.step += last - first
        return loss


class GradientTrainer(_Shared):
    """The loss over all rows and its gradient, for L-BFGS.

    Parameters
    ----------
    net, info, shards
        See `_Shared`.
    alpha : float
        L2 penalty.
    """

    def __init__(self, net, info, shards, *, alpha=0.0):
        super().__init__(net, info, shards)
        self.alpha = alpha
        self.weights, _ = self.layout.weights_and_biases(self.parameters)

    def loss_and_grad(self, grad=None):
        """Return the loss, penalty included, and put its gradient into ``grad``; see
        `Trainer.loss_and_grad`."""
        self.step += 1
        found = self.run(tasks.gradient, "loss" if grad is None else "gradient",
                         slope=grad is not None)
        weight = found["weight"]
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


class RoundState(Callback):
    """What a checkpoint has to hold of an epoch that is not at its end.

    Parameters
    ----------
    settings : dict
        What decides the result beside the settings of `MLP.fit`.
    """

    def __init__(self, settings):
        self.settings, self.trainer = settings, None

    def describe(self):
        """Return what decides the result."""
        return self.settings

    def get_state(self):
        """Return the sums of the epoch, and how many steps a round has."""
        trainer = self.trainer
        return {"loss_sum": float(trainer.loss_sum), "rows_done": float(trainer.rows_done),
                "local_steps": trainer.local_steps}

    def set_state(self, state):
        """Go on from there."""
        for name, value in state.items():
            setattr(self.trainer, name, value)
