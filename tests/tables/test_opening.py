"""Files that are nearly a CSV file: marks of an encoding, packed ones, backslashes before quotation
marks, other kinds of text."""

import bz2
import csv
import gzip
import lzma

import pytest
from each import each

from fastnn.tables import Schema, TableError, opening, parquet, read

ROWS = "".join(f"{i % 7},x{i % 3}é,{i}\n" for i in range(40))
PLAIN = "a,b,y\n" + ROWS


@pytest.fixture
def load(tmp_path):
    """Read a table of this content."""
    def call(content, **options):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path, **options)
    return call


@each("content, options", [
    (PLAIN.encode("utf-8-sig"), {"encoding": "cp1252"}),
    (PLAIN.encode("utf-8-sig"), {"encoding": "latin-1"}),
    (PLAIN.encode("utf-16"), {"encoding": "utf-16-le"}),
    (PLAIN.encode("utf-16"), {"encoding": "latin-1"}),
    (("\ufeff\ufeff" + PLAIN).encode(), {}),
    (gzip.compress(PLAIN.encode()), {}), (bz2.compress(PLAIN.encode()), {}),
    (lzma.compress(PLAIN.encode()), {}), (gzip.compress(PLAIN.encode("utf-16")), {})])
def test_first_bytes_go_before_what_was_said(content, options, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    table = read(tmp_path / "t.csv", **options)
    assert table.names == ("a", "b", "y") and table.n_rows == 40
    assert table.raw("b")[:2] == ["x0é", "x1é"]


@each("header", ["a,b,y\n", '"a","b","y"\n'])
@each("times", [1, 300])
def test_files_with_marks_put_behind_each_other(header, times, tmp_path):
    """Within the characters that are looked at first, and behind them."""
    (tmp_path / "t.csv").write_text(("\ufeff" + header + ROWS * times) * 3, encoding="utf-8")
    table = read(tmp_path / "t.csv", header_row=1)
    assert table.names == ("a", "b", "y") and table.n_rows == 120 * times
    assert set(table.raw("a")) == set("0123456")
    assert table.notes == ["2 lines like the first one, with the names of the columns, left out"]


@each("written, value", [
    (r'"x \"q\" z"', 'x "q" z'), (r'"x \"q\", z"', 'x "q", z'), (r'"\"q\", z"', '"q", z'),
    (r'"C:\\dir \"q\"\\"', 'C:\\dir "q"\\'), ('"x \\"q\\"\nnext, line"', 'x "q"\nnext, line'),
    (r'"x ""q"" C:\dir"', 'x "q" C:\\dir'), (r'"C:\dir\"', "C:\\dir\\"), (r'\N', "\\N")])
def test_backslashes_before_quotation_marks(written, value, tmp_path):
    """Where they alone make the values end at separators: a path may end with one."""
    (tmp_path / "t.csv").write_text("a,b,y\n" + f"1,{written},2\n" * 20, encoding="utf-8")
    table = read(tmp_path / "t.csv")
    assert table.n_rows == 20 and set(table.raw("b")) == {value} and set(table.raw("y")) == {"2"}


@each("content, what", [
    ('[{"a": 1, "y": 2}]', "JSON"), ('{"a": 1}\n{"a": 2}\n', "JSON"), ("[\n  {\n", "JSON"),
    ("<!DOCTYPE html><html></html>", "a web page"), ('<?xml version="1.0"?><a/>', "a web page"),
    ("% notes\n\n@RELATION x\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n", "an ARFF file"),
    ("1 1:0.5 3:0.2\n-1 2:0.1\n", "a file of libsvm"),
    ("version https://git-lfs.github.com/spec/v1\noid 1\n", "a pointer of Git LFS"),
    (b"PAR1" + bytes(40) + b"PAR1", "a Parquet file")])
def test_other_kinds_of_files_are_named(content, what, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=f"it looks like {what}"):
        read(tmp_path / "t.csv")


@each("header", ["[a],[b],[y]", "{a},b,y", "<a>,b,y", "1,2,3", "@a,b,y", "%,b,y"])
def test_names_in_brackets_are_names(header, tmp_path):
    (tmp_path / "t.csv").write_text(header + "\n" + ROWS, encoding="utf-8")
    assert read(tmp_path / "t.csv").names == tuple(header.split(","))


def test_what_is_said_of_a_file_goes_before_what_it_looks_like(load):
    assert load("1 10:30\n2 11:00\n", separator=" ", header_row=0).n_rows == 2


@each("content, message", [
    (PLAIN.encode() + b"1,\xfc,2\n", r"is not text in utf-8 \(byte 0xfc in line 42\); .* cp1252"),
    (PLAIN.encode("utf-16-le"), "--encoding utf-16-le"),
    (("a,b,y\n" + ROWS * 1000 + "1,x\0,3\n").encode(), r"row 40001: column 'b' holds NUL"),
    ('a,b,y\n1,"x" and, more,2\n', "values, .*must stand in quotation marks")])
def test_what_is_wrong_and_where(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read(tmp_path / "t.csv")


def test_parquet_files_are_opened_once(tmp_path, monkeypatch):
    parquet, pd = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pandas")
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}).to_parquet(tmp_path / "t.parquet")
    opened, own = [], parquet.ParquetFile

    def once(*arguments, **settings):
        opened.append(arguments)
        return own(*arguments, **settings)

    monkeypatch.setattr(parquet, "ParquetFile", once)
    for name in ("read_table", "read_schema", "ParquetDataset"):
        monkeypatch.setattr(parquet, name, None)
    assert read(tmp_path / "t.parquet").raw("b") == ["x", None]
    assert len(opened) == 1


