"""`fastnn.tables.read`: files that are not quite as one would wish."""

import bz2
import csv
import gzip
import io
import lzma
import os
import sys
import threading

import pytest

from fastnn.tables import Schema, TableError, read
from fastnn.tables.opening import find_separator

ROWS = [f"{i / 8},{'xyz'[i % 3]},{i * i}.5" for i in range(40)]


@pytest.fixture
def load(tmp_path):
    """Read a text, or bytes, as a table."""
    def call(text, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path, **options)

    return call


def text(header, rows, end="\n"):
    return end.join([header, *rows]) + end


def raw(table):
    """The whole table as it stands in the file."""
    return {name: table.raw(name) for name in table.names}


# ---- widths ----

@pytest.mark.parametrize("rows", [
    [f"{i},{row}" for i, row in enumerate(ROWS, 1)], [f'"row {i}",{i},x,1' for i in range(9)],
    [f"{row},7" for row in ROWS], [*(f"{row}," for row in ROWS[:-1]), ROWS[-1] + ",7"],
])
@pytest.mark.parametrize("n_rows", [1, 40])
def test_more_values_than_names_are_refused(load, rows, n_rows):
    """R's write.table gives the column of row names no name: all others would be shifted."""
    rows = rows[-1:] if n_rows == 1 else rows
    with pytest.raises(TableError, match="first line has 3 names, but line 2 has 4 values|"
                                         "row 40 has more values than the first line"):
        load(text("a,c,t", rows))


def test_the_first_line_is_short_beyond_what_is_looked_at(load):
    rows = [f"{row}," for row in ROWS * 300] + [ROWS[0] + ",7"]
    with pytest.raises(TableError, match="row 12001 has more values"):
        load(text("a,c,t", rows))
    rows = [*ROWS * 300, ROWS[0] + ",7"]
    with pytest.raises(TableError, match="line 12002 has 4 values, must have 3"):
        load(text("a,c,t", rows))


@pytest.mark.parametrize("line, found", [
    ("1.5,x", "2 values"), ("1.5", "1 value"), ('"1.5,x,2"', "1 value"), ("x,", "2 values"),
    ("7", "1 value"),
])
def test_rows_with_too_few_values_are_named(load, line, found):
    """Which of them is missing is not known; pandas would shift or pad them."""
    rows = [*ROWS[:10], line, *ROWS[10:20], line, *ROWS[20:]]
    with pytest.raises(TableError, match=f"line 12 has {found}, must have 3; so have 1 more line"):
        load(text("a,c,t", rows))
    with pytest.raises(TableError, match=f"line 42 has {found}, must have 3\\. "):
        load(text("a,c,t", [*ROWS, line]))


def test_a_separator_at_the_end_of_each_row_is_none(load):
    expected = raw(load(text("a,c,t", ROWS)))
    for end in (",", ",,", ", "):
        assert raw(load(text("a,c,t", [row + end for row in ROWS]))) == expected
    found = load(text("a,a,", [row + "," for row in ROWS]))
    assert found.names == ("a", "a.1", "Unnamed: 2")


@pytest.mark.parametrize("blank", ["", "   ", "\t", "\r"])
def test_blank_lines_are_no_rows(load, blank):
    expected = raw(load(text("a,c,t", ROWS)))
    lines = [blank, "a,c,t", blank, *ROWS[:7], blank, blank, *ROWS[7:], blank, ""]
    assert raw(load("\n".join(lines), separator=",")) == expected


@pytest.mark.parametrize("values", [["1", "", "3", ""], ["", "", "3"], ["1"], ["1", "", ""],
                                    ["", "u"]])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_a_blank_line_is_a_missing_value_of_a_table_of_one_column(load, values, end):
    """polars and pyarrow write it so: without it all predictions behind belong to other rows. Above
    the names it is none; a doubled end of a line is none, either."""
    n, told = values.count(""), "counted as missing values, as the table has one column"
    for above, name in (("", "a"), (end, "a"), ("", "a b")):
        separator = "space" if name == "a" and n == 2 else None
        table = load(text(above + name, values, end), separator=separator)
        assert raw(table) == {name: values}
        assert table.notes == [f"{n} blank line{'s' * (n != 1)} {told}"] * (n > 0)
    assert raw(load(text(values[0], values[1:], end), header_row=0)) == {"x0": values}
    lines = [values[0], *values[1:], "\x1a"]
    assert raw(load(text("a", lines, end))) == {"a": values}


