"""Logical shards: contiguous rows, cut by the data alone; where their rows are held."""


import numpy as np

from fastnn.core import validation
from fastnn.core.notices import shown
from fastnn.core.rows import check_weight_range
from fastnn.core.version import __version__
from fastnn.dask import digests, tasks
from fastnn.dask.cluster import Pins
from fastnn.dask.parts import number_held_out
from fastnn.dask.sources import parts_of, read_anew

__all__ = ["Data", "Shards", "Tree", "check_targets_alike", "edges_of", "greatest_weight", "keeps",
           "number_of_shards"]

FAN_IN = 8  # of the tree: how many results one task adds up
MOST_BYTES = 1 << 26  # of a shard, where nobody says how many there are
ROWS = 1 << 18
LEAST_ROWS = 64
KEPT = 0.4  # of the workers' memory, at most
HANDED_ON = 1 << 26  # bytes of a state for all workers, from which on some hand it on to others


class Data:
    """The user's data: parts, and what a survey of them has found.

    Parameters
    ----------
    cluster : Cluster
    X, y, sample_weight
        As for `fastnn.dask.fit`.
    wish : dict
        See `parts.survey`.
    name : str, default=""
        What messages call X and y together; "": those that are trained on.

    Attributes
    ----------
    rows : list of int
        Of each part.
    columns : list or None
    width : int
    labels, counts : arrays or None
    digest : str or None

    Raises
    ------
    TypeError, ValueError
        When a part cannot be trained on, with its number; when parts differ in columns or dtypes.
    """

    def __init__(self, cluster, X, y, sample_weight, wish, name=""):
        self.cluster, self.name = cluster, name
        prefix = "validation-" if name else ""
        with tasks.named_in(name):
            self.parts, named = parts_of(cluster, X, y, sample_weight, f"{prefix}part")
        self.wish = {**wish, "version": __version__, "data": name, **named}
        surveys = cluster.submit_all(
            tasks.survey, [[part, i, self.wish] for i, part in enumerate(self.parts)],
            f"{prefix}survey")
        found = cluster.fetch(surveys)
        self.rows = [one["rows"] for one in found]
        self.n_rows = sum(self.rows)
        with tasks.named_in(name):
            self._check_alike(found)
            if self.n_rows == 0:
                raise ValueError(f"X has 0 rows in {len(found)} partitions, must have at least 1")
        first = next(one for one in found if one["rows"])
        self.columns, self.width, self.y = first["columns"], first["width"], first["y"]
        if not self.width:
            raise ValueError(f"{name or 'X'} has 0 columns beside y and sample_weight, must have "
                             "at least 1")
        self.dtypes = first["dtypes"]
        self._gather_labels(found)
        with tasks.named_in(name):
            greatest_weight(found, wish["dtype"])
        self.digest = None
        if wish["digest"]:
            self.digest = digests.joined(one["digest"] for one in found)
        self.computed = not all(map(read_anew, self.parts))

    def _check_alike(self, found):
        """Raise where a part has other columns or dtypes than the first that has rows."""
        first = None
        for number, one in enumerate(found):
            if not one["rows"]:
                continue
            if first is None:
                first, base = number, one
                continue
            for key, what in (("columns", "columns"), ("width", "number of columns")):
                if one[key] != base[key]:
                    raise ValueError(
                        f"partition {number} has the {what} {shown(one[key])}, partition {first} "
                        f"{shown(base[key])}: all must have the same, in the same order")
            if one["dtypes"] != base["dtypes"]:
                at = next(i for i, (own, other) in enumerate(
                    zip(one["dtypes"], base["dtypes"], strict=True)) if own != other)
                column = f" in column {base['columns'][at]!r}" if base["columns"] else ""
                raise ValueError(
                    f"partition {number} has dtype {one['dtypes'][at]}{column}, partition {first} "
                    f"{base['dtypes'][at]}: convert them to one, X = X.astype(...)")
            check_targets_alike(number, one, first, base, one["y"] == base["y"])

    def _gather_labels(self, found):
        """Count the labels of all parts; one part may lack some."""
        self.labels = self.counts = None
        if not self.wish["classes"] or self.y[1]:  # zeros and ones, one column per label
            return
        labels = np.unique(np.concatenate([one["labels"] for one in found if one["rows"]]))
        counts = np.zeros(len(labels), np.int64)
        for one in found:
            if one["rows"]:
                np.add.at(counts, np.searchsorted(labels, one["labels"]), one["counts"])
        self.labels, self.counts = labels, counts

    def nbytes(self, wish):
        """Return how much memory the encoded rows take."""
        return self.n_rows * (self.width + wish["n_out"] + 1) * np.dtype(wish["dtype"]).itemsize


