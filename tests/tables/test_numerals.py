"""Numbers as accountants, spreadsheets and other countries write them: `fastnn.tables.numerals`."""

import time

import numpy as np
import pytest
from each import each

from fastnn.tables import Schema, learn_target, read
from fastnn.tables.labels import Labels
from fastnn.tables.numerals import find_format, in_ascii, parse_number, parse_numbers

N = 60
AMOUNTS = [(i * 7919 % 10_000_000 - 5_000_000) / 100 for i in range(N)]
FULL = str.maketrans("0123456789.,-", "０１２３４５６７８９．，－")
ARABIC = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")


def indian(value):
    """Such as -12,34,567.50."""
    whole, _, rest = f"{abs(value):.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = []
    while head:
        pairs.insert(0, head[-2:])
        head = head[:-2]
    return "-" * (value < 0) + ",".join([*pairs, tail]) + f".{rest}"


WAYS = {
    "brackets": lambda v: f"({-v:.2f})" if v < 0 else f"{v:.2f}",
    "brackets and marks": lambda v: f"({-v:,.2f})" if v < 0 else f"{v:,.2f}",
    "brackets around a currency": lambda v: f"(${-v:,.2f})" if v < 0 else f"${v:,.2f}",
    "brackets behind a currency": lambda v: f"$({-v:,.2f})" if v < 0 else f"$ {v:,.2f}",
    "brackets before a currency": lambda v: f"({-v:.2f}) €" if v < 0 else f"{v:.2f} €",
    "brackets and percent": lambda v: f"({-v:.2f}%)" if v < 0 else f"{v:.2f}%",
    "sign behind": lambda v: f"{-v:.2f}-" if v < 0 else f"{v:.2f}",
    "sign behind, marks": lambda v: f"{-v:,.2f}-" if v < 0 else f"{v:,.2f}",
    "en dash": lambda v: f"{v:.2f}".replace("-", "\u2013"),
    "hyphen": lambda v: f"{v:.2f}".replace("-", "\u2011"),
    "India": indian,
    "India, currency": lambda v: "₹" + indian(v) if v >= 0 else "-₹" + indian(-v),
    "figure spaces": lambda v: f"{v:,.2f}".replace(",", "\u2007"),
    "full width": lambda v: f"{v:.2f}".translate(FULL),
    "full width, marks": lambda v: f"{v:,.2f}".translate(FULL),
    "full width, currency": lambda v: f"\uffe5{v:.2f}".translate(FULL),
    "Arabic": lambda v: f"{v:.2f}".translate(ARABIC),
    "currency behind": lambda v: f"{v:.2f}$",
    "won": lambda v: f"₩{v:,.2f}",
    "French euros": lambda v: french(v) + "\u00a0€",
    "French euros, narrow": lambda v: french(v, "\u202f") + "\u202f€",
    "French percent": lambda v: f"{v:.2f}\u00a0%".replace(".", ","),
    "Brazil": lambda v: "-" * (v < 0) + "R$\u00a0" + german(abs(v)),
    "Brazil, brackets": lambda v: f"(R$ {german(-v)})" if v < 0 else f"R$ {german(v)}",
}


def german(value):
    """Such as -1.234,50."""
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def french(value, blank="\u00a0"):
    """Such as -1 234,50."""
    return f"{value:,.2f}".replace(",", blank).replace(".", ",")


def file(tmp_path, texts):
    path = tmp_path / "t.csv"
    path.write_text("a|b\n" + "".join(f"{text}|{i % 3}\n" for i, text in enumerate(texts)),
                    encoding="utf-8")
    return path


@each("way", list(WAYS))
@each("share", [1, 20])
def test_ways_to_write_amounts(way, share, tmp_path):
    """All values so, or some of them among plain ones: by a file, a dict, one row, a target."""
    plain = WAYS[way](1.0)[0].isdigit() and WAYS[way](1.0)[-1].isdigit()
    if share > 1 and not plain:
        share = 1  # a currency stands at all of them
    texts = [f"{v:.2f}" if i % share else WAYS[way](v) for i, v in enumerate(AMOUNTS)]
    table = read(file(tmp_path, texts), separator="|")
    schema = Schema.learn(table)
    assert [column.kind for column in schema.columns] == ["number", "number"]
    found = schema.apply(table)
    assert found.numbers[:, 0].tolist() == AMOUNTS
    assert not found.notes
    rows = [{"a": text, "b": i % 3} for i, text in enumerate(texts)]
    assert schema.apply(rows).numbers.tobytes() == found.numbers.tobytes()
    assert b"".join(schema.apply_row(row).numbers.tobytes() for row in rows) == (
        found.numbers.tobytes())
    assert learn_target(table.column("a"))[0].tolist() == AMOUNTS


