"""What is to be predicted: numbers, or classes; found out from the target's values."""

import unicodedata
from dataclasses import dataclass, field

import numpy as np

from fastnn.cli.common import CommandError, count
from fastnn.core.notices import shorten
from fastnn.tables.cells import EXACT, INTEGER, MISSING_WORDS
from fastnn.tables.errors import TableError, shown_value
from fastnn.tables.labels import Labels, learn_target
from fastnn.tables.learning import MARKS, MAX_WORDS, cure_of, example_of
from fastnn.tables.numerals import find_format, parse_numbers

__all__ = ["Goal", "find_goal"]

MAX_FLOAT32 = 1e30     # of a target that a network of float32 gives
MAX_TARGET = 1e140     # its square, summed over the rows, is a number too
MAX_CLASS_VALUES = 20  # different whole numbers in a target that is taken for classes
FEWEST_ROWS = 10
TYPING_ERRORS = 0.1    # share of words in a target of numbers, below which they are mistakes
MOST_LETTERS = 1 << 20  # of all classes; a model file has room for twice as many


@dataclass
class Goal:
    """The target: numbers, or codes of classes."""

    names: list
    why: str
    known: np.ndarray                    # (n_rows,) of the table: where the target is there
    values: np.ndarray | None = None     # (n_known, n_targets), for regression
    classes: np.ndarray | None = None
    codes: np.ndarray | None = None      # (n_known,)
    labels: Labels | None = None         # of the classes
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    notes: list = field(default_factory=list)

    def describe(self):
        if self.classes is None:
            return f"regression of {', '.join(map(repr, self.names))} ({self.why})"
        first = [shorten(str(name), 60) for name in self.classes[:6]]
        shown = ", ".join(first + ["..."] * (len(self.classes) > 6))
        return (f"classification of {self.names[0]!r} into {len(self.classes)} classes: {shown} "
                f"({self.why})")

    def scale_targets(self, values, dtype):
        """Mean and scale of the values for training; the dtype to train in."""
        if self.values is None:
            return dtype or "float32"
        largest = np.abs(self.values).max(axis=0)
        for name, size in zip(self.names, largest, strict=True):
            limit = MAX_FLOAT32 if dtype == "float32" else MAX_TARGET
            if size > limit:
                raise CommandError(f"the target {name!r} has values of up to {size:g}: too large "
                                   f"to compute with{' in float32' * (limit == MAX_FLOAT32)}; "
                                   "give it in other units")
        self.mean, self.scale = values.mean(axis=0), values.std(axis=0)
        for name, scale in zip(self.names, self.scale, strict=True):
            if not scale > 0:
                raise CommandError(f"the target {name!r} has one value only in the rows to learn "
                                   "from: there is nothing to predict")
        # float32 holds 7 digits: too few for what varies in the fifth
        return dtype or ("float64" if (np.abs(self.mean) > 1e4 * self.scale).any()
                         or (largest > MAX_FLOAT32).any() else "float32")


def find_goal(table, targets, task, keep_na=False):
    """Return the goal of a task that was asked for, or "auto".

    Parameters
    ----------
    table : Table
    targets : list of str
    task : "auto", "classification" or "regression"
    keep_na : bool, default=False
        Whether each text of a target of classes is one, also nan and the like.
    """
    if len(targets) > 1:
        if task == "classification":
            raise CommandError("--target names several columns: that goes with regression; for "
                               "classification train one model for each")
        found = [_numbers(table, name) for name in targets]
        return _regression(targets, "several targets", [values for values, _ in found],
                           [text for _, notes in found for text in notes])
    name, = targets
    cells = table.column(name)
    if cells.kind == "date":
        raise CommandError(f"the target {name!r} holds dates; turn it into numbers or classes "
                           "first")
    kind, why, numbers, notes = _kind(table, name, cells, task)
    if task == "auto":
        task = "regression" if kind == "number" else "classification"
    else:
        why = "as asked"
    if task == "regression":
        values, notes = _numbers(table, name)
        return _regression(targets, why, [values], notes)
    return _classification(table, name, cells, why, numbers, keep_na, notes)


def _regression(names, why, columns, notes):
    values = np.column_stack(columns)
    known = ~np.isnan(values).any(axis=1)
    _check_rows(known, names[0])
    return Goal(names, why, known, values=values[known], notes=notes)


def _check_rows(known, name):
    if not known.any():
        raise CommandError(f"the target {name!r} is missing in all rows")
    n = int(known.sum())
    if n < FEWEST_ROWS:
        raise CommandError(f"{count(n, 'row')} with a known target are not enough to learn from; "
                           f"at least {FEWEST_ROWS} are needed")


