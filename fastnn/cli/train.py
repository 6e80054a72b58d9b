"""``train``: from a table to a model file, with scores on rows held out."""

import argparse
import os
import sys
import time
import warnings

import numpy as np

from fastnn.cli.common import (
    CommandError,
    Help,
    Progress,
    check_output,
    count,
    escaped,
    near,
    need,
    note,
    program,
    say,
)
from fastnn.cli.goal import find_goal
from fastnn.cli.scores import print_scores
from fastnn.cli.tables import add_table_options, read_table, table_options
from fastnn.core.threads import MAX_THREADS
from fastnn.tables.errors import TableError
from fastnn.tables.learning import counts_rows, holds_numbers
from fastnn.training.epochs import Hook

EARLY_STOPPING_ROWS = 1000
VALIDATION_FRACTION = 0.1
CHECKPOINT_SECONDS = 1.0
MANY_COLUMNS = 10_000  # what they take in a file is counted before they are looked at
RARE = 0.1  # share of all classes but one, below which accuracy is best where nothing is learned

EPILOG = """\
What happens: columns of numbers are standardised (missing values become the median), columns of
text get one input per category, columns that cannot be learned from are left out and named. A part
of the rows is held out, the network learns from the rest, and its scores on the held-out rows are
printed beside those of a model that always gives the same answer: only what lies between the two
has been learned. All of that is saved in one file, for 'predict'.

examples:
  %(prog)s iris.csv --target species
  %(prog)s houses.csv --target price --drop id --hidden 128,64 -o houses.safetensors
  %(prog)s wine.csv --target quality --task regression --seed 1
"""


def names(text):
    """Column names, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def hidden_sizes(text):
    """Units per hidden layer."""
    if text.strip().lower() in ("0", "none", ""):
        return ()
    try:
        return tuple(positive(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of units such as 64 or "
                                         "128,64") from None


def positive(text):
    """Return a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} must be 1 or more")
    return value


def thread_count(text):
    """Return a type of option: a number of threads."""
    value = positive(text)
    if value > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{value} must be at most {MAX_THREADS}")
    return value


thread_count.__name__ = "number"


