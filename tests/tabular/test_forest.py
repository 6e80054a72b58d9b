"""Trees of rows, beside trees that are walked a split at a time."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn.tables.schema import Inputs
from fastnn.tabular import _forest
from fastnn.tabular._forest import distinct_columns
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.forest import Forest

SIZES = [6, 300, 4]


def arrays(seed, n_out=2, most=31, n_numbers=5):
    """Random trees of three folds over five numbers and two of three categories."""
    rng = np.random.default_rng(seed)
    categories, ends = np.array([1, 0]), np.array([3, 4, 9])
    counts = rng.integers(1, most + 1, ends[-1])
    columns = rng.integers(0, n_numbers + 2, counts.sum())
    ranks = np.stack([np.concatenate([rng.permutation(SIZES[q]) for q in categories])
                      for _ in ends]).astype(float)
    thresholds = np.where(columns < n_numbers, np.round(rng.normal(size=len(columns)), 1),
                          rng.integers(0, 6, len(columns)) + 0.5)
    thresholds[columns == n_numbers] *= 40
    return {"categories": categories, "ranks": ranks, "ends": ends, "counts": counts,
            "leaves": np.concatenate([rng.integers(0, np.arange(1, n + 1)) for n in counts]),
            "columns": columns, "thresholds": thresholds,
            "values": rng.normal(size=(counts.sum() + len(counts), n_out)),
            "base": rng.normal(size=(3, n_out))}


def rows(seed, n=200, n_numbers=5):
    rng = np.random.default_rng(seed)
    numbers = np.round(rng.normal(size=(n, n_numbers)), 1)  # many are at thresholds
    numbers[::7, 0] = np.nan
    numbers[3:4, 1], numbers[4:5, 1] = np.inf, -np.inf
    return numbers, np.stack([rng.integers(0, size, n) for size in SIZES], axis=1).astype(np.int32)


def plainly(own, numbers, codes):
    """What the trees of each fold come to, a split at a time."""
    out, tree = np.empty((len(numbers), *own["base"].shape)), 0
    starts = np.cumsum([0, *(SIZES[q] for q in own["categories"])])
    first = np.cumsum([0, *own["counts"]])
    for i, (x, c) in enumerate(zip(numbers, codes, strict=True)):
        for fold, (begin, end) in enumerate(itertools.pairwise([0, *own["ends"]])):
            all_x = [*x, *(own["ranks"][fold, starts[j] + c[q]]
                           for j, q in enumerate(own["categories"]))]
            out[i, fold] = own["base"][fold]
            for tree in range(begin, end):
                leaf = 0
                for at in range(own["counts"][tree]):
                    split = first[tree] + at
                    if own["leaves"][split] == leaf and (
                            all_x[own["columns"][split]] > own["thresholds"][split]):
                        leaf = at + 1
                out[i, fold] += own["values"][first[tree] + tree + leaf]
    return out.reshape(len(numbers), -1)


@pytest.mark.parametrize("seed, most, n_out", [(0, 31, 1), (1, 31, 3), (2, 2, 2), (3, 1, 1)])
def test_as_walked_by_hand(seed, most, n_out):
    own = arrays(seed, n_out, most)
    forest, (numbers, codes) = Forest(5, SIZES, **own), rows(seed)
    expected = plainly(own, numbers, codes)
    found = forest.transform(numbers, codes)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(forest.transform(numbers[:1], codes[:1]), expected[:1])
    assert forest.transform(numbers[:0], codes[:0]).shape == (0, 3 * n_out)
    assert (abs(found) <= forest.bounds() * (1 + 1e-12)).all()


def test_numbers_or_categories_alone():
    own, (numbers, codes) = arrays(4), rows(4)
    for column in (2, 5, 6):
        only = own | {"columns": np.full_like(own["columns"], column)}
        np.testing.assert_array_equal(Forest(5, SIZES, **only).transform(numbers, codes),
                                      plainly(only, numbers, codes))


def encoding_with(forest):
    numbers, codes = rows(5)
    return Encoding.fit(Inputs(numbers, codes), [size - 2 for size in SIZES],
                        bins=8).with_forest(forest)


def test_files_and_pickles():
    forest = Forest(5, SIZES, **arrays(6))
    encoding, inputs = encoding_with(forest), Inputs(*rows(7))
    again = Encoding.from_parts(encoding.settings(), encoding.arrays())
    thawed = pickle.loads(pickle.dumps(encoding))
    for one in (again, thawed):
        for mine, theirs in zip(encoding.entries(inputs), one.entries(inputs), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_inputs_are_what_the_trees_come_to():
    forest, inputs = Forest(5, SIZES, **arrays(8)), Inputs(*rows(9))
    encoding = encoding_with(forest)
    dense = encoding.transform(inputs, "float64").toarray()
    at = encoding.firsts[5:11]
    np.testing.assert_allclose(dense[:, at], forest.transform(inputs.numbers, inputs.codes),
                               rtol=1e-8)


@pytest.mark.parametrize("name, place, value", [
    ("leaves", 0, 1), ("leaves", 5, -1), ("columns", 3, 7), ("columns", 3, -1), ("counts", 0, 0),
    ("counts", 1, 32), ("ends", 0, 0), ("ends", -1, 8), ("categories", 0, 3),
    ("categories", 1, -1), ("categories", 0, 2)])
def test_arrays_that_do_not_fit(name, place, value):
    own = arrays(10)
    own[name] = own[name].copy()
    own[name][place] = value
    with pytest.raises(ValueError, match="tree"):
        Forest(5, SIZES, **own)


def test_trees_of_more_leaves_than_a_word_has_bits():
    """All else fits."""
    rng = np.random.default_rng(18)
    own, n = arrays(18), 9 * 32
    own |= {"counts": np.full(9, 32), "leaves": np.zeros(n, int), "columns": np.zeros(n, int),
            "thresholds": rng.normal(size=n), "values": np.zeros((n + 9, 2))}
    with pytest.raises(ValueError, match="do not fit together"):
        Forest(5, SIZES, **own)


@pytest.mark.parametrize("name", ["ranks", "leaves", "thresholds", "values", "base", "counts"])
def test_arrays_that_are_too_short(name):
    own = arrays(11)
    own[name] = own[name][:-1]
    with pytest.raises(ValueError, match="tree"):
        Forest(5, SIZES, **own)


@pytest.mark.parametrize("name", ["categories", "ends", "counts", "leaves", "columns",
                                  "thresholds", "ranks", "values", "base"])
def test_arrays_of_other_axes(name):
    """A column of leaves was spread over their numbers: the square of a file's size."""
    for shape in ((-1, 1), (1, 1, -1)):
        own = arrays(15)
        own[name] = own[name].reshape(shape)
        with pytest.raises(ValueError, match="tree|dimensions"):
            Forest(5, SIZES, **own)


