"""`Schema`: what columns are taken for, what is said of them, and bad input. Each kind that public
bug reports name has its variants here; `tests/cli/test_kinds_of_tables.py` sends the files through
the command line."""

import datetime
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wrong_settings import spoilt

from fastnn.tables import Schema, TableError, as_table, learn_target, read
from fastnn.tables.columns import Column
from fastnn.tables.numerals import NumberFormat, find_format, parse_numbers

N = 40


def learn(**columns):
    return Schema.learn(columns)


def one(values, name="a", **options):
    """The schema's column for some values, and its notes."""
    schema = Schema.learn({name: values, "other": list(range(len(values)))}, **options)
    return {column.name: column for column in schema.columns}.get(name), schema.notes


def numbers(schema, name, data):
    return schema.apply(data).numbers[:, schema.number_names.index(name)]


def file(tmp_path, header, rows, separator=","):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


# ---- booleans: case 01, 03 ----

@pytest.mark.parametrize("values", [
    ["TRUE", "FALSE", ""], ["True", "False", None], ["true", "false", "NA"], [True, False, None],
    ["TRUE", "false", "nan"], ["1", "true", "False"], [True, 0, None], ["tRuE", "FALSE", " "],
])
def test_true_and_false_in_all_spellings(values):
    values = values * 10
    column, notes = one(values)
    assert column.kind == "boolean"
    assert not notes
    schema = learn(a=values)
    for true, false in (("TRUE", "FALSE"), ("True", "False"), ("true", "false"), (True, False),
                        (1, 0), ("1", "0"), ("1.0", "0.0"), (np.True_, np.False_)):
        found = schema.apply([{"a": true}, {"a": false}, {"a": None}])
        np.testing.assert_array_equal(found.numbers, [[1], [0], [np.nan]])
        np.testing.assert_array_equal(schema.apply_row({"a": true}).numbers, [[1]])
    found = schema.apply({"a": ["maybe", "TRUE"]})
    assert np.isnan(found.numbers[0, 0])
    assert "1 value not understood" in found.notes[0]
    assert "'maybe' is neither true nor false" in found.notes[0]


def test_spellings_of_one_category():
    schema = learn(a=["TRUE", "x", "y", "True", "1", "2.0"] * 10)
    assert schema.category_sizes == (5,)
    same = schema.apply({"a": ["true", True, "TRUE", "True"]}).codes
    assert len(set(same.ravel().tolist())) == 1
    same = schema.apply({"a": ["1", 1, 1.0, "1.00"]}).codes
    assert len(set(same.ravel().tolist())) == 1
    assert schema.apply({"a": ["01", "z", "NA", None]}).codes.ravel().tolist() == [5, 5, 6, 6]


# ---- marks for missing: case 05 ----

@pytest.mark.parametrize("mark", ["?", ".", "-", "--", "n.a.", "unknown", "missing", "#VALUE!",
                                  "*", "N.A.", "(null)", "—", "not available"])
@pytest.mark.parametrize("share", [2, 4])
def test_marks_of_missing_among_numbers(mark, share):
    """However often they come: half of the values, or a quarter."""
    values = [mark if i % share == 0 else str(i * 7 % 23) for i in range(N)]
    column, notes = one(values)
    assert column.kind == "number"
    assert any(repr(mark) in note and f"({N // share} values)" in note for note in notes)
    schema = learn(a=values)
    found = schema.apply({"a": [mark, "3", 4, None]})
    np.testing.assert_array_equal(found.numbers.ravel(), [np.nan, 3, 4, np.nan])
    assert not found.notes


@pytest.mark.parametrize("words, kind", [
    (["pending"] * 10, "number"), (["pending", "lost"] * 5, "number"),
    ([f"word {i}" for i in range(30)], None), (["pending"] * 30, "category"),
])
def test_other_words_among_many_numbers(words, kind):
    values = [*map(str, range(N)), *words]
    if kind == "category":
        values = [*map(str, [1, 2, 3] * 10), *words]
    column, _ = one(values)
    assert (column and column.kind) == kind