def number(low, high, closed=False):
    """Return a type of option: a number in (low, high), or [low, high)."""
    def parse(text):
        value = float(text)
        if not (low < value < high or closed and value == low):
            bounds = f"{'at least' if closed else 'above'} {low:g}" + (
                f" and below {high:g}" if high < np.inf else "")
            raise argparse.ArgumentTypeError(f"{text} must be {bounds}")
        return value
    parse.__name__ = "number"
    return parse


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "train", usage="%(prog)s DATA --target COL [options]",
        help="learn from a table, print scores, save a model", formatter_class=Help,
        description="Learns to predict a column of a table from the others.", epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("data", help="CSV (also .gz) or Parquet file with a header line; - reads "
                                     "CSV from standard input")
    parser.add_argument("-t", "--target", required=True, action="append", metavar="COL",
                        help="column to predict; several, by commas or repeated, for a regression "
                             "of several numbers")
    parser.add_argument("-o", "--output", default="model.safetensors", metavar="FILE",
                        help="model file to write (default: model.safetensors)")
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing file")
    parser.add_argument("--task", choices=("auto", "classification", "regression"), default="auto",
                        help="predict classes or numbers (default: auto, by the target's values)")
    parser.add_argument("--keep-na-classes", action="store_true",
                        help="each text of the target is a class, also nan, ? and the like; None, "
                             "NA and null are classes anyway, unless --na says otherwise")
    parser.add_argument("--drop", action="append", default=[], metavar="COL",
                        help="columns not to learn from, such as a row number")
    parser.add_argument("--test-fraction", type=number(0, 1), default=0.2, metavar="X",
                        help="share of the rows held out for the scores (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the split, the first weights and the order of rows; the same seed "
                             "gives the same model (default: 0)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    group = parser.add_argument_group("the network and its training")
    group.add_argument("--hidden", type=hidden_sizes, default=(64, 64), metavar="N,N",
                       help="units of each hidden layer; 0: none, a linear model (default: 64,64)")
    group.add_argument("--activation", default="relu", metavar="NAME",
                       help="relu, tanh, gelu, silu, ... (default: relu)")
    group.add_argument("--epochs", "--max-iter", type=positive, default=200, metavar="N",
                       help="passes over the rows, at most (default: 200)")
    group.add_argument("--learning-rate", type=number(0, np.inf), default=1e-3, metavar="X",
                       help="step size of Adam (default: 0.001)")
    group.add_argument("--alpha", type=number(0, np.inf, closed=True), default=1e-4, metavar="X",
                       help="L2 penalty; larger against overfitting (default: 0.0001)")
    group.add_argument("--batch-size", type=positive, metavar="N",
                       help="rows per step (default: 32 to 256, by the number of rows)")
    group.add_argument("--early-stopping", action=argparse.BooleanOptionalAction, default=None,
                       help="stop when a tenth of the rows, taken from the training, is predicted "
                            f"no better (default: with {EARLY_STOPPING_ROWS} rows or more)")
    group.add_argument("--dtype", choices=("float32", "float64"),
                       help="precision (default: float32)")
    group.add_argument("--checkpoint", metavar="FILE",
                       help="keep where the training stands in this file; where it is there "
                            "already, go on from it, to the same model as without a break")
    group.add_argument("--threads", type=thread_count, metavar="N",
                       help="threads (default: all that are allowed); does not change the result")
    add_table_options(parser)


def run(options):
    """Trains, prints, saves; the exit code."""
    from fastnn.prediction.predictor import Predictor

    need(("sklearn", "scikit-learn"))
    started = time.perf_counter()
    if options.seed < 0:
        raise CommandError(f"--seed {options.seed} must be 0 or more")
    _check_activation(options.activation)
    output = check_output(options.output, options.force, options.data)
    _check_checkpoint(options)
    quiet = options.quiet
    data = read_table(options.data, quiet, **table_options(options))
    targets = [name for text in options.target for name in _split(text, data)]
    dropped = [name for text in options.drop for name in _split(text, data)]
    _check_columns(data, targets, dropped)
    tell = (lambda text: None) if quiet else say
    tell(f"{escaped(options.data)}: {count(len(data), 'row')}, "
         f"{count(len(data.names), 'column')}")
    features = _features(data, targets, dropped)
    goal = find_goal(data, targets, options.task, options.keep_na_classes)
    if not goal.known.all():
        note(f"{count(int((~goal.known).sum()), 'row')} left out: the target is missing there",
             quiet)
        data = data.rows(goal.known)
    for text in goal.notes:
        note(text, quiet)
    tell(f"task: {escaped(goal.describe())}")

    rng = np.random.default_rng(options.seed)
    train_rows, test_rows = _split_rows(len(data), goal.codes, options.test_fraction, rng)
    _tell_counters(data, features, quiet)
    known, test = data.select(features).rows(train_rows), data.select(features).rows(test_rows)
    _check_width(options, goal, known, features)
    table, X_train = _encode(known, targets, options.dtype or "float32", quiet)
    kinds = {"number": "of numbers", "boolean": "of true or false", "date": "of dates",
             "category": "of categories"}
    tell("inputs: " + ", ".join(f"{n} {kinds[kind]}" for kind, n in table.count().items())
        + f"; {count(len(table.feature_names), 'input')} of the network")
    dtype = goal.scale_targets(train_rows, options.dtype)
    if X_train.dtype != dtype:
        note(f"trained in {dtype}: {targets[0]!r} varies little beside its size", quiet)
        X_train = X_train.astype(dtype)
    _check_room(options, goal, table, X_train.dtype)
    model, seconds, interrupted = _train(options, goal, X_train, train_rows, rng, tell)
    predictor = _predictor(model, goal, table)

    tell(f"trained {count(model.n_iter_, 'epoch')} in {seconds:.1f} s\n")
    tell(f"scores on {count(len(test), 'held-out row')}:")
    bare, told = Predictor(predictor.net, predictor.task, classes=predictor.classes_), []
    X_test = table.encode(test, predictor.net.dtype, scaled=True, notes=told)
    for text in told:
        note(f"{text}, in the held-out rows", quiet)
    if not print_scores(goal, bare, X_test, train_rows, test_rows, tell):
        note("no better than the same answer for every row: the columns may say nothing about the "
             "target, or there are too few rows", quiet)
    predictor.save(output)
    tell(f"\nsaved {escaped(output)} ({output.stat().st_size:,} bytes) after "
        f"{time.perf_counter() - started:.1f} s in all")
    tell(f"next: {program()} predict {escaped(_quoted(output))} NEW.csv -o predictions.csv")
    if interrupted and options.checkpoint:
        tell("to go on with the training: the same command again, with --force")
    return 130 if interrupted else 0


# ---- the table ----

def _split(text, table):
    """Names in an option: one that holds a comma, or several."""
    return [text] if text in table else names(text)


def _check_activation(name):
    from fastnn.core._kernels import ACTIVATIONS, ALIASES

    if name not in (known := (*ACTIVATIONS, *ALIASES)):
        raise CommandError(f"--activation {name!r} is not known{near(name, known)}")


def _check_checkpoint(options):
    """Refuse a file that is another one of this command; `fit` refuses what it cannot write."""
    if options.checkpoint is None:
        return
    place = os.path.realpath(options.checkpoint)
    for name, other in (("the input", options.data), ("--output", options.output)):
        if place == os.path.realpath(other):
            raise CommandError(f"--checkpoint {options.checkpoint!r} is {name}; choose another "
                               "file")


def _check_columns(table, targets, dropped):
    if not targets:
        raise CommandError("--target must name a column")
    for option, given in (("--target", targets), ("--drop", dropped)):
        for name in given:
            if name not in table:
                one = ""
                if len(table.names) == 1:
                    one = " (is another --separator right? one column was found)"
                raise CommandError(
                    f"{option}: the table has no column {name!r}{near(name, table.names)}{one}")
            if given.count(name) > 1:
                raise CommandError(f"{option} names {name!r} twice")
    both = set(targets) & set(dropped)
    if both:
        raise CommandError(f"{min(both)!r} is both --target and --drop")
    if len(table) == 0:
        raise CommandError("the table has a header line but no rows")


def _features(table, targets, dropped):
    """Return the names of the columns to learn from."""
    others = {*targets, *dropped}
    features = [name for name in table.names if name not in others]
    if not features:
        raise CommandError("the table has no column to learn from beside the target")
    return features


def _tell_counters(table, features, quiet):
    """Tell of columns that count the rows; those without a name are left out anyway."""
    for name in features:
        try:
            counts = not name.startswith("Unnamed:") and counts_rows(table.column(name))
        except TableError:  # `_encode` says so
            continue
        if counts:
            note(f"column {name!r} counts the rows; if it says nothing about them: "
                 f"--drop {_quoted(name)}", quiet)


def _encode(known, targets, dtype, quiet):
    """Return the encoder fitted to the rows for training, and their scaled inputs."""
    from fastnn.tables.encoder import TableEncoder

    try:
        table = TableEncoder(targets=targets).fit(known)
    except TableError as error:
        hint = f" (--drop {_quoted(error.column)})" if error.column else ""
        raise CommandError(f"{error}{hint}") from None
    for text in table.notes:
        note(text, quiet)
    return table, table.encode(known, dtype, scaled=True, notes=[])


def _split_rows(n_rows, codes, fraction, rng):
    """Rows to learn from and rows held out, both in the table's order; classes shared alike."""
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


# ---- training ----

def _check_width(options, goal, known, features):
    """Refuse what could not be saved for its numbers alone, before time is spent on each column.

    They are taken with the least that a file says of a column, so that nothing is refused here that
    `_check_room` would let pass.
    """
    from fastnn.prediction.scaler import Scaler
    from fastnn.tables.encoder import Column, TableEncoder

    if len(features) < MANY_COLUMNS:
        return
    table = TableEncoder(targets=goal.names)
    table.columns = [Column(name, "number") for name in features
                     if holds_numbers(known.column(name))]
    if not table.columns:
        return
    table.scaler = Scaler(np.zeros(table.n_inputs), np.ones(table.n_inputs))
    _check_room(options, goal, table, np.dtype(options.dtype or "float32"))


def _check_room(options, goal, table, dtype):
    """Refuse now what could not be saved after the training."""
    from fastnn.files import model_parts
    from fastnn.mlp import MLP
    from fastnn.prediction.predictor import Predictor

    n_out = _n_outputs(goal)
    output = "identity" if goal.classes is None else "sigmoid" if n_out == 1 else "softmax"
    net = MLP((table.n_inputs, *options.hidden, n_out), activation=options.activation,
              output=output, dtype=dtype.name, initializer="zeros")
    try:
        model_parts.check_room(Predictor(
            net, "regression" if goal.classes is None else "classification", classes=goal.classes,
            feature_names=table.feature_names, scaler=table.scaler, table=table))
    except ValueError as error:
        raise CommandError(f"a model of this table could not be saved: {error}; --drop leaves out "
                           "columns") from None


def _train(options, goal, X, rows, rng, tell):
    """Return the fitted estimator, its seconds, and whether Ctrl-C has ended it."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    stopping = options.early_stopping
    if stopping is None:
        stopping = len(X) >= EARLY_STOPPING_ROWS
    if goal.classes is None:
        y = ((goal.values[rows] - goal.mean) / goal.scale).astype(X.dtype)
        y = y[:, 0] if y.shape[1] == 1 else y
        kind = MLPRegressor
    else:
        y = goal.codes[rows]
        kind = MLPClassifier
    fit, held = np.arange(len(X)), None
    if stopping:
        codes = None if goal.classes is None else y
        fit, held = _split_rows(len(X), codes, VALIDATION_FRACTION, rng)
        if len(held) < 2:
            raise CommandError("too few rows for --early-stopping; use --no-early-stopping")
    batch = options.batch_size or (32 if len(fit) < 5000 else 128 if len(fit) < 50000 else 256)
    model = kind(
        hidden_layer_sizes=options.hidden, activation=options.activation, alpha=options.alpha,
        batch_size=min(batch, len(fit)), learning_rate_init=options.learning_rate,
        max_iter=options.epochs, random_state=options.seed % 2**32, early_stopping=stopping,
        n_threads=options.threads)
    by_loss = goal.classes is not None and np.bincount(y).max() > (1 - RARE) * len(y)
    sizes = "-".join(map(str, (X.shape[1], *options.hidden, _n_outputs(goal))))
    tell(f"network: {sizes}, {options.activation}; {count(len(fit), 'row')} to learn from"
        + (f", {len(held):,} to stop by" if stopping else "")
         + (" (log loss: a class is rare)" if stopping and by_loss else ""))
    from fastnn.training.history import DivergenceWarning

    told = _Told(Progress(options.quiet), options.epochs, by_loss)
    validation = (X[held], y[held]) if stopping else None
    if options.checkpoint and os.path.exists(options.checkpoint):
        tell(f"goes on from {escaped(options.checkpoint)}")
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rows = fit if stopping else slice(None)  # which copies nothing
            model._fit_with_hooks(X[rows], y[rows], [told], validation_data=validation,
                                  stop_by_loss=by_loss, checkpoint=options.checkpoint,
                                  checkpoint_seconds=CHECKPOINT_SECONDS)
        except ValueError:
            if told.reason != "diverged":
                raise
            raise CommandError("training diverged: use a smaller --learning-rate", 1) from None
    seconds, interrupted = time.perf_counter() - started, told.reason == "interrupted"
    if interrupted and not (model.n_iter_ and _is_kept(model.n_iter_, options.quiet)):
        raise KeyboardInterrupt
    for warning in caught:
        if issubclass(warning.category, DivergenceWarning):
            note(str(warning.message), options.quiet)
    return model, seconds, interrupted


def _is_kept(epochs, quiet):
    """Ask after Ctrl-C whether to save what has been learned; say so where nobody can answer."""
    text = f"interrupted after {count(epochs, 'epoch')}"
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        note(f"{text}: the model is saved as it is; Ctrl-C again to save nothing", quiet)
        return True
    print(f"{text}. Save the model as it is? [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()  # empty at the end of the input
    return answer != "" and answer.strip().lower() in ("", "y", "yes")


def _n_outputs(goal):
    if goal.classes is None:
        return len(goal.names)
    return len(goal.classes) if len(goal.classes) > 2 else 1


class _Told(Hook):
    """Tells of each epoch, and keeps why the fit ended."""

    def __init__(self, progress, epochs, by_loss):
        self.progress, self.epochs, self.by_loss, self.reason = progress, epochs, by_loss, None

    def on_epoch_end(self, state):
        """Show a line."""
        model = state.model
        text = f"epoch {model.n_iter_}/{self.epochs}, loss {model.loss_:.4f}"
        if model.validation_scores_:
            score = model.validation_scores_[-1]
            metric = "accuracy" if hasattr(model, "classes_") else "R2"
            if self.by_loss:
                metric, score = "log loss", -score
            text += f", {metric} {score:.4f}"
        self.progress.show(model.n_iter_, text)

    def on_fit_end(self, state):
        """Clear the line."""
        self.progress.close()
        finite = np.isfinite(state.trainer.parameters).all()
        self.reason = state.reason if finite else "diverged"


def _predictor(model, goal, table):
    """Return the network with everything around it; a regression's outputs in the target's own
    units."""
    from fastnn.prediction.predictor import Predictor

    net = model._predictor().net
    if goal.classes is None:
        arrays = net.get_weights()
        w, b = (array.astype(np.float64) for array in arrays[-2:])
        arrays[-2:] = w * goal.scale, b * goal.scale + goal.mean
        net.set_weights(arrays)
    return Predictor(net, "regression" if goal.classes is None else "classification",
                     classes=goal.classes, feature_names=table.feature_names, scaler=table.scaler,
                     table=table)


def _quoted(text):
    import shlex

    return shlex.quote(str(text))