def _classification(table, name, cells, why, numbers, keep_na, notes):
    if numbers is not None:
        there = numbers[~np.isnan(numbers)]
        if not (there == np.floor(there)).all():
            raise CommandError(f"the target {name!r} has numbers that are not whole: no classes; "
                               "leave out --task classification")
        if not keep_na and np.abs(there).max(initial=0) <= EXACT:
            cells = numbers
    try:
        labels = Labels.learn(cells, keep_na)
    except TableError as error:
        raise CommandError(str(error).replace("the target", f"the target {name!r}")) from None
    codes = labels.apply(cells)
    known = codes >= 0
    _check_rows(known, name)
    classes, n = labels.classes, int(known.sum())
    if len(classes) == 1:
        gone = len(known) - n
        rest = labels.notes or [f"in {count(gone, 'row')} it is missing"] * (gone > 0)
        raise CommandError(f"the target {name!r} has one class only, "
                           f"{shown_value(classes[0].item())}: there is nothing to tell apart"
                           + "".join(f"; {text}" for text in rest))
    if classes.dtype.kind == "U" and sum(map(len, classes.tolist())) > MOST_LETTERS:
        longest = max(classes.tolist(), key=len)
        raise CommandError(f"the target {name!r} has classes of up to {len(longest):,} characters, "
                           f"such as {shown_value(longest)}: a model file has no room for them; is "
                           "it the right column?")
    if len(classes) > max(MAX_CLASS_VALUES, n // 2):
        raise CommandError(f"the target {name!r} has {len(classes)} classes in {n} rows: too many "
                           "to learn; is it the right column"
                           + (", or --task regression?" if numbers is not None else "?")
                           + _such_as(cells))
    return Goal([name], why, known, classes=classes, codes=codes[known], labels=labels,
                notes=notes + [text.replace("the target", f"the target {name!r}", 1)
                               for text in labels.notes] + _look_alike(name, classes.tolist()))


def _such_as(cells):
    """Return the end of a message: one of the values, and what to do if they are to be numbers."""
    texts = cells.used()[1] if not isinstance(cells, np.ndarray) else []
    cure = cure_of(texts) if texts else ""
    return f" ({shown_value(example_of(texts, cure))}: {cure})" if cure else ""


def _look_alike(name, classes):
    """Return a note where classes differ in letters that one hardly sees: case, blanks, accents."""
    seen = {}
    for label in classes:
        if isinstance(label, str):
            text = unicodedata.normalize("NFKC", label).casefold()
            text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf"
                           and not "\ufe00" <= letter <= "\ufe0f")  # how an emoji is drawn
            seen.setdefault(" ".join(text.split()), []).append(label)
    pairs = [found for found in seen.values() if len(found) > 1]
    if not pairs:
        return []
    return [f"classes {' and '.join(map(ascii, pairs[0][:3]))} of the target {name!r} look alike"
            + (f", and so do {count(len(pairs) - 1, 'more pair')}" if len(pairs) > 1 else "")
            + "; if they are one, write them alike in the table"]


def _kind(table, name, cells, task):
    """Whether a target's values are classes, how one can tell, and the values if all are numbers,
    with notes on them."""
    if cells.kind == "boolean":
        return "class", "true or false", None, []
    if cells.kind == "text":
        codes, texts, counts = cells.used()
        there = [i for i, text in enumerate(texts) if text not in MISSING_WORDS
                 and text not in MARKS and text not in table.na]
        words = [texts[i] for i in there]
        if not words:
            return "class", "text", None, []
        if {word.lower() for word in words[:100]} <= {"true", "false"}:
            return "class", "true or false", None, []
        parsed = parse_numbers(words, find_format(words, cells.style)[0])
        odd = np.isnan(parsed)
        if odd.any():
            if task == "auto":
                _refuse_typing_errors(name, codes, texts, counts, there, parsed)
            return "class", "text", None, []
        zero = next((word for word in words if len(word) > 1 and word[0] == "0"
                     and word.isdecimal()), None)
        if zero is not None and (parsed == np.floor(parsed)).all():
            return "class", (f"text, as {shown_value(zero)} starts with 0; if these are amounts: "
                             "--task regression"), None, []
        behind = next((word for word in words if word[-1:] == "-" or "(" in word), None)
        if behind is not None and (parsed == np.floor(parsed)).all() and len(
                set(parsed.tolist())) <= min(MAX_CLASS_VALUES, int(counts[there].sum()) // 5):
            return "class", (f"text, as in {shown_value(behind)}; if these are amounts: --task "
                             "regression"), None, []
    if _are_few_ids(cells):
        return "class", "few whole numbers of more digits than a number keeps", None, []
    values, notes = _numbers(table, name)
    there = values[~np.isnan(values)]
    different = len(np.unique(there))
    if (there == np.floor(there)).all() and different <= min(MAX_CLASS_VALUES, len(there) // 5):
        return "few numbers", (f"{different} different whole numbers; if they are amounts: "
                               "--task regression"), values, notes
    return "number", f"{different:,} different numbers", values, []


def _are_few_ids(cells):
    """Whether a target holds a few whole numbers, of more digits than float64 keeps."""
    _, texts, counts = cells.used()
    texts = [text for text in texts if text not in MISSING_WORDS]
    if len(texts) > min(MAX_CLASS_VALUES, int(counts.sum()) // 5) or max(
            map(len, texts), default=0) > 1000 or not all(map(INTEGER.fullmatch, texts)):
        return False
    return any(abs(int(text)) > EXACT for text in texts)


def _refuse_typing_errors(name, codes, texts, counts, there, parsed):
    """Refuse a few words among numbers, which would make a class of each number."""
    odd = np.isnan(parsed)
    wrong = [i for i, bad in zip(there, odd.tolist(), strict=True) if bad]
    n, many = int(counts[wrong].sum()), len(set(parsed[~odd].tolist())) > MAX_CLASS_VALUES
    if not (n < TYPING_ERRORS * counts[there].sum() or many and len(wrong) <= MAX_WORDS):
        return
    rows = np.flatnonzero(np.isin(codes, wrong))
    raise CommandError(
        f"the target {name!r} holds numbers, but {shown_value(texts[codes[rows[0]]])} in row "
        f"{rows[0] + 1}" + (f" and more in {count(n - 1, 'row')}" if n > 1 else "")
        + ": correct these, or leave them empty, or say that they mean missing: --na; if the "
        "numbers are names of classes: --task classification")


def _numbers(table, name):
    try:
        return learn_target(table.column(name), name=name)
    except TableError as error:
        raise CommandError(f"a regression needs numbers, but {error}") from None