def test_words_that_the_user_names():
    values = ["-99", *map(str, range(30)), "pending"]
    schema = Schema.learn({"a": values}, na=["-99", "pending"])
    assert not schema.notes
    for data in ({"a": ["-99", "pending", "5"]}, {"a": [-99, None, 5]},
                 {"a": np.array([-99.0, np.nan, 5])}):
        np.testing.assert_array_equal(schema.apply(data).numbers.ravel(), [np.nan, np.nan, 5])
    assert np.isnan(schema.apply_row({"a": -99}).numbers).all()
    again = Schema.from_settings(schema.settings())
    assert np.isnan(again.apply_row({"a": "-99"}).numbers).all()
    schema = Schema.learn({"a": ["u", "v", "none"] * 5}, na=["none"])
    assert schema.category_sizes == (2,)
    assert schema.apply_row({"a": "none"}).codes.tolist() == [[3]]


# ---- dates: case 06 ----

@pytest.mark.parametrize("bad", ["", "0000-00-00", "unknown", "2023-02-30", "NaT", "tbd",
                                 "0000-00-00 00:00:00", "2023-13-01"])
def test_bad_dates_count_as_missing(bad):
    days = [(datetime.date(2022, 1, 1) + datetime.timedelta(3 * i)).isoformat() for i in range(N)]
    values = [bad if i in (7, 20) else day for i, day in enumerate(days)]
    schema = learn(a=values)
    assert schema.columns[0].kind == "date"
    found = numbers(schema, "a", {"a": values})
    assert np.flatnonzero(np.isnan(found)).tolist() == [7, 20]
    if bad not in ("", "NaT"):
        assert repr(bad) in schema.notes[0]
        assert "(2 values)" in schema.notes[0]


@pytest.mark.parametrize("written, day_first", [
    ("%Y-%m-%d", True), ("%d.%m.%Y", True), ("%d/%m/%Y", True), ("%m/%d/%Y", False),
    ("%d-%m-%Y", True), ("%Y/%m/%d", True), ("%d %b %Y", True), ("%b %d, %Y", True),
    ("%d-%b-%y", True), ("%m/%d/%y", False), ("%Y-%m-%d %H:%M:%S", True),
    ("%m/%d/%Y %I:%M %p", False), ("%Y-%m-%dT%H:%M:%SZ", True), ("%d.%m.%Y %H:%M", True),
    ("%Y-%m-%d 00:00:00+00:00", True),
])
def test_ways_to_write_a_date(written, day_first):
    """All mean the same days; the order of day and month is found out."""
    days = [datetime.datetime(2022, 1, 1) + datetime.timedelta(5 * i) for i in range(N)]
    schema = learn(a=[day.strftime(written) for day in days])
    assert not schema.notes
    assert schema.columns[0].day_first == day_first
    found = numbers(schema, "a", {"a": [day.strftime(written) for day in days]})
    np.testing.assert_array_equal(found, [day.toordinal() - 719163 for day in days])
    np.testing.assert_array_equal(numbers(schema, "a", {"a": np.array(days, "datetime64[us]")}),
                                  found)


def test_dates_in_doubt_are_told_and_may_be_said(tmp_path):
    """Days up to 12 only: 1/2/2024 may be either."""
    rows = [f"{1 + i % 12}/{1 + i * 5 % 12}/2024;{i}" for i in range(N)]
    path = file(tmp_path, "d;x", rows)
    schema = Schema.learn(read(path))
    assert "--day-first" in schema.notes[0]
    assert schema.columns[0].day_first is False
    for said in (True, False):
        schema = Schema.learn(read(path, day_first=said))
        assert not schema.notes
        day = numbers(schema, "d", {"d": ["3/4/2024"], "x": [1]})
        assert day == (datetime.date(2024, *((4, 3) if said else (3, 4))).toordinal() - 719163)


