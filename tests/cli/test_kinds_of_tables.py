"""Kinds of tables that public bug reports name, through the command line: each is read rightly, or
what is not understood is said. The variants of each kind stand in `tests/tables/test_schema.py`."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.tables import read

pytest.importorskip("sklearn")

QUICK = ("--epochs", 1, "--hidden", 2, "-f")
X = np.random.default_rng(0).normal(size=120).round(3)


def write(name, header, rows, separator=",", encoding="utf-8"):
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding=encoding)


def columns(run):
    """What `info` says of the columns: {name: kind}."""
    out = run("info", "model.safetensors")[1].partition("the table must have")[2]
    return dict(line.split()[:2] for line in out.splitlines()[1:])


def train(run, *arguments, code=0):
    found, out, err = run("train", "t.csv", *arguments, *QUICK)
    assert found == code, err
    return out, err


def predict(run, *arguments, code=0):
    found, out, err = run("predict", "model.safetensors", "new.csv", *arguments)
    assert found == code, err
    return out.split("\n")[1:-1], err


@pytest.mark.parametrize("three", [
    ("TRUE", "FALSE", ""), ("true", "false", "NA"), ("True", "False", "nan"),
    ("TRUE", "False", "N/A"), ("TRUE", "False", "null"), ("tRUE", "FALSE", "None"),
])
def test_true_and_false_with_blanks_in_any_spelling(run, three):
    write("t.csv", "flag,x,y", [(three[i % 3], x, i % 7 + x) for i, x in enumerate(X)])
    write("new.csv", "flag,x", [(word, 0) for word in (
        "TRUE", "True", "true", "1", "FALSE", "false", "0")])
    train(run, "-t", "y")
    found, err = predict(run)
    assert len(set(found[:4])) == len(set(found[4:])) == 1
    assert not err
    train(run, "-t", "y", "--drop", "flag")
    out, _ = train(run, "-t", "flag", "--drop", "y")
    assert ("into 2 classes: False, True" in out)
    assert fastnn.load("model.safetensors").classes_.dtype == bool


@pytest.mark.parametrize("mark", ["?", ".", "-", "n.a.", "unknown", "--"])
def test_a_quarter_of_the_numbers_is_a_mark(run, mark):
    write("t.csv", "a,b,y", [(mark if i % 4 == 0 else i, mark if i % 4 == 1 else x, i + x)
                             for i, x in enumerate(X)])
    _, err = train(run, "-t", "y")
    assert columns(run) == {"a": "number", "b": "number"}
    assert err.count(f"{mark!r} (24 values) counts as missing") == 2 or (
        err.count(repr(mark)) == 2 and "counts as missing" in err)


@pytest.mark.parametrize("bad", ["", "0000-00-00", "unknown", "2023-02-30", "n/a", "31/02/2022"])
def test_a_bad_date_does_not_drop_the_column(run, bad):
    days = np.datetime64("2022-01-01") + np.arange(120)
    write("t.csv", "day,x,y", [(bad if i in (7, 60) else day, x, i) for i, (day, x) in
                               enumerate(zip(days, X, strict=True))])
    _, err = train(run, "-t", "y", "--task", "regression")
    assert columns(run)["day"] == "date"
    assert (repr(bad) in err) == (bad not in ("", "n/a"))
    write("new.csv", "day,x", [("2022-05-05", 1), ("soon", 1), ("", 1)])
    found, err = predict(run)
    assert found[1] == found[2] != found[0]
    assert "column 'day': 1 value not understood" in err
    assert "'soon' is no date (first in row 2)" in err


GERMAN = "1.299 987 2.500 12.000 3.100".split()


@pytest.mark.parametrize("texts, options, value, told", [
    (GERMAN, (), 1299, True), (GERMAN, ("--thousands", "."), 1299, False),
    (GERMAN, ("--decimal", "point"), 1.299, False), (GERMAN, ("--decimal", "comma"), 1299, False),
    (["1,299", "987", "2,500", "12,000"], ("--separator", ";"), 1299, True),
    (["1.299,5", "987,25", "2.500"], (), 1299.5, False),
    (["1\u202f299,5", "987,25", "2\u202f500"], (), 1299.5, False),
    (["1'299.5", "987.25", "2'500"], (), 1299.5, False),
    (["1 299", "987", "12 500"], ("--thousands", "space"), 1299, False),
])
def test_marks_in_numbers(run, texts, options, value, told):
    write("t.csv", "pop;z;y", [(texts[i % len(texts)], i % 7, i) for i in range(60)], ";")
    _, err = train(run, "-t", "y", "--task", "regression", *options)
    assert ("is read as" in err) == told
    write("new.csv", "pop;z", [(texts[0], 1)], ";")
    expected = fastnn.load("model.safetensors").predict([{"pop": value, "z": 1}])
    found, err = predict(run, *options)
    assert found == [str(expected[0])], err


def test_a_file_with_another_decimal_mark(run):
    write("t.csv", "a,y", [(x, 2 * x) for x in X])
    train(run, "-t", "y")
    write("new.csv", "a;b", [("0.5", 1)], ";")
    expected, _ = predict(run)
    write("new.csv", "a;b", [("0,5", 1)], ";")
    assert predict(run) == (expected, "")
    write("new.csv", "a;b", [("0,500", 1), ("1,500", 1), ("abc", 1)], ";")
    found, err = predict(run, "--decimal", ".")
    assert "3 values not understood" in err
    assert "--decimal ," in err


@pytest.mark.parametrize("word", ["None", "NA", "null", "N/A", "none", "NULL"])
@pytest.mark.parametrize("others", [("Apnea", "Insomnia"), ("Heavy", "Heavy")])
def test_a_class_called_none(run, word, others):
    write("t.csv", "a,b,t", [(x, i % 5, word if x < 0 else others[i % 2])
                             for i, x in enumerate(X)])
    out, err = train(run, "-t", "t")
    n = len({*others, word})
    assert f"into {n} classes" in out
    assert word in fastnn.load("model.safetensors").classes_
    assert (f"--na {word}" in err) == (word != "none")
    assert "left out" not in err
    code = 0 if n == 3 else 2
    out, err = train(run, "-t", "t", "--na", word, code=code)
    assert "rows left out" in err if code == 0 else "one class only" in err


def test_classes_that_programs_write_for_missing(run):
    write("t.csv", "a,t", [(x, ["nan", "u", "?"][i % 3]) for i, x in enumerate(X)])
    _, err = train(run, "-t", "t", code=2)
    assert "one class only" in err
    out, _ = train(run, "-t", "t", "--keep-na-classes")
    assert "into 3 classes: ?, nan, u" in out


@pytest.mark.parametrize("name", ["", "Unnamed: 0", '""', "...1"])
@pytest.mark.parametrize("order", [np.arange, np.random.default_rng(1).permutation])
def test_an_index_without_a_name(run, name, order):
    write("t.csv", f"{name},a,y", [(i, x, i) for i, x in zip(order(120), X, strict=True)])
    _, err = train(run, "-t", "y", "--task", "regression")
    called = "...1" if name == "...1" else "Unnamed: 0"
    assert f"column '{called}' is left out: it has no name" in err and "counts the rows" not in err
    write("new.csv", "a", [(0.5,)])
    assert len(predict(run)[0]) == 1


@pytest.mark.parametrize("blank", [" ", "  ", "\t", "\u00a0", " \u2003"])
def test_blanks_behind_a_class(run, blank):
    write("t.csv", "a,c,t", [(x, f"u{blank * (i % 2)}", f"{'no' if x < 0 else 'yes'}"
                              f"{blank * (i % 3 == 0)}") for i, x in enumerate(X)])
    out, err = train(run, "-t", "t")
    assert "into 2 classes: no, yes" in out
    assert "column 'c' is left out: it has one value only" in err


def test_keep_copies_text_as_it_stands(run):
    write("t.csv", "x,y", [(x, 2 * x) for x in X])
    train(run, "-t", "y")
    rows = ["00123,12345678901234567,1.10,TRUE,NA, a,1e5", "00124,,1.20,FALSE,EU,b ,+1",
            '00125,12345678901234569,2.00,true,None,"c,""d""",1_0', "0x1F,-0,.5,0,nan,ü,2024-1-1"]
    Path("new.csv").write_text("id,account,version,paid,region,t,o,x\n"
                               + "".join(f"{row},0.5\n" for row in rows), encoding="utf-8")
    names = "id,account,version,paid,region,t,o"
    found, err = predict(run, "--keep", names)
    assert [line.rpartition(",")[0] for line in found] == rows
    assert not err
    run("predict", "model.safetensors", "new.csv", "--keep", names, "-o", "out.csv.gz")
    import gzip
    assert gzip.decompress(Path("out.csv.gz").read_bytes()).decode().split("\n")[1:-1] == found


