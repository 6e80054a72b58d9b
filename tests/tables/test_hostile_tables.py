"""What a hostile tester found in tables: kinds of it, by every door."""

import datetime
import re

import numpy as np
import pytest
from each import each
from timing import check_in_proportion

from fastnn.tables import Schema, TableEncoder, TableError, learn_target, read
from fastnn.tables import schema as schema_

MOMENT = datetime.datetime(1900, 1, 1)


def doors(values):
    """The same column as Python's values, text, and frames."""
    yield values
    yield [None if value is None else str(value) for value in values]
    pd = pytest.importorskip("pandas")
    yield pd.Series(values)
    yield pd.Series(values, dtype=object)
    pa = pytest.importorskip("pyarrow")
    yield pa.array(values)
    pl = pytest.importorskip("polars")
    yield pl.Series(values, strict=False)


@pytest.mark.parametrize(("values", "na", "gone"), [
    ([1.5, -999.0, 3.25], "-999", -999.0), ([1, -999, 3], "-999.0", -999),
    ([1.5, 1000.0, 2.5], "1e3", 1000.0),
    ([datetime.datetime(2020, 1, 1), MOMENT, datetime.datetime(2020, 1, 3, 5)], "1900-01-01",
     MOMENT),
    ([True, False, None, True], "false", False)])
def test_words_for_missing_mean_their_value_however_it_is_written(values, na, gone):
    expected = None
    for column in doors(values):
        schema = Schema.learn({"a": column}, na=[na])
        found = schema.apply({"a": column}).numbers
        assert np.isnan(found[[value == gone for value in values]]).all()
        expected = found if expected is None else expected
        assert found.tobytes() == expected.tobytes()
        rows = [schema.apply_row({"a": value}).numbers for value in values]
        assert np.concatenate(rows).tobytes() == expected.tobytes()


def test_all_of_a_column_may_mean_missing():
    for column in ([-999.0, -999.0], ["-999.0", "-999"], [MOMENT, MOMENT], ["1900-01-01"] * 2):
        with pytest.raises(TableError, match="column 'a' is left out: all its values are missing"):
            Schema.learn({"a": column}, na=["-999", "1900-01-01"])


def test_words_for_missing_need_not_be_numbers():
    """1.2.3 looks like one."""
    schema = Schema.learn({"a": [1.5, 2.5]}, na=["1.2.3", "."])
    assert schema.apply({"a": [1.5, None]}).numbers[0] == 1.5


def test_words_for_missing_hold_for_targets():
    for column in ([1.5, -999.0], ["1.5", "-999.00"], np.array([1.5, -999])):
        values, _ = learn_target(column, na=["-999"])
        np.testing.assert_array_equal(values, [1.5, np.nan])