@pytest.mark.parametrize("written, days, doubt", [
    ("%y/%m/%d", 5, True), ("%y-%m-%d", 5, True), ("%y.%m.%d", 5, True), ("%d/%m/%y", 5, False),
    ("%d.%m.%y", 40, False), ("%y/%m/%d", 40, True), ("%Y/%m/%d", 5, False)])
def test_two_digits_of_a_year_that_may_be_the_first(written, days, doubt):
    days = [datetime.datetime(2022, 1, 1) + datetime.timedelta(days * i) for i in range(N)]
    notes = learn(a=[day.strftime(written) for day in days]).notes
    assert any("write it with four digits" in note for note in notes) == doubt == bool(notes)


def test_dates_with_zones_are_utc():
    texts = ["2024-01-01T01:30:00+02:00", "2023-12-31 23:30:00Z", "2023-12-31 18:30 -05:00",
             "2023-12-31T23:30:00.000+0000", "2024-01-01 05:00:00+05:30", "2023-12-31 23:30 UTC"]
    schema = learn(a=[*texts, "2024-05-05T00:00:00Z"])
    found = numbers(schema, "a", {"a": texts})
    assert len(set(found.tolist())) == 1
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2024, 1, 1, 1, 30, tzinfo=zone)
    assert numbers(schema, "a", {"a": [moment]})[0] == found[0]
    assert schema.apply_row({"a": texts[0]}).numbers[0, 0] == found[0]


def test_parts_of_dates_that_vary():
    days = [datetime.datetime(2024, 1, 1, 6 * (i % 4)) + datetime.timedelta(i) for i in range(60)]
    schema = learn(a=days)
    assert schema.number_names == ("a", "a (month)", "a (weekday)", "a (hour)")
    found = schema.apply({"a": days}).numbers
    np.testing.assert_array_equal(found[:, 1:], [[d.month, d.weekday(), d.hour] for d in days])
    assert learn(a=[datetime.date(2024, 1, 1), datetime.date(2024, 1, 8)]).number_names == ("a",)


# ---- marks in numbers: case 07 ----

@pytest.mark.parametrize("texts, form, values, doubt", [
    (["1.299", "987", "2.500", "12.000"], (",", "."), [1299, 987, 2500, 12000], True),
    (["1,299", "987", "2,500", "12,000"], (".", ","), [1299, 987, 2500, 12000], True),
    (["1.234,56", "123,45"], (",", "."), [1234.56, 123.45], False),
    (["1,234.56", "123.45"], (".", ","), [1234.56, 123.45], False),
    (["1 234,56", "12,5"], (",", " "), [1234.56, 12.5], False),
    (["1\u202f234,56", "12,5"], (",", " "), [1234.56, 12.5], False),
    (["1'234.5", "12.5"], (".", "'"), [1234.5, 12.5], False),
    (["1.234.567", "1.000"], (",", "."), [1234567, 1000], False),
    (["0.123", "1.299", "2.500"], (".", ""), [0.123, 1.299, 2.5], False),
    (["1.5", "1.299", "2"], (".", ""), [1.5, 1.299, 2], False),
    (["1,5", "2,25", "3"], (",", ""), [1.5, 2.25, 3], False),
    (["1.299", "2.500", "9.125"], (".", ""), [1.299, 2.5, 9.125], True),
    (["1", "20", "300"], (".", ""), [1, 20, 300], False),
    (["-1.299,5", "+3,0"], (",", "."), [-1299.5, 3], False),
    (["\u22121,5", "2,5"], (",", ""), [-1.5, 2.5], False),
])
def test_marks_are_found(texts, form, values, doubt):
    found, remark = find_format(texts)
    assert (found.decimal, found.thousands) == form
    assert parse_numbers(texts, found).tolist() == values
    assert bool(remark) == doubt