def test_unknown_categories_are_counted(run):
    write("t.csv", "c,d,x,y", [("uvw"[i % 3], "pq"[i % 2], x, x) for i, x in enumerate(X)])
    train(run, "-t", "y")
    write("new.csv", "c,d,x", [("U", "p", 1), ("V", "q", 1), ("u", "P", 2), ("", "p", 3)])
    found, err = predict(run)
    assert len(found) == 4
    assert "column 'c': 2 values of categories that training did not have, such as 'U' (row 1)" in (
        err)
    assert "column 'd': 1 value of categories" in err
    assert predict(run, "--quiet")[1] == ""


def test_options_of_missing_words_and_headers(run):
    rows = [(-99 if i % 5 == 0 else i, "pending" if i % 7 == 0 else x, i + x)
            for i, x in enumerate(X)]
    write("t.csv", "A title\na,b,y", rows)
    _, err = train(run, "-t", "y", code=2)
    assert "--header-row 2" in err
    write("u.csv", "A title,,\n,,\na,b,y", rows)
    assert "row 2 has it: if the lines before are a title, --header-row 3" in run(
        "train", "u.csv", "-t", "y")[2]
    _, err = train(run, "-t", "y", "--header-row", 2, "--na=-99,pending")
    assert not re.search("note: column", err)
    write("new.csv", "a,b", [(-99, "pending"), ("", "")])
    found, err = predict(run)
    assert found[0] == found[1]
    assert not err
    _, err = train(run, "-t", "y", "--header-row", "x", code=2)
    assert "'x' must be a whole number" in err
    write("new.csv", "1.5,2", [(3, 4)])
    assert predict(run, "--header-row", 0, code=2)[1].count("no columns 'a', 'b'") == 1


