"""``predict``: a model and a table to a table of predictions. Needs no scikit-learn."""

import sys

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
)
from fastnn.cli.tables import add_table_options, blocks, read_table
from fastnn.files import container

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
                        help="columns of the table to copy beside the predictions")
    parser.add_argument("--safe-csv", action="store_true",
                        help="for spreadsheets: an apostrophe before text that begins like a "
                             "formula, with one of = + - @")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    add_table_options(parser)


def run(options):
    """Predicts and writes."""
    model = load_model(options.model)
    if options.proba and model.classes_ is None:
        raise CommandError(f"--proba: {options.model!r} predicts numbers, it has no classes")
    if options.output != "-":
        output = check_output(options.output, options.force, options.model, options.data)
        if not output.name.lower().endswith((".csv", ".csv.gz", ".parquet", ".pq")):
            raise CommandError(f"--output {options.output!r} must end in .csv, .csv.gz or .parquet")
    table = model.table
    text_columns = [] if table is None else [
        column.name for column in table.columns if column.kind == "category"]
    frame = read_table(options.data, options.separator, options.encoding, text_columns,
                       quiet=options.quiet)
    kept = {}
    for text in options.keep:
        for name in [text] if text in frame.columns else text.split(","):
            if name not in frame.columns:
                raise CommandError(f"--keep: the table has no column {name!r}"
                                   f"{near(name, frame.columns)}")
            if name in kept:
                raise CommandError(f"--keep names {name!r} twice")
            kept[name] = frame[name]
    result = _predictions(model, frame, options.proba, kept)
    if kept:
        import pandas as pd

        result = pd.concat([pd.DataFrame(kept), result], axis=1)
    if options.safe_csv:
        result = _without_formulas(result)
    _write(result, options.output)
    if options.output != "-":
        note(f"wrote {count(len(result), 'prediction')} to {options.output}", options.quiet)


def _predictions(model, frame, proba, kept):
    """Return a frame with the columns to write beside those that are kept."""
    import pandas as pd

    if len(frame) == 0:
        raise CommandError("the table has a header line but no rows")
    pieces = []
    for block in blocks(frame):
        X = _inputs(model, block)
        found = {}
        if model.classes_ is None:
            values = model.predict(X)
            values = values.reshape(len(block), -1)
            targets = getattr(model.table, "targets", ())
            if values.shape[1] == 1:
                names = ["prediction"]
            elif len(targets) == values.shape[1]:
                names = [f"prediction_{name}" for name in targets]
            else:
                names = [f"prediction_{i}" for i in range(values.shape[1])]
            found = dict(zip(names, values.T, strict=True))
        elif model.task == "multilabel":
            labels = model.predict(X)
            found = {f"prediction_{label}": labels[:, i]
                     for i, label in enumerate(model.classes_)}
        else:
            found["prediction"] = model.predict(X)
        if proba:
            chances = model.predict_proba(X)
            found |= {f"probability_{label}": chances[:, i]
                      for i, label in enumerate(model.classes_)}
        if both := [name for name in kept if name in found]:
            raise CommandError(f"--keep {both[0]!r}: the predictions have a column of that name; "
                               "give the table's another one")
        pieces.append(pd.DataFrame(found, index=block.index))
    return pd.concat(pieces)


def _inputs(model, frame):
    """Return what the model takes: the frame, or its columns in order where the model knows no
    names."""
    if model.table is not None:
        missing = [c.name for c in model.table.columns if c.name not in frame.columns]
    elif model.feature_names_in_ is not None:
        missing = [str(name) for name in model.feature_names_in_ if name not in frame.columns]
    else:
        if frame.shape[1] != model.n_features_in_:
            raise CommandError(
                f"the table has {count(frame.shape[1], 'column')}, the model takes "
                f"{model.n_features_in_} and knows no names: give exactly these, in order")
        missing = []
    if missing:
        more = f" (and lacks {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CommandError(f"the table has no column {missing[0]!r}{more}"
                           f"{near(missing[0], frame.columns)}")
    if model.table is not None:
        return frame
    wanted = frame if model.feature_names_in_ is None else frame[list(model.feature_names_in_)]
    for name in wanted.columns:
        values = wanted[name]
        if values.dtype.kind not in "biuf":
            raise CommandError(f"column {name!r} is not numeric, and the model was saved without "
                               "a rule for text")
        bad = ~np.isfinite(values.to_numpy(np.float64))
        if bad.any():
            raise CommandError(f"column {name!r}, row {values.index[int(bad.argmax())]}: "
                               f"{values.iloc[int(bad.argmax())]} is not a finite number")
    return wanted.to_numpy(np.float64)


def _without_formulas(result):
    """Return the table with an apostrophe before text that a spreadsheet would compute."""
    from pandas.api import types

    result = result.rename(columns=_guarded)
    for i, dtype in enumerate(result.dtypes):
        if not (types.is_numeric_dtype(dtype) or types.is_datetime64_any_dtype(dtype)):
            result.isetitem(i, result.iloc[:, i].astype(object).map(_guarded))
    return result


def _guarded(value):
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _write(result, output):
    if output == "-":
        for start in range(0, len(result), 10000):
            _print(result.iloc[start:start + 10000], header=start == 0)
        return
    name = output.lower()
    with container.replacing(output) as file:
        if name.endswith((".parquet", ".pq")):
            try:
                result.to_parquet(file, index=False)
            except ImportError:
                raise CommandError("Parquet files need pyarrow: python -m pip install pyarrow; or "
                                   "write .csv", 1) from None
        else:
            result.to_csv(file, index=False, mode="wb",
                          compression="gzip" if name.endswith(".gz") else None)


def _print(rows, header):
    """Write rows to standard output; for a terminal with escapes for what it would act on."""
    if sys.stdout.isatty():
        sys.stdout.write(escaped(rows.to_csv(index=False, header=header), kept="\n"))
    else:
        rows.to_csv(sys.stdout, index=False, header=header)
