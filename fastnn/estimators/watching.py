"""Rows that are not trained on: whose they are, and what is watched of them."""

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import train_test_split

from fastnn.core import words
from fastnn.core.arrays import is_sparse
from fastnn.core.cures import other_scale
from fastnn.core.notices import hint, shown
from fastnn.core.rows import check_total_weight
from fastnn.estimators import wording
from fastnn.learning import FULL_BATCH_ROWS

__all__ = ["WithHeldOut", "validation_set"]


def validation_set(validation_data, X_val, y_val, sample_weight_val):
    """Return the validation rows of `fit` as one tuple, or None."""
    if X_val is None and y_val is None and sample_weight_val is None:
        return validation_data
    if validation_data is not None:
        raise ValueError("validation_data and X_val are both given: leave one of them out")
    if y_val is None and X_val is not None:
        raise ValueError("X_val is provided, but y_val was not provided: give both")
    if X_val is None:
        name = "sample_weight_val" if y_val is None else "y_val"
        raise ValueError(f"{name} is provided, but X_val was not provided: give both X_val and "
                         "y_val")
    return X_val, y_val, sample_weight_val


class WithHeldOut:
    """What an estimator does with rows that it is not trained on."""

    def _hold_out(self, network, data, validation_data, rng, fresh, stop_by_loss):
        """Return the rows to train on (None: all) and those to watch (None: no rows)."""
        target, weight = data[1:3]
        rows, stopping = None, self.early_stopping and self.solver != "lbfgs"
        if validation_data is not None:
            held = self._check_validation_data(validation_data, network.dtype)
            hint("validation scale", other_scale(data[0], held[0]))
        elif stopping:
            rows, held_rows = self._split(data[0].shape[0], target, rng)
            held = [None if a is None else a[held_rows] for a in data]
            if weight is not None:
                check_total_weight("sample_weight of the rows to train on", weight[rows])
        else:
            self.validation_loss_curve_ = None
            return None, None
        if stopping and held[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if held[2] is not None:
            check_total_weight("sample_weight of the held-out rows", held[2])
        past = None if fresh else vars(self).get("validation_loss_curve_")
        self.validation_loss_curve_ = past or []
        return rows, self._watch(network, stop_by_loss, *held)

    def _split(self, n_samples, target, rng):
        """Draw the rows to train on and those held out by early stopping."""
        stratify = None
        if isinstance(self, ClassifierMixin) and self.n_outputs_ == 1:
            # Names instead of booleans: train_test_split's message about rare classes prints them.
            stratify = np.where(target[:, 0] > 0, "True", "False")
        try:
            return train_test_split(np.arange(n_samples), random_state=rng,
                                    test_size=self.validation_fraction, stratify=stratify)
        except ValueError as error:
            raise wording.about_split(error, self.validation_fraction, n_samples) from None

    def _watch(self, network, stop_by_loss, X, target, weight, y):
        """Return the held-out rows in the form the solvers watch."""
        trainer = self._trainer(network, optimizer=None, drops=False,
                                batch_size=min(FULL_BATCH_ROWS, X.shape[0]),
                                sparse=is_sparse(X))
        trainer.set_data(X, target, weight)
        held_out = HeldOut(trainer, X, target, weight)
        if stop_by_loss or self.scoring == "loss":
            held_out.score = held_out.negative_loss
        elif self.scoring is not None and self.early_stopping and self.solver != "lbfgs":
            held_out.score = Scorer(self, network, X, y, weight)
        else:
            held_out.score = held_out.own_score(self, network)
        return held_out

    def _check_validation_data(self, validation_data, dtype):
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError(
                f"validation_data={type(validation_data).__name__} must be a tuple (X, y) or "
                "(X, y, sample_weight)"
            )
        X, y, *sample_weight = validation_data
        try:
            X, y = self._check_data(X, y, dtype=dtype, reset=False)
            target = self._encode(y, dtype, fresh=False, subset=True)
            return X, target, self._check_weight(*sample_weight or [None], X, y), y
        except ValueError as error:
            raise ValueError(f"in the validation rows: {error}") from error


class HeldOut:
    """The rows that are not trained on, watched between epochs.

    ``score`` maps flat network parameters to the score of the rows; who makes it sets it.

    Parameters
    ----------
    trainer : Trainer
        Without optimizer, holding the rows as its data.
    X, target, weight : arrays
        The rows; no weights: None.
    """

    def __init__(self, trainer, X, target, weight):
        self._trainer = trainer
        self.X, self.target, self.weight = X, target, weight
        self.score = None

    def loss(self, parameters):
        """Return the mean loss of the rows, without the L2 term."""
        self._trainer.parameters[:] = parameters
        return self._trainer.loss_and_grad()

    def negative_loss(self, parameters):
        """Return a score that rises where the loss falls."""
        return -self.loss(parameters)

    def own_score(self, est, network):
        """Return a function from parameters to scikit-learn's own score of an estimator."""
        def score(parameters):
            network.parameters[:] = parameters
            return float(est._score_output(network.predict(self.X), self.target, self.weight))

        return score

    def check_learned(self, est, network):
        """Warn where early stopping by accuracy has kept a model that tells no classes apart."""
        if is_classifier(est) and est.scoring is None and self.score != self.negative_loss:
            est._check_learned(network.predict(self.X), self.target, self.weight)


class Scorer:
    """The score of held-out rows by a scorer of scikit-learn's, or by a function like one.

    Parameters
    ----------
    est : estimator
        That is being fitted; its ``scoring`` is the name or the function.
    network : MLP
        Its parameters change.
    X, y, weight : arrays
        The rows, their targets as the user has them, their weights or None.
    """

    def __init__(self, est, network, X, y, weight):
        self.name, self.est, self.network = est.scoring, est, network
        self.X, self.y = X, y
        self.weight = {} if weight is None else {"sample_weight": weight}
        self.model = est._twin()
        vars(self.model).pop("feature_names_in_", None)  # X is an array by now
        try:
            self.scorer = check_scoring(self.model, self.name)
        except ValueError as error:
            hint = ""
            if isinstance(self.name, str):
                hint = words.of_name(self.name, [*get_scorer_names(), "loss"], "metrics")
            raise ValueError(f"scoring={shown(self.name)}: {error}{hint}") from None

    def __call__(self, parameters):
        """Return the score with these parameters of the network."""
        self.network.parameters[:] = parameters
        self.model._publish(self.network)
        epoch = self.est.n_iter_ - 1
        try:
            score = self.scorer(self.model, self.X, self.y, **self.weight)
        except MemoryError:
            raise
        except Exception as error:
            hint = ""
            if self.weight and "sample_weight" in str(error):
                hint = "; it must take the sample weights (and class weights) of the rows"
            raise ValueError(f"scoring={shown(self.name)} failed in epoch {epoch}: "
                             f"{type(error).__name__}: {error}{hint}") from error
        if not isinstance(score, (Real, np.bool_)):
            raise TypeError(f"scoring={shown(self.name)} returned {shown(score)} in epoch {epoch}, "
                            "must be a number")
        return float(score)