@pytest.mark.parametrize("na", ["NA", b"NA", 5])
def test_words_for_missing_are_a_list(na, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for call in (lambda: Schema.learn({"a": [1, 2]}, na=na),
                 lambda: read(tmp_path / "t.csv", na=na)):
        with pytest.raises(TypeError, match="na=.*must be a list of words"):
            call()


def test_text_that_is_no_number_here_says_nothing_of_numbers():
    """3.25 among decimal commas is not understood; the number 3.25 is."""
    texts = [f"{i},5" for i in range(40)] + ["3.25"]
    schema = Schema.learn({"a": texts, "b": list(range(41))})
    assert schema.columns[0].missing_words == ("3.25",)
    assert schema.apply({"a": [3.25, 3.5], "b": [1, 2]}).numbers[:, 0].tolist() == [3.25, 3.5]
    assert schema.apply_row({"a": 3.25, "b": 1}).numbers[0, 0] == 3.25
    assert np.isnan(schema.apply({"a": ["3.25"], "b": [1]}).numbers[0, 0])


@pytest.mark.parametrize("text", ["+-inf", "--inf", "-+infinity", "+", "-", "++inf"])
def test_signs_before_infinity(text):
    schema = Schema.learn({"a": [1.5, 2.5]})
    with pytest.raises(TableError, match="not understood|is no number"):
        schema.apply({"a": [text, "é"]}, strict=True)
    Schema.learn({"a": ["1.5", "2.5", text] * 5})


def test_a_date_is_read_alike_whatever_stands_beside_it():
    schema = Schema.learn({"a": ["2020-01-01", "2021-02-02"]})
    for others in ([], ["2020-01-01"], ["1/2/2020"]):
        assert np.isnan(schema.apply({"a": ["0000-01-01", *others]}).numbers[0, 0])


@pytest.mark.parametrize("unit", ["ns", "us", "s", "D"])
def test_masked_dates_are_dates(unit):
    stamps = np.array(["2020-01-01", "2021-05-02", "2021-05-03"], f"datetime64[{unit}]")
    schema = Schema.learn({"a": stamps})
    masked = np.ma.array(stamps, mask=[False, True, False])
    expected = schema.apply({"a": ["2020-01-01", None, "2021-05-03"]}).numbers
    assert schema.apply({"a": masked}).numbers.tobytes() == expected.tobytes()
    assert Schema.learn({"a": masked}).columns[0].kind == "date"


@pytest.mark.parametrize("unit", ["s", "ms", "D", "Y"])
def test_dates_that_are_too_far_off_are_refused(unit):
    schema = Schema.learn({"a": ["2020-01-01", "2021-02-02"]})
    far = np.array([0, 2**58], "int64").astype(f"datetime64[{unit}]")
    columns = [far]
    if unit in ("s", "ms"):
        pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
        columns.append(pa.array(far.astype("int64"), pa.timestamp(unit)))
        if unit == "ms":
            columns.append(pl.Series(far.astype("int64")).cast(pl.Datetime(unit)))
    for column in columns:
        with pytest.raises(TableError, match="column 'a' holds dates that are too far off: the "
                                             "first in row 1"):
            schema.apply({"a": column})


def test_lines_that_end_as_on_an_old_mac(tmp_path):
    """They took the square of their number."""
    sizes = (10_000, 80_000)
    for n in sizes:
        (tmp_path / f"{n}.csv").write_bytes(b"a,b\r" + b"1,2\r" * n)
        assert read(tmp_path / f"{n}.csv").n_rows == n
    check_in_proportion(lambda n: read(tmp_path / f"{n}.csv"), sizes)


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"header_row": 3}, TableError, "holds no line with names in line 3 or below"),
    ({"header_row": 10**30}, TableError, "holds no line with names"),
    ({"header_row": "1"}, TypeError, "header_row='1' must be a whole number"),
    ({"encoding": None}, TypeError, "encoding=None must be the name of an encoding"),
    ({"separator": 3}, TypeError, "separator=3 must be a string")])
def test_settings_of_reading(settings, error, message, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(error, match=message):
        read(tmp_path / "t.csv", **settings)


def test_more_columns_than_a_file_holds_are_refused_before_training(monkeypatch):
    monkeypatch.setitem(schema_.LIMITS, "columns", 3)
    columns = {name: [1, 2] for name in "abcd"}
    with pytest.raises(TableError, match="4 columns to learn from, at most 3 can be saved"):
        Schema.learn(columns)
    assert len(Schema.learn({**columns, "d": [1, 1]}).columns) == 3


def cell_rows(n=40):
    return [f"{i},txt{i},{2 * i}" for i in range(n)]


@each("changes, row, lines", [
    ({5: '5,"bad,10', 20: '20,good",40'}, 6, 16), ({5: '5,"bad,10', 20: '20,"good,40'}, 6, 16),
    ({5: '5,bad,"10', 20: '20,good,40"'}, 6, 16), ({5: '5,"bad,10', 7: '7,good",14'}, 6, 3)])
def test_rows_within_a_value_are_told(changes, row, lines, tmp_path):
    """Two stray quotation marks: the rows between them were lost without a word."""
    rows = [changes.get(i, text) for i, text in enumerate(cell_rows())]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *rows]))
    table = read(tmp_path / "t.csv")
    assert len(table) == 40 - lines + 1
    assert any(f"row {row}: column" in note and f"holds {lines} lines with as many values" in note
               for note in table.notes)


