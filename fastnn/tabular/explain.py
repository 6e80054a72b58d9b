"""What each column has contributed to a prediction: sampled Shapley values."""

from typing import NamedTuple

import numpy as np

from fastnn.core import validation

__all__ = ["BACKGROUND", "SAMPLES", "Explanation", "explain"]

BACKGROUND = 64  # rows that stand for a column that is not known
SAMPLES = 256  # pairs of orders of the columns, of each row
CHUNK = 1 << 15  # rows of networks at a time
MOST_SAMPLES = 1 << 20  # a million passes: errors of a thousandth, after many minutes for a row


class Explanation(NamedTuple):
    """Contributions of columns to predictions.

    ``base_values + values.sum(axis=1)`` is the prediction of each row.

    Attributes
    ----------
    values : float64 array (n_rows, n_columns) or (n_rows, n_columns, n_outputs)
        Shapley values, in the units of the prediction; the third axis is there where a prediction
        is more than one number.
    errors : float64 array of the same shape
        Standard errors of the values, from the spread over the sampled orders.
    base_values : float or float64 array (n_outputs,)
        Mean prediction of the background rows.
    feature_names : tuple of str
    """

    values: np.ndarray
    errors: np.ndarray
    base_values: np.ndarray
    feature_names: tuple


def explain(model, table, predict, *, samples=SAMPLES, background=BACKGROUND, seed=0, strict=False):
    """Return the `Explanation` of rows.

    Shapley values (Shapley 1953; Strumbelj & Kononenko 2014) of the game whose value for a set of
    columns is the mean prediction with these columns of the row and the others of a background row.
    Each background row is taken equally often; with it an order of the columns is drawn, in which
    they change from the background row's to the row's one after the other, and back in the reversed
    order (antithetic pairs; Mitchell, Cooper, Frank & Holmes 2022). The changes of a pass add up to
    the difference of both predictions, so values add up exactly.

    Parameters
    ----------
    model : TabularModel
    table : table
    predict : callable
        From outputs of networks (n, n_out) to predictions (n, k).
    samples : int, default=256
        Pairs of orders of each row, at most 2**20; a multiple of the number of background rows is
        made of it. Their contributions are summed as they come: memory does not depend on it.
    background : int, default=64
        At most so many rows of ``model.reference``.
    seed : int, default=0
    strict : bool, default=False
        As for `TabularModel.predict`.

    Returns
    -------
    Explanation
        With values of shape (n_rows, n_columns), or (n_rows, n_columns, k) where k is above 1.
    """
    samples = validation.check_count("samples", samples)
    if samples > MOST_SAMPLES:
        raise ValueError(f"samples={samples} must be at most {MOST_SAMPLES}: errors fall with its "
                         "root, and 256 are usual")
    background = validation.check_count("background", background)
    seed = validation.check_count("random_state", seed, 0)
    if model.ensemble.constant is not None:  # whatever a row holds
        base = predict(model.ensemble.constant[np.newaxis])[0]
        nothing = np.zeros((len(model.inputs(table, strict)), len(model.groups), len(base)))
        return _explanation(model, nothing, nothing.copy(), base)
    if model.reference is None:
        raise ValueError("the model has kept no rows that could be the background of an "
                         "explanation")
    inputs = model.inputs(table, strict)
    rng = np.random.default_rng(seed)
    m = len(model.reference)
    chosen = model.reference.inputs[np.sort(rng.permutation(m)[:background])]
    groups = [group for group in model.groups if not group.is_empty]
    places = [j for j, group in enumerate(model.groups) if not group.is_empty]
    b = len(chosen)
    rounds = max(-(-samples // b), 2)  # at least two with each background row: for the errors
    at_once = max(CHUNK // ((2 * len(groups) + 1) * b), 1)
    outputs = predict(model.ensemble.outputs(chosen))
    base = outputs.mean(axis=0)
    shape = len(inputs), len(model.groups), outputs.shape[1]
    values, errors = np.zeros(shape), np.zeros(shape)
    for i in range(len(inputs)):
        own = np.random.default_rng([seed, i])
        mean, squares, done = 0.0, 0.0, 0
        while done < rounds:  # a few at a time, and their squares by Chan, Golub & LeVeque (1979)
            k = min(at_once, rounds - done)
            orders = np.stack([own.permutation(len(groups)) for _ in range(b * k)])
            some = _contributions(model.ensemble, inputs[i:i + 1], chosen, groups, orders, predict)
            some = some.reshape(k, b, len(groups), -1)
            own_mean = some.mean(axis=0)
            change = own_mean - mean
            squares = (squares + ((some - own_mean) ** 2).sum(axis=0)
                       + change ** 2 * (done * k / (done + k)))
            mean = mean + change * (k / (done + k))
            done += k
        values[i, places] = mean.mean(axis=0)
        errors[i, places] = np.sqrt((squares / (rounds - 1)).mean(axis=0) / (rounds * b))
    return _explanation(model, values, errors, base)


def _explanation(model, values, errors, base):
    """Return the `Explanation` of a model, without an axis of one number."""
    if values.shape[2] == 1:
        values, errors, base = values[:, :, 0], errors[:, :, 0], float(base[0])
    return Explanation(values, errors, base, tuple(group.name for group in model.groups))


def _contributions(ensemble, row, background, groups, orders, predict):
    """Return contributions (n_orders, n_groups, k), each the mean of an order and its reverse."""
    p, b = len(groups), len(background)
    found = []
    per_chunk = max(CHUNK // (2 * p + 1), 1)
    for start in range(0, len(orders), per_chunk):
        some = orders[start:start + per_chunk]
        n = len(some)
        rank = np.empty_like(some)  # of each column its place in the order
        np.put_along_axis(rank, some, np.arange(p)[np.newaxis].repeat(n, 0), axis=1)
        steps = np.arange(p + 1)
        # known (n, 2 p + 1, p): forwards none to all, then all to none in the same order, so that
        # what is still known are the last ones: the reversed order, read from its end
        known = np.concatenate([rank[:, np.newaxis] < steps[:, np.newaxis],
                                rank[:, np.newaxis] >= steps[1:, np.newaxis]], axis=1)
        known = known.reshape(-1, p)
        others = background[np.repeat((start + np.arange(n)) % b, 2 * p + 1)]
        numbers, codes = others.numbers.copy(), others.codes.copy()
        for j, group in enumerate(groups):
            for column in group.numbers:
                numbers[known[:, j], column] = row.numbers[0, column]
            for column in group.codes:
                codes[known[:, j], column] = row.codes[0, column]
        outputs = predict(ensemble.outputs(type(row)(numbers, codes)))
        outputs = outputs.reshape(n, 2 * p + 1, -1)
        changes = np.diff(outputs, axis=1)
        forwards, backwards = changes[:, :p], -changes[:, p:]
        both = (forwards + backwards) / 2
        own = np.empty_like(both)
        np.put_along_axis(own, some[:, :, np.newaxis], both, axis=1)
        found.append(own)
    return np.concatenate(found)