def test_points_in_a_file_of_decimal_commas(run):
    """1.299 is more likely 1299 than 1.299 there, and has its option named."""
    write("t.csv", "a;y", [(f"{1000 * x:.2f}".replace(".", ","), i % 7 + x)
                           for i, x in enumerate(X)], ";")
    train(run, "-t", "y", "--task", "regression")
    write("new.csv", "a;b", [("1234", 1), ("1.299", 2)], ";")
    _, err = predict(run)
    assert "'1.299' is no number; where points stand between thousands: --thousands ." in err
    read_so, _ = predict(run, "--thousands", ".")
    write("new.csv", "a;b", [("1234", 1), ("1299", 2)], ";")
    assert predict(run)[0] == read_so


def test_a_decimal_mark_that_is_none(run):
    write("t.csv", "a,y", [(x, x) for x in X])
    for option, wrong in (("--decimal", ";"), ("--thousands", "x"), ("--header-row", "-1")):
        assert "must be" in train(run, "-t", "y", option, wrong, code=2)[1]


@pytest.mark.parametrize("day_first, day", [(True, "2024-04-03"), (False, "2024-03-04"),
                                            (None, "2024-03-04")])
def test_day_first(run, day_first, day):
    write("t.csv", "d,x,y", [(f"{1 + i % 12}/{1 + i * 5 % 12}/2024", x, i)
                             for i, x in enumerate(X)])
    said = [] if day_first is None else ["--day-first" if day_first else "--no-day-first"]
    _, err = train(run, "-t", "y", "--task", "regression", *said)
    assert ("--day-first" in err) == (day_first is None)
    model = fastnn.load("model.safetensors")  # the file remembers
    np.testing.assert_array_equal(model.predict([{"d": "3/4/2024", "x": 1}]),
                                  model.predict([{"d": day, "x": 1}]))


