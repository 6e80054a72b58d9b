"""Rows to learn from, rows to judge by, and their weights."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fastnn.cli.common import CommandError, count, near, note
from fastnn.core.rows import moderate_weights
from fastnn.tables.errors import TableError
from fastnn.tables.labels import learn_target

__all__ = ["Rows", "class_weights", "folds_of", "naming_test", "read_weights", "split_rows",
           "truth_of"]


@dataclass
class Rows:
    """Rows of a table whose target is known.

    Attributes
    ----------
    table : Table
        The columns to learn from.
    truth : array
        Numbers of classes (n,), or values (n, n_targets).
    weight : float64 array (n,) or None
    """

    table: object
    truth: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self):
        return len(self.truth)

    def __getitem__(self, rows):
        return Rows(self.table.rows(rows), self.truth[rows],
                    None if self.weight is None else self.weight[rows])


def split_rows(n_rows, codes, fraction, rng):
    """Return rows to learn from and rows held out, both in the table's order; classes are shared
    alike."""
    order = rng.permutation(n_rows)
    if codes is None:
        n_held = min(max(1, round(fraction * n_rows)), n_rows - 1)
        return np.sort(order[n_held:]), np.sort(order[:n_held])
    # of each class its share, and always one left to learn from
    held = []
    for code in range(codes.max() + 1):
        members = order[codes[order] == code]
        held.append(members[:min(round(fraction * len(members)), len(members) - 1)])
    held = np.concatenate(held)
    if len(held) == 0:
        raise CommandError(f"a share of {fraction:g} of {count(n_rows, 'row')} holds out none; "
                           "give more rows or a larger --test-fraction")
    return np.setdiff1d(np.arange(n_rows), held), np.sort(held)


def folds_of(n_rows, codes, n_folds, rng):
    """Return the rows of so many folds; classes are shared alike."""
    order = rng.permutation(n_rows)
    if codes is not None:
        order = order[np.argsort(codes[order], kind="stable")]
    return [np.sort(order[i::n_folds]) for i in range(n_folds)]


def read_weights(table, name, quiet=False):
    """Return the weights in a column, float64 (n,), at least 0; how they are read is noted."""
    if name not in table:
        raise CommandError(f"--weight: the table has no column {name!r}{near(name, table.names)}")
    try:
        weight, notes = learn_target(table.column(name), name=name)
    except TableError as error:
        raise CommandError(f"--weight needs numbers, but {error}") from None
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(bad.argmax())
        value = "missing" if np.isnan(weight[row]) else f"{weight[row]:g}"
        raise CommandError(f"--weight: column {name!r} is {value} in row {table.row_label(row)}; "
                           "weights must be numbers, 0 or more")
    if not weight.any():
        raise CommandError(f"--weight: column {name!r} is 0 in all rows")
    for text in notes:
        note(text, quiet)
    return moderate_weights(weight)


def class_weights(codes, weight):
    """Return weights with which all classes weigh the same in all, as scikit-learn's "balanced"."""
    counts = np.bincount(codes)
    balanced = (len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[codes]
    return balanced if weight is None else weight * balanced


def truth_of(table, names, labels, what, quiet, weight=None):
    """Return the `Rows` of another table whose target is known, of all its columns.

    Parameters
    ----------
    table : Table
    names : list of str
        Targets.
    labels : Labels or None
        Of classes; None: numbers.
    what : str
        Which table, for messages.
    quiet : bool
    weight : str or None, default=None
        Column of weights.
    """
    weight = None if weight is None else read_weights(table, weight, quiet)
    for name in names:
        if name not in table:
            raise CommandError(f"{what} has no column {name!r}, which is the target"
                               f"{near(name, table.names)}")
    try:
        if labels is None:
            found = [learn_target(table.column(name), name=name) for name in names]
            for text in (text for _, notes in found for text in notes):
                note(f"{what}: {text}", quiet)
            truth = np.column_stack([values for values, _ in found])
            known = ~np.isnan(truth).any(axis=1)
        else:
            truth = labels.apply(table.column(names[0]))
            known = truth >= 0
    except TableError as error:
        raise CommandError(f"{what}: {error}") from None
    if not known.any():
        raise CommandError(f"{what}: the target is missing in all rows")
    if not known.all():
        note(f"{what}: {count(int((~known).sum()), 'row')} left out: the target is missing there",
             quiet)
    if known.all():
        return Rows(table, truth, weight)
    return Rows(table.rows(known), truth[known], None if weight is None else weight[known])


@contextmanager
def naming_test(options):
    """Say of errors of the table of --test, where there is one, that they are of it."""
    try:
        yield
    except (CommandError, TableError) as error:
        if options.test is None:
            raise
        raise CommandError(f"--test {options.test!r}: {error}") from None
