"""`Reference`: rows of training that a model keeps, to measure itself by."""

import numpy as np

from fastnn.tabular.networks import Ensemble

__all__ = ["Reference"]

MOST_ROWS = 1000
MOST_CELLS = 200_000  # of all rows together; a wide table keeps fewer of them
LEAST_ROWS = 64
MOST_RESIDUALS = 20_000
ALL = -1  # in the place of a fold: none of the networks has learned from the row


class Reference:
    """A sample of the rows of training or validation.

    Importances are measured on them, by networks that have not learned from them; they are the
    background of explanations; residuals say how wide an interval has to be.

    Attributes
    ----------
    inputs : Inputs
        Of m rows.
    targets : float64 array (m,) or (m, n_targets)
        As `Task.targets` gives them.
    weight : float64 array (m,) or None
    folds : int array (m,)
        Of each row a place in ``unseen``, or -1: no network has learned from it.
    unseen : list of list of int
        For each fold the numbers of the networks that have not learned from its rows.
    residuals : float64 array (k, n_out + n_targets)
        Outputs and targets of rows by networks that have not learned from them: more rows than m.
    """

    def __init__(self, inputs, targets, weight, folds, unseen, residuals):
        self.inputs, self.targets, self.weight = inputs, targets, weight
        self.folds, self.unseen, self.residuals = folds, unseen, residuals

    @classmethod
    def of(cls, inputs, targets, weight, ensemble, task, validation, seed):
        """Return the reference of a fit; None where no row is left that a network has not seen.

        Parameters
        ----------
        inputs, targets, weight
            Of the rows of training, as `fastnn.tabular.recipe.fit` has them.
        ensemble : Ensemble
        task : Task
        validation : tuple (inputs, targets, weight) or None
        seed : int
        """
        rng = np.random.default_rng(seed)
        if validation is not None:
            inputs, targets, weight = validation
            folds, unseen = np.full(len(inputs), ALL), []
            outputs = ensemble.outputs(inputs)
        elif ensemble.folds is None or ensemble.held_out is None:
            return None
        else:
            folds, unseen = _by_rows(ensemble.folds, len(inputs))
            outputs = ensemble.held_out
        rows = np.flatnonzero((folds != _NOBODY) & np.isfinite(outputs).all(axis=1))
        if not len(rows):
            return None
        rows = rng.permutation(rows)
        columns = max(inputs.numbers.shape[1] + inputs.codes.shape[1], 1)
        chosen = np.sort(rows[:max(min(MOST_ROWS, MOST_CELLS // columns), LEAST_ROWS)])
        more = rows[:MOST_RESIDUALS]
        flat = np.asarray(targets, float).reshape(len(targets), -1)
        return cls(inputs[chosen], np.asarray(targets, float)[chosen],
                   None if weight is None else np.asarray(weight, float)[chosen], folds[chosen],
                   unseen, np.concatenate([outputs[more], flat[more]], axis=1))

    def __len__(self):
        return len(self.targets)

    def ensembles(self, ensemble):
        """Yield (rows, Ensemble) for each fold: the networks that have not learned from them."""
        everyone = ensemble.networks
        owners = [part.encoding for part in ensemble.parts for _ in part.networks]
        for fold in np.unique(self.folds).tolist():
            rows = np.flatnonzero(self.folds == fold)
            if fold == ALL:
                yield rows, ensemble
                continue
            numbers = self.unseen[fold]
            yield rows, Ensemble([(owners[i], [everyone[i]]) for i in numbers],
                                 ensemble.weights[numbers])

    def settings(self):
        """Return plain values for a file."""
        return {"rows": len(self), "unseen": self.unseen, "weighted": self.weight is not None,
                "classes": self.targets.ndim == 1}

    def arrays(self):
        """Return float64 arrays for a file, by name."""
        found = {"numbers": self.inputs.numbers, "codes": self.inputs.codes.astype(float),
                 "targets": self.targets.reshape(len(self), -1), "folds": self.folds.astype(float),
                 "residuals": self.residuals}
        return found if self.weight is None else {**found, "weight": self.weight}

    @classmethod
    def from_parts(cls, settings, arrays, make_inputs, n_networks, task):
        """Return the reference of `settings` and `arrays`.

        Parameters
        ----------
        make_inputs : callable
            From numbers and codes to `Inputs`.
        n_networks : int
            Of the ensemble.
        task : Task
        """
        m, unseen = len(arrays["folds"]), settings["unseen"]
        if not all(fold and isinstance(fold, list) and all(
                type(i) is int and 0 <= i < n_networks for i in fold) for fold in unseen):
            raise ValueError("unseen must hold numbers of networks")
        _check_arrays(settings, arrays, m, task)
        folds = arrays["folds"].astype(np.intp)
        if m and not (folds.min() >= ALL and folds.max() < len(unseen)):
            raise ValueError("folds must be places in unseen")
        targets = np.array(arrays["targets"])
        return cls(make_inputs(np.array(arrays["numbers"]), arrays["codes"].astype(np.int32)),
                   targets[:, 0] if settings["classes"] else targets,
                   np.array(arrays["weight"]) if settings["weighted"] else None, folds,
                   [list(fold) for fold in unseen], np.array(arrays["residuals"]))


def _check_arrays(settings, arrays, m, task):
    """Raise ValueError where rows, targets, weights and residuals do not fit together."""
    shapes = {"targets": (m, task.n_targets), "weight": (m,),
              "residuals": (len(arrays["residuals"]), task.n_out + task.n_targets)}
    for name in ("targets", "residuals", *(["weight"] if settings["weighted"] else [])):
        if arrays[name].shape != shapes[name] or not np.isfinite(arrays[name]).all():
            raise ValueError(f"reference.{name} must be finite and of shape {shapes[name]}")
    if any(arrays[name].ndim != 2 or len(arrays[name]) != m for name in ("numbers", "codes")) or (
            arrays["folds"].ndim != 1 or not m):
        raise ValueError("the arrays of reference must be of one length, 1 at least")
    targets, top = arrays["targets"], task.n_out - 1 if task.kind == "multiclass" else 1
    if task.kind != "regression" and not (targets.min() >= 0 and targets.max() <= top):
        raise ValueError("reference.targets must be classes of the task")
    if settings["classes"] != (task.kind == "multiclass"):
        raise ValueError(f"reference.classes={settings['classes']!r} does not fit the task")
    if settings["weighted"] and not (arrays["weight"].min() >= 0 and arrays["weight"].sum() > 0):
        raise ValueError("reference.weight must be >= 0, and not all 0")


_NOBODY = -2  # a row that all networks have learned from


def _by_rows(folds, n):
    """Return of each row the number of its fold, and of each fold its networks.

    Rows that several folds hold count for the first.
    """
    numbers, unseen, seen = np.full(n, _NOBODY), [], {}
    for i, rows in enumerate(folds):
        key = np.asarray(rows).tobytes()
        if key in seen:
            unseen[seen[key]].append(i)
            continue
        seen[key] = len(unseen)
        rows = np.asarray(rows)
        numbers[rows[numbers[rows] == _NOBODY]] = len(unseen)
        unseen.append([i])
    return numbers, unseen
