"""Weights and targets beyond what their squares and sums can hold, and weights that are 0."""

import numpy as np
import pytest
from each import each

import fastnn

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
