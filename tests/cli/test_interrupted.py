"""Training from the command line that is interrupted: what is kept, and how it goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli import network
from fastnn.estimators import rules

pd = pytest.importorskip("pandas")

ROOT = Path(fastnn.__file__).parents[1]
TRAIN = ("train", "table.csv", "-t", "z", "--epochs", "12", "--no-early-stopping")


@pytest.fixture
def run(run, monkeypatch):
    """The same, in a folder with table.csv."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400))
    pd.DataFrame({"x": x, "y": y, "z": np.sin(x) + y}).to_csv("table.csv", index=False)
    monkeypatch.setattr(network, "CHECKPOINT_SECONDS", 0)
    return run


def interrupt(patch, epoch, error=KeyboardInterrupt):
    """Ctrl-C, or the end of the process, comes in this epoch."""
    record = rules.Record.on_epoch_end

    def on_epoch_end(self, state):
        if state.epoch == epoch:
            raise error
        record(self, state)

    patch.setattr(rules.Record, "on_epoch_end", on_epoch_end)


def weights(path="model.safetensors"):
    return fastnn.load(path).net.parameters.tobytes()


class Terminal:
    """A standard input that is a terminal, with what is typed there."""

    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        return True

    def readline(self):
        if isinstance(self.answer, type):
            raise self.answer
        return self.answer


def test_what_has_been_learned_is_saved(run, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        code, out, err = run(*TRAIN)
    assert code == 130
    assert "interrupted after 5 epochs: the model is saved as it is" in err
    assert "trained 5 epochs" in out and "saved model.safetensors" in out and "network " in out
    assert "with --force" not in out
    assert run("predict", "model.safetensors", "table.csv")[0] == 0


def test_nothing_has_been_learned(run, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 0)
        code, _, err = run(*TRAIN)
    assert code == 130 and err.strip().endswith("interrupted")
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize("answer, kept", [
    ("\n", True), ("y\n", True), ("Yes\n", True), ("n\n", False), ("what?\n", False), ("", False),
    (KeyboardInterrupt, False)])
def test_a_terminal_is_asked_once(answer, kept, run, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        patch.setattr(sys, "stdin", Terminal(answer))
        patch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        code, _, err = run(*TRAIN)
    assert code == 130
    assert err.count("interrupted after 5 epochs. Save the model as it is? [Y/n]") == 1
    assert Path("model.safetensors").exists() == kept


def test_training_goes_on(run, monkeypatch):
    """After Ctrl-C, after an end without a word, and for more epochs: the same model."""
    assert run(*TRAIN, "-o", "wanted.safetensors")[0] == 0
    more = (*TRAIN, "--checkpoint", "table.checkpoint")
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        code, out, _ = run(*more)
        assert code == 130 and "goes on from" not in out
        assert "to go on with the training: the same command again, with --force" in out
    assert weights() != weights("wanted.safetensors")
    with monkeypatch.context() as patch:
        interrupt(patch, 8, SystemExit)
        with pytest.raises(SystemExit):
            run(*more, "--force")
    code, out, _ = run(*more, "--force")
    assert code == 0 and "goes on from table.checkpoint" in out and "trained 12 epochs" in out
    assert weights() == weights("wanted.safetensors")
    run(*TRAIN, "--epochs", 15, "--force", "-o", "wanted.safetensors")
    run(*more, "--epochs", 15, "--force")
    assert weights() == weights("wanted.safetensors")


def test_files_of_other_trainings_are_refused(run):
    more = (*TRAIN, "--checkpoint", "table.checkpoint", "--force")
    assert run(*more)[0] == 0
    for change, message in ((("--alpha", 0.1), "alpha was 0.0001, is 0.1 now"),
                            (("--drop", "x"), "sizes was"),
                            (("--epochs", 3), "max_iter=3")):
        code, _, err = run(*more, *change)
        assert code == 2 and re.search(message, err), err
    for place in ("table.csv", "model.safetensors"):
        code, _, err = run(*more, "--checkpoint", place)
        assert code == 2 and "choose another file" in err


def ended(command, end):
    """Run a training, and end it by a signal some epochs after the first; its status and output."""
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    if end is not None:
        while (line := process.stderr.readline()) and not line.startswith("epoch"):
            pass
        time.sleep(0.1)
        process.send_signal(end)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_killed_and_interrupted_as_a_user_does(run):
    """kill -9, then Ctrl-C, then to the end; beside a training without a break."""
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from fastnn.cli import main, network; network.CHECKPOINT_SECONDS = 0; "
            "sys.exit(main())")
    train = (*TRAIN, "--epochs", "400", "--learning-rate", "1e-5")  # which goes on for all of them
    command = [sys.executable, "-c", code, *train, "--checkpoint", "c", "--force"]
    wanted = {signal.SIGKILL: -9, signal.SIGINT: 130, None: 0}
    for end in wanted:
        kept = Path("c").read_bytes() if Path("c").exists() else None
        status, tries = 0, 0
        while status == 0 and tries < (1 if end is None else 10):  # it ended before: once more
            tries += 1
            Path("c").unlink(missing_ok=True)
            if kept is not None:
                Path("c").write_bytes(kept)
            status, out, err = ended(command, end)
        assert status == wanted[end], err
    code, whole, _ = run(*train, "-o", "wanted.safetensors")
    assert code == 0 and "goes on from c" in out
    epochs = [re.search(r"trained \d+ epochs", text)[0] for text in (out, whole)]
    assert epochs[0] == epochs[1]
    assert weights() == weights("wanted.safetensors")
