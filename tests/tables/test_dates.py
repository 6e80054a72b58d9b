"""Dates as programs, mails and other countries write them: `fastnn.tables.dates`."""

import datetime
import pathlib
import re
import time

import numpy as np
import pytest
from each import each

import fastnn
from fastnn.tables import Schema, read
from fastnn.tables.dates import date_order, looks_like_date, parse_date, parse_dates

N = 60
EPOCH = datetime.datetime(1970, 1, 1)
MOMENTS = [datetime.datetime(2021, 12, 25, i % 24, i * 7 % 60) + datetime.timedelta(5 * i)
           for i in range(N)]
FULL = str.maketrans("0123456789-:", "０１２３４５６７８９－：")

WAYS = {  # how it is written, and by how many hours its zone is before UTC
    "rfc 5322": ("%a, %d %b %Y %H:%M:00 +0200", 2), "ctime": ("%a %b %d %H:%M:00 %Y", 0),
    "date": ("%a %b %d %H:%M:00 UTC %Y", 0), "an old feed": ("%a %b %d %H:%M:00 +0530 %Y", 5.5),
    "a log": ("%d/%b/%Y:%H:%M:00 -0700", -7), "systemd": ("%a %Y-%m-%d %H:%M:00 CET", 1),
    "zone by name": ("%Y-%m-%d %H:%M EST", -5), "summer": ("%Y-%m-%d %H:%M:00 PDT", -7),
    "from UTC": ("%Y-%m-%d %H:%M UTC+2", 2), "from GMT": ("%d.%m.%Y %H:%M GMT-3:30", -3.5),
    "place behind": ("%Y-%m-%dT%H:%M:00+01:00[Europe/Berlin]", 1),
    "one number": ("%Y%m%dT%H%M00Z", 0), "days as a number": ("%Y%m%d %H:%M:00", 0),
    "time as a number": ("%Y-%m-%dT%H%M00Z", 0), "no seconds, either": ("%Y-%m-%dT%H%M+0200", 2),
    "no seconds": ("%Y%m%dT%H%M", 0), "with a T": ("%Y-%m-%dT%H:%M:00.000", 0),
    "German": ("%d.%m.%Y %H:%M Uhr", 0), "French": ("%d/%m/%Y %Hh%M", 0),
    "month first": ("%b-%d-%Y %H:%M", 0), "year first": ("%Y-%b-%d %H:%M", 0),
    "weekday": ("%A, %B %d, %Y %I:%M %p", 0), "weekday, numbers": ("%a %d/%m/%Y %H:%M", 0),
    "Hungarian": ("%Y. %m. %d. %H:%M", 0), "Chinese": ("%Y年%m月%d日 %H:%M", 0),
    "Korean": ("%Y년 %m월 %d일 %H:%M", 0), "no-break spaces": ("%d\u00a0%b\u00a0%Y\u00a0%H:%M", 0),
    "hyphens": ("%Y\u2010%m\u2010%d %H:%M", 0),
}


def days_of(moment):
    return (moment - EPOCH) // datetime.timedelta(microseconds=1) / 86_400_000_000


def file(tmp_path, texts, name="t.csv"):
    path = tmp_path / name
    path.write_text("d;x\n" + "".join(f"{text};{i % 5}\n" for i, text in enumerate(texts)),
                    encoding="utf-8")
    return path


@each("way", list(WAYS))
def test_ways_to_write_a_moment(way, tmp_path):
    """The same by a file, a list of dicts and one row."""
    form, hours = WAYS[way]
    texts = [moment.strftime(form) for moment in MOMENTS]
    table = read(file(tmp_path, texts))
    schema = Schema.learn(table)
    assert [column.kind for column in schema.columns] == ["date", "number"]
    assert not schema.notes
    found = schema.apply(table)
    assert not found.notes
    wanted = [days_of(moment - datetime.timedelta(hours=hours)) for moment in MOMENTS]
    assert found.numbers[:, 0].tolist() == wanted
    rows = [{"d": text, "x": i % 5} for i, text in enumerate(texts)]
    assert schema.apply(rows).numbers.tobytes() == found.numbers.tobytes()
    assert b"".join(schema.apply_row(row).numbers.tobytes() for row in rows) == (
        found.numbers.tobytes())