@pytest.mark.parametrize("library", ["polars", "pyarrow", "pandas"])
def test_missing_values_of_one_column_as_libraries_write_them(library, tmp_path):
    frame = pytest.importorskip("polars").DataFrame({"x": [None, 1.5, None, 3.5, None, None]})
    path = tmp_path / "t.csv"
    if library == "polars":
        frame.write_csv(path)
    elif library == "pandas":
        pytest.importorskip("pandas")
        frame.to_pandas().to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow.csv").write_csv(frame.to_arrow(), path)
    assert read(path).raw("x") == ["", "1.5", "", "3.5", "", ""]


def test_a_row_of_nothing_is_one(load):
    """Each row has a prediction of its own; a single column says "missing" by quotes."""
    assert raw(load("a,b\n1,2\n,\n3,4\n")) == {"a": ["1", "", "3"], "b": ["2", "", "4"]}
    assert raw(load('a\n1\n""\n2\n')) == {"a": ["1", "", "2"]}


@pytest.mark.parametrize("header", ["a,c,t", '"a","c","t"'])
def test_repeated_headers_are_left_out_with_a_note(load, header):
    """Files put together with cat hold the line with the names again."""
    table = load(text("a,c,t", [*ROWS[:5], header, *ROWS[5:9], header, *ROWS[9:]]))
    assert raw(table) == raw(load(text("a,c,t", ROWS)))
    assert table.notes == ["2 lines like the first one, with the names of the columns, left out"]


@pytest.mark.parametrize("line, separator", [
    ("sep=;", ";"), ("SEP=;", ";"), ('"sep=;"', ";"), ("sep=\t", "\t"), ("sep=|", "|"),
    ("sep=;;", ";"), ("\ufeffsep=,", ","),
])
def test_the_line_of_excel_that_names_the_separator(load, line, separator):
    rows = [row.replace(",", separator) for row in ["a,c,t", *ROWS]]
    assert raw(load(text(line, rows))) == raw(load(text("a,c,t", ROWS)))


def test_header_row(load):
    body = text("a,c,t", ROWS)
    expected = raw(load(body))
    for above in ("A title\n", "Title, with a comma\nof 2024\n\n", "sep=,\nx\n"):
        n = above.count("\n") + 1
        assert raw(load(above + body, header_row=n)) == expected
    with pytest.raises(TableError, match="line 2 has 3 values.*--header-row 2"):
        load("A title\n" + body)
    table = load(text(ROWS[0], ROWS[1:]), header_row=0)
    assert table.names == ("x0", "x1", "x2")
    assert list(raw(table).values()) == list(expected.values())
    with pytest.raises(ValueError, match="header_row=-1"):
        load(body, header_row=-1)
    assert "--header-row 0" in load("1.5,2\n2,3\n4,5\n").notes[0]


def test_spaces(load):
    found = load(' a  "b c"\t d \n 1 2   3 \n4\t5 6\n', separator="space")
    assert raw(found) == {"a": ["1", "4"], "b c": ["2", "5"], "d": ["3", "6"]}
    with pytest.raises(TableError, match="2 names, but line 2 has 3 values"):
        load("a b\n1 2 3\n4 5 6\n", separator="space")


def test_wide_tables(load):
    names = [f"column_{i}" for i in range(5000)]
    line = ",".join(["1"] * 5000)
    table = load(text(",".join(names), [line] * 3))
    assert len(table.names) == 5000
    assert len(table) == 3
    with pytest.raises(TableError, match="5,000 names, but line 2 has 5,001 values"):
        load(text(",".join(names), [line + ",1"] * 3))


def test_double_names(load):
    table = load("a,a,b,a\n1,2,3,4\n")
    assert table.names == ("a", "a.1", "b", "a.2")
    assert "the first line has 'a' 3 times: all but the first are called a.1" in table.notes[0]
    assert load(" a ,b \n1,2\n").names == ("a", "b")
    assert load("a,,b\n1,2,3\n").names == ("a", "Unnamed: 1", "b")


# ---- quotation marks ----

