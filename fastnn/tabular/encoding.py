"""Numbers and categories of a schema as look-up `Codes`.

A row has the same number of entries whatever it holds; what says nothing (a category that the fit
has not seen, a missing number of a column that had none) has the value 0.
"""

import numpy as np

from fastnn.core.codes import Codes
from fastnn.encoders import greedy_edges
from fastnn.tabular._encode import Tables
from fastnn.tabular.forest import Forest
from fastnn.tabular.statistics import Statistics

__all__ = ["CLIP", "LINEAR", "Encoding", "arrays_under"]

CLIP = 3.0  # robust standard deviations at which a raw value has bent to 0.7; as in _encode.pyx
LINEAR = 100.0  # times as far out as values are, bending begins where they are not to be bent
PER_NUMBER = 3  # entries: the value, the two ends of its bin


class Encoding:
    """From `Inputs` of a schema to `Codes`.

    A number has three kinds of inputs: its value, standardised robustly and smoothly bounded
    (Holzmüller, Grinsztajn & Steinwart 2024), which smooth functions are learned from; its
    piecewise-linear encoding over greedy bins (see `fastnn.encoders`), which steps are learned
    from; one of missing values. A category has one input; the rare ones of a column share theirs
    with all that the fit has not seen. `Statistics` of categories are numbers, too, and so is what
    the trees of a `Forest` come to, which stand behind all other numbers.

    Attributes
    ----------
    n_inputs : int
        Inputs of the dense encoding: what a network has.
    n_columns : int
        Columns of numbers and of categories, statistics and what trees come to included.
    kinds : uint8 array (n_inputs,)
        `VALUE`, `BIN` or `OWN`: what each input is of.
    """

    VALUE, BIN, OWN = range(3)

    def __init__(self, edges, scales, seen, maps, statistics=None, forest=None):
        self.edges = [np.asarray(one, float) for one in edges]
        self.scales = np.asarray(scales, float).reshape(len(self.edges), 4)
        self.seen = np.asarray(seen, bool).reshape(len(self.edges))
        self.maps = [np.asarray(one, np.int32) for one in maps]
        self.statistics, self.forest = statistics, forest
        if forest is not None and (
                forest.n_in != len(self.edges) - forest.n_numbers
                or forest.sizes != [len(one) for one in self.maps]):
            raise ValueError("trees do not fit the columns of an encoding")
        kinds, adds, self.firsts = [], [], []
        for edges, seen in zip(self.edges, self.seen, strict=True):
            n_bins = _bins_of(edges)
            self.firsts.append(len(kinds))
            kinds += [self.VALUE] * (len(edges) > 1) + [self.BIN] * n_bins + [self.OWN] * bool(seen)
            adds += [0] * (len(edges) > 1) + [0] * (n_bins > 0) + [1] * max(n_bins - 1, 0)
            adds += [0] * bool(seen)
        for one in self.maps:
            self.firsts.append(len(kinds))
            kinds += [self.OWN] * _inputs_of(one)
            adds += [0] * _inputs_of(one)
        if not kinds:  # nothing to learn from: an input that is always 0
            kinds, adds = [self.OWN], [0]
        self.kinds, self.adds = np.array(kinds, np.uint8), np.array(adds, np.uint8)
        self.adds.flags.writeable = False
        self.n_inputs = len(kinds)
        self.n_columns = max(len(self.edges) + len(self.maps), 1)
        self.width = max(PER_NUMBER * len(self.edges) + len(self.maps), 1)
        self.one_row = np.array([0, self.width], np.int64)
        self.tables = self._tables()

    def _tables(self):
        return Tables(*_joined(self.edges, float), self.scales, self.seen.astype(np.uint8),
                      *_joined(self.maps, np.int32), np.array(self.firsts, np.int32))

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "tables"}

    def __setstate__(self, state):
        vars(self).update(state)
        self.adds.flags.writeable = False
        self.tables = self._tables()

    @classmethod
    def fit(cls, inputs, sizes, *, bins=48, values=True, rarest=1, statistics=None, counts=None,
            cuts=None):
        """Return the encoding that the rows of ``inputs`` suggest.

        Parameters
        ----------
        inputs : Inputs
        sizes : sequence of int
            Number of categories of each column of codes: those beyond are unknown and missing.
        bins : int, default=48
            Of each column of numbers at most.
        values : bool, default=True
            Whether values count beside their bins.
        rarest : int, default=1
            Categories of fewer rows share an input.
        statistics : tuple (Statistics, float64 array (n_rows, k)) or None, default=None
            With what it gives for these rows, as `Statistics.fit` does.
        counts : list of int array (size + 2,) or None, default=None
            How often each code of a column is there; None: in ``inputs``.
        cuts : list of float64 array or None, default=None
            Further edges of each column of numbers that has more different values than bins.
        """
        numbers, table = inputs.numbers, None
        if statistics is not None:
            table, found = statistics
            numbers = np.concatenate([numbers, found], axis=1)
        edges, scales, seen = [], [], []
        for j, column in enumerate(numbers.T):
            x = column[np.isfinite(column)]
            found = greedy_edges(x, bins) if len(x) else x
            if cuts is not None and j < len(cuts) and 2 < bins <= len(found) - 1:
                found = np.union1d(found, cuts[j])
            edges.append(found if len(found) > 1 else found[:0])
            scales.append(_scale(x) if len(found) > 1 else (0, 1, 0, 1))
            seen.append(np.isnan(column).any())
        if counts is None:
            counts = [np.bincount(codes, minlength=size + 2)
                      for codes, size in zip(inputs.codes.T, sizes, strict=True)]
        maps = [_map(own, size, rarest) for own, size in zip(counts, sizes, strict=True)]
        scales = np.reshape(np.array(scales, float), (-1, 4))
        if not values:
            scales[[_bins_of(one) > 0 for one in edges], 3] = 1e300  # values vanish
        return cls(edges, scales, seen, maps, table)

    def straightened(self, columns):
        """Return the encoding whose values of these columns of numbers are not bent, but linear."""
        scales = self.scales.copy()
        for j in columns:
            low, high = self.edges[j][[0, -1]]
            center, scale, mean, deviation = scales[j]
            # the same at the center, where it is hardly bent; far from where it would be
            more = LINEAR * max(high - center, center - low) / scale
            scales[j] = center, more * scale, mean / more, deviation / more
        return Encoding(self.edges, scales, self.seen, self.maps, self.statistics)

    def with_forest(self, forest):
        """Return the encoding with what the trees of a forest come to as further numbers, linear
        and of the same size as inputs."""
        bounds = forest.bounds() + 1e-300
        far = LINEAR**2 * bounds  # bends by a part in 10**9
        return Encoding([*self.edges, *np.stack([-bounds, bounds], axis=1)],
                        np.concatenate([self.scales, np.stack(
                            [0 * far, far, 0 * far, 1 / far], axis=1)]),
                        np.append(self.seen, np.zeros(len(bounds), bool)), self.maps,
                        self.statistics, forest)

    def transform(self, inputs, dtype="float32", *, statistics=None, sums=None, n_threads=1):
        """Return the `Codes` of rows.

        Parameters
        ----------
        inputs : Inputs
        dtype : {"float32", "float64"}, default="float32"
        statistics : float64 array (n_rows, k) or None, default=None
            In the place of those that the encoding's `Statistics` give: rows of training have
            some that do not know their own targets.
        sums : float64 array (n_rows, forest.n_numbers) or None, default=None
            What the forest gives for these rows, where that is known already.
        n_threads : int or None, default=1
            Threads of the forest.
        """
        n, width = len(inputs), self.width
        rows, values = self.entries(inputs, dtype, statistics, sums, n_threads)
        indptr = self.one_row if n == 1 else np.arange(0, (n + 1) * width, width, dtype=np.int64)
        return Codes(values, rows, indptr, self.adds)

    def entries(self, inputs, dtype=np.float32, statistics=None, sums=None, n_threads=1):
        """Return the inputs, int32 (n_rows * width,), and values that rows have; see `transform`.
        """
        numbers = inputs.numbers
        if self.statistics is not None:
            found = self.statistics.transform(inputs.codes) if statistics is None else statistics
            numbers = np.concatenate([numbers, found], axis=1)
        if self.forest is not None:
            if sums is None:
                sums = self.forest.transform(numbers, inputs.codes, n_threads)
            numbers = np.concatenate([numbers, sums], axis=1)
        n, make = len(numbers), np.empty if self.firsts else np.zeros
        rows, values = make(n * self.width, np.int32), make(n * self.width, dtype)
        if n:
            self.tables.encode(numbers, inputs.codes, rows, values)
        return rows, values

    def value(self, number, x):
        """Return the values that numbers of a column have as inputs: float64 (n,)."""
        return _bounded(np.asarray(x, float), *self.scales[number])

    @property
    def linear_entries(self):
        """Places, among the entries of a row, of all that are not bins: intp array."""
        p, q = len(self.edges), len(self.maps)
        places = np.concatenate([PER_NUMBER * np.arange(p), PER_NUMBER * p + np.arange(q)])
        return places if len(places) else np.zeros(1, np.intp)

    # ---- files ----

    def settings(self):
        """Return plain values for a file."""
        return {"edges": [len(one) for one in self.edges], "seen": self.seen.tolist(),
                "maps": [len(one) for one in self.maps],
                "statistics": None if self.statistics is None else self.statistics.settings(),
                **({} if self.forest is None else {"forest": self.forest.settings()})}

    def arrays(self):
        """Return float64 arrays for a file, by name; `settings` says their shapes."""
        found = {"edges": np.concatenate([np.zeros(0), *self.edges]),
                 "scales": self.scales.reshape(-1),
                 "maps": np.concatenate([np.zeros(0), *self.maps])}
        if self.statistics is not None:
            found |= {f"statistics.{name}": array
                      for name, array in self.statistics.arrays().items()}
        if self.forest is not None:
            found |= {f"forest.{name}": array for name, array in self.forest.arrays().items()}
        return found

    @staticmethod
    def shapes(settings):
        """Return the shapes of the arrays that belong to settings, by name."""
        found = {"edges": (sum(settings["edges"]),), "scales": (4 * len(settings["edges"]),),
                 "maps": (sum(settings["maps"]),)}
        if settings["statistics"] is not None:
            shapes = Statistics.shapes(settings["statistics"])
            found |= {f"statistics.{name}": shape for name, shape in shapes.items()}
        if "forest" in settings:
            shapes = Forest.shapes(settings["forest"])
            found |= {f"forest.{name}": shape for name, shape in shapes.items()}
        return found

    @classmethod
    def from_parts(cls, settings, arrays):
        """Return the encoding of `settings` and `arrays`.

        Raises
        ------
        ValueError, KeyError, TypeError
            When they do not fit together.
        """
        for name, shape in cls.shapes(settings).items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"array {name!r} must be finite and of shape {shape}")
        maps = _split(arrays["maps"], settings["maps"])
        if any(len(one) < 2 or one.min() < -1 or one.max() >= len(one) for one in maps):
            raise ValueError("a map of categories points beyond its inputs")
        edges = _split(arrays["edges"], settings["edges"])
        if any((np.diff(one) <= 0).any() for one in edges):
            raise ValueError("edges must rise")
        statistics = settings["statistics"]
        if statistics is not None:
            statistics = Statistics.from_parts(statistics, arrays_under(arrays, "statistics"))
        forest = None
        if "forest" in settings:
            forest = Forest.from_parts(settings["forest"], arrays_under(arrays, "forest"))
        return cls(edges, arrays["scales"], settings["seen"], maps, statistics, forest)