def test_a_category_counted_from_the_end():
    own = arrays(19)
    own |= {"categories": np.array([1, -1]), "ranks": np.zeros((3, SIZES[1] + SIZES[-1]))}
    with pytest.raises(ValueError, match="a category that there is not"):
        Forest(5, SIZES, **own)


def test_sizes_below_zero():
    own = arrays(16)
    own["ranks"] = own["ranks"][:, :5 - 2]
    with pytest.raises(ValueError, match="category"):
        Forest(5, [-2, 5, 4], **own)


@pytest.mark.parametrize("name, value, said", [
    ("leaves", 0.5, "whole numbers"), ("columns", 2.0**40, "whole numbers"),
    ("numbers", 4, "trees"), ("sizes", [6, 300, 5], "trees"), ("base", [6], "dimensions")])
def test_files_that_do_not_fit(name, value, said):
    encoding = encoding_with(Forest(5, SIZES, **arrays(12)))
    settings, found = encoding.settings(), encoding.arrays()
    if name in settings["forest"] and not isinstance(value, float):
        settings["forest"][name] = value
    else:
        found[f"forest.{name}"][0] = value
    with pytest.raises(ValueError, match=said):
        Encoding.from_parts(settings, found)


@pytest.mark.parametrize("n_trees, most", [(5000, 1), (5000, 30), (4000, 30)])
def test_trees_that_ask_for_much_memory(n_trees, most):
    """A file of a few megabytes."""
    rng = np.random.default_rng(14)
    own = arrays(14, 1) | {"ends": np.array([3, 4, n_trees]), "counts": np.full(n_trees, most)}
    n = n_trees * most
    own |= {"leaves": np.zeros(n, int), "columns": np.zeros(n, int),
            "thresholds": rng.normal(size=n), "values": np.zeros((n + n_trees, 1))}
    with pytest.raises(ValueError, match="too many"):
        Forest(5, SIZES, **own)


def test_threads_share_a_forest():
    forest, (numbers, codes) = Forest(5, SIZES, **arrays(17)), rows(17)
    expected = forest.transform(numbers, codes).tobytes()

    def ask(_):
        found = {forest.transform(numbers, codes).tobytes() for _ in range(10)}
        forest.scorer.__init__(0, [])  # what it was made of stays
        return found

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(9))) == [{expected}] * 9


def test_rows_that_do_not_fit():
    forest, (numbers, codes) = Forest(5, SIZES, **arrays(13)), rows(13)
    for wrong in ((numbers[:, :4], codes), (numbers, codes[:, :2]), (numbers[:3], codes)):
        with pytest.raises(ValueError, match="do not fit"):
            forest.transform(*wrong)
    out = np.empty((len(numbers), forest.n_numbers))
    for wrong in ((numbers[:3], codes, out), (numbers, codes[:3], out), (numbers, codes, out[:3]),
                  (numbers, codes, out[:, :1].copy())):
        with pytest.raises(ValueError, match="do not fit"):
            forest.scorer.score(*wrong)
    for code in (-1, 300):
        beyond = codes.copy()
        beyond[5, 1] = code
        with pytest.raises(ValueError, match="beyond what was learned"):
            forest.transform(numbers, beyond)


@pytest.mark.parametrize("n", [1, 256, 257, 1000])
def test_same_bytes_for_any_threads(n):
    forest = Forest(5, SIZES, **arrays(6))
    numbers, codes = rows(7, n)
    first, *others = (forest.transform(numbers, codes, threads) for threads in (1, 2, 3, 8, None))
    np.testing.assert_array_equal(first[-20:], plainly(forest.tables, numbers[-20:], codes[-20:]))
    for other in others:
        assert first.tobytes() == other.tobytes()


@pytest.mark.parametrize("n, threads, team", [(256, 8, None), (257, 8, 2), (1000, 8, 4),
                                              (1000, 3, 3)])
def test_a_thread_for_a_block_of_rows(n, threads, team, monkeypatch):
    asked, team_size = [], _forest.team_size
    monkeypatch.setattr(_forest, "team_size", lambda n: asked.append(n) or team_size(n))
    Forest(5, SIZES, **arrays(6)).transform(*rows(7, n), threads)
    assert asked == [team] * (team is not None)


@pytest.mark.parametrize("n, m", [(1, 1), (1, 40), (3, 200), (2, 0)])
def test_distinct_columns(n, m):
    array = np.random.default_rng(8).integers(0, 3, (n, m)).astype(float)
    found, which = distinct_columns(array)
    expected, places = np.unique(array, axis=1, return_inverse=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(which, places.ravel())