@pytest.mark.parametrize("texts, values, unit", [
    (["12%", "3.5 %", "0%"], [12, 3.5, 0], "%"), (["$1,299.00", "$5"], [1299, 5], "$"),
    (["1.299,50 €", "7 €"], [1299.5, 7], "€"), (["-$5.25", "$7"], [-5.25, 7], "$"),
    (["£3", "£4.5"], [3, 4.5], "£"),
])
def test_units_are_no_part_of_a_number(texts, values, unit):
    form, _ = find_format(texts)
    assert form.unit == unit
    assert parse_numbers(texts, form).tolist() == values
    assert np.isnan(parse_numbers(["x", "1..2", ""], form)).all()


def test_a_column_in_doubt_follows_the_others_of_the_file(tmp_path):
    rows = [f"{1 + i % 9}.{100 + i};0,{i % 100:02}" for i in range(N)]
    schema = Schema.learn(read(file(tmp_path, "pop;w", rows)))
    assert schema.columns[0].form == NumberFormat(",", ".")
    assert numbers(schema, "pop", {"pop": ["1.299", "7"], "w": [1, 2]}).tolist() == [1299, 7]
    rows = [row.replace(",", ".") for row in rows]
    schema = Schema.learn(read(file(tmp_path, "pop;w", rows)))
    assert numbers(schema, "pop", {"pop": ["1.299"], "w": [1]}).tolist() == [1.299]


def test_options_say_what_marks_mean(tmp_path):
    path = file(tmp_path, "a;b", [f"{1 + i % 9}.{100 + i};{i}" for i in range(N)])
    for options, value in (({"decimal": "."}, 1.299), ({"thousands": "."}, 1299),
                           ({"decimal": ","}, 1299), ({"decimal": ".", "thousands": ","}, 1.299)):
        schema = Schema.learn(read(path, **options))
        assert numbers(schema, "a", {"a": ["1.299"], "b": [1]})[0] == value
        assert not schema.notes
    # in prediction the option goes before what training had
    schema = Schema.learn(read(path, thousands="."))
    new = read(file(tmp_path, "a;b", ["1.299;1"]), decimal=".")
    assert numbers(schema, "a", new)[0] == 1.299


def test_nothing_is_read_a_thousandfold_without_a_word(tmp_path):
    """Whole numbers in training, points before three digits in prediction."""
    schema = learn(a=list(range(100)))
    found = schema.apply({"a": ["1.299", "987"]})
    assert found.numbers.ravel().tolist() == [1.299, 987]
    assert "if it means 1299: --thousands ." in found.notes[0]
    new = read(file(tmp_path, "a;b", ["1.299;0,5", "2.500;1,25", "3;7,5"]))
    found = learn(a=[0.5, 1.25], b=[0.5, 1]).apply(new)
    assert found.numbers[:, 1].tolist() == [0.5, 1.25, 7.5]
    assert "read as 1299" in found.notes[0]
    assert "--decimal ." in found.notes[0]


# ---- ids, index columns, categories: case 09, 12 ----

@pytest.mark.parametrize("ids", [
    [10**19 + i for i in range(N)], [10**24 + 7 * i for i in range(N)],
    [10**24 if i % 2 else i for i in range(N)], [2**60 + i for i in range(N)],
    [12345678901234560 + i for i in range(N)],
])
def test_ids_are_not_numbers(ids):
    for values in (ids, list(map(str, ids))):
        column, notes = one(values)
        assert column is None or column.kind == "category"
        assert column is not None or "different texts" in notes[0]


def test_large_numbers_that_differ_are_numbers():
    """Nanoseconds since 1970, such as."""
    stamps = [1_600_000_000_000_000_000 + 10**9 * i for i in range(N)]
    for values in (stamps, list(map(str, stamps)), np.array(stamps)):
        assert one(values)[0].kind == "number"


@pytest.mark.parametrize("name", ["Unnamed: 0", "", "Unnamed: 0.1"])
@pytest.mark.parametrize("shuffled", [True, False])
def test_an_index_without_a_name_is_no_column(tmp_path, name, shuffled):
    index = np.random.default_rng(0).permutation(N) if shuffled else np.arange(N)
    path = file(tmp_path, f"{name},b", [f"{i},{i % 7}" for i in index])
    schema = Schema.learn(read(path))
    assert [column.name for column in schema.columns] == ["b"]
    assert "it has no name and holds whole numbers" in schema.notes[0]
    assert schema.apply({"b": [1]}).numbers.tolist() == [[1]]


