"""``predict``: a model and a table to a table of predictions. Needs no scikit-learn."""

import csv
import gzip
import io
import sys
import warnings

import numpy as np

from fastnn.cli.common import (
    CommandError,
    Help,
    check_output,
    count,
    escaped,
    load_model,
    near,
    note,
    tell_warnings,
)
from fastnn.cli.tables import add_table_options, read_table, table_options
from fastnn.files import container
from fastnn.tables.cells import PLAIN_NUMBER
from fastnn.tables.columns import Column
from fastnn.tables.errors import TableError, check_names

BLOCK = 10_000  # rows that are written at a time
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how they begin for spreadsheets

EPILOG = """\
Columns are taken by name, in any order; others are ignored. Missing values and categories that the
training did not have are dealt with as the model was told to in training.

examples:
  %(prog)s model.safetensors new.csv                       to the terminal
  %(prog)s model.safetensors new.csv --proba --keep id -o out.csv
  zcat new.csv.gz | %(prog)s model.safetensors - | head
"""


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "predict", usage="%(prog)s MODEL DATA [options]",
        help="apply a model to the rows of a table", formatter_class=Help,
        description="Writes one prediction for each row of a table.", epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("model", help="model file, from 'train' or from Python")
    parser.add_argument("data", help="CSV (also .gz) or Parquet file with a header line; - reads "
                                     "CSV from standard input")
    parser.add_argument("-o", "--output", default="-", metavar="FILE",
                        help="file to write, .csv, .csv.gz or .parquet (default: CSV to standard "
                             "output)")
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing file")
    parser.add_argument("--proba", action="store_true",
                        help="the probability of each class as well")
    parser.add_argument("--keep", action="append", default=[], metavar="COL",
                        help="columns of the table to copy beside the predictions, as they stand "
                             "there")
    parser.add_argument("--safe-csv", action="store_true",
                        help="for spreadsheets: an apostrophe before text that begins like a "
                             "formula, with one of = + - @")
    parser.add_argument("--strict", action="store_true",
                        help="refuse a table with categories that the training did not have")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    add_table_options(parser)


def run(options):
    """Predicts and writes."""
    model = load_model(options.model)
    if options.strict and hasattr(model, "net"):
        raise CommandError("--strict goes with a model of 'train --preset'")
    if options.proba and model.classes_ is None:
        raise CommandError(f"--proba: {options.model!r} predicts numbers, it has no classes")
    if options.output != "-":
        output = check_output(options.output, options.force, options.model, options.data)
        if not output.name.lower().endswith((".csv", ".csv.gz", ".parquet", ".pq")):
            raise CommandError(f"--output {options.output!r} must end in .csv, .csv.gz or .parquet")
    table = read_table(options.data, options.quiet, **table_options(options))
    kept, stored = {}, {}
    for text in options.keep:
        for name in [text] if text in table else text.split(","):
            if name not in table:
                raise CommandError(f"--keep: the table has no column {name!r}"
                                   f"{near(name, table.names)}")
            if name in kept:
                raise CommandError(f"--keep names {name!r} twice")
            kept[name] = table.raw(name)
            stored[name] = table.arrow(name)
    found = _predictions(model, table, options)
    if both := [name for name in kept if name in found]:
        raise CommandError(f"--keep {both[0]!r}: the predictions have a column of that name; "
                           "give the table's another one")
    result = kept | found
    if options.safe_csv:
        result = {_guarded(name): _without_formulas(values) for name, values in result.items()}
    elif options.output.lower().endswith((".parquet", ".pq")):  # of the types that they came with
        result |= {name: column for name, column in stored.items() if column is not None}
    _write(result, len(table), options.output)
    if options.output != "-":
        note(f"wrote {count(len(table), 'prediction')} to {options.output}", options.quiet)


def _predictions(model, table, options):
    """Return the columns to write beside those that are kept."""
    if len(table) == 0:
        raise CommandError("the table has a header line but no rows")
    if hasattr(model, "net"):
        targets = getattr(model.table, "targets", ())
        X, model = inputs_of(model, table, options)
        values = model.predict(X)
        chances = model.predict_proba(X) if options.proba else None
    else:
        check_names(model.preparation.names if model.preparation is not None
                    else [column.name for column in model.schema.columns], table)
        outputs = outputs_of(model, table, options.quiet, options.strict)
        values, targets = model.decided(outputs), model.targets
        chances = model.probabilities(outputs) if options.proba else None
    found = {}
    if model.classes_ is None:
        values = values.reshape(len(table), -1)
        if values.shape[1] == 1:
            names = ["prediction"]
        elif len(targets) == values.shape[1]:
            names = [f"prediction_{name}" for name in targets]
        else:
            names = [f"prediction_{i}" for i in range(values.shape[1])]
        found = dict(zip(names, values.T, strict=True))
    elif model.task == "multilabel":
        found = {f"prediction_{label}": values[:, i] for i, label in enumerate(model.classes_)}
    else:
        found["prediction"] = values
    if options.proba:
        found |= {f"probability_{label}": chances[:, i] for i, label in enumerate(model.classes_)}
    return found