def test_texts_of_several_lines_are_texts(tmp_path):
    rows = cell_rows()
    rows[3], rows[4] = '3,"hello, you\nbye, me",6', '4,"one\ntwo\nthree",8'
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *rows]))
    assert (len(read(tmp_path / "t.csv")), read(tmp_path / "t.csv").notes) == (40, [])


@each("content, message", [
    ('a,b\n1,2\n3,"4\n5,6\n', "a quotation mark in row 2 is not closed"),
    ('a,b,c\n1,2,3\n3,"4,1\n5,6,1\n', "a quotation mark in row 2 is not closed"),
    ("# made by\n# somebody\na,b\n1,2\n", r"--header-row 3 \(header_row=3\)"),
    ("a,b\n1,2\n".encode("utf-16-le"), r"--encoding utf-16-le \(encoding=...\)"),
    ("a,b\n1,2\n".encode("utf-16-be"), r"--encoding utf-16-be \(encoding=...\)"),
    ("a,b\n1,\0\n", "is not text, so it is no CSV file$")])
def test_what_is_wrong_with_a_file(content, message, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read(tmp_path / "t.csv")


def german(value):
    return f"{value:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")


@each("one, other", [
    (german, "{:.3f}".format), ("{:.3f}".format, german), (german, german),
    ("{:.3f}".format, "{:,.3f}".format),
    (lambda value: f"{value:.2f}".replace(".", ","), "{:.3f}".format),
    (lambda value: german(value).replace(".", "\u202f"), "{:.3f}".format)])
def test_columns_with_marks_of_their_own(one, other, tmp_path):
    """Where the marks of two columns differ, the one in the minority was learned as it is written,
    and then not understood in the very same file."""
    values = 1000 + 3000 * np.random.default_rng(0).random(50)
    rows = [f"{one(value)};{other(value)};{other(-value)}" for value in values]
    (tmp_path / "t.csv").write_text("\n".join(["a;b;c", *rows]))
    table = read(tmp_path / "t.csv")
    schema = Schema.learn(table.rows(np.arange(40)))
    for part in (table, table.rows(np.arange(40, 50)), table.rows([3])):
        found = schema.apply(part)
        assert not found.notes, found.notes
    numbers = schema.apply(table).numbers
    np.testing.assert_allclose(numbers, np.column_stack([values, values, -values]), rtol=1e-5)


@each("write", [
    lambda i: f"${i % 9},{i * 7 % 1000:03d}.50", lambda i: f"${i}.5", lambda i: f"{i}.5%",
    lambda i: f"-${i + 1}.25", lambda i: f"€ {i}.5", lambda i: f"{i}.5 %",
    lambda i: f"{i}.5" if i % 20 == 0 else str(i),
    lambda i: f"{i + 1},234.5" if i % 20 == 0 else str(i)])
@each("mark", [",", "."])
def test_columns_that_write_numbers_unlike_the_others_of_a_file(write, mark, tmp_path):
    """With units, or with few decimals: what they had learned was missing in all rows of their own
    file, where the other columns have decimal commas."""
    swap = str.maketrans(",.", ".,") if mark == "." else {}
    texts = [write(i).translate(swap) for i in range(60)]
    others = [f"{i % 7}.5".replace(".", mark) for i in range(60)]
    rows = "".join(f"{other};{text};{i}\n" for i, (other, text) in enumerate(
        zip(others, texts, strict=True)))
    (tmp_path / "t.csv").write_text("a;b;c\n" + rows, encoding="utf-8")
    table = read(tmp_path / "t.csv")
    schema = Schema.learn(table)
    found = schema.apply(table).numbers
    expected = [float(re.sub(r"[$€%, ]", "", write(i))) for i in range(60)]
    np.testing.assert_array_equal(found[:, 1], expected)
    np.testing.assert_array_equal(found[:, 0], [i % 7 + 0.5 for i in range(60)])
    assert len(TableEncoder().fit(table).columns) == 3