def test_quotation_marks_that_are_not_closed(load):
    rows = [row.replace("x", '"x"').replace("y", '"y"') for row in ROWS]
    rows[6] = rows[6].replace('"x"', '"x')
    with pytest.raises(TableError, match="row 7: column 'c' holds the end of its line"):
        load(text("a,c,t", rows))
    with pytest.raises(TableError, match="a quotation mark in row 5 is not closed|too few"):
        load(text("a,c,t", [*ROWS[:4], '1,2,"x', *ROWS]))
    fine = 'c,t\n"Dear Sir, or Madam\nyou ""said"" a, b",1\n"x\n\ny",2\n'
    assert raw(load(fine))["c"] == ['Dear Sir, or Madam\nyou "said" a, b', "x\n\ny"]


@pytest.mark.parametrize("line, cell", [
    (', "Rome"', "Rome"), (', "Rome, IT"', "Rome, IT"), (r',"say \"hi\""', 'say "hi"'),
    (r', "say \"hi, you\""', 'say "hi, you"'), (', "Rome" ', "Rome ")])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_how_values_are_quoted_is_found_anywhere_in_a_file(load, line, cell, early, packed):
    """The first 64 KB were looked at: behind them marks stayed in the cells, or made others of
    them."""
    blank = " " * line.startswith(", ")
    rows = [f"{i},{blank}word" for i in range(9000)]
    rows = ["1" + line, *rows] if early else [*rows, "1" + line]
    for end in ("", "\ufeff2,x\n"):  # what else is seen late
        content = (text("a,b", rows) + end).encode()
        table = load(gzip.compress(content) if packed else content)
        found = table.raw("b")[0 if early else 9000]
        assert (found, table.notes) == (cell, [])
        assert len(table) == 9001 + bool(end)
        assert table.raw("b")[5] == "word"


@pytest.mark.parametrize("line", [', 5" pipe', ', "open', r',C:\x "y"', ', "a"b', r',"C:\"'])
def test_marks_that_quote_nothing_stay_in_a_long_file(load, line):
    table = load(text("a,b", [*(f"{i}, word" for i in range(9000)), "1" + line]))
    assert table.raw("b")[0] == " word"
    assert table.raw("b")[-1] == line[1:].strip('"' if line.startswith(',"') else "")


def test_what_is_wrong_behind_the_start_is_told_as_it_is(load):
    rows = [f"{i}, word" for i in range(9000)]
    for more, line in ((["1, 2, 3", '1, "Rome"'], 9002), (['1, "Rome, IT"', "1, 2, 3"], 9003)):
        with pytest.raises(TableError, match=f"line {line} has 3 values, must have 2"):
            load(text("a,b", rows + more))


def test_text_is_kept_as_it_stands(load):
    """Blanks, zeros, marks of every kind; also what joins the cells of a block."""
    cells = ["00123", " x", "x ", "1.10", "12345678901234567", "NA", "", "a\x1fb", "\u00a0"]
    table = load("k,x\n" + "".join(f"{cell},1\n" for cell in cells))
    assert table.raw("k") == cells
    assert load('k, x\n"a", "b, c"\n').raw("x") == ["b, c"]


def test_a_cell_of_ten_megabytes(load):
    big = "x" * (10 << 20)
    table = load(f"a,b\n1,u\n2,{big}\n" + "3,v\n4,u\n" * 20)
    assert len(table.raw("b")[1]) == 10 << 20
    schema = Schema.learn(table)
    assert schema.columns[1].categories == ("u", "v")
    assert "1 text of more than 1000 characters" in schema.notes[0]
    assert schema.apply(table).codes[1].tolist() == [2]


def test_the_limit_of_the_csv_module_stays_as_it_was(load):
    """It is one for the process; also in a child of it and where reading fails."""
    before = csv.field_size_limit(1000)
    try:
        assert len(load("a,b\n" + "x" * 5000 + ",1\n").raw("a")[0]) == 5000
        with pytest.raises(TableError):
            load("a,b\n1\n")
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(before)


# ---- encodings and pipes ----

@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_of_an_encoding(load, encoding):
    expected = load(text("ä,c,t", ROWS))
    assert expected.names == ("ä", "c", "t")
    assert raw(load(text("ä,c,t", ROWS).encode(encoding))) == raw(expected)
    with pytest.raises(TableError, match="is not text"):
        load(text("ä,c,t", ROWS).encode("utf-16-le"))
    with pytest.raises(TableError, match="cp1252"):
        load("a,b\nü,1\n".encode("latin-1"))
    assert load("a,b\nü,1\n".encode("latin-1"), encoding="latin-1").raw("a") == ["ü"]