def test_columns_without_a_name_that_are_no_index_are_kept(tmp_path):
    for values in ([i / 8 for i in range(N)], ["u", "v"] * 20, [i % 3 for i in range(N)]):
        path = file(tmp_path, ",b", [f"{value},{i % 7}" for i, value in enumerate(values)])
        assert Schema.learn(read(path)).columns[0].name == "Unnamed: 0"


@pytest.mark.parametrize("other", ["yes ", " yes", "yes\t", "\u00a0yes", "yes  "])
def test_blanks_around_text_do_not_count(other):
    schema = learn(a=["yes", other, "no"] * 10)
    assert schema.category_sizes == (2,)
    assert len(set(schema.apply({"a": ["yes", other]}).codes.ravel().tolist())) == 1


def test_categories_that_are_asked_for():
    frame = {"a": [1, 2, 3] * 5, "b": ["007", "008", "7"] * 5, "c": [1.5, 2, None] * 5}
    for given_ in (["a", "b", "c"], [0, 1, 2], [True] * 3):
        schema = Schema.learn(frame, categorical_features=given_)
        assert schema.category_names == ("a", "b", "c")
        assert schema.category_sizes == (3, 3, 2)
    found = schema.apply({"a": ["1", 2.0, "x"], "b": ["7", "007", 8], "c": ["1.50", "2.0", ""]})
    assert found.codes.tolist() == [[0, 2, 2], [1, 0, 1], [3, 1, 3]]
    for wrong, message in (("a", "must be 'auto'"), (["z"], "names 'z'"), ([7], "column 7"),
                           ([True], "1 entries")):
        with pytest.raises(ValueError, match=message):
            Schema.learn(frame, categorical_features=wrong)
    pd = pytest.importorskip("pandas")
    schema = Schema.learn(pd.DataFrame({"a": pd.Categorical([1, 2, 1]), "b": [1, 2, 3]}))
    assert schema.category_names == ("a",) and not schema.notes
    assert schema.apply({"a": ["2", 1, "1.0"], "b": [1, 1, 1]}).codes.ravel().tolist() == [1, 0, 0]


@pytest.mark.parametrize(("words", "what"), [
    (["1", "2", "10"], "numbers"), (["2024-01-01", "2024-02-01", "2024-02-03"], "dates"),
    (["true", "False", "TRUE"], "true and false"), (["a", "b", "1"], None)])
def test_texts_of_a_categorical_type_are_read_as_those_of_a_file(words, what):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    plain = Schema.learn({"a": words * 5, "b": list(range(15))})
    for column in (pd.Categorical(words * 5), pl.Series(words * 5, dtype=pl.Categorical),
                   pa.array(words * 5).dictionary_encode()):
        frame = {"a": pd.Series(column) if isinstance(column, pd.Categorical) else column,
                 "b": list(range(15))}
        schema = Schema.learn(frame)
        assert schema.settings() == plain.settings()
        assert [f"its texts are {what}" in note for note in schema.notes] == (
            [True] if what else [])
        schema = Schema.learn(frame, categorical_features=["a"])
        assert schema.category_names == ("a",) and not schema.notes


def test_unknown_categories_are_counted_and_refused_where_strict():
    schema = learn(a=["u", "v"] * 10, b=["x", "y", None, "x"] * 5)
    found = schema.apply({"a": ["u", "w", "W"], "b": ["x", "x", None]})
    assert found.codes.tolist() == [[0, 0], [2, 0], [2, 3]]
    assert found.notes == ["column 'a': 2 values of categories that training did not have, such "
                           "as 'w' (row 1)"]
    for call in (lambda: schema.apply({"a": ["u", "w"], "b": ["x", "x"]}, strict=True),
                 lambda: schema.apply_row({"a": "w", "b": "x"}, strict=True)):
        with pytest.raises(TableError, match="column 'a': 1 value of categories .* 'w'"):
            call()
    assert schema.apply_row({"a": "w", "b": "x"}).notes
    many = {f"c{i}": ["u", "v"] * 10 for i in range(9)}
    notes = Schema.learn(many).apply({name: ["z"] for name in many}).notes
    assert len(notes) == 1
    assert "9 values of categories that training did not have, in 9 columns" in notes[0]


