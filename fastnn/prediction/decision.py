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
    return ((output[:, 0] > threshold) & (n_classes > 1)).astype(np.intp)


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
