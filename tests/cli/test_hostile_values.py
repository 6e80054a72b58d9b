"""Weights and targets beyond what their squares and sums can hold, and weights that are 0."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from each import each

import fastnn
from fastnn.cli import preset
from fastnn.tabular.model import TabularModel

pytest.importorskip("sklearn")

X = np.random.default_rng(0).normal(size=60).round(3)


def write(weight=None, y=2 * X):
    names = ["x", "y"] if weight is None else ["x", "w", "y"]
    columns = [X, y] if weight is None else [X, weight, y]
    rows = "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))
    with open("t.csv", "w") as file:
        file.write(",".join(names) + "\n" + rows)


@pytest.mark.filterwarnings("error")
@each("factor", [2.0**-1060, 2.0**-120, 2.0**120, 2.0**1020])
@each("how", [["--preset", "fast", "--threads", "1"], ["--hidden", "2", "--epochs", "2"]])
def test_weights_times_a_number_are_the_same_weights(run, how, factor):
    """They were "NaN in row 0", or 0 everywhere, in the words of a part the user knows not of."""
    weight = np.arange(60) % 4 + 1
    write(weight)
    expected = run("train", "t.csv", "-t", "y", "-f", "-o", "a.model", "--weight", "w", *how)
    assert expected[0] == 0
    said = run("evaluate", "a.model", "t.csv", "--weight", "w")
    write(weight * factor)
    # of a power of two: moderate weights are divided by one of their own
    assert run("train", "t.csv", "-t", "y", "-f", "-o", "b.model", "--weight", "w", *how)[0] == 0
    assert run("evaluate", "a.model", "t.csv", "--weight", "w") == said
    new = [{"x": 0.5}, {"x": -1.5}]
    for model in ("a.model", "b.model"):
        assert np.isfinite(fastnn.load(model).predict(new)).all()


def test_held_out_rows_that_weigh_nothing(run):
    """The model was lost to a ZeroDivisionError after the training."""
    weight = np.zeros(60)
    weight[:3] = 1
    write(weight)
    said = []
    for seed in range(6):
        code, out, err = run("train", "t.csv", "-t", "y", "--weight", "w", "--epochs", "2", "-f",
                             "--seed", seed)
        assert code == 0, err
        said.append("all of these rows weigh 0: scores without weights" in out)
    assert any(said)
    assert not all(said)


@pytest.mark.filterwarnings("error")
@each("factor", [1e-250, 1e250])
def test_targets_whose_squares_overflow(run, factor):
    write(y=2 * X * factor)
    code, out, err = run("train", "t.csv", "-t", "y", "--preset", "fast", "-f")
    assert code == 0, err
    score, constant = (line.split() for line in out.split("RMSE\n")[1].splitlines()[:2])
    assert float(score[1]) > 0.5
    assert 0 < float(score[-1]) < float(constant[-1]) < np.inf
    assert "no better" not in err


def test_names_of_files_that_are_too_long(run):
    write()
    code, _, err = run("train", "t.csv", "-t", "y", "-o", "m" * 300)
    assert (code, "OSError" in err, "too long" in err) == (2, False, True)


@each("how", [["--preset", "fast", "--threads", "1"], ["--hidden", "2", "--epochs", "2"]])
def test_words_for_missing_hold_in_a_prediction(run, how):
    """Models of a preset did not look at --na."""
    write()
    assert run("train", "t.csv", "-t", "y", "-f", *how)[0] == 0
    answers = []
    for text, more in (("", []), ("gone", ["--na", "gone"]), ("inf", ["--na", "inf,-inf"])):
        Path("new.csv").write_text(f"x\n0.5\n{text},\n")
        code, out, err = run("predict", "model.safetensors", "new.csv", *more)
        assert (code, err) == (0, "")
        answers.append(out)
    assert answers[0] == answers[1] == answers[2]


def test_a_model_is_saved_before_anything_is_told_of_it(run, monkeypatch):
    """A fault in the scores or importances, a pipe that closes, and Ctrl-C lost it."""
    def fails(*_, **__):
        raise errors.pop()

    errors = [RuntimeError("odd"), KeyboardInterrupt()]
    write()
    monkeypatch.setattr(TabularModel, "importances", fails)
    for code, said in (130, "note: model.safetensors is saved"), (1, "RuntimeError: odd"):
        found, _, err = run("train", "t.csv", "-t", "y", "-f", "--preset", "fast")
        assert (found, said in err) == (code, True), err
        assert np.isfinite(fastnn.load("model.safetensors").predict([{"x": 1.0}])).all()
        Path("model.safetensors").unlink()


def test_importances_of_very_many_columns_are_left_to_the_user(run, monkeypatch):
    """5,000 columns took minutes, the square of their number."""
    monkeypatch.setattr(preset, "MOST_CELLS", 10)
    write()
    code, out, err = run("train", "t.csv", "-t", "y", "-f", "--preset", "fast")
    assert (code, "importances" in out) == (0, False)
    assert "note: importances of 1 column take minutes, they are not measured" in err


def test_reports_that_exist(run):
    write()
    Path("r.html").write_text("")
    code, _, err = run("train", "t.csv", "-t", "y", "--report", "r.html")
    assert (code, "--report names another file" in err) == (2, True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_full_disks_are_told_in_words(run):
    write()
    assert run("train", "t.csv", "-t", "y", "-q")[0] == 0
    with open("/dev/full", "w") as full:
        env = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}
        done = subprocess.run([sys.executable, "-m", "fastnn", "info", "model.safetensors"],
                              stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert done.returncode == 1
    assert "error: No space left on device\n" in done.stderr
    assert "OSError" not in done.stderr


def test_long_names_leave_room_in_reports(run):
    """They pushed the other columns out of the page."""
    name, label = "n" * 300, "c" * 200
    rows = "".join(f"{x},{label if x > 0 else 'no'}\n" for x in X)
    Path("t.csv").write_text(f"{name},y\n{rows}")
    assert run("train", "t.csv", "-t", "y", "--preset", "fast", "--report", "r.html")[0] == 0
    page = Path("r.html").read_text()
    assert "n" * 61 not in page
    assert "c" * 31 not in page


@each("name", ["index", "level_0", "Row_ID", "id"])
def test_an_index_of_shuffled_rows_is_told(run, name):
    """Where the rows were sorted by the target it gave that away, without a word."""
    numbers = np.random.default_rng(1).permutation(60)
    rows = "".join(f"{i},{X[i]},{2 * i}\n" for i in numbers)
    Path("t.csv").write_text(f"{name},x,y\n{rows}")
    code, _, err = run("train", "t.csv", "-t", "y", "-f", "--epochs", "2")
    assert (code, f"column {name!r} holds a different whole number in each row" in err) == (0, True)
    Path("t.csv").write_text(f"{name},x,y\n" + "".join(f"{i % 9},{X[i]},{i}\n" for i in range(60)))
    _, _, err = run("train", "t.csv", "-t", "y", "-f", "--epochs", "2")
    assert "different whole number" not in err


@each("one, other", [("yes", "YES"), ("a b", "a  b"), ("no", "no\u200b"), ("\u00e9", "e\u0301"),
                     ("\u2764", "\u2764\ufe0f")])
def test_classes_that_look_alike_are_told(run, one, other):
    rows = "".join(f"{x},{'u' if x > 0 else (one, other)[i % 2]}\n" for i, x in enumerate(X))
    Path("t.csv").write_text(f"x,y\n{rows}", encoding="utf-8")
    code, _, err = run("train", "t.csv", "-t", "y", "-f", "--epochs", "2")
    assert (code, "of the target 'y' look alike; if they are one" in err) == (0, True), err
    assert ascii(other) in err


def closed(*numbers, arguments):
    """Run a command as a service starts it that closes these of its streams."""
    return subprocess.run([sys.executable, "-m", "fastnn", *arguments], capture_output=True,
                          text=True, preexec_fn=lambda: [os.close(number) for number in numbers],
                          env={**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])})


@pytest.mark.skipif(sys.platform == "win32", reason="of processes of POSIX")
def test_streams_that_the_caller_has_closed(run):
    """Each was an AttributeError of None; a training told of it after it had saved the model."""
    write()
    train = ["train", "t.csv", "-t", "y", "-f", "-o", "m.model", "--hidden", "2", "--epochs", "2"]
    for numbers in ((0,), (1,), (2,), (0, 1, 2)):
        ended = closed(*numbers, arguments=train)
        assert ended.returncode == 0, (numbers, ended.stderr)
        assert (ended.stdout == "") == (1 in numbers)
        os.replace("m.model", "old.model")
    os.replace("old.model", "m.model")
    ended = closed(1, arguments=["predict", "m.model", "t.csv"])
    assert ended.returncode == 1
    assert "error: standard output is closed: --output says where to write" in ended.stderr
    assert closed(1, 2, arguments=["predict", "m.model", "t.csv", "-o", "p.csv"]).returncode == 0
    assert len(Path("p.csv").read_text().splitlines()) == 61
    ended = closed(0, arguments=["predict", "m.model", "-"])
    assert ended.returncode == 2
    assert "error: standard input is closed: give the name of a file" in ended.stderr
    assert "AttributeError" not in closed(2, arguments=["nonsense"]).stdout
