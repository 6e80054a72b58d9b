"""`fit_batches` of the estimators: a loop of `partial_fit` over a source of batches."""

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.utils.multiclass import _check_partial_fit_first_call

from fastnn.core import validation
from fastnn.core._signals import Guarded
from fastnn.core.notices import warn
from fastnn.core.threads import sole_fit
from fastnn.estimators.arrays import sound
from fastnn.estimators.batch_file import BatchFile
from fastnn.estimators.checkpoint import START
from fastnn.estimators.twins import take_over
from fastnn.training.batches import Prefetch, Source, check_batch
from fastnn.training.epochs import Hook

__all__ = ["fit_batches"]


class _NoteInterrupt(Hook):
    """Knows afterwards whether Ctrl-C has ended an epoch, which then returns as if complete."""

    def __init__(self):
        self.came = False

    def on_fit_end(self, state):
        """Take the reason."""
        self.came = state.reason == "interrupted"


def fit_batches(est, source, epochs, classes=None, checkpoint=None, checkpoint_seconds=10.0):
    """Train an estimator on the batches of a source: all of it, or nothing.

    Parameters
    ----------
    est : MLPClassifier or MLPRegressor
        Starts anew unless ``warm_start``.
    source : iterable or callable
        See `MLP.fit_batches`.
    epochs : int
    classes : array-like or None, default=None
        All labels; None: found in a first pass over the source.
    checkpoint : str, path or None, default=None
    checkpoint_seconds : float, default=10.0

    Returns
    -------
    est
    """
    epochs = validation.check_count("epochs", epochs)
    source = Source(source, epochs)
    with sole_fit(est):
        before = dict(vars(est))
        twin = est._twin() if est.warm_start else type(est)(**est.get_params(deep=False))
        twin._validate_params()
        file, done = None, 0
        if checkpoint is not None:
            source.check_again(checkpoint)
            file = BatchFile(checkpoint, checkpoint_seconds, est, epochs)
            done = file.restore(twin)
        if is_classifier(est):
            if classes is None and "classes_" not in vars(twin):
                classes = _find_classes(source)
            _check_partial_fit_first_call(twin, classes)
        interrupted = _NoteInterrupt()
        try:
            for epoch in range(done, epochs):
                _one_pass(twin, source, epoch, interrupted)
                if interrupted.came:
                    break
                if file is not None and (epoch + 1 == epochs or file.is_due):
                    file.write(twin, epoch + 1)
        except KeyboardInterrupt:
            if "coefs_" not in vars(twin):
                raise
            interrupted.came = True
            warn("Training interrupted by user.")
        if file is not None:  # then the same call goes on from there
            twin._interrupted_from = file.fit[START] if interrupted.came else None
        take_over(est, twin, before)
    return est


def _one_pass(twin, source, epoch, interrupted):
    ready = Prefetch(source.batches(epoch), _checked)
    number = 0
    with Guarded(ready.begin, ready.end):
        for number, (X, y, weight) in enumerate(ready, 1):
            try:
                twin._fit(X, y, weight, one_epoch=True, hooks=(interrupted,))
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"batch {number - 1} of the source: {error}") from error
            if interrupted.came:
                return
    if number == 0:
        raise ValueError(f"source gave no batch in epoch {epoch}, must give one at least")


def _checked(number, batch):
    """(X, y, sample_weight) of a batch, in copies: a source may fill the same arrays again."""
    return check_batch(number, batch, _sound)


def _sound(X, y, sample_weight):
    return sound("X", X), sound("y", y), sample_weight  # first: SciPy copies by compiled code


def _find_classes(source):
    """Return all labels of a source, which is gone through once for that."""
    if source.once:
        raise ValueError("source can be gone through once: give classes=, all labels that it may "
                         "hold, or a list or a function instead")
    found = []
    ready = Prefetch(source.batches(0), _checked)
    with Guarded(ready.begin, ready.end):
        for _, y, _ in ready:
            several = np.ndim(y) == 2 and np.shape(y)[1] > 1
            labels = np.arange(np.shape(y)[1]) if several or sp.issparse(y) else np.unique(y)
            found.append(labels)
    if not found:
        raise ValueError("source gave no batch in epoch 0, must give one at least")
    return np.unique(np.concatenate(found))
