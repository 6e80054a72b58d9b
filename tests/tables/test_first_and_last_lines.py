"""Files whose first or last lines are not those of a plain table: cut ones, titles, blank lines of
spreadsheets, separators behind the names."""

import bz2
import gzip
import lzma

from each import each

from fastnn.tables import Schema, TableError, read

ROWS = [f'{i},"x{i % 3}, é",{i / 8}' for i in range(40)]
PLAIN = "\n".join(["a,b,y", *ROWS])
BOTH = [gzip.compress, bz2.compress, lzma.compress, lambda content: content]


def load(tmp_path, content, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path, **options)


def refused(tmp_path, content, **options):
    try:
        load(tmp_path, content, **options)
    except TableError as error:
        return str(error)
    return ""


# ---- cut within a value ----

@each("pack", BOTH)
@each("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@each("end", ['\n7,"x', '\n7,8,"x', '\r\n"7', '\n7,"x""', '\r7,"a ""b', '\n7,8,"' + "x" * 30_000])
def test_cut_within_a_value(pack, encoding, end, tmp_path):
    """The last line had an end of its own in the whole file: what stands there is no value."""
    content = pack((PLAIN + end).encode(encoding))
    assert "is not closed" in refused(tmp_path, content, encoding=encoding)


@each("pack", BOTH)
@each("encoding", ["utf-8", "utf-16", "utf-16-be"])
@each("end", ['\n7,"x",8', '\n7,8,"x"', '\n7,8,"x"\n', '\n7,8,5" pipe', '\n7,8,"a ""b"""\r\n',
              '\n7,8,"a\nb"', "\n7,8,9", "\n7,8,9\r", '\n7,8,"' + "x" * 30_000 + '"'])
def test_whole_files_without_an_end_of_the_last_line(pack, encoding, end, tmp_path):
    table = load(tmp_path, pack((PLAIN + end).encode(encoding)), encoding=encoding)
    assert table.n_rows == 41


def test_the_mark_of_the_end_of_dos(tmp_path):
    for end in ("\n\x1a", "\r\n\x1a", "\n\x1a\n"):
        assert load(tmp_path, PLAIN + end).n_rows == 40


# ---- above the names ----

@each("above", [",,\n", ",,\n,,\n", '"","",\n', " , ,\n", "\n,,\n\n"])
@each("sep", ["", "sep=,\n"])
def test_lines_of_nothing_above_the_names(above, sep, tmp_path):
    table = load(tmp_path, sep + above + PLAIN)
    assert (table.names, table.n_rows) == (("a", "b", "y"), 40)
    assert "has the names of the columns, the lines before it hold nothing" in table.notes[0]
    assert table.raw("y")[:2] == ["0.0", "0.125"]


@each("rows", [["1,2,u", "3,4,v"], ["u,u,v", "u,v,w"], ["u,,v", "u,v,w"]])
def test_names_of_nothing_above_rows(rows, tmp_path):
    """Where the next line has no names, none is lost."""
    table = load(tmp_path, "\n".join([",,", *rows]))
    assert table.names == ("Unnamed: 0", "Unnamed: 1", "Unnamed: 2")
    assert table.n_rows == 2


@each("title, line", [("My table,,\n", 2), ("My table,,\n\n", 3), ("\n\nMy table,,\n", 4),
                      ("sep=,\nMy table,,\n", 3), ('"My table, of 2024",,\n', 2)])
def test_a_title_with_separators_is_told(title, line, tmp_path):
    table = load(tmp_path, title + PLAIN)
    note, = table.notes
    assert f"--header-row {line} (header_row={line})" in note
    again = load(tmp_path, title + PLAIN, header_row=line)
    assert (again.names, again.n_rows, again.notes) == (("a", "b", "y"), 40, [])
    # a model that knows its columns says so, too
    schema = Schema.learn(again)
    try:
        schema.apply(table)
    except TableError as error:
        assert "row 1 has it: if the lines before are a title, --header-row" in str(error)
        assert load(tmp_path, title + PLAIN, header_row=int(
            str(error).partition("(header_row=")[2].partition(")")[0])).names == again.names
    else:
        raise AssertionError("a table without the columns was taken")


@each("header", ["a,,", "a,b,", ",b,y", "My table,,y"])
@each("rows", [["1,2,3", "4,5,6"], ["u,2,3"], ["u,u,v"]])
def test_names_that_are_no_title(header, rows, tmp_path):
    assert not load(tmp_path, "\n".join([header, *rows])).notes


def test_a_file_without_names_is_told(tmp_path):
    schema = Schema.learn(load(tmp_path, PLAIN))
    for content, message in (("\n".join(ROWS), "is the line with the names missing?"),
                             (PLAIN.replace(",", "~"), "is another --separator right?")):
        try:
            schema.apply(load(tmp_path, content))
        except TableError as error:
            assert message in str(error)
        else:
            raise AssertionError(content[:20])


# ---- behind the names ----

@each("behind", [",", ",,", ', ""', ",\u00a0"])
@each("full", [0, 1, 39])
def test_separators_behind_the_names_alone(behind, full, tmp_path):
    """Rows that end where the names do, or some that have the separators too."""
    rows = [row + ",,"[:behind.count(",")] if i < full else row for i, row in enumerate(ROWS)]
    table = load(tmp_path, "\n".join(["a,b,y" + behind, *rows]))
    assert table.n_rows == 40
    assert [column.name for column in Schema.learn(table).columns] == ["a", "b", "y"]
    assert table.raw("y") == [str(i / 8) for i in range(40)]


@each("rows", [["1,2,3", "4,5"], ["1,2", "3,4,5"]])
def test_rows_that_lack_a_named_value_are_refused(rows, tmp_path):
    assert "has 2 values, must have 4" in refused(tmp_path, "\n".join(["a,b,y,", *rows]))