@each("way", ["{:,.0f}.-", "{:,.0f}.\u2013", "{:.0f},-", "{:.0f},--", "{:.0f},- €", "{:.0f}.--"])
def test_a_dash_in_the_place_of_cents_is_no_sign(way, tmp_path):
    """45.- is how prices are written in Switzerland, 45,-- in Germany: it was read as -45."""
    values = [abs(round(value)) for value in AMOUNTS]
    texts = [way.format(value).replace(",", "’", way.count(":,") * (value > 999))
             for value in values]
    table = read(file(tmp_path, texts))
    schema = Schema.learn(table)
    np.testing.assert_array_equal(schema.apply(table).numbers[:, 0], values)
    assert not any("-" in note.partition("read as")[2] for note in schema.notes)
    found, _ = learn_target(table.column("a"))
    np.testing.assert_array_equal(found, values)
    assert parse_number("-45.-") == -45 and np.isnan(parse_number("45.-5"))


@each("way", ["brackets", "brackets around a currency", "sign behind, marks"])
def test_signs_that_stand_behind_are_told(way, tmp_path):
    texts = list(map(WAYS[way], AMOUNTS))
    table = read(file(tmp_path, texts), separator="|")
    assert any(f"{texts[0]!r} is read as {AMOUNTS[0]:.15g}" in text
               for text in Schema.learn(table).notes)
    assert f"{texts[0]!r} is read as {AMOUNTS[0]:.15g}" in learn_target(table.column("a"))[1][0]


def test_grouping_of_india_without_decimals():
    texts = ["1,23,456", "12,34,567", "98,765", "99", "1,00,00,000"]
    form, doubt = find_format(texts)
    assert parse_numbers(texts, form).tolist() == [123456, 1234567, 98765, 99, 10_000_000]
    assert not doubt


@each("text", ["(5", "5)", "()", "(-5)", "-(5)", "((5))", "(5)-", "5--", "-5-", "-", "(a)", "a-",
               "1-2", "(1-2)", "1,2,3", "1,2345", "(5)(6)", "５ａ", "12,3,456"])
def test_what_is_no_number(text):
    for thousands in ("", ","):
        form, _ = find_format(["1,234.5"] if thousands else ["1.5"])
        assert np.isnan(parse_numbers([text], form)).all()


def test_long_texts_take_no_time():
    start = time.perf_counter()
    for text in ("1" * 10**6 + "-2-", "(" * 10**6, "\u0661" * 10**6, "1-" * 10**6):
        assert in_ascii(text) == text
        assert np.isnan(parse_number(text))
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("texts", [[f"USD {v:,.2f}" for v in AMOUNTS],
                                   [f"A$ {v:.2f}" for v in map(abs, AMOUNTS)],
                                   [f"{v:.2f} km/kg" for v in map(abs, AMOUNTS)],
                                   [f"{v:.2f} minutes" for v in map(abs, AMOUNTS)]])
def test_units_of_letters_are_told(texts, tmp_path):
    """Left out where they are too different, categories where they are not; with what to do."""
    for values in (texts, texts[:25] * 3):
        notes = Schema.learn(read(file(tmp_path, values), separator="|")).notes
        assert any("without units" in note and repr(values[0]) in note for note in notes)


@pytest.mark.parametrize("texts, said", [
    ([f"{v:.2f}" if i % 2 else german(v) for i, v in enumerate(AMOUNTS)],
     "different decimal marks: numbers of a column have to be written alike"),
    ([f"{v:,.2f}" if i % 2 else german(v) for i, v in enumerate(AMOUNTS)], "written alike"),
    (["1,5" if i % 2 else f"{i}.25" for i in range(N)],
     "'1,5' (30 values) counts as missing; numbers of a column have to be written alike"),
    (["1.5" if i % 2 else f"{i},25" for i in range(N)], "have to be written alike"),
    ([f"{v:.2f}" if i % 3 == 0 else f"{v:.2f}%" for i, v in enumerate(AMOUNTS)],
     "without units (such as '-49920.81%')"),
    ([f"{v:.2f} kg" if i % 3 else f"{v:.2f}" for i, v in enumerate(AMOUNTS)],
     "without units (such as '-49920.81 kg')")])
def test_numbers_that_are_written_in_two_ways(texts, said, tmp_path):
    """The message named a number without units, and asked for one."""
    table = read(file(tmp_path, texts), separator="|")
    assert said in Schema.learn(table).notes[0]


@each("texts", [["A12", "B13", "C99"] * 10, [f"id{i}" for i in range(30)] * 3,
                ["3fa85f64", "12ab34cd"] * 10, [f"Q{i}" for i in range(30)] * 3])
