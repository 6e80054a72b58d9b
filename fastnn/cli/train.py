"""``train``: from a table to a model file, with scores on rows held out."""

import argparse
import itertools
import os
import time

import numpy as np

from fastnn.cli.checkpoint import check_checkpoint
from fastnn.cli.common import (
    CommandError,
    Help,
    check_output,
    count,
    escaped,
    near,
    need,
    note,
    program,
    quoted,
    say,
    whole_number,
)
from fastnn.cli.goal import find_goal
from fastnn.cli.report import check_report
from fastnn.cli.samples import Rows, read_weights, split_rows, truth_of
from fastnn.cli.tables import add_table_options, read_table, table_options
from fastnn.core.threads import MAX_THREADS
from fastnn.files import kinds
from fastnn.tables.cells import PLAIN_NUMBER
from fastnn.tables.errors import TableError, check_names, first_line_hint
from fastnn.tables.learning import UNNAMED, counts_rows, differ_all

LONG = 3.0  # seconds of reading, with the imports, that are worth a word
NETWORK = {  # options of a plain network, and what holds where they are not given
    "hidden": (64, 64), "activation": "relu", "epochs": 200, "learning_rate": 1e-3, "alpha": 1e-4,
    "batch_size": None, "early_stopping": None, "dtype": None}
TABULAR = ("preset", "time_limit", "metric", "loss", "cv", "categorical_features")  # of a preset

EPILOG = """\
What happens: the columns are taken as they are, numbers, dates, categories and missing values;
those that cannot be learned from are left out and named. A part of the rows is held out, several
small networks learn from the rest, and their scores on the held-out rows are printed beside those
of a model that always gives the same answer: only what lies between the two has been learned. All
of that is saved in one file, for 'predict' and 'evaluate'.

With any option of a plain network it is one network of these settings: numbers are standardised
(missing values become the median), text gets one input per category.

examples:
  %(prog)s iris.csv --target species
  %(prog)s churn.csv --target churned --preset best --report churn.html
  %(prog)s sales.csv --target units --loss poisson --weight days --test new_sales.csv
  %(prog)s houses.csv --target price --drop id --hidden 128,64 -o houses.safetensors
"""


