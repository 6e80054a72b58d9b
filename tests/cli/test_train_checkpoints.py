"""``train --checkpoint`` with a preset: the same command goes on, to the same bytes."""

import numpy as np
import pytest
from ending_fits import ends

from fastnn.cli import main
from fastnn.tabular import recipe

SMALL = recipe.Recipe(networks=2, folds=2, hidden=(6, 5), bins=4, steps=120, patience=3, average=5)
TRAIN = ("train", "data.csv", "-t", "y", "--preset", "fast", "--threads", "1")


@pytest.fixture
def run(run, monkeypatch):
    """The same, with small networks, in a folder with data.csv."""
    monkeypatch.setattr(recipe, "PRESETS", {"fast": (SMALL, SMALL)})
    monkeypatch.setattr(recipe, "EPOCH", 10)
    monkeypatch.setattr("fastnn.cli.preset.CHECKPOINT_SECONDS", 0)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    lines = [f"{x:.4f},{'up' if z > 0 else 'down'},{x + z:.4f}" for x, z in zip(a, b, strict=True)]
    with open("data.csv", "w") as file:
        file.write("\n".join(["x,kind,y", *lines]) + "\n")
    return run


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function: Ctrl-C comes after the file was given the state of a network so often."""
    return ends(monkeypatch, KeyboardInterrupt)


def test_a_training_goes_on(run, interrupt, tmp_path):
    assert run(*TRAIN, "-o", "straight")[0] == 0
    for count in (2, 5):
        interrupt(count)
        code, out, err = run(*TRAIN, "-o", "model", "--checkpoint", "file")
        assert code == 130 and "to go on with the training: the same command again" in err
        assert ("goes on from file" in out) == (count == 5)
        assert not (tmp_path / "model").exists()
    interrupt(0)
    code, out, err = run(*TRAIN, "-o", "model", "--checkpoint", "file")
    assert code == 0 and "goes on from file" in out
    assert (tmp_path / "model").read_bytes() == (tmp_path / "straight").read_bytes()


def test_other_settings_are_named(run):
    assert run(*TRAIN, "--checkpoint", "file")[0] == 0
    for more, message in (
            (("--seed", "1"), "random_state was 0, is 1 now"),
            (("--metric", "mae"), "eval_metric was None, is 'mae' now"),
            (("--drop", "kind"), "X, y or sample_weight was another one"),
            (("--loss", "huber"), "is the checkpoint of another fit")):
        code, _, err = run(*TRAIN, "--force", "--checkpoint", "file", *more)
        assert code == 2 and message in err and "Delete the file to start anew" in err


@pytest.mark.parametrize("more, message", [
    (("--checkpoint", "data.csv"), "--checkpoint 'data.csv' is the input"),
    (("--checkpoint", "model.safetensors"), "is --output; choose another file"),
    (("--checkpoint", "other.csv", "--test", "other.csv"), "is --test; choose another file"),
    (("--checkpoint", "page.html", "--report", "page.html"), "is --report; choose another file"),
    (("--checkpoint", "file", "--cv", "3"), "--cv and --checkpoint are both given"),
])
def test_places_that_are_taken(run, more, message):
    code, _, err = run(*TRAIN, *more)
    assert code == 2 and message in err


def test_it_is_of_both_kinds_of_models(run, capsys):
    """By itself it does not ask for a plain network."""
    assert main(["train", "data.csv", "-t", "y", "--hidden", "5", "--epochs", "2", "-o", "plain",
                 "--checkpoint", "plain.checkpoint"]) == 0
    assert "network: " in capsys.readouterr().out
    code, _, err = run(*TRAIN, "--checkpoint", "plain.checkpoint")
    assert code == 2 and "is the checkpoint of one network, not of several" in err
