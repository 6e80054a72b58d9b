"""Tables that stay on the workers: a schema by exact counts and a sample, then rounds on codes."""

import math

import numpy as np
from sklearn.utils import check_random_state

from fastnn.core.notices import shown, warn
from fastnn.core.rows import moderate_weights
from fastnn.core.validation import check_nonnegative
from fastnn.core.version import __version__
from fastnn.dask import digests, parts, tasks
from fastnn.dask.fitting import Plan, run
from fastnn.dask.judging import METRIC
from fastnn.dask.refining import Sampled
from fastnn.dask.shards import check_targets_alike, edges_of, greatest_weight, number_of_shards
from fastnn.dask.sources import parts_of, read_anew
from fastnn.dask.table_parts import Reader
from fastnn.files import container
from fastnn.tables.errors import TableWarning
from fastnn.tables.frames import as_table
from fastnn.tables.schema import Inputs, Schema, categorical_names
from fastnn.tabular import recipe as recipes
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.metrics import metric_of
from fastnn.tabular.model import TabularModel
from fastnn.tabular.networks import Ensemble
from fastnn.tabular.reference import Reference
from fastnn.training.bound_losses import check_loss
from fastnn.training.fitting import Settings
from fastnn.training.stopping import EarlyStopping

__all__ = ["TableData", "fit_table"]

# Rows that quantiles are taken of. None of them is further than 0.0066 from its level, with a
# probability of 1 - 2e-5 (Dvoretzky, Kiefer & Wolfowitz 1956; Massart 1990): a bin is 0.02 wide.
SAMPLE = 1 << 17
HELD_OUT = 0.1  # of each shard, to stop by
BATCH = 256  # rows of a step on all shards together
LEAST_BATCH = 32  # on one, where it has rows for
LEAST_STEPS = 8  # of a pass
ROWS_TO_BATCH = 16  # rows for each of a step, where they are few
EMPTY = {"number": np.float64("nan"), "date": np.datetime64("NaT", "us")}  # else None
UNLIKE = {"number", "text"}, {"number", "date"}  # of a column that is no category
RAREST = 10  # categories of fewer rows share an input