@each("text, day, hour", [
    ("2022-W48-1", "2022-11-28", 0), ("2022W481", "2022-11-28", 0), ("2022-W48", "2022-11-28", 0),
    ("2020-W53-7", "2021-01-03", 0), ("2022-11-28T10", "2022-11-28", 10),
    ("11/28/2022 10 PM", "2022-11-28", 22), ("2022-11-28 24:00", "2022-11-29", 0),
    ("2022-12-31T24:00:00Z", "2023-01-01", 0), ("2016-12-31 23:59:60", "2017-01-01", 0),
    ("２０２２－１１－２８", "2022-11-28", 0), ("Nov. 28, 2022", "2022-11-28", 0),
    ("2022.11.28.", "2022-11-28", 0), ("2022年1月8日", "2022-01-08", 0)])
def test_moments(text, day, hour):
    moment = datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(hour))
    assert looks_like_date(text)
    assert parse_date(text, day_first=False) == days_of(moment)


@each("text", ["2022-11-28 2023", "2022-11-28 103700", "2022-1128T1037", "2022-W54-1",
               "2022-W00", "2022-11-28 25:00", "2022-11-28 24:01",
               "2022-11-28 23:61", "2022-11-28 10:00 XYZ", "2022-11-28 10", "2022-11", "Nov 2022",
               "2022-11-28 10:00 UTC+25", "2022-11-28 10:00 Europe/Berlin", "2022-332"])
def test_what_is_no_moment(text):
    assert np.isnan(parse_dates([text])).all()


def test_dates_that_the_documentation_names_are_read():
    """Of the weeks it named one that its year has not."""
    page = pathlib.Path(__file__).parents[2] / "docs" / "command_line.md"
    if not page.is_file():
        pytest.skip("needs the documentation")
    said = re.search(r"Dates are read as (.*?),\s+with or without a weekday and a time \((.*?)\)",
                     page.read_text(encoding="utf-8"), re.DOTALL)
    days, times = (re.findall("`(.*?)`", part) for part in said.groups())
    assert len(days) == 6 and len(times) == 3
    for day in days:
        assert not np.isnan([parse_date(day), parse_date(day, day_first=False)]).all()
    for time_ in times:
        text = "2024-12-31" + " " * (time_[0] != "T") + time_
        assert parse_date(text) == days_of(datetime.datetime(2024, 12, 31, 14, 5 * ("5" in time_)))


def test_long_texts_take_no_time():
    start = time.perf_counter()
    for text in ("2022-11-28 10:00" + " " * 100_000 + "x", "1" + "-" * 100_000 + "x",
                 "mon" + " " * 100_000 + "x", "5 jan" + "a" * 100_000 + "!"):
        assert not looks_like_date(text)
        assert np.isnan(parse_date(text))
    assert time.perf_counter() - start < 1


@each("texts", [[f"{1 + i % 28}. Dezember {1990 + i % 20}" for i in range(N)],
                [f"{m:%Y-%m-%d %H:%M} Europe/Berlin" for m in MOMENTS],
                [f"{m:%Y-%m-%d %H:%M} IST" for m in MOMENTS],
                [f"{m:%H:%M %d.%m.%Y}" for m in MOMENTS]])
def test_what_a_date_must_look_like_is_told(texts, tmp_path):
    """Left out where they are too different, categories where they are not."""
    for values in (texts, texts[:25] * 3):
        notes = Schema.learn(read(file(tmp_path, values))).notes
        assert any("dates have to be written as 2024-12-31" in note and repr(values[0]) in note
                   for note in notes)


def test_days_and_months_in_both_orders_are_told(tmp_path):
    texts = [f"{m:%d/%m/%Y}" if i % 3 else f"{m:%m/%d/%Y}" for i, m in enumerate(MOMENTS)]
    schema = Schema.learn(read(file(tmp_path, texts)))
    assert any("all are read with the day first" in note for note in schema.notes)


@each("odd", ["13/13/1999", "99/99/9999", "00/13/1999", "13/00/1999", "32/01/2000"])
def test_what_is_no_date_in_either_order_speaks_for_none(odd, tmp_path):
    """Placeholders were counted as dates with the month first, or decided the order of others."""
    schema = Schema.learn(read(file(tmp_path, [f"{m:%d/%m/%Y}" for m in MOMENTS] + [odd])))
    assert len(schema.notes) == 1 and f"{odd!r} (1 value) is no date" in schema.notes[0]
    assert date_order(["01/02/1999", "03/04/1999", *[odd] * 9]) == date_order(
        ["01/02/1999", "03/04/1999"])