def test_one_note_for_many_columns_of_a_kind():
    schema = learn(**{f"p{i}": [7] * 9 for i in range(91)}, a=list(range(9)))
    assert schema.notes == ["91 columns are left out: they have one value only ('p0', 'p1', 'p2' "
                            "and 88 more)"]


# ---- bad input ----

@pytest.mark.parametrize("table, message", [
    ({}, "no rows|no columns"), ([], "no rows"), ({"a": []}, "no rows"), ([{}], "no columns"),
    ({"a": [1, 1]}, "no column is left"), ({"a": [None, None]}, "no column is left"),
    ({"a": [1, 2], "b": [1]}, "column 'b' has 1 values"), ({"a": 3}, "must be a list"),
    ({"a": "text"}, "must be a list"), ([1, 2], "must hold dicts"), ([[1, 2], [3]], "same length"),
    ({"a": [[1], [2]]}, "lists or other containers"), ({"a": [1j, 2]}, "cannot become numbers"),
    ({"a": [object(), 1]}, "type object"), ({"a": [b"\xff", b"x"]}, "bytes that are no text"),
    (np.ones(3), "must be \\(n_samples"), (np.ones((2, 2, 2)), "must be \\(n_samples"),
    ({"a": [np.inf, 1]}, "row 0: inf is not a finite number"),
    ({"a": ["1", "2", "-inf"]}, "row 2: -inf is not a finite number"),
    ({"x" * 1001: [1, 2]}, "name of 1,001 characters"),
])
def test_tables_that_cannot_be_learned_from(table, message):
    with pytest.raises(TableError, match=message):
        Schema.learn(table)


@pytest.mark.parametrize("thing", [3, "text", None, object(), {1, 2}])
def test_what_is_no_table(thing):
    with pytest.raises(TypeError, match="must be a data frame of pandas"):
        as_table(thing)


def test_one_row_is_enough_where_something_is_missing():
    with pytest.raises(TableError, match="no column is left"):
        learn(a=[1], b=["x"])


def test_duplicate_names():
    pd = pytest.importorskip("pandas")
    with pytest.raises(TableError, match="more than one column 'a'"):
        as_table(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))
    with pytest.raises(TableError, match="more than one column '1'"):
        as_table({1: [1], "1": [2]})


def test_only_the_most_frequent_categories_are_told_apart():
    values = [*"abcdefgh" * 3, *"hgf", "new"]
    schema = Schema.learn({"a": values}, max_categories=3)
    assert schema.columns[0].categories == ("f", "g", "h")
    assert "9 categories: the 3 most frequent ones are told apart" in schema.notes[0]
    assert schema.apply({"a": ["h", "a", None]}).codes.ravel().tolist() == [2, 3, 4]


@pytest.mark.slow
def test_a_hundred_thousand_categories():
    values = [f"r{i}" for i in range(100_000)] * 2
    schema = learn(a=values)
    assert schema.category_sizes == (65_536,)
    assert "100,000 categories: the 65,536 most frequent" in schema.notes[0]
    found = schema.apply({"a": values[:100_000]})
    assert (found.codes == 65_536).sum() == 100_000 - 65_536


def test_five_thousand_columns():
    table = {f"c{i}": [i, i + 1, None] for i in range(5000)}
    schema = Schema.learn(table)
    assert len(schema.number_names) == 5000
    np.testing.assert_array_equal(schema.apply_row({name: v[0] for name, v in table.items()}
                                                   ).numbers[0], np.arange(5000))