@pytest.mark.parametrize("preset", ["fast", pytest.param("default", marks=pytest.mark.slow)])
def test_values_of_true_and_false_in_every_spelling(run, preset):
    """By a preset: 100 for true, 10 for false, 50 for what is missing; keys stay as they are."""
    value, three = (100, 10, 50), ("True", "False", "")
    write("t.csv", "flag,x,y", [(three[i % 3], x, value[i % 3]) for i, x in enumerate(X)])
    words = ("TRUE", "True", "true", "FALSE", "False", "false", "", "NA")
    write("new.csv", "id,flag,x", [(f"00{i}", word, 0) for i, word in enumerate(words)])
    code, _, err = run("train", "t.csv", "-t", "y", "-f", "--preset", preset)
    assert code == 0, err
    found, err = predict(run, "--keep", "id,flag")
    assert [line.rpartition(",")[0] for line in found] == [
        f"00{i},{word}" for i, word in enumerate(words)]
    numbers = [float(line.rpartition(",")[2]) for line in found]
    assert len(set(numbers[:3])) == len(set(numbers[3:6])) == len(set(numbers[6:])) == 1
    np.testing.assert_allclose(numbers[::3], [100, 10, 50], atol=8)
    assert not err


@pytest.mark.parametrize("text", ["a\rb", "a\r", "\r", "a\r\nb", "a\nb", 'a\r"b"', "a,b\rc"])
def test_keep_copies_ends_of_lines_within_a_text(run, text):
    """What is written can be read again: a carriage return that is not in quotation marks would
    end the line."""
    write("t.csv", "x,y", [(x, 2 * x) for x in X])
    train(run, "-t", "y")
    quoted = text.replace('"', '""')
    for name in ("note", '"no\rte"'):
        Path("new.csv").write_bytes(f'{name},x\n"{quoted}",1\nplain,2\n'.encode())
        kept = read("new.csv").names[0]
        code, _, err = run("predict", "model.safetensors", "new.csv", "--keep", kept, "-o",
                           "out.csv", "-f")
        assert code == 0, err
        table = read("out.csv")
        assert table.names == (kept, "prediction")
        assert table.raw(kept) == [text, "plain"]


