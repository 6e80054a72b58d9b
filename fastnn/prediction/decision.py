"""From the outputs of a network to what it decides: classes and labels."""

import numpy as np

THRESHOLD = 0.5  # a label holds where its probability is larger


def class_numbers(output, n_classes, threshold=THRESHOLD):
    """Return the number of the most probable class of each row, intp (n_samples,).

    Parameters
    ----------
    output : array (n_samples, n_out)
        Probability, or margin, of each class; one column holds that of the second of two classes.
    n_classes : int
        1 where the model knows one class only.
    threshold : float, default=0.5
        Of one column; 0 for margins.
    """
    if output.shape[1] > 1:
        return output.argmax(axis=1)
    if n_classes < 2:
        return np.zeros(len(output), np.intp)
    return (output[:, 0] > threshold).astype(np.intp)


def labels(output):
    """Return which labels hold, booleans (n_samples, n_labels)."""
    return output > THRESHOLD


def class_probabilities(output, out=None):
    """Return the probabilities of two classes (n_samples, 2), from that of the second
    (n_samples, 1)."""
    if out is None:
        out = np.empty((len(output), 2), output.dtype)
    np.subtract(1, output, out=out[:, :1])
    out[:, 1:] = output
    return out


def quantiles(output, out=None):
    """Return quantiles that never cross, (n_samples, n_levels): those of each row, sorted
    (Chernozhukov, Fernandez-Val & Galichon 2010: no level gets less accurate by it)."""
    if out is None:
        return np.sort(output, axis=1)
    output.sort(axis=1)  # it is ``out``
    return output


def means(output):
    """Return the means (n_samples, n_targets) of outputs that hold means, then logarithms of
    variances."""
    return output[:, :output.shape[1] // 2]


def conformal_margin(away, coverage, rows):
    """Return how far an interval has to reach beyond its ends to hold a new value with a
    probability of ``coverage``, () or (n_targets,): the ceil((n + 1) coverage)-th smallest of n
    distances (Romano, Patterson & Candes 2019).

    Parameters
    ----------
    away : array (n_rows,) or (n_rows, n_targets)
        How far rows that were not trained on are beyond the ends; below 0 inside.
    coverage : float
        In (0, 1).
    rows : str
        What such rows are called.

    Raises
    ------
    ValueError
        On too few rows for this coverage.
    """
    n = len(away)
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    if rank > n:
        least = int(np.ceil(coverage / (1 - coverage) - 1e-9))
        raise ValueError(f"coverage={coverage} needs at least {least} {rows}, there are {n}")
    return np.partition(away, rank - 1, axis=0)[rank - 1]