@pytest.mark.parametrize("ending, pack", [(".gz", gzip.compress), (".bz2", bz2.compress),
                                          (".xz", lzma.compress)])
def test_packed_files(load, ending, pack):
    content = text("a,c,t", ROWS).encode()
    assert raw(load(pack(content), "t.csv" + ending)) == raw(load(content))
    for damaged in (content, pack(content)[:-9], b"hello"):
        with pytest.raises(TableError, match="is damaged"):
            load(damaged, "t.csv" + ending)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_read_once(tmp_path):
    pipe, content = tmp_path / "t.csv.gz", text("a,c,t", ROWS * 500).encode()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[gzip.compress(content)], daemon=True)
    writer.start()
    found = read(pipe)
    writer.join(60)
    assert len(found) == 20_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_holds_no_table(tmp_path, run_python):
    """It was opened once more to see what it holds, and waited for a writer for ever."""
    os.mkfifo(tmp_path / "t.csv")
    code = f"""
import pathlib, threading, fastnn.tables
path = pathlib.Path({str(tmp_path / "t.csv")!r})
threading.Thread(target=path.write_bytes, args=[bytes([0x89]) + b"PNG" * 9]).start()
try:
    fastnn.tables.read(path)
except fastnn.tables.TableError as error:
    print(error)
"""
    assert "is not text in utf-8" in run_python(code, timeout=60).stdout


def test_nothing_comes(load, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    for path in ("-", os.devnull):
        with pytest.raises(TableError, match="is empty"):
            read(path)
    with pytest.raises(TableError, match="is not text"):
        load(b"a,b\n\0\0,1\n")
    for name in ("t.feather", "t.png", "t.xlsx", "t.zip"):
        with pytest.raises(TableError, match="neither CSV nor Parquet"):
            load("", name)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read("/nowhere/t.csv")


def test_wrong_options(load):
    for options, message in (({"decimal": ";"}, "decimal"), ({"thousands": "x"}, "thousands"),
                             ({"decimal": ",", "thousands": ","}, "must differ")):
        with pytest.raises(ValueError, match=message):
            load("a,b\n1,2\n", **options)
    with pytest.raises(TableError, match="one ASCII character"):
        load("a,b\n1,2\n", separator="é")
    with pytest.raises(TableError, match="'abc' is not known"):
        load("a,b\n1,2\n", encoding="abc")


def test_parquet(tmp_path):
    """With the index that pandas writes beside the columns, which is no column."""
    pd, path = pytest.importorskip("pandas"), tmp_path / "t.parquet"
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]}, index=[5, 3, 9])
    frame.to_parquet(path)
    table = read(path)
    assert table.names == ("a", "b")
    assert table.raw("b") == ["x", "y", None]
    assert table.row_label(0) == 1
    import pyarrow
    from pyarrow import parquet

    columns = [pyarrow.array([1.5, 2.5])] * 3
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=["a", "b", "b"]), path)
    with pytest.raises(TableError, match=r"t.parquet' has more than one column 'b'$"):
        read(path)  # pyarrow says it in ten lines, with columns of its own
    path.write_bytes(b"PAR1 no")
    with pytest.raises(TableError, match="is not a Parquet file"):
        read(path)


@pytest.mark.parametrize("start, separator", [
    ("a,b\n1,2\n", ","), ("a;b\n1,5;2\n", ";"), ("a\tb\n", "\t"), ("a\n1\n", ","),
    ('a,"x;y;z;w"\n1,2\n', ","), ("a|b|c\n1,2|3|4\n", "|"),
])
def test_separator_is_found(start, separator):
    assert find_separator(start) == separator


def test_what_is_no_path_and_no_order_of_days():
    for path in (None, b"t.csv", io.StringIO("a,b\n1,2\n"), 5):
        with pytest.raises(TypeError, match="^path=.* must be the path of a file"):
            read(path)
    with pytest.raises(TypeError, match="^day_first='yes' must be True, False or None"):
        read("t.csv", day_first="yes")