class TableData:
    """The user's table: parts, and what workers have found in them. See `shards.Data`.

    Parameters
    ----------
    cluster : Cluster
    X, y, sample_weight
        As for `fastnn.dask.TabularClassifier.fit`.
    classes : bool
        Whether y holds labels.
    categorical : "auto" or sequence
        Names of columns of categories.
    name : str, default=""
        What messages call X and y together; "": those that are trained on.
    digest : bool, default=False
        Whether the checkpoint needs a digest of the rows.
    infinities : str, default="refuse"
        See `Schema.learn`.

    Raises
    ------
    TypeError, ValueError
        When a part cannot be trained on, with its number; when parts differ in columns or kinds.
    """

    def __init__(self, cluster, X, y, sample_weight, classes, categorical, name="",
                 digest=False, infinities="refuse"):
        self.cluster, self.name = cluster, name
        prefix = "validation-" if name else ""
        with tasks.named_in(name):
            self.parts, named = parts_of(cluster, X, y, sample_weight, f"{prefix}part")
        self.wish = {"version": __version__, "data": name, **named, "classes": classes,
                     "digest": digest, "categorical": categorical, "infinities": infinities}
        found = cluster.fetch(cluster.submit_all(
            tasks.look, [[part, i, self.wish] for i, part in enumerate(self.parts)],
            f"{prefix}look"))
        self.rows = [one["rows"] for one in found]
        self.n_rows = sum(self.rows)
        if self.n_rows < 2:
            raise ValueError(f"{name or 'X'} has n_samples={self.n_rows} rows in {len(found)} "
                             "partitions, training needs at least 2")
        first = next(one for one in found if one["rows"])
        with tasks.named_in(name):
            self.kinds = self._merged(found)
            self.wish["most_weight"] = greatest_weight(found)
        self.columns, self.y = first["columns"], first["y"]
        self.gaps = {name for one in found for name in one["gaps"]}
        self.labels, self.counts = _counted([(one["labels"], one["counts"]) for one in found
                                             if one["rows"] and one["labels"] is not None])
        self.texts, self.ends = {}, {}
        for column in self.columns:
            counted = self.kinds[column] in ("text", "category") or column in first["asked"]
            own = [one["texts"][column] for one in found if counted and column in one["texts"]]
            if own and not any(one is None for one in own):
                texts, counts = _counted([(np.array(texts, object), counts)
                                          for texts, counts in own if len(texts)])
                self.texts[column] = [] if texts is None else texts.tolist(), counts
            ends = [one["ends"][column] for one in found if column in one["ends"]]
            if ends:
                self.ends[column] = min(low for low, _ in ends), max(high for _, high in ends)
        self.digest, self.width = None, None
        if digest:
            self.digest = digests.joined(one["digest"] for one in found)
        self.computed = not all(map(read_anew, self.parts))

    def _merged(self, found):
        """Return what each column holds, by its name: what the parts agree on that have values of
        it. Raise where a part has other columns than the first, or other things in them."""
        base = first = None
        kinds, homes = {}, {}  # of each column, and by which part
        for number, one in enumerate(found):
            if not one["rows"]:
                continue
            if base is None:
                base, first = one, number
            if one["columns"] != base["columns"]:
                raise ValueError(
                    f"partition {number} has the columns {shown(one['columns'])}, partition "
                    f"{first} {shown(base['columns'])}: all must have the same, in the same order")
            for column, own in zip(one["columns"], one["kinds"], strict=True):
                other = kinds.setdefault(column, own)
                if other is None or column not in homes:
                    kinds[column], homes[column] = own, number
                elif own is not None and own != other:
                    kinds[column] = _kind_of_both(column, one, own, found[homes[column]], other)
                    if kinds[column] is None:
                        raise ValueError(
                            f"partition {number} holds {own} in column {column!r}, partition "
                            f"{homes[column]} {other}: convert them to one, X = X.astype(...)")
            text, texts = one["y"][0] in "OUS", base["y"][0] in "OUS"
            check_targets_alike(number, one, first, base,
                                one["y"][1] == base["y"][1] and text == texts)
        return kinds

    def sample(self):
        """Return (X, y, sample_weight) of `SAMPLE` rows, or of all: by their numbers in the whole
        table, so that it does not matter how that is cut."""
        chosen = np.arange(self.n_rows)
        if self.n_rows > SAMPLE:
            chosen = np.sort(np.random.default_rng(0).choice(self.n_rows, SAMPLE, replace=False))
        self.sampled, ends = chosen, np.cumsum(self.rows)
        asked = []
        for i, part in enumerate(self.parts):
            own = chosen[np.searchsorted(chosen, ends[i] - self.rows[i]):
                         np.searchsorted(chosen, ends[i])] - (ends[i] - self.rows[i])
            if len(own):
                asked.append([part, i, self.wish, own])
        futures = self.cluster.submit_all(tasks.sample, asked, f"{self.name or 'X'}-sample")
        X, y, weight = zip(*self.cluster.fetch(futures), strict=True)
        weight = None if weight[0] is None else moderate_weights(
            np.concatenate(weight).astype(np.float64), self.wish["most_weight"])
        return _below(X, self.kinds), np.concatenate(y), weight

    def nbytes(self, wish):
        """Return how much memory the encoded rows take."""
        width = wish["table"].encoding.width
        return self.n_rows * (8 * width + 8 + 4 * (wish["n_out"] + 1))


def _kind_of_both(column, one, own, base, other):
    """Return "text" where a column is booleans in one part, and in the other, in which some are
    missing, objects; else None."""
    if {own, other} != {"text", "boolean"}:
        return None
    texts = (one if own == "text" else base)["texts"][column]
    return "text" if texts is not None and set(texts[0]) <= {"False", "True"} else None