def greatest_weight(found, dtype=None):
    """Return the greatest weight of a row, by what parts hold; None where rows have none of their
    own. Raise where weights are nothing in the dtype that they are used in, if they are used as
    they are."""
    found = [one for one in found if one["rows"]]
    if found[0]["weight"] is None:
        return None
    most = max(one["most_weight"] for one in found)
    if dtype is not None:
        check_weight_range("sample_weight", most, sum(one["weight"] for one in found), dtype)
    if not most > 0:
        raise ValueError("sample_weight is 0 everywhere, must be > 0 for at least one row")
    return most


def check_targets_alike(number, one, first, base, alike):
    """Raise where a partition has other targets than the first, or weights where that has none.

    Parameters
    ----------
    number, first : int
        Of the partition, and of the first one.
    one, base : dict
        What they hold, see `parts.survey`.
    alike : bool
        Whether their targets are of one kind.
    """
    if not alike:
        raise ValueError(f"partition {number} has y of kind {_said(*one['y'])}, partition {first} "
                         f"of {_said(*base['y'])}: all must be alike")
    own, other = (None if part["labels"] is None else part["labels"].dtype.kind in "US"
                  for part in (one, base))
    if own != other:  # of objects both
        what, instead = ("strings", "other labels") if own else ("no strings", "strings")
        raise TypeError(f"partition {number} has y of {what}, partition {first} of {instead}: give "
                        "labels of one kind")
    if (one["weight"] is None) != (base["weight"] is None):
        raise ValueError(f"partition {number if one['weight'] is None else first} has no "
                         "sample_weight, others have")


def _said(kind, shape):
    """Return what y is in words: "float (n_samples, 2)"."""
    what = {"b": "bool", "i": "integer", "u": "integer", "f": "float"}.get(kind, "text or object")
    return f"{what}, shape ({', '.join(map(str, ('n_samples', *shape)))}{',' * (not shape)})"