def names(text):
    """Column names, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def hidden_sizes(text):
    """Units per hidden layer."""
    if text.strip().lower() in ("0", "none", ""):
        return ()
    parts = text.split(",")
    if not all(part.strip().lstrip("+-").isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of units such as 64 or 128,64")
    return tuple(positive(part) for part in parts)


def positive(text):
    """Return a whole number above 0."""
    return whole_number(text, 1)


def seed_number(text):
    """Return a whole number from 0."""
    return whole_number(text, 0)


def thread_count(text):
    """Return a type of option: a number of threads."""
    value = positive(text)
    if value > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{value} must be at most {MAX_THREADS}")
    return value


def number(low, high, closed=False):
    """Return a type of option: a number in (low, high), or [low, high)."""
    def parse(text):
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number") from None
        if not (low < value < high or closed and value == low):
            bounds = f"{'at least' if closed else 'above'} {low:g}"
            if high < np.inf:
                bounds += f" and below {high:g}"
            elif np.isinf(value):
                bounds += ", and finite"
            raise argparse.ArgumentTypeError(f"{text} must be {bounds}")
        return value
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
    parser.add_argument("--weight", metavar="COL",
                        help="column with the weight of each row; not learned from")
    parser.add_argument("--class-weight", choices=("none", "balanced"), default="none",
                        help="balanced: all classes weigh the same in all, however rare; "
                             "probabilities are then those of such data (default: none)")
    parser.add_argument("--test-fraction", type=number(0, 1, closed=True), default=None,
                        metavar="X", help="share of the rows held out for the scores; 0: none, a "
                                          "last model of all rows (default: 0.2)")
    parser.add_argument("--test", metavar="FILE",
                        help="table for the scores; then all rows of DATA are learned from")
    parser.add_argument("--report", metavar="FILE.html",
                        help="write a page: columns, scores, confusion, calibration, curves, "
                             "importances")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N",
                        help="of the split, the first weights and the order of rows; the same seed "
                             "gives the same model (default: 0)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    group = parser.add_argument_group("the model")
    group.add_argument("--preset", choices=("fast", "default", "best"),
                       help="how much work: fast takes a fraction of the time, best about three "
                            "times as long (default: default)")
    group.add_argument("--time-limit", type=number(0, np.inf), metavar="SECONDS",
                       help="about so long the networks may learn")
    group.add_argument("--metric", metavar="NAME",
                       help="by what each network's best epoch is chosen: log_loss, accuracy, "
                            "roc_auc, rmse, mae, ... (default: the loss)")
    group.add_argument("--loss", metavar="NAME",
                       help="of numbers: squared_error, absolute_error, huber, quantile (the "
                            "median), poisson, gamma, tweedie, ... (default: squared_error)")
    group.add_argument("--categorical-features", action="append", metavar="COL",
                       help="columns whose values are categories, whatever they look like, such "
                            "as codes that are numbers; several by commas or repeated (default: "
                            "what is no number, date, or true and false)")
    group.add_argument("--cv", type=positive, metavar="K",
                       help="scores by K models, each without a fold of the rows; the model that "
                            "is saved learns from all rows")
    group.add_argument("--checkpoint", metavar="FILE",
                       help="keep where the training stands in this file; where it is there "
                            "already, go on from it, to the same model as without a break")
    group = parser.add_argument_group("a plain network, in the place of a preset")
    group.add_argument("--hidden", type=hidden_sizes, metavar="N,N",
                       help="units of each hidden layer; 0: none, a linear model (default: 64,64)")
    group.add_argument("--activation", metavar="NAME",
                       help="relu, tanh, gelu, silu, ... (default: relu)")
    group.add_argument("--epochs", "--max-iter", type=positive, metavar="N",
                       help="passes over the rows, at most (default: 200)")
    group.add_argument("--learning-rate", type=number(0, np.inf), metavar="X",
                       help="step size of Adam (default: 0.001)")
    group.add_argument("--alpha", type=number(0, np.inf, closed=True), metavar="X",
                       help="L2 penalty; larger against overfitting (default: 0.0001)")
    group.add_argument("--batch-size", type=positive, metavar="N",
                       help="rows per step (default: 32 to 256, by the number of rows)")
    group.add_argument("--early-stopping", action=argparse.BooleanOptionalAction, default=None,
                       help="stop when a tenth of the rows, taken from the training, is predicted "
                            "no better (default: with 1,000 rows or more)")
    group.add_argument("--dtype", choices=("float32", "float64"),
                       help="precision (default: float32)")
    group.add_argument("--threads", type=thread_count, metavar="N",
                       help="threads (default: all that are allowed); does not change the result")
    add_table_options(parser)


def run(options):
    """Trains, prints, saves; the exit code."""
    started = time.perf_counter()
    from fastnn.cli import network, preset

    plain = _of_network(options)
    if plain:
        need(("sklearn", "scikit-learn"))
        network.check_options(options)
    check_checkpoint(options)
    if options.data == options.test == "-":
        raise CommandError("DATA and --test are both -, and standard input can be read once: give "
                           "a file for one of them")
    tables = [options.data, *filter(None, [options.test])]
    output = check_output(options.output, options.force, *tables)
    if (kind := kinds.by_name(output)) is not None:
        raise CommandError(f"--output {os.fspath(output)!r} has the name of {kind}, and `train` "
                           "writes a model file, such as model.safetensors; `export` makes ONNX "
                           "and C of it")
    report = check_report(options, *tables, options.output)
    if report is not None and report.resolve() == output.resolve():
        raise CommandError(f"{options.report!r} is both --report and --output: give the page "
                           "another name")
    quiet = options.quiet
    data = read_table(options.data, quiet, **table_options(options))
    targets = [name for text in options.target for name in _split(text, data)]
    dropped = [name for text in options.drop for name in _split(text, data)]
    categories = [name for text in options.categorical_features or ()
                  for name in _split(text, data)]
    _check_columns(data, targets, dropped, categories, options.weight)
    options.categorical_features = categories or None
    tell = (lambda text: None) if quiet else say
    reading = time.perf_counter() - started
    tell(f"{escaped(options.data)}: {count(len(data), 'row')}, "
         f"{count(len(data.names), 'column')}"
         + (f", read in {reading:.1f} s" if reading > LONG else ""))
    if plain:
        note(f"one plain network, since {' and '.join(plain)} {'is' if len(plain) == 1 else 'are'} "
             "of one; without it: several networks, --preset default", quiet)
    weight = None if options.weight is None else read_weights(data, options.weight, quiet)
    features = _features(data, [*targets, options.weight], dropped)
    goal = find_goal(data, targets, options.task, options.keep_na_classes)
    if goal.classes is None and options.class_weight == "balanced":
        raise CommandError("--class-weight balanced goes with classes, and the target holds "
                           "numbers")
    if not goal.known.all():
        note(f"{count(int((~goal.known).sum()), 'row')} left out: the target is missing there",
             quiet)
        data = data.rows(goal.known)
        weight = None if weight is None else weight[goal.known]
    for text in goal.notes:
        note(text, quiet)
    tell(f"task: {escaped(goal.describe())}")
    truth = goal.values if goal.classes is None else goal.codes
    rows = Rows(data.select(features), truth, weight)
    rng = np.random.default_rng(options.seed)
    learned, held, what = _held_out(options, goal, rows, features, rng)
    _tell_counters(data, features, quiet)
    train = network.train if plain else preset.train
    interrupted = train(options, goal, rows, learned, held, what, rng, tell, output, report)
    tell(f"\nsaved {escaped(output)} ({output.stat().st_size:,} bytes) after "
         f"{time.perf_counter() - started:.1f} s in all")
    if report is not None:
        tell(f"wrote {escaped(report)}")
    tell(f"next: {program()} predict {escaped(quoted(output))} NEW.csv -o predictions.csv")
    if interrupted and options.checkpoint:
        tell("to go on with the training: the same command again, with --force")
    return 130 if interrupted else 0


def _of_network(options):
    """Return the options that ask for a plain network; all of its options get their defaults."""
    given = [name for name in NETWORK if getattr(options, name) is not None]
    others = [name for name in TABULAR if getattr(options, name) is not None]
    if given and others:
        raise CommandError(f"--{given[0].replace('_', '-')} is of a plain network, "
                           f"--{others[0].replace('_', '-')} of a preset: give one of both")
    for name, default in NETWORK.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    if not given and options.preset is None:
        options.preset = "default"
    return [f"--{name.replace('_', '-')}" for name in given]


def _held_out(options, goal, rows, features, rng):
    """Return the rows to learn from, those to judge by or None, and what the latter are called."""
    if options.test is not None:
        if options.test_fraction is not None:
            raise CommandError("--test and --test-fraction are both given: give one of both")
        table = read_table(options.test, options.quiet, **table_options(options))
        held = truth_of(table, goal.names, goal.labels, f"--test {options.test!r}", options.quiet,
                        options.weight)
        check_names(features, table, f"--test {options.test!r}")
        held.table = held.table.select(features)
        return rows, held, f"{count(len(held), 'row')} of {escaped(options.test)}"
    fraction = 0.2 if options.test_fraction is None else options.test_fraction
    if options.cv is not None:
        if options.cv < 2:
            raise CommandError(f"--cv {options.cv} must be 2 or more")
        if options.test_fraction:
            raise CommandError("--cv and --test-fraction are both given: give one of both")
        fraction = 0
    if fraction == 0:
        return rows, None, ""
    codes = None if goal.classes is None else rows.truth
    train_rows, test_rows = split_rows(len(rows), codes, fraction, rng)
    held = rows[test_rows]
    return rows[train_rows], held, count(len(held), "held-out row")


# ---- the table ----

def _split(text, table):
    """Names in an option: one that holds a comma, or several."""
    return [text] if text in table else names(text)


def _check_columns(table, targets, dropped, categories, weight):
    if not targets:
        raise CommandError("--target must name a column")
    options = {"--target": targets, "--drop": dropped, "--categorical-features": categories}
    for option, given in options.items():
        for name in given:
            if name not in table:
                one = first_line_hint(name, table)
                if len(table.names) > 1 and any(map(_is_value, table.names)):
                    one = ("; the first line holds values, not names: --header-row 0 reads it as a "
                           "row, the columns are then x0, x1, ...")
                raise CommandError(
                    f"{option}: the table has no column {name!r}{near(name, table.names)}{one}")
            if given.count(name) > 1:
                raise CommandError(f"{option} names {name!r} twice")
    for one, other in itertools.combinations(options, 2):
        both = set(options[one]) & set(options[other])
        if both:
            raise CommandError(f"{min(both)!r} is both {one} and {other}")
    for option in ("--target", "--categorical-features"):
        if weight in options[option]:
            raise CommandError(f"{weight!r} is both {option} and --weight")
    if len(table) == 0:
        raise CommandError("the table has a header line but no rows")


def _is_value(name):
    """Return whether a name in the first line is a number with a point, or a negative one."""
    return PLAIN_NUMBER.fullmatch(name) is not None and not name.isdecimal()


def _features(table, targets, dropped):
    """Return the names of the columns to learn from."""
    others = {*targets, *dropped}
    features = [name for name in table.names if name not in others]
    if not features:
        raise CommandError("the table has no column to learn from beside the target")
    return features


# what pandas and databases call the numbers of rows
INDICES = {"index", "level_0", "row", "rownum", "row_number", "rowid", "row_id", "id", "_id"}


def _tell_counters(table, features, quiet):
    """Tell of columns that count the rows; those without a name are left out anyway."""
    for name in features:
        try:
            cells = table.column(name)
            counts = not UNNAMED.fullmatch(name) and counts_rows(cells)
            if not counts and name.strip().lower() in INDICES and differ_all(cells):
                note(f"column {name!r} holds a different whole number in each row, as an index "
                     "that was written with the table: of rows that were sorted it may give the "
                     f"target away; --drop {quoted(name)}", quiet)
        except TableError:  # who learns from the table says so
            continue
        if counts:
            note(f"column {name!r} counts the rows; if it says nothing about them: "
                 f"--drop {quoted(name)}", quiet)