def test_codes_are_no_amounts(texts, tmp_path):
    assert not Schema.learn(read(file(tmp_path, texts), separator="|")).notes


def test_percentages_of_a_target_are_told():
    values, notes = learn_target(["12.5%", "3%"])
    assert values.tolist() == [12.5, 3]
    assert "12% is read as 12" in notes[0]


def test_classes_in_brackets_stay():
    labels = Labels.learn(["(a)", "(b)", "5-", "(5)"] * 3)
    assert labels.classes.tolist() == ["(5)", "(a)", "(b)", "5-"]


@each("learned, text, value", [
    (["1.5", "2.25", "999.75"], "1,234.5", 1234.5), (["1.5", "2.25"], "12,345,678", 12345678),
    (["1", "2", "300"], "1,234.5", 1234.5), (["1.5", "2.25"], "1 234.5", 1234.5),
    (["1.5", "2.25"], "1'234", 1234), (["1.5", "2.25"], "-1,234.5", -1234.5),
    (["1.5", "2.25"], "12,34,567.5", 1234567.5), (["1,5", "2,25"], "1.234,5", 1234.5),
    (["$1.5", "$2.25"], "$1,234.5", 1234.5), (["1.5", "2.25"], "(1,234.5)", -1234.5),
    (["1.5", "2.25"], "1,234", None), (["1.5", "2.25"], "1,5", None),
    (["1.5", "2.25"], "1,2,3", None), (["1.5", "2.25"], "1 2", None)])
def test_groups_beyond_doubt_in_a_prediction(learned, text, value, tmp_path):
    """Training had no numbers so large."""
    schema = Schema.learn({"a": learned})
    for found in (schema.apply({"a": [text]}), schema.apply_row({"a": text}),
                  schema.apply(read(file(tmp_path, [text, learned[0]]), separator="|"))):
        if value is None:
            assert np.isnan(found.numbers[0, 0])
            assert "not understood" in found.notes[0]
        else:
            assert found.numbers[0, 0] == value
            assert not found.notes


def test_commas_between_thousands_are_told():
    notes = Schema.learn({"a": ["1.5", "2.25"]}).apply({"a": ["1,234"]}).notes
    assert "--thousands , (thousands=',')" in notes[0]


@each("texts, told", [
    (["4.282", "3,257", "877"], "'4.282' is read as 4.282 and '3,257' as 3257"),
    (["1.299", "1,299.00", "2,000.50"], "'1.299' is read as 1.299 and '1,299.00' as 1299"),
    (["$1.299", "$1,299.00", "$7.25"], "'$1.299' is read as 1.299 and '$1,299.00' as 1299"),
    (["1,299", "1.299,00", "987,50", "2.500,00"], "'1,299' is read as 1.299"),
    (["1.299", "1,299.125", "0.5"], None),  # three decimals are usual here
    (["1.299", "1,299.5", "3.25"], None), (["1,299.50", "7.25"], None)])
def test_both_marks_between_thousands_are_told(texts, told):
    """Read as a decimal mark, the one before three digits may make a thousandth of it."""
    learned = Schema.learn({"a": texts}).notes
    applied = Schema.learn({"a": [text.replace("1", "9") for text in texts]}).apply(
        {"a": texts}).notes
    for notes in (learned, applied):
        assert any(told in note for note in notes) if told else not notes


@each("learned, texts", [(["1.5", "2.25"], ["4.282", "1,234", "877"]),
                         (["1,5", "2,25"], ["4,282", "1.234", "877"])])
def test_what_is_not_understood_is_not_told_to_be_read(learned, texts):
    """The next note said as what."""
    found = Schema.learn({"a": learned}).apply({"a": texts})
    assert np.isnan(found.numbers[:, 0]).tolist() == [False, True, False]
    assert len(found.notes) == 1
    assert "1 value not understood" in found.notes[0] and texts[1] in found.notes[0]


@each("learned, texts, told", [
    (["4,282", "987", "3,257"], ["4.282", "877"], "--thousands . (thousands='.')"),
    (["4,282.00", "987.00"], ["4.282", "877.00"], "--thousands . (thousands='.')"),
    (["4.282", "987", "3.257", "1.111"], ["4,282", "877"], "--thousands , (thousands=',')"),
    (["4282", "987"], ["4.282", "3,257.00", "877"], "--thousands . (thousands='.')"),
    (["4,282", "987", "3,257"], ["4.282", "0.5"], None),
    (["4,282", "987", "3,257"], ["4,282", "1,111.00"], None)])
def test_a_prediction_whose_numbers_may_be_a_thousandth_is_told(learned, texts, told):
    """Training had whole numbers, in groups or not."""
    notes = Schema.learn({"a": learned}).apply({"a": texts}).notes
    assert any(told in note for note in notes) if told else not notes


