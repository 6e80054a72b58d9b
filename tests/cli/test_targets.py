"""Targets and words for "missing" through `train`, `--test` and `evaluate`: the same for all."""

from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli.common import CommandError

pytest.importorskip("sklearn")

X = np.random.default_rng(0).normal(size=300).round(3)
SIGN = (X > 0).astype(int)
QUICK = ("--preset", "fast", "-f", "-t", "y")


def write(name, target, header="x,y"):
    Path(name).write_text("\n".join([header, *(f"{x},{y}" for x, y in zip(
        X, target, strict=True))]) + "\n")


def train(run, *arguments, code=0):
    found, out, err = run("train", "t.csv", *QUICK, *arguments)
    assert found == code, err
    return out, err


def rows_of(run, *arguments):
    """How many rows `evaluate` has scored."""
    code, out, err = run("evaluate", "model.safetensors", "t.csv", *arguments)
    assert code == 0, err
    return int(out.split("scores on ")[1].split()[0])


def test_a_word_for_missing_is_given_twice(run):
    write("t.csv", SIGN)
    train(run, "--na", "gone,gone", "--na", "gone")
    assert fastnn.load("model.safetensors").schema.na == ("gone",)


@pytest.mark.parametrize("words", [",".join(map(str, range(5000, 7000))), 2000 * "a"])
def test_words_for_which_a_file_has_no_room(run, words):
    write("t.csv", SIGN)
    _, err = train(run, "--na", words, code=2)
    assert "a model file has room for 1,024 of 1,000" in err
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize("arguments", [
    ("--test", "b.csv", "-o", "b.csv"), ("--test", "b.html", "--report", "b.html")])
def test_the_table_of_a_test_is_not_replaced(run, arguments):
    write("t.csv", SIGN)
    write(arguments[1], SIGN)
    before = Path(arguments[1]).read_bytes()
    _, err = train(run, *arguments, code=2)
    assert f"{arguments[1]!r} is the input" in err
    assert Path(arguments[1]).read_bytes() == before


def test_recalls_of_classes_whose_names_begin_alike(run):
    kinds = ["Obesity_Type_I", "Obesity_Type_II", "Overweight_Level_I", "Overweight_Level_II"]
    Path("t.csv").write_text("x,y\n" + "".join(
        f"{i % 4 + x / 99},{kinds[i % 4]}\n" for i, x in enumerate(X)))
    out, _ = train(run)
    assert "model                      1.0000    1.0000" in out
    for kind in kinds:
        (row,) = [line for line in out.splitlines() if line.split()[:1] == [kind]]
        assert row.split()[1:3] == ["15", "1.000"]


@pytest.mark.parametrize("numbers", [("0", "1"), ("False", "True")])
def test_a_word_for_missing_is_kept_as_a_class(run, numbers):
    target = [("None" if i % 3 == 2 else numbers[s]) for i, s in enumerate(SIGN)]
    write("t.csv", target)
    write("b.csv", target)
    out, _ = train(run, "--keep-na-classes", "--test", "b.csv")
    assert "into 3 classes" in out and "scores on 300 rows of b.csv" in out
    assert fastnn.load("model.safetensors").classes_.tolist() == sorted([*numbers, "None"])
    assert rows_of(run) == 300


def test_words_for_missing_hold_for_classes(run):
    write("t.csv", ["unknown" if i % 7 == 0 else "ab"[s] for i, s in enumerate(SIGN)])
    train(run, "--na", "unknown")
    assert rows_of(run) == rows_of(run, "--na", "unknown") == 257
    train(run)
    assert rows_of(run) == 300 and rows_of(run, "--na", "unknown") == 257


def test_words_for_missing_hold_for_numbers(run):
    write("t.csv", [-999 if i % 7 == 0 else x for i, x in enumerate(X)])
    train(run, "--na=-999")
    assert rows_of(run) == rows_of(run, "--na=-999") == 257


@pytest.mark.parametrize("mark", ["unknown", "-", "n.a.", ".", "missing"])
def test_marks_among_whole_numbers_are_missing_everywhere(run, mark):
    target = [mark if i % 10 == 0 else s + 1 for i, s in enumerate(SIGN)]
    write("t.csv", target)
    write("b.csv", target)
    out, _ = train(run, "--test", "b.csv")
    assert "into 2 classes: 1, 2" in out and "scores on 270 rows of b.csv" in out
    assert rows_of(run) == 270


@pytest.mark.parametrize("task", ["auto", "classification"])
def test_whole_numbers_of_many_digits_are_classes(run, task):
    known = [100200300400500600, 100200300400999999]
    write("t.csv", [known[s] for s in SIGN])
    train(run, "--task", task)
    assert fastnn.load("model.safetensors").classes_.tolist() == known


def test_errors_of_the_test_say_so_and_that_the_model_is_saved(run):
    write("t.csv", SIGN)
    Path("b.csv").write_text("x,y\n" + "abc,1\nabc,0\n" * 10)
    _, err = train(run, "--test", "b.csv", code=2)
    assert "error: --test 'b.csv': column 'x': 20 values not understood" in err
    assert "model.safetensors is saved" in err
    assert fastnn.load("model.safetensors").classes_.tolist() == [0, 1]


def test_errors_of_a_plain_network_on_the_test_say_so(run):
    write("t.csv", SIGN)
    Path("b.csv").write_text("x,y\n" + "abc,1\nabc,0\n" * 10)
    code, _, err = run("train", "t.csv", "-f", "-t", "y", "--hidden", 2, "--epochs", 1,
                       "--test", "b.csv")
    assert code == 2 and "error: --test 'b.csv': column 'x', row 1: 'abc' is not a number" in err
    assert "model.safetensors is saved" in err


def test_errors_of_held_out_rows_are_none_of_a_test(run, monkeypatch):
    def fails(*_):
        raise CommandError("odd rows")

    write("t.csv", SIGN)
    monkeypatch.setattr("fastnn.cli.preset.outputs_of", fails)
    _, err = train(run, code=2)
    assert "error: odd rows" in err and "--test" not in err


def test_rows_that_weigh_nothing_leave_scores_of_the_others(run):
    Path("t.csv").write_text("x,y,w\n" + "".join(
        f"{x},{s},{i % 3}\n" for i, (x, s) in enumerate(zip(X, SIGN, strict=True))))
    out, _ = train(run, "--weight", "w", "--test-fraction", 0)
    assert "rows, each by networks that have not learned from it" in out