@pytest.mark.parametrize("values", [
    ["x", "y", "z"], [datetime.date(2020, 1, 1)] * 3, ["2020-01-01"] * 3, [["x"]] * 3,
])
def test_columns_that_changed_their_type(values):
    """Missing with a note, or an error that names the column; never other numbers."""
    schema = learn(a=[1.5, 2, 3], b=["u", "v", "u"])
    try:
        found = schema.apply({"a": values, "b": [1, True, 2.5]})
    except TableError as error:
        assert "column 'a'" in str(error)
        return
    assert np.isnan(found.numbers).all()
    assert "3 values not understood" in found.notes[0]
    assert found.codes.ravel().tolist() == [2, 2, 2]
    with pytest.raises(TableError, match="column 'a'"):
        schema.apply({"a": values, "b": ["u"] * 3}, strict=True)


def test_numbers_where_dates_were():
    schema = learn(a=["2020-01-01", "2021-01-01"])
    found = schema.apply({"a": [1.6e9, 2.0, None]})
    assert np.isnan(found.numbers).all()
    assert "2 values not understood" in found.notes[0]


def test_columns_that_are_not_there():
    schema = learn(size=[1, 2], colour=["r", "g"], weight=[1.5, 2])
    with pytest.raises(TableError, match="no columns 'size', 'weight'; did you mean 'Size'"):
        schema.apply({"Size": [1], "colour": ["r"]})
    with pytest.raises(TableError, match="no column 'colour'$"):  # 'color' is asked for itself
        learn(color=["a", "b"], colour=["r", "g"]).apply({"color": ["a"]})
    with pytest.raises(TableError, match="no column 'weight'"):
        schema.apply_row({"size": 1, "colour": "r"})


@pytest.mark.parametrize("how, expected", [("missing", [1, np.nan, np.nan]),
                                           ("keep", [1, np.inf, -np.inf])])
def test_infinities_on_request(how, expected):
    values = [1, np.inf, -np.inf]
    schema = Schema.learn({"a": values, "b": [1, 2, 3]}, infinities=how)
    np.testing.assert_array_equal(schema.apply({"a": values, "b": [1, 2, 3]}).numbers[:, 0],
                                  expected)
    found = [schema.apply_row({"a": value, "b": 1}).numbers[0, 0] for value in values]
    np.testing.assert_array_equal(found, expected)
    schema = learn(a=[1, 2])
    for call in (lambda: schema.apply({"a": [1, np.inf]}),
                 lambda: schema.apply_row({"a": np.inf})):
        with pytest.raises(TableError, match="inf is not a finite number"):
            call()


# ---- rows, settings ----

def test_rows_by_dict_are_rows_of_tables():
    rng = np.random.default_rng(0)
    rows = [{"n": rng.normal(), "w": int(rng.integers(9)), "f": bool(rng.integers(2)),
             "c": str(rng.choice(["u", "v", "w w"])), "k": int(rng.integers(3)),
             "d": f"2024-0{1 + i % 9}-11 {i % 24}:30", "more": [1]} for i in range(60)]
    rows[3] |= {"n": None, "c": None, "f": None, "d": None}
    rows[4] |= {"n": "1.5", "w": "7", "f": "TRUE", "c": " u ", "d": " 2024-01-02"}
    rows[5] |= {"n": "NA", "c": "", "d": "", "f": "nan"}
    schema = Schema.learn([{**row, "more": 1} for row in rows], categorical_features=["k"])
    odd = [{**rows[0], "n": "x", "c": "new", "k": 99, "d": datetime.date(2024, 5, 5)},
           {**rows[0], "n": np.float32(0.1), "w": np.int64(3), "k": 1.0, "f": 1},
           {**rows[0], "n": True, "c": 5, "k": "2", "d": np.datetime64("2024-05-05")}]
    for row in rows + odd:
        expected, found = schema.apply([{**row, "more": 1}]), schema.apply_row(row)
        assert found.numbers.tobytes() == expected.numbers.tobytes(), row
        assert found.codes.tobytes() == expected.codes.tobytes(), row


