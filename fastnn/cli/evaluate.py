"""``evaluate``: the scores of a model on a table whose answers are known."""

import numpy as np

from fastnn.cli.common import CommandError, Help, count, escaped, load_model, say
from fastnn.cli.predict import inputs_of, outputs_of
from fastnn.cli.samples import truth_of
from fastnn.cli.scores import constant_of, print_scores
from fastnn.cli.tables import add_table_options, read_table, table_options
from fastnn.tables.labels import Labels

EPILOG = """\
The line below that of the model is of an answer that is the same for every row: the commonest class
with the shares of the classes in this table, or the mean of the target. What lies between the two
lines is what the model knows.

examples:
  %(prog)s model.safetensors test.csv
  %(prog)s model.safetensors test.csv --target churned
"""


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "evaluate", usage="%(prog)s MODEL DATA [options]",
        help="scores of a model on a table with known answers", formatter_class=Help,
        description="Prints the scores of a model on a table that has the target, too.",
        epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("model", help="model file, from 'train' or from Python")
    parser.add_argument("data", help="CSV (also .gz) or Parquet file with a header line; - reads "
                                     "CSV from standard input")
    parser.add_argument("-t", "--target", action="append", metavar="COL",
                        help="column with the answers (default: that of the training)")
    parser.add_argument("--weight", metavar="COL", help="column with the weights of the rows")
    parser.add_argument("--report", metavar="FILE.html",
                        help="write a page with tables and pictures of this")
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing report")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes")
    add_table_options(parser)


def run(options):
    """Run the command."""
    from fastnn.cli.report import check_report, write_report

    model = load_model(options.model)
    output = check_report(options, options.model, options.data)
    tabular = not hasattr(model, "net")
    table = read_table(options.data, options.quiet, **table_options(options))
    if tabular:  # which knows the words of its training, for the target, too
        table.na = tuple(dict.fromkeys((*table.na, *model.schema.na)))
    given = model.targets if tabular else getattr(model.table, "targets", ())
    names = [name for text in options.target or () for name in (
        [text] if text in table else text.split(","))] or list(given)
    if not names:
        raise CommandError("the model does not know the name of its target: give --target")
    classes = model.classes_
    if model.task == "multilabel":
        raise CommandError("evaluate knows classes and numbers, and this model has several labels "
                           "for each row")
    labels = None if classes is None else Labels(classes)
    rows = truth_of(table, names, labels, repr(options.data), options.quiet, options.weight)
    if tabular:
        found = model.numbers(outputs_of(model, rows.table, options.quiet))
    else:
        X, bare = inputs_of(model, rows.table, options)
        found = bare.predict(X).reshape(len(rows), -1) if classes is None else bare.predict_proba(X)
        found = found.astype(np.float64)
    wanted = found.shape[1] if classes is None else 1
    if len(names) != wanted:
        raise CommandError(f"the model predicts {count(wanted, 'number')}, --target names "
                           f"{len(names)}")
    constant = constant_of(classes, rows.truth, rows.weight)
    say(f"scores on {count(len(rows), 'row')} of {escaped(options.data)}:")
    print_scores(names, classes, rows.truth, found, constant, say, rows.weight)
    if output is not None:
        write_report(output, f"{options.model} on {options.data}", names, classes, rows, found,
                     constant)
        say(f"\nwrote {escaped(output)}")
