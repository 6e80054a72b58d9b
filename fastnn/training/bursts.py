"""Several epochs in one compiled call, where nothing is to happen between two of them."""

import numpy as np

from fastnn.training.schedules import ByStep, Schedule

__all__ = ["Bursts", "bursts_of"]

LOOKS = 20  # a call may take so many times the time between two looks at the clock: some 10 ms


class Bursts:
    """Runs epochs ahead of the driver, in calls of some milliseconds.

    Parameters
    ----------
    trainer : Trainer
    order : RowOrder
    rates : StepRates
    keeper : KeepFinite
        Gets what it would have got after each of these epochs.
    """

    def __init__(self, trainer, order, rates, keeper):
        self.trainer, self.order, self.rates, self.keeper = trainer, order, rates, keeper
        self.most = LOOKS * trainer.plan.clock_steps // order.steps.per_epoch
        self.kept = np.empty_like(keeper.parameters) if self.most > 1 else None

    def run(self, state, epochs):
        """Run the next epochs, up to so many in all; the loss and the hooks of the last one are
        left to the driver.

        Returns
        -------
        bool
            False where the driver has to run the next epoch itself.
        """
        first = state.epoch + 1
        n_epochs = min(self.most, epochs - first, self.order.steps.whole_epochs - first)
        if n_epochs < 2:
            return False
        rates = self.rates_from(first, n_epochs) * state.learning_rate_scale
        losses = np.empty(len(rates))
        try:
            self.trainer.run_epochs(losses, rates, self.kept, self.order.key_of(first))
        except BaseException:
            self.book(state, first, losses, rates, min(self.trainer.epochs_run, len(rates) - 1))
            raise
        whole = self.trainer.epochs_run - 1
        self.book(state, first, losses, rates, whole)
        state.loss = float(losses[whole])
        return True

    def book(self, state, first, losses, rates, whole):
        """Keep what so many whole epochs have left."""
        keeper, done = self.keeper, self.keeper.epochs_done + whole
        found, state.rates, state.epoch = losses[:whole].tolist(), rates[whole], first + whole
        state.history.loss.extend(found)
        if whole:  # from here on nothing can fail: parameters and their number go together
            keeper.parameters, self.kept = self.kept, keeper.parameters
            keeper.epochs_done = done

    def rates_from(self, first, n_epochs):
        """Return the learning rates of some epochs, (n,) or (n, steps): of fewer where a schedule
        fails at a later one, which is for the driver to see in its turn."""
        found = []
        for epoch in range(first, first + n_epochs):
            try:
                found.append(self.rates.of(epoch))
            except Exception:
                if not found:
                    raise
                break
        return np.array(found, np.float64)


def bursts_of(trainer, order, rates, keeper, hooks):
    """Return the `Bursts` of a fit; None where something of it needs Python in each epoch."""
    for hook in hooks:
        if not getattr(hook, "quiet", False):  # whether it need not be told of each epoch
            return None
    if not trainer.runs_ahead:
        return None
    schedule = rates.schedule
    if callable(schedule) or isinstance(schedule, Schedule) and (
            isinstance(schedule, ByStep) or type(schedule).__module__ != Schedule.__module__):
        return None  # the user's, which may look at what has been done
    return Bursts(trainer, order, rates, keeper)