class Shards:
    """Equal, contiguous pieces of the rows, whatever the parts and the workers are.

    Shard i of S has the rows i n // S to (i + 1) n // S.

    Parameters
    ----------
    data : Data
    n : int
        How many.
    wish : dict
        See `parts.encode`.
    keep : bool
        Whether workers hold the encoded rows; else each round reads them anew.
    split : (share, keys, held) or None, default=None
        Where a share of the rows of each shard is held out: keys that decide which, and whether
        these are the held out ones.
    """

    def __init__(self, data, n, wish, keep, split=None):
        self.cluster, self.n, self.keep = data.cluster, n, keep
        self.edges = edges_of(data.n_rows, n)
        self.rows = [stop - start for start, stop in zip(self.edges, self.edges[1:], strict=False)]
        self.pins = Pins(n)
        wishes = [{**data.wish, **wish} for _ in range(n)]
        if split is not None:
            share, keys, held = split
            for i, own in enumerate(wishes):
                n_held = number_held_out(share, self.rows[i])
                if n_held < 1:
                    raise ValueError(f"shard {i} has {self.rows[i]} rows, too few to hold some "
                                     "out: give fewer shards, or validation_data")
                own["split"] = keys[i], n_held, held
                self.rows[i] = n_held if held else self.rows[i] - n_held
        self.rows = [wish.get("passes", 1) * rows for rows in self.rows]
        ends = np.concatenate([[0], np.cumsum(data.rows)])
        validates = data.name or split is not None and split[2]
        name = ("validation-" if validates else "") + ("shard" if keep else "shard-recipe")
        self.futures = []
        places = self.pins.of(self.cluster.workers())
        for i in range(n):
            start, stop, sources = self.edges[i], self.edges[i + 1], []
            part = int(np.searchsorted(ends, start, side="right")) - 1
            while start < stop:
                last = min(stop, int(ends[part + 1]))
                if last > start:
                    sources.append((data.parts[part], part, start - int(ends[part]),
                                    last - int(ends[part])))
                start, part = last, part + 1
            self.futures.append(self.cluster.submit(
                tasks.cut if keep else tasks.uncut, sources, i, wishes[i], name=name, number=(i,),
                worker=places[i]))

    def places(self):
        """Return the address of each shard's worker, as they are now."""
        return list(self.pins.of(self.cluster.workers()))

    def add_round(self, graph, places, function, end, state, own, last, name, nbytes=0,
                  add=tasks.add):
        """Add a round to a graph; return the key of its end, and those of what goes before it.

        Parameters
        ----------
        graph : Graph
        places : list
            See `places`.
        function : callable
            Of `tasks`, for each shard: of (state, rows, the shard's own dict).
        end : callable
            Of `tasks`, for the last level of the tree: of (state, last, children).
        state : key of a task
        own : list of dict
            For each shard; None: it takes no part.
        last : dict
        name : str
        nbytes : int, default=0
            Of the state. One worker would send a large one to all others: instead it goes down the
            tree that sums come up.
        add : callable
            Of `tasks`, for all other levels: of children.
        """
        cluster, number = self.cluster, next(self.cluster.rounds)
        taking = [i for i, what in enumerate(own) if what is not None]
        *levels, top = Tree(len(taking)).levels
        holders = [state]  # whom a shard has the state from
        n_workers = len(set(places))
        if n_workers > FAN_IN and n_workers * nbytes >= HANDED_ON:
            for level in reversed(range(len(levels))):
                holders = [graph.add(
                    cluster.key(f"{name}-state", (number, level, i)), tasks.hand_on,
                    graph.ref(holders[i // FAN_IN]), worker=places[taking[first * FAN_IN ** level]])
                    for i, (first, _) in enumerate(levels[level])]
        state = graph.ref(state)
        nodes = [graph.add(cluster.key(name, (number, i)), function,
                           graph.ref(holders[at // FAN_IN if len(holders) > 1 else 0]),
                           graph.ref(self.futures[i].key), own[i], worker=places[i])
                 for at, i in enumerate(taking)]
        between = nodes + (holders if len(holders) > 1 else [])
        for level, groups in enumerate(levels):
            nodes = [graph.add(cluster.key(f"{name}-sum", (number, level, i)), add,
                               *map(graph.ref, nodes[first:stop]))
                     for i, (first, stop) in enumerate(groups)]
            between += nodes
        return graph.add(cluster.key(f"{name}-end", (number,)), end, state, last,
                         *map(graph.ref, nodes)), between


def edges_of(n_rows, n):
    """Return where each of n shards begins, and the last one ends."""
    return [i * n_rows // n for i in range(n + 1)]


class Tree:
    """Which results are added up: a tree that the number of leaves alone decides.

    Parameters
    ----------
    n : int
        Number of leaves.

    Attributes
    ----------
    levels : list of list of (first, last)
        Of each level, the children of its nodes, by their numbers on the level below.
    """

    def __init__(self, n):
        self.levels = []
        while n > 1 or not self.levels:
            groups = [(first, min(first + FAN_IN, n)) for first in range(0, n, FAN_IN)]
            self.levels.append(groups)
            n = len(groups)


def number_of_shards(shards, n_rows, nbytes):
    """Return how many shards there are: the argument of `fastnn.dask.fit`, or by the data alone.

    One per 2**18 rows, at least 8 and at most 64; more where one would be beyond 64 MiB, fewer
    where one would have less than 64 rows.
    """
    if shards is not None:
        shards = validation.check_count("shards", shards)
        if shards > n_rows:
            raise ValueError(f"shards={shards} must be at most the number of rows, {n_rows}")
        return shards
    n = min(64, max(8, -(-n_rows // ROWS)))
    n = max(n, -(-nbytes // MOST_BYTES))
    return max(1, min(n, n_rows // LEAST_ROWS))


def keeps(keep, cluster, nbytes):
    """Return whether workers hold the rows: the argument, or where they have room."""
    if keep is not None:
        return validation.check_flag("keep", keep)
    memory = cluster.memory()
    return memory is None or nbytes <= KEPT * memory