def test_keep_copies_columns_of_parquet(run):
    """To text as a file has it, to Parquet as they are: whole numbers beyond 2**63 ended it with
    an OverflowError."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write("t.csv", "x,y", [(x, 2 * x) for x in X])
    train(run, "-t", "y")
    columns = {"large": (pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", ""]),
               "short": (pa.array(np.array([0.1, 16777217], np.float32)), ["0.1", "16777216.0"]),
               "half": (pa.array(np.array([0.1, 2], np.float16)), ["0.1", "2.0"]),
               "bytes": (pa.array([b"00123", None]), ["00123", ""]),
               "fixed": (pa.array([b"00123", b"00124"], pa.binary(5)), ["00123", "00124"]),
               "name": (pa.array(["NA", "a,b"]).dictionary_encode(), ["NA", '"a,b"']),
               "day": (pa.array([0, None], pa.date32()), ["1970-01-01", ""])}
    parquet.write_table(pa.table({"x": [1.0, 2.0], **{
        name: column for name, (column, _) in columns.items()}}), "new.parquet")
    for name, (_, texts) in columns.items():
        code, out, err = run("predict", "model.safetensors", "new.parquet", "--keep", name)
        assert code == 0, err
        assert [line.rpartition(",")[0] for line in out.splitlines()] == [name, *texts]
    code, _, err = run("predict", "model.safetensors", "new.parquet", "--keep", ",".join(columns),
                       "-o", "out.parquet")
    assert code == 0, err
    found = parquet.read_table("out.parquet")
    assert found.column_names == [*columns, "prediction"]
    for name, (column, _) in columns.items():
        assert found.column(name).type == column.type
        assert found.column(name).to_pylist() == column.to_pylist()


@pytest.mark.parametrize("one, other, note", [
    ("10%", "20%", "12% is read as 12"), ("$5", "$1,000", "'1,000' is read as 1000"),
    ("1,000", "2,000", "'1,000' is read as 1000"), ("1,0", "2,0", ""), ("1e3", "2e3", ""),
    ("+1", "-1", ""), ("1", "\u22121", ""), ("\uff11", "\uff12", ""), ("1.", "2.", ""),
    ("TRUE", "0", ""), ("1 000", "2 000", ""), ("1.0", "2", "")])
def test_classes_that_are_numbers_with_marks(run, one, other, note):
    """The table of the training itself was refused by --test and evaluate: "classes that training
    did not have"; and what 1,000 is read as was not said."""
    write("t.csv", "x,y", [(x, f'"{one if x > 0 else other}"') for x in X])
    out, err = train(run, "-t", "y", "--test", "t.csv")
    assert "2 different whole numbers" in out
    assert note in err
    code, out, err = run("evaluate", "model.safetensors", "t.csv")
    assert code == 0, err
    assert "scores on 120 rows" in out


@pytest.mark.parametrize("classes", [("(1)", "(2)"), ("(1)", "2"), ("5-", "6-"), ("5-", "65")])
def test_classes_that_may_be_negative_numbers_keep_their_names(run, classes):
    """Codes of surveys and ages from 65 on; many such numbers are amounts."""
    write("t.csv", "x,y", [(x, classes[int(x > 0)]) for x in X])
    out, _ = train(run, "-t", "y", "--test", "t.csv")
    assert f"2 classes: {', '.join(sorted(classes))} (text, as in " in out
    write("new.csv", "x", [(x,) for x in X])
    assert set(predict(run)[0]) <= set(classes)
    out, err = train(run, "-t", "y", "--task", "regression")
    assert "is read as -" in err
    write("t.csv", "x,y", [(x, f"({i})" if i % 2 else i) for i, x in enumerate(X)])
    assert "regression of 'y'" in train(run, "-t", "y")[0]


def test_how_answers_and_weights_are_read_is_told(run):
    """Of a table to judge by, as of that of the training."""
    write("t.csv", "x,y", [(x, 2.5 * x) for x in X])
    train(run, "-t", "y")
    write("new.csv", "x,w,y", [(x, f"{i % 5}%", f"{1 + i % 7}.{100 + i}") for i, x in enumerate(X)])
    for arguments in (("evaluate", "model.safetensors", "new.csv", "--weight", "w"),
                      ("train", "t.csv", "-t", "y", "--test", "new.csv", *QUICK)):
        code, _, err = run(*arguments)
        assert code == 0, err
        assert "if it means 1100: --thousands '.'" in err
        assert ("column 'w' holds numbers with marks: 12% is read as 12" in err) == (
            "--weight" in arguments)


@pytest.mark.parametrize("write_it, cure", [
    (lambda i: f"{i / 8} EUR", "plain numbers"), (lambda i: f"{i % 28 + 1}. Mai {1990 + i}",
                                                  "dates have to be written")])
def test_a_target_of_amounts_with_units_is_told(run, write_it, cure):
    write("t.csv", "x,y", [(x, write_it(i)) for i, x in enumerate(X)])
    _, err = train(run, "-t", "y", code=2)
    assert cure in err
    assert repr(write_it(0)) in err


