"""scikit-learn's callbacks (`sklearn.callback`, from version 1.9 on): the epochs of a fit as tasks.

The fit is the root task, each epoch, or iteration of L-BFGS, one of its own.
"""

from sklearn.utils import _safe_indexing

from fastnn.training.epochs import Hook

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""


__all__ = ["CallbackSupportMixin", "FitTasks"]

# attributes that no copy of a model needs to predict, or that are of the fit itself
_INTERNAL = ("_skl_", "_callback_", "_parent_", "_network", "_checked_settings", "_interrupted")


class FitTasks(Hook):
    """Calls scikit-learn's callbacks of an estimator.

    Parameters
    ----------
    est : estimator
        Whose `fit` was called, and that the callbacks know. It runs on a twin.
    X, y, sample_weight
        As `fit` was given them.
    """

    def __init__(self, est, X, y, sample_weight):
        self.est, self.task = est, None
        self.take(X, y, sample_weight)
        self.root = est._init_callback_context(max_subtasks=est.max_iter)
        self.root.call_on_fit_task_begin(estimator=est, X=X, y=y, metadata=self.metadata)

    def take(self, X, y, sample_weight, rows=None, publish=None):
        """Take the rows to train on: all (None), or those of these numbers; and what makes the
        twin the model with given parameters."""
        self.X, self.y, self.rows, self.publish = X, y, rows, publish
        self.metadata = None if sample_weight is None else {
            "sample_weight": self._chosen(sample_weight)}
        self.chosen = {}

    def _chosen(self, data):
        return data if self.rows is None else _safe_indexing(data, self.rows)

    def _X(self):
        if "X" not in self.chosen:
            self.chosen["X"] = self._chosen(self.X)
        return self.chosen["X"]

    def _y(self):
        if "y" not in self.chosen:
            self.chosen["y"] = self._chosen(self.y)
        return self.chosen["y"]

    def _arguments(self, state):
        return {"estimator": self.est, "X": self._X, "y": self._y, "metadata": self.metadata,
                "reconstruction_attributes": lambda: self._attributes(state)}

    def _attributes(self, state):
        """Return what a copy of the estimator needs to predict as the model does now."""
        model = state.model
        self.publish(state.parameters)
        params, found = model.get_params(deep=False), {}
        for name, value in vars(model).items():
            if name not in params and not name.startswith(_INTERNAL):
                if isinstance(value, list):  # of arrays that the next epoch changes, or a curve
                    value = [item.copy() if hasattr(item, "copy") else item for item in value]
                found[name] = value
        return found

    def _begin(self, state):
        self.task = self.root.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self._arguments(state))

    def _end(self, state):
        task, self.task = self.task, None
        return task.call_on_fit_task_end(**self._arguments(state))

    def on_fit_begin(self, state):
        """Begin the first epoch."""
        if state.epoch + 1 < state.epochs:
            self._begin(state)

    def on_epoch_end(self, state):
        """End the epoch; begin the next one where there is one."""
        if self._end(state):
            state.stop("stopped")
        if state.reason is None and state.epoch + 1 < state.epochs:
            self._begin(state)

    def on_fit_end(self, state):
        """End a task that another hook, or the solver, has left open."""
        if self.task is not None and state.reason != "failed":
            self._end(state)

    def done(self):
        """End the task of the whole fit."""
        self.root.call_on_fit_task_end(
            estimator=self.est, X=self.X, y=self.y, metadata=self.metadata,
            reconstruction_attributes={})
