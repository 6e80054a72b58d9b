"""Checkpoints of `fit_batches` of the estimators: the fitted model after a pass over the source.

A file (files/container.py) holds the parameters, the state of the optimizer and the curves as
arrays, and in its settings

========  =====================================================================================
progress  passes that are done, and what else belongs to the model and its optimizer
fit       what decides the result: a fit that differs is refused
========  =====================================================================================

The source is not compared, and `random_state` is part of the file where it is a `RandomState`.
"""

import os

import numpy as np

from fastnn.core import validation
from fastnn.estimators import saving
from fastnn.estimators.checkpoint import (
    DRAWN,
    START,
    STATE_WORDS,
    described,
    random_of,
    random_to_plain,
    start_of,
)
from fastnn.files import container
from fastnn.files.plain import from_plain, labels_from_plain, labels_to_plain, to_plain
from fastnn.prediction.predictor import Predictor
from fastnn.training.fit_file import MAX_COUNT, FitFile

__all__ = ["BatchFile"]

MOST_CLASSES = 1 << 20
CURVE = "curves."
PROGRESS = ("epochs", "sizes", "dtype", "output", "fitted", "curves", "classes", "feature_names",
            "rate", "step", "moments", "weights", "random")


class BatchFile(FitFile):
    """The file of one `fit_batches`.

    Parameters
    ----------
    path, seconds
        See `FitFile`.
    est : estimator
        That is to be fitted; a model that the file does not know of where it starts anew.
    epochs : int
        Of the fit.
    """

    digests = (*FitFile.digests, START)

    def __init__(self, path, seconds, est, epochs):
        fresh = not est.warm_start or not hasattr(est, "coefs_")
        self.est, self.epochs = est, epochs
        start = DRAWN if fresh else start_of(est, fresh)
        super().__init__(path, validation.check_nonnegative("checkpoint_seconds", seconds),
                         {**described(est), "batches": "there", START: start}, None, 0, ())

    # ---- reading ----

    def restore(self, twin):
        """Make a model that of the file, if there is one; return how many passes are done."""
        if not self.is_there:
            return 0
        arrays, settings = self.load()
        progress = from_plain(settings["progress"], list)
        try:
            return self._restored(twin, arrays, progress)
        except saving.ERRORS as error:
            self.refuse(error)

    def _restored(self, twin, arrays, progress):
        network = self._network(progress)
        network.parameters[:] = arrays["parameters"]
        classes = progress["classes"]
        fitted = {**progress["fitted"], **{
            name: arrays[CURVE + name].tolist() for name in progress["curves"]}}
        classes = None if classes is None else labels_from_plain(classes, MOST_CLASSES)
        saving.restore(twin, Predictor(network, self._task(progress, fitted), classes=classes,
                                       feature_names=progress["feature_names"]), fitted)
        twin._optimizer_state = {
            "solver": twin.solver, "learning_rate": progress["rate"], "step": progress["step"],
            "moments": [np.array(arrays[f"optimizer.{i}"]) for i in range(self.n_states)]}
        if progress["weights"]:
            twin._optimizer_state["weights"] = np.array(arrays["weights"])
        if progress["random"] is not None:
            twin.random_state.set_state(random_of(arrays["random"], progress["random"]))
        return progress["epochs"]

    def _task(self, progress, fitted):
        """Return the task of a model of the file."""
        twin = self.est._twin()
        twin.out_activation_ = progress["output"]
        twin.n_outputs_ = progress["sizes"][-1]
        vars(twin).update(fitted)
        return twin._task()

    def _network(self, progress):
        """Return the network of a model of the file, its parameters 0."""
        twin = self.est._twin()
        twin.out_activation_ = progress["output"]
        return twin._new_network(progress["sizes"], progress["dtype"])

    def _expected(self, settings):
        """Return the arrays of a checkpoint with these settings."""
        if "progress" not in settings:
            raise container.ModelFormatError("is a model, not a checkpoint: choose another file")
        progress = from_plain(settings["progress"], list)
        fit = self.checked_fit(settings, progress)
        for key, was, now in self.differences(fit, self.fit):
            self.refuse_other(key, was, now)
        if progress.keys() != set(PROGRESS):
            raise ValueError(f"progress holds {sorted(map(str, progress))}")
        for name in ("epochs", "step", "moments"):
            if validation.check_count(name, progress[name], minimum=0) > MAX_COUNT:
                raise ValueError(f"{name}={progress[name]} must be <= {MAX_COUNT}")
        if progress["epochs"] > self.epochs:
            raise container.ModelFormatError(
                f"is the checkpoint of {progress['epochs']} passes, this fit has epochs="
                f"{self.epochs}: give at least as many, or delete the file to start anew")
        validation.check_real("rate", progress["rate"])
        validation.check_name("output", progress["output"], saving.OUTPUTS)
        sizes = progress["sizes"]
        if sizes[1:-1] != list(self.est._hidden_sizes()):
            raise ValueError(f"sizes={sizes} are not those of the estimator")
        room = os.path.getsize(self.path) // 4
        if sum(validation.check_count("sizes", n) for n in sizes) > room:
            raise ValueError(f"sizes={sizes} are more than the file holds")
        if sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) > room:
            raise ValueError(f"sizes={sizes} are more than the file holds")
        self.layout, self.n_states = self._network(progress)._layout, progress["moments"]
        if self.n_states * self.layout.size > room:
            raise ValueError(f"moments={self.n_states} are more than the file holds")
        found = self.flat_arrays(settings)
        if validation.check_flag("weights", progress["weights"]):
            found["weights"] = found["parameters"]
        for name, length in progress["curves"].items():
            found[CURVE + name] = "float64", (validation.check_count(name, length, minimum=0),)
        if (progress["random"] is None) == isinstance(self.est.random_state, np.random.RandomState):
            raise ValueError("random must be there where random_state is a RandomState")
        if progress["random"] is not None:
            found["random"] = "float64", (STATE_WORDS,)
        return found

    # ---- writing ----

    def write(self, twin, epochs):
        """Replace the file by one of a model after so many passes."""
        network, state = twin._current_network(), twin._optimizer_state
        self.layout, self.n_states = network._layout, len(state["moments"])
        arrays = {"parameters": network.parameters}
        for i, moment in enumerate(state["moments"]):
            arrays[f"optimizer.{i}"] = moment
        if "weights" in state:
            arrays["weights"] = state["weights"]
        fitted, curves = saving.fitted_of(twin), {}
        for name, value in tuple(fitted.items()):
            if isinstance(value, list):  # longer than a header may be
                arrays[CURVE + name] = np.array(fitted.pop(name), float)
                curves[name] = len(value)
        random = None
        if isinstance(twin.random_state, np.random.RandomState):
            arrays["random"], random = random_to_plain(twin.random_state)
        names = vars(twin).get("feature_names_in_")
        classes = vars(twin).get("classes_")
        progress = {
            "epochs": epochs, "sizes": list(network.sizes), "dtype": network.dtype.name,
            "output": twin.out_activation_, "fitted": fitted, "curves": curves,
            "feature_names": None if names is None else list(names),
            "rate": float(state["learning_rate"]), "step": state["step"],
            "moments": self.n_states, "weights": "weights" in state, "random": random}
        progress = {"dict": [*to_plain(progress)["dict"], ["classes", None if classes is None else (
            to_plain(labels_to_plain(classes)))]]}
        self.replace(arrays, {"fit": self.fit, "progress": progress})