def orders(values):
    """Values in their order, in the opposite one, and mixed."""
    return [values, values[::-1], np.random.default_rng(1).permutation(values).tolist()]


SORTED = np.sort(np.round(np.exp(np.random.default_rng(0).normal(6, 1.5, 6000)), 2)).tolist()


@each("way", ["{:,.2f}", "German", "Swiss", "French", "whole numbers, then 1,5",
              "plain, then currency", "German, then currency", "two with marks", "three decimals"])
def test_the_order_of_rows_does_not_decide_how_numbers_are_read(way, tmp_path):
    """The format was that of the first 2,000 texts: a column in order of its values was left out,
    or lost its largest ones."""
    write = {"German": german, "French": french,
             "Swiss": lambda v: f"{v:,.2f}".replace(",", "'"),
             "whole numbers, then 1,5": lambda v: f"{v:.1f}".replace(".", ",") if v > 800 else (
                 f"{v:.0f}"),
             "plain, then currency": lambda v: f"${v:.2f}" if v > 900 else f"{v:.2f}",
             "German, then currency": lambda v: german(v) + " €" * (v > 900),
             "two with marks": lambda v: f"{v:,.2f}" if v >= SORTED[-2] else f"{v:.2f}",
             "three decimals": lambda v: f"{v / 10:.3f}"}.get(way, way.format)
    found = []
    for texts in orders(list(map(write, SORTED))):
        table = read(file(tmp_path, texts), separator="|")
        schema = Schema.learn(table)
        assert [column.name for column in schema.columns] == ["a", "b"]
        values = schema.apply(table).numbers[:, 0]
        assert not np.isnan(values).any()
        assert learn_target(table.column("a"))[0].tobytes() == values.tobytes()
        found.append((schema.settings(), schema.notes, np.sort(values).tolist()))
    assert found[0] == found[1] == found[2]


@each("form", ["{}.0", "${}", "{:,}", "{:,} €", "0.{}", "1e-{}", "({}.50)", "1e-9{}9{}"])
def test_different_numbers_that_float64_makes_one_are_told(form, tmp_path):
    """The note was that there is one value only."""
    texts = [form.format(*[1234567890123456789 + i] * 2) for i in range(30)]
    notes = Schema.learn(read(file(tmp_path, texts), separator="|")).notes
    assert any("float64 makes one value of its 30 different numbers" in note for note in notes)


@each("texts", [["1.0", "1", "1.00", "+1", "01"], ["$1,000", "$1000.0"], ["0", "-0", "0.0", "0e9"]])
def test_one_number_in_several_ways_is_one_value(texts, tmp_path):
    notes = Schema.learn(read(file(tmp_path, texts * 9), separator="|")).notes
    assert any("it has one value only" in note for note in notes)


@each("small, large, value", [("{}", "{},299", 1299), ("{}", "{}.299", 1299),
                              ("{}.125", "{}.299.000", 1299000), ("{}.299", "{}.299", 1.299)])
def test_what_is_in_doubt_stays_so_in_any_order(small, large, value, tmp_path):
    """1.299 is a number of thousands where 987 is beside it, and nothing speaks against it."""
    n = 2500  # of different texts before the others
    texts = [small.format(f"{'-' * (i % 2)}{i // 2 % 1000:0{i // 2000 + 1}d}") for i in range(n)]
    texts = list(dict.fromkeys(texts)) + [large.format(i) for i in range(1, 5)]
    forms = []
    for ordered in orders(texts):
        form, doubt = find_format(ordered)
        assert parse_numbers([large.format(1)], form)[0] == value
        forms.append((form, bool(doubt)))
    assert forms[0] == forms[1] == forms[2]


def test_numbers_that_may_be_a_thousandth_are_told_in_any_order():
    texts = [f"{1000 * i + 299:,}.50" for i in range(1, 3000)] + ["1.299"]
    for ordered in orders(texts):
        assert "'1.299' is read as 1.299" in find_format(ordered)[1]
        assert not find_format([*ordered, "7,299.125"])[1]


def test_the_order_of_rows_does_not_decide_the_decimal_mark_of_a_file(tmp_path):
    """Which decides where another column is in doubt: 1,299 and 987."""
    whole = [f"{i}" for i in range(4000)] + [f"{i},5" for i in range(2000)]
    path = tmp_path / "t.csv"
    for ordered in orders(whole):
        path.write_text("a;b\n" + "".join(f"{text};{i % 900 + 1},125\n"
                                          for i, text in enumerate(ordered)))
        assert Schema.learn(read(path)).columns[1].form.thousands != ","