def good_settings():
    return Schema.learn({
        "a": [1, 2, 3, "?"] * 5, "b": ["x", None, "y", "x"] * 5, "c": [True, False] * 10,
        "d": ["1.5.2020", "13.7.2021"] * 10, "e": ["1.234,5", "7,5"] * 10}, na=["-9"]).settings()


def test_settings_and_pickles_give_the_same():
    plain = good_settings()
    schema = Schema.from_settings(json.loads(json.dumps(plain)))
    assert schema.settings() == plain
    row = {"a": "-9", "b": "y", "c": "TRUE", "d": "2.3.2022", "e": "1.000,5"}
    for other in (pickle.loads(pickle.dumps(schema)), schema):
        found = other.apply_row(row)
        np.testing.assert_array_equal(found.numbers[0, [0, 1, 2, -1]], [
            np.nan, 1, datetime.date(2022, 3, 2).toordinal() - 719163, 1000.5])


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3), max_leaves=6)


GOOD = json.dumps(good_settings())


@settings(deadline=None, max_examples=100, derandomize=True)
@given(junk=JUNK, data=st.data())
def test_wrong_settings_are_refused(junk, data):
    plain = spoilt(data, json.loads(GOOD), junk, ["columns", "na", "infinities"])
    try:
        schema = Schema.from_settings(plain)
    except ValueError:
        return
    assert Schema.from_settings(schema.settings()).settings() == schema.settings()


def test_columns_in_settings_have_names():
    plain = json.loads(GOOD)
    plain["columns"][0]["name"] = ""
    with pytest.raises(ValueError, match="each column must have a name"):
        Schema.from_settings(plain)


def test_targets_of_numbers():
    values, notes = learn_target(["1.234,5", "7,5", "", "NA", "?"])
    np.testing.assert_array_equal(values, [1234.5, 7.5, np.nan, np.nan, np.nan])
    assert "'?'" in notes[0]
    with pytest.raises(TableError, match="2 values cannot be read as a number: 'x', 'y'"):
        learn_target(["1", "x", "y"])
    with pytest.raises(TableError, match="row 2: inf is not a finite"):
        learn_target([1.0, np.inf])


def test_the_columns_reader_of_plain_numbers_takes_no_python_spellings():
    """float() would read 1_000 and nan."""
    column = Column("a", "number")
    for text in ("1_000", "0x10", "1e", "--1", "1.2.3", "12abc"):
        found, problems = column.numbers(as_table({"a": [text, "1"]}).column("a"))
        assert np.isnan(found[0])
        assert problems[0].count == 1


@pytest.mark.parametrize("name, values, message", [
    ("number", ["hello"] * 12, "column 'number': 12 values not understood: 'hello' is no number"),
    ("number", [datetime.date(2024, 1, 1)] * 12, "'2024-01-01' is no number"),
    ("flag", ["yes and no"] * 12, "is neither true nor false"),
    ("day", ["soon", None] * 12, "'soon' is no date"),
])
def test_a_column_of_which_nothing_is_understood_is_another_one(name, values, message):
    """Of a few rows, or beside one that is, they count as missing, with a note."""
    data = {"number": [1.5, 2.5, 4.0] * 8, "flag": [True, False, True] * 8,
            "day": ["2024-01-02", "2024-05-01", "2023-05-01"] * 8}
    schema = Schema.learn(data)
    other = {key: own[:len(values)] for key, own in data.items()} | {name: values}
    with pytest.raises(TableError, match=message):
        schema.apply(other)
    few = {key: own[:9] for key, own in other.items()}
    assert "not understood, counted as missing" in schema.apply(few).notes[0]
    other[name] = [data[name][0], *values[1:]]
    assert "not understood, counted as missing" in schema.apply(other).notes[0]
    assert not schema.apply({**other, name: [None] * len(values)}).notes