@each("value", [
    '\t "x" ', ', "x", y', '5"\ntall', 'he said "hi\nthere', '"\n', '\n"', 'a,b"\nc', '"\n""'])
@each("place", [0, 1, 2])
def test_lines_and_single_quotation_marks_within_a_value(value, place, tmp_path):
    """They are those of a mark that is not closed, but for what stands behind it."""
    rows = [["a", "b", "c"], *(["1", "2", "3"] for _ in range(20))]
    rows[7][place] = value
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    table = read(tmp_path / "t.csv")
    assert table.raw("abc"[place])[6] == value and table.n_rows == 20


@each("mark", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85"])
@each("separator", [",", ";", "\t", "|"])
@each("rows", [3, 60])
def test_marks_that_end_no_line_of_a_file(mark, separator, rows, load):
    """Within values they are characters as others: what str.splitlines makes of them hid the
    separator, and the whole table became one column."""
    lines = [["n", "text", "y"], *([str(i), f"x{mark}y{mark}", str(i)] for i in range(rows))]
    content = "\n".join(separator.join(line) for line in lines)
    table = load(content)
    assert table.names == ("n", "text", "y")
    assert table.raw("text") == [f"x{mark}y{mark}"] * rows
    # blanks and backslashes before quotation marks are found out from the same lines
    content = "\n".join([f"a{separator}b", *([f'x{mark}{separator} "p{separator}q"'] * rows)])
    assert load(content).raw("b") == [f"p{separator}q"] * rows
    # the title above is one line of the file, whatever stands in it
    content = f"title{mark}of\n" + "\n".join(separator.join(line) for line in lines)
    assert load(content, header_row=2).names == ("n", "text", "y")


@each("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_that_unpack_to_many_times_their_size(pack, tmp_path, monkeypatch):
    """A megabyte may hold a gigabyte of one character: it was read as a whole."""
    monkeypatch.setattr(opening, "MOST_UNPACKED", 1 << 20)
    monkeypatch.setattr(opening, "MOST_RATIO", 200)
    path = tmp_path / "t.csv"
    path.write_bytes(pack(PLAIN.encode() + b"0" * (1 << 24)))
    with pytest.raises(TableError, match=r"t.csv' unpacks to more than [1-3],[0-9,]+ bytes"):
        read(path)
    path.write_bytes(pack(PLAIN.encode() * 1000))
    assert len(read(path)) == 40 * 1000
    monkeypatch.setattr(opening, "MOST_RATIO", 10**6)
    path.write_bytes(pack(PLAIN.encode() + b"\n" * (1 << 22)))
    assert len(read(path)) == 40


def test_parquet_files_of_runs(tmp_path, monkeypatch):
    """A billion rows of one value take a few kilobytes."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    path = tmp_path / "t.parquet"
    write_table(pyarrow.table({"a": [1] * 200_000, "b": ["x"] * 200_000}), path)
    assert len(read(path)) == 200_000
    monkeypatch.setattr(parquet, "MOST_VALUES", 1000)
    monkeypatch.setattr(parquet, "MOST_PER_BYTE", 50)
    with pytest.raises(TableError, match="has 400,000 values in [0-9,]+ bytes: if that is right"):
        read(path)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_values_in_single_quotation_marks(mark, tmp_path):
    """Names and values had these marks on, and numbers were texts."""
    path = tmp_path / "t.csv"
    path.write_text(f"{mark}'x','a name','y'\n'1','it''s, no','2.5'\n'2',plain,'3.5'\n",
                    encoding="utf-8")
    table = read(path)
    assert table.names == ("x", "a name", "y")
    assert table.raw("x") == ["1", "2"] and table.raw("a name") == ["it's, no", "plain"]
    assert Schema.learn(table).columns[0].kind == "number"
    path.write_text("'x',y\n'1,2\n'3,4\n")  # marks that are part of a name and of values
    assert read(path).raw("'x'") == ["'1", "'3"]