def _counted(pairs):
    """Return the different values of parts, sorted, and how often each is there."""
    if not pairs:
        return None, None
    values, at = np.unique(np.concatenate([own for own, _ in pairs]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, at, np.concatenate([counts for _, counts in pairs]))
    return values, counts


def _below(frames, kinds):
    """Return rows of several parts as one.

    Parameters
    ----------
    frames : list of frame or array
    kinds : dict
        What a column holds, by its name: where rows of a part have no value of it they are given
        that type, else it would depend on what else the sample has.
    """
    if not hasattr(frames[0], "iloc"):
        return np.concatenate(frames)
    import pandas

    made = []
    for frame in frames:
        columns = {}
        for i, (name, dtype) in enumerate(frame.dtypes.items()):
            kind, own = kinds.get(str(name)), frame.iloc[:, i]
            if kind is not None and own.isna().all():
                missing = EMPTY.get(kind)
                columns[name] = np.full(len(frame), missing, getattr(missing, "dtype", object))
            elif str(dtype) == "category" or kind == "text" and getattr(dtype, "kind", "") == "b":
                columns[name] = own.astype(object)  # categories of parts may differ
        if columns:
            frame = frame.copy(deep=False)
            for name, column in columns.items():
                frame[name] = column
        made.append(frame)
    return pandas.concat(made, ignore_index=True)


def learn_schema(data, X, categorical, infinities):
    """Return the `Schema` of a table, `Inputs` to fit an `Encoding` to, and the exact counts of the
    codes of its categories.

    It is learned from the sample, and from a row for each text that no row of the sample has, for
    the ends of numbers, and for missing values: so it knows what any row of the table holds.

    Parameters
    ----------
    data : TableData
    X : rows of the sample
    categorical, infinities
        See `Schema.learn`.
    """
    table = as_table(X)
    categorical = sorted(categorical_names(categorical, table).union(
        name for name, kind in data.kinds.items() if kind == "category"))
    columns = {name: list(table.raw(name)) for name in table.names}
    more = {}
    for name in table.names:
        cells, own = table.column(name), []
        if name in data.texts:
            there = set(cells.used()[1])
            own = [text for text in data.texts[name][0] if text not in there]
        elif name in data.ends:
            array = cells.array[~cells.missing()]
            low, high = data.ends[name]
            own = [one for one in (low, high) if not (len(array) and array.min() <= one
                                                     <= array.max())]
        if name in data.gaps and not cells.missing().any():
            own.append(None)
        more[name] = own
    n_more = max(map(len, more.values()), default=0)
    whole = as_table(_with_rows(X, table, columns, more, n_more)) if n_more else table
    schema = Schema.learn(whole, categorical_features=categorical, infinities=infinities)
    inputs = schema.apply(table)
    if n_more:  # further rows are no sample: all that bins learn from them is what may be missing
        gaps = np.isnan(schema.apply(whole).numbers).any(axis=0)
        row = np.where(gaps, np.nan, inputs.numbers[:1])
        inputs = Inputs(np.concatenate([inputs.numbers, row]),
                        np.concatenate([inputs.codes, inputs.codes[:1]]))
    return schema, inputs, [_counts_of_codes(data, column, size, codes) for column, size, codes in
                            zip(_categories(schema), schema.category_sizes, inputs.codes.T,
                                strict=True)]


def _categories(schema):
    return [column for column in schema.columns if column.kind == "category"]


def _counts_of_codes(data, column, size, codes):
    """Return how often each code of a column is there: in the sample, where there were too many
    different texts to count."""
    if column.name not in data.texts:
        return np.bincount(codes, minlength=size + 2)
    texts, counts = data.texts[column.name]
    found = Schema([column]).apply({column.name: list(texts)}).codes[:, 0]
    total = np.bincount(found, counts, size + 2).astype(np.int64)
    total[size + 1] += column.name in data.gaps
    return total


def _with_rows(X, table, columns, more, n):
    """Return a table with further rows; columns that need none repeat what they hold."""
    found = {}
    for name in table.names:
        values = columns[name]
        there = more[name]
        filled = there + [values[i % len(values)] for i in range(n - len(there))]
        found[name] = values + filled
    if hasattr(X, "iloc"):
        import pandas

        made = {}
        for name, values in found.items():
            own = pandas.Series(values, dtype=object)
            dtype = X.dtypes[name]
            gaps = any(value is None for value in more[name])
            made[name] = own if gaps and getattr(dtype, "kind", "O") in "biu" else (
                own.astype(dtype))
        return pandas.DataFrame(made)
    return np.array([found[name] for name in table.names], X.dtype if X.dtype.kind in "fO" else
                    object).T


def fit_table(model, cluster, X, y, sample_weight, validation_data, shards, keep, checkpoint=None,
              checkpoint_seconds=10.0):
    """Fit a tabular estimator whose rows stay on the workers.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Gets the attributes of a fit.
    cluster : Cluster
    X, y, sample_weight
    validation_data : (X, y, sample_weight) or None
    shards : int
    keep : bool or None
    checkpoint, checkpoint_seconds
        As for `fastnn.dask.fit`.
    """
    classifies, digest = hasattr(model, "class_weight"), checkpoint is not None
    if digest and model.random_state is None:
        raise ValueError(f"random_state=None must be a number with shards and checkpoint="
                         f"{shown(checkpoint)}: else each call begins with another network")
    data = TableData(cluster, X, y, sample_weight, classifies, model.categorical_features,
                     digest=digest, infinities=model.infinities)
    X, y, weight = data.sample()
    table = model._table(X, reset=True)
    numbers, task, classes = _targets_of(model, data, y, weight)
    metric = metric_of(model.eval_metric, task)
    schema, inputs, counts = learn_schema(data, X, model.categorical_features, model.infinities)
    for note in schema.notes:
        warn(note, TableWarning)
    recipe = recipes.PRESETS[model.preset][data.n_rows >= recipes.LARGE]
    targets = task.targets(numbers)
    bins = int(np.clip(data.n_rows // 64, min(16, recipe.bins), recipe.bins))
    encoding = Encoding.fit(inputs, schema.category_sizes, bins=bins, values=recipe.values,
                            rarest=RAREST if data.n_rows >= recipes.LARGE else 1, counts=counts)
    own_weight = _class_weight(model, data, classes)
    sampled = Sampled(inputs, targets, task, _weight_of(weight, own_weight, numbers), recipe)
    encoding = sampled.straightened(encoding)
    rng = np.random.default_rng(check_random_state(model.random_state).randint(2**31 - 1))
    net = recipes.network_of(encoding, task, targets, weight, recipe, rng)
    net._seeded = model.random_state is not None
    data.width = encoding.n_inputs
    own = {"dtype": "float32", "n_in": data.width, "n_out": task.n_out, "loss": task.loss,
           "output": task.output, "table": Reader(schema, encoding, task),
           "labels": classes if data.labels is not None else None,
           "class_weight": own_weight}
    held = None
    if validation_data is not None:
        held = TableData(cluster, *validation_data, classifies, model.categorical_features, "X_val",
                         digest, model.infinities)
        _check_held(held, data, schema)
    n_shards = number_of_shards(shards, data.n_rows, data.nbytes(own))
    rows = max(data.n_rows // n_shards, 1)
    batch = _batch(data.n_rows, n_shards)
    # An epoch has the same number of steps for all sizes, as on one machine: one of a step or two
    # is a round each, and one more for the rows that are held out.
    own["passes"] = max(1, -(-recipes.EPOCH * batch // rows))
    settings = _settings_of(model, net, task, metric, recipe, rows, batch, own["passes"])
    keys = [net._key(2, shard) for shard in range(n_shards)]
    plan = Plan(net, settings, shards=n_shards, local_steps=None, outer_learning_rate=1.0,
                outer_momentum=0.5, keep=keep, batch_size=batch, shuffle=True,
                split=None if held is not None else HELD_OUT,
                metric=None if metric is None else metric.loss,
                marks={} if not digest else _marks(schema, encoding, metric, own_weight))
    history = run(net, settings, plan, cluster, data, held, own, checkpoint, checkpoint_seconds)
    if held is None:
        rows = held_out_rows(data.sampled, edges_of(data.n_rows, n_shards), HELD_OUT, keys)
        net, encoding = sampled.refined(net, encoding, rows)
        unseen = (inputs[rows], targets[rows], None if weight is None else np.asarray(weight)[rows])
    else:
        unseen = _sample_of(held, schema, task, classes if data.labels is not None else None)
    ensemble = Ensemble([(encoding, [net])])
    reference = Reference.of(*unseen, ensemble, task, unseen, 0) if len(unseen[1]) else None
    model.model_ = TabularModel(schema, task, ensemble, table.names, classes, reference)
    model.history_ = history
    if classes is not None:
        model.classes_ = model.model_.classes


def _targets_of(model, data, y, weight):
    """Return the targets of the sample as numbers; the task; the classes, among them those that the
    sample lacks, or None."""
    if data.labels is None:
        numbers, task, classes = model._targets(y, weight)
    else:
        numbers, task, classes = model._targets(np.concatenate([y, data.labels]), None)
        numbers = numbers[:len(y)]
    if classes is not None and len(classes) < 2:
        raise ValueError(f"y has the one class {classes.tolist()[0]!r}: there is nothing to learn")
    return numbers, task, classes


def _settings_of(model, net, task, metric, recipe, rows, batch, passes):
    """Return the settings of a fit whose epochs go so many times through the rows of a shard."""
    epochs = max(recipe.steps // -(-passes * rows // batch), 3)
    stopping = EarlyStopping("val_loss" if metric is None else f"val_{METRIC}", recipe.patience,
                             mode="min")
    return Settings(
        net, check_loss(task.loss, net.output, task.n_out),
        optimizer=recipes.optimizer_of(recipe, rows, batch), epochs=epochs, alpha=0.0,
        penalties=(0.0, None, None, None), inputs=(0.0, 0.0, 0.0), validation_data=None,
        metrics=None, callback=None, callbacks=[stopping],
        max_time=model.time_limit, progress=model.progress)


def _batch(n_rows, n_shards):
    """Return the rows of a step on one shard: few where all are few, or an epoch is a step."""
    whole = int(np.clip(2 ** round(math.log2(n_rows / ROWS_TO_BATCH)), LEAST_BATCH, BATCH))
    least = min(LEAST_BATCH, max(n_rows // n_shards // LEAST_STEPS, 1))
    return max(whole // n_shards, least)


def _weight_of(weight, class_weight, numbers):
    """Return the weight of each row of the sample, that of its class included, or None."""
    if class_weight is None:
        return weight
    own = class_weight[numbers]
    return own if weight is None else weight * own


def _marks(schema, encoding, metric, class_weight):
    """Return what decides the result of a table beside the network and the rows."""
    arrays = dict(encoding.arrays())
    if class_weight is not None:
        arrays["class_weight"] = class_weight
    return {"table": container.digest([schema.settings(), encoding.settings()], arrays),
            "eval_metric": None if metric is None else metric.name}


def held_out_rows(numbers, edges, share, keys):
    """Return which rows are those that shards hold out.

    Parameters
    ----------
    numbers : int array
        Of the rows in the whole table, ascending.
    edges : list of int
        Of the shards.
    share : float
        That each shard holds out.
    keys : sequence
        Which decide about the rows of each shard.
    """
    found = []
    for key, start, stop in zip(keys, edges, edges[1:], strict=False):
        first, last = np.searchsorted(numbers, (start, stop))
        n = stop - start
        held = parts.held_out_first(key, n)[:parts.number_held_out(share, n)]
        found.append(first + np.flatnonzero(np.isin(numbers[first:last] - start, held)))
    return np.concatenate(found)


def _sample_of(data, schema, task, labels):
    """Return inputs, targets and weights of a sample of validation rows."""
    X, y, weight = data.sample()
    numbers = np.searchsorted(labels, y) if labels is not None else y
    inputs = schema.apply(as_table(X))
    return inputs, Reader(schema, None, task).targets(numbers), weight


def _class_weight(model, data, classes):
    """Return a weight for each class, or None."""
    chosen = getattr(model, "class_weight", None)
    if chosen is None:
        return None
    if data.labels is None:
        raise ValueError(f"class_weight={chosen!r} must be None for multilabel y")
    if chosen == "balanced":
        return data.n_rows / (len(data.labels) * data.counts)
    unknown = [label for label in chosen if label not in classes.tolist()]
    if unknown:
        raise ValueError(f"class_weight names {shown(unknown[0])}, which is no label of y")
    return np.array([check_nonnegative(f"class_weight[{shown(label)}]", chosen.get(label, 1.0))
                     for label in classes.tolist()])


def _check_held(held, data, schema):
    if held.columns != data.columns:
        raise ValueError(f"X_val has the columns {shown(held.columns)}, X {shown(data.columns)}")
    for column in schema.columns:
        kind, own = data.kinds[column.name], held.kinds[column.name]
        if column.kind != "category" and {kind, own} in UNLIKE:
            raise ValueError(f"X_val holds {own} in column {column.name!r}, X {kind}: convert them "
                             "to one, X_val = X_val.astype(...)")
    if data.labels is not None and not np.isin(held.labels, data.labels).all():
        missing = held.labels[~np.isin(held.labels, data.labels)]
        raise ValueError(f"y_val holds {missing.tolist()[0]!r}, which y does not")