def outputs_of(model, table, quiet, strict=False):
    """Return the outputs of a `TabularModel` for a table, with its warnings as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outputs = model.outputs(table, strict=strict)
        except TableError as error:
            raise CommandError(str(error)) from None
    tell_warnings(caught, quiet)
    return outputs


def inputs_of(model, table, options):
    """Return what the network takes, scaled, and the model without scaler and table."""
    from fastnn.prediction.predictor import Predictor

    if model.table is None:
        return _columns(model, table), model
    if getattr(model.table, "makes_codes", False):
        raise CommandError("the model has an encoder of its own, which tells numbers from text: "
                           "take fastnn.load(path).predict(rows) in Python")
    if getattr(model.table, "takes_arrays", False):
        check_names(model.table.names, table)
        try:
            X = model.table.transform(table)
        except TableError as error:
            raise CommandError(str(error)) from None
        return X, Predictor(model.net, model.task, classes=model.classes_, scaler=model.scaler)
    check_names([column.name for column in model.table.columns], table)
    notes = []
    try:
        X = model.table.encode(table, model.net.dtype, scaled=model.scaler, notes=notes)
    except TableError as error:
        raise CommandError(str(error)) from None
    for text in notes:
        note(text, options.quiet)
    return X, Predictor(model.net, model.task, classes=model.classes_)


def _columns(model, table):
    """Return columns of numbers: those whose names the model knows, or all in order."""
    if model.feature_names_in_ is not None:
        names = list(map(str, model.feature_names_in_))
        check_names(names, table)
    else:
        names = table.names
        if len(names) != model.n_features_in_:
            raise CommandError(
                f"the table has {count(len(names), 'column')}, the model takes "
                f"{model.n_features_in_} and knows no names: give exactly these, in order")
    X = np.empty((len(table), len(names)))
    for j, name in enumerate(names):
        values, problems = Column(name, "number").numbers(table.column(name), table.na)
        if problems and problems[0].count:
            raise CommandError(
                f"column {name!r} is not numeric, and the model was saved without a rule for text: "
                f"{problems[0].example} in row {table.row_label(problems[0].row)}")
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(bad.argmax())
            raise CommandError(f"column {name!r}, row {table.row_label(row)}: {values[row]} is not "
                               "a finite number")
        X[:, j] = values
    return X


def _without_formulas(values):
    """Return a column with an apostrophe before text that a spreadsheet would compute."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values
    values = list(values) if isinstance(values, list) else values.tolist()
    if all(not isinstance(value, str) or not value or PLAIN_NUMBER.fullmatch(value)
           for value in values):
        return values
    return list(map(_guarded, values))


def _guarded(value):
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _write(result, n_rows, output):
    if output == "-":
        for start in range(0, n_rows, BLOCK):
            _print(_lines(result, start, start == 0))
        return
    name = output.lower()
    if name.endswith((".parquet", ".pq")):
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise CommandError("Parquet files need pyarrow: python -m pip install pyarrow; or "
                               "write .csv", 1) from None
        with container.replacing(output) as file:
            parquet.write_table(pyarrow.table(result), file)
        return
    with container.replacing(output) as file:
        packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if name.endswith(".gz") else file
        for start in range(0, n_rows, BLOCK):
            packed.write(_lines(result, start, start == 0).encode())
        if packed is not file:
            packed.close()


def _lines(result, start, header):
    """Return some rows as CSV."""
    rows = [*([tuple(result)] if header else []), *zip(
        *(_texts(values[start:start + BLOCK]) for values in result.values()), strict=True)]
    lines = _written(rows)
    if "\r" not in lines:
        return lines
    # the csv module puts a carriage return in quotation marks only where it ends lines
    return "".join(_written([row], "\r\n").removesuffix("\r\n") + "\n" for row in rows)


def _written(rows, end="\n"):
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end).writerows(rows)
    return file.getvalue()


def _texts(values):
    """Return what stands in the file: numbers in as few digits as tell them from others."""
    return values.astype(str).tolist() if isinstance(values, np.ndarray) else values


def _print(lines):
    """Write lines to standard output; for a terminal with escapes for what it would act on."""
    sys.stdout.write(escaped(lines, kept="\n") if sys.stdout.isatty() else lines)