# ---- dates that training did not have ----

def learned(tmp_path, form, how):
    """A model of dates that are written in a way, by files."""
    path = file(tmp_path, [m.strftime(form) for m in MOMENTS])
    table = read(path)
    y = np.arange(N) % 7 / 2
    if how == "network":
        encoder = fastnn.TableEncoder().fit(table)
        net = fastnn.MLP((encoder.n_inputs, 2, 1), random_state=0)
        net.fit(encoder.encode(table, np.float32, scaled=True), y, epochs=1)
        fastnn.Predictor(net, "regression", table=encoder, scaler=encoder.scaler).save(
            tmp_path / "m.safetensors")
        model = fastnn.load(tmp_path / "m.safetensors")
        return lambda table: model.table.encode(table, notes=[]), lambda table: _notes(model, table)
    schema = Schema.from_settings(Schema.learn(table).settings())
    return (lambda table: schema.apply(table).numbers), lambda table: schema.apply(table).notes


def _notes(model, table):
    notes = []
    model.table.encode(table, notes=notes)
    return notes


@each("how", ["network", "schema"])
def test_an_order_that_training_did_not_show_is_told(how, tmp_path):
    """3/4/2024 where training had 2024-04-03 only."""
    values, notes = learned(tmp_path, "%Y-%m-%d", how)
    new = file(tmp_path, ["3/4/2024", "2024-04-03"], "new.csv")
    assert ("'3/4/2024' is read as day 3 of month 4, training had no such dates; if it is the "
            "other way round: --no-day-first (day_first=False)") in notes(read(new))[0]
    for rows in ([{"d": "3/4/2024", "x": 1}], [{"d": "2024-04-03", "x": 1}]):
        assert values(rows).tolist() == values([{"d": datetime.date(2024, 4, 3), "x": 1}]).tolist()
    assert not notes([{"d": "2024-04-03", "x": 1}, {"d": "4/4/2024", "x": 1}])
    assert not notes([{"d": "3.4.2024", "x": 1}])  # nobody writes the month first so
    for said in (True, False):  # the user knows
        assert not notes(read(new, day_first=said))
    # where training had such dates, it knows
    for form, first in (("%d/%m/%Y", True), ("%m/%d/%Y", False)):
        values, notes = learned(tmp_path, form, how)
        assert not notes(read(new))
        assert values([{"d": "3/4/2024", "x": 1}]).tolist() == values(
            [{"d": "2024-04-03" if first else "2024-03-04", "x": 1}]).tolist()


@each("how", ["network", "schema"])
@each("form, text, option", [("%Y-%m-%d", "4/13/2024", "--no-day-first (day_first=False)"),
                             ("%d.%m.%Y", "4/13/2024", "--no-day-first (day_first=False)"),
                             ("%m/%d/%Y", "13/4/2024", "--day-first (day_first=True)")])
def test_days_that_show_another_order_are_told(how, form, text, option, tmp_path):
    _, notes = learned(tmp_path, form, how)
    new = read(file(tmp_path, ["2024-04-01", "3/4/2024", text], "new.csv"))
    assert f"{text!r} is no date with the " in notes(new)[0]
    assert option in notes(new)[0]
    assert "(first in row 3)" in notes(new)[0]


def test_one_row_is_told_as_a_table_is(tmp_path):
    schema = Schema.learn({"d": [m.date() for m in MOMENTS]})
    assert schema.apply_row({"d": "3/4/2024"}).notes == schema.apply([{"d": "3/4/2024"}]).notes
    assert len(schema.apply_row({"d": "3/4/2024"}).notes) == 1
    assert not schema.apply_row({"d": "2024-04-03"}).notes


@each("text", ["0001-01-01 00:00+05:00", "9999-12-31 23:00-05:00", "9999-12-31 24:00"])
def test_moments_beyond_the_years_of_the_calendar(text):
    """In UTC they are in the year 0, or 10000: of one row that was a ValueError of datetime."""
    schema = Schema.learn({"d": [m.date() for m in MOMENTS]})
    found = schema.apply({"d": [text]})
    assert not found.notes
    assert np.isfinite(found.numbers).all()
    assert schema.apply_row({"d": text}).numbers.tobytes() == found.numbers.tobytes()