def arrays_under(arrays, prefix):
    """Return the arrays whose names begin so, by the rest of their names."""
    prefix += "."
    return {name[len(prefix):]: array for name, array in arrays.items() if name.startswith(prefix)}


def _joined(arrays, dtype):
    """Return arrays one behind the other, and where each begins and the last one ends."""
    flat = np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)
    return flat, np.cumsum([0, *map(len, arrays)]).astype(np.int64)


def _split(array, sizes):
    return np.split(array, np.cumsum(sizes)[:-1]) if sizes else []


def _bins_of(edges):
    """Return the number of inputs of bins: none where a line through two values says all."""
    return len(edges) - 1 if len(edges) > 2 else 0


def _inputs_of(places):
    return int(places.max(initial=-1)) + 1


def _scale(x):
    """Return center and scale of finite values, by quartiles, then mean and scale of what
    `_bounded` makes of them."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, center, high = np.quantile(x, [0.25, 0.5, 0.75])
        spread = np.std(x)
        # more than half of the values may be one
        scale = max((high - low) / 1.349, spread / 10)
        if not (np.isfinite(scale) and scale > 0):
            center, scale = x.min() / 2 + x.max() / 2, (x.max() / 2 - x.min() / 2) or 1.0
    z = _bounded(x, center, scale, 0.0, 1.0)
    return center, scale, z.mean(), z.std() or 1.0


def _bounded(x, center, scale, mean, deviation):
    with np.errstate(over="ignore"):
        z = np.clip((x / scale) - center / scale, -1e100, 1e100)
    return (z / np.hypot(1, z / CLIP) - mean) / deviation


def _map(counts, size, rarest):
    """Return of each code its input, -1 for none: (size + 2,)."""
    places, kept = np.full(size + 2, -1, np.int32), counts[:size] >= max(rarest, 1)
    n = int(kept.sum())
    places[:size][kept] = np.arange(n)
    if (counts[:size][~kept] > 0).any() or counts[size]:
        places[:size + 1][np.append(~kept, True)] = n
        n += 1
    if counts[size + 1]:
        places[size + 1] = n
    return places