@pytest.mark.parametrize("word, numbers", [("k.A.", 60), ("s/d", 21), ("Total", 12)])
def test_words_in_a_target_of_numbers_and_the_task_that_was_asked_for(run, word, numbers):
    """Where a fifth was a word each number became a class; what the message says helps."""
    share = 5 if numbers > 20 else 30
    write("t.csv", "x,y", [(x, word if i % share == 3 else i % numbers)
                           for i, x in enumerate(X)])
    _, err = train(run, "-t", "y", code=2)
    assert f"the target 'y' holds numbers, but '{word}' in row 4" in err and "--na" in err
    out, _ = train(run, "-t", "y", "--na", word, "--task", "regression")
    assert "regression of 'y'" in out
    out, _ = train(run, "-t", "y", "--task", "classification")
    assert "classification of 'y'" in out
    _, err = train(run, "-t", "y", "--task", "regression", code=2)
    assert f"'{word}' is no number (first in row 4)" in err


@pytest.mark.parametrize("word, other, told", [
    ("nan", "x", "'nan' in the target counts as missing; if it is a class: --keep-na-classes"),
    ("?", "x", "'?' in the target counts as missing"), ("null", "1", "in 60 rows it is missing"),
    ("", "yes", "in 60 rows it is missing")])
def test_where_the_other_class_has_gone(run, word, other, told):
    write("t.csv", "x,y", [(x, (word, other)[i % 2]) for i, x in enumerate(X)])
    _, err = train(run, "-t", "y", code=2)
    assert "has one class only" in err and "nothing to tell apart; " + told in err


def test_classes_of_many_letters(run):
    """They were printed whole, and refused by the file when all was learned."""
    write("t.csv", "x,y", [(x, "z" * 5000 if i % 3 else "ab"[i % 2]) for i, x in enumerate(X)])
    out, err = train(run, "-t", "y")
    line = next(line for line in out.splitlines() if line.startswith("task"))
    assert len(line) < 200 and fastnn.load("model.safetensors").classes_[-1] == "z" * 5000
    write("t.csv", "x,y", [(x, "z" * (1 << 20) if i % 3 else "ab"[i % 2])
                           for i, x in enumerate(X)])
    out, err = train(run, "-t", "y", code=2)
    assert "classes of up to 1,048,576 characters, such as 'zzz" in err and len(err) < 400
    assert "trained" not in out


def test_what_is_not_understood_is_missing_in_python_too(run):
    """A plain network refused in Python what the command line took for missing."""
    write("t.csv", "x,d,flag,city,y", [
        (x, f"2024-{1 + i % 12:02}-03", ("true", "false")[i % 2], "rgb"[i % 3], x + i % 2)
        for i, x in enumerate(X)])
    train(run, "-t", "y", "--task", "regression")
    rows = [("1.5", "2024-04-03", "true", "r"), ("soon", "2024-04-03", "true", "r"),
            ("1.5", "13/13/99", "true", "r"), ("1.5", "2024-04-03", "maybe", "r"),
            ("1.5", "2024-04-03", "true", "new"), ("", "", "", "")]
    write("new.csv", "x,d,flag,city", rows)
    found, err = predict(run)
    model = fastnn.load("model.safetensors")
    frame = dict(zip(("x", "d", "flag", "city"), zip(*rows, strict=True), strict=True))
    with pytest.warns(fastnn.tables.TableWarning) as told:
        got = model.predict(frame)
    assert list(map(str, got)) == found
    said = [str(one.message) for one in told]
    assert len(said) == 4 and all(text.partition("row ")[0] in err for text in said)
    assert all(one.filename == __file__ for one in told)
    with pytest.raises(fastnn.tables.TableError, match="'x', row 1: 'soon' is not a number"):
        model.table.transform(frame)  # of which no model predicts
    write("new.csv", "x,d,flag,city", [("soon", *rows[0][1:])] * 10)
    assert "9 more rows" in predict(run, code=2)[1]
    with pytest.raises(fastnn.tables.TableError, match="9 more rows"):
        model.predict(dict.fromkeys(frame, ["soon"] * 10))
