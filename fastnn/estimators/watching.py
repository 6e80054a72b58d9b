"""Rows that are not trained on: whose they are, and what is watched of them."""

from numbers import Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring, get_scorer_names

from fastnn.core import words
from fastnn.core.notices import shown

__all__ = ["HeldOut", "Scorer", "validation_set"]


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
