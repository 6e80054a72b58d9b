"""Progress: in a terminal, in a notebook, and nothing in a log."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from small_nets import data, make
from timing import seconds

import fastnn
from fastnn.training import progress

PROGRAM = """
import sys
import numpy as np
if sys.argv[1] == "plain":
    sys.modules["tqdm"] = None  # as if it were not installed
import fastnn
from fastnn.training import progress
progress._Line.interval = progress._Bar.interval = 0.0
import threading
X = np.zeros((60, 3), "f")


def fit(delay, end, asked):
    progress.DELAY = delay

    def stop(epoch, net, history):
        if end == "ends" and epoch == 4:
            raise fastnn.StopFit
        if end == "fails" and epoch == 4:
            raise KeyboardInterrupt

    net = fastnn.MLP((3, 4, 1), random_state=0)
    try:
        net.fit(X, X[:, 0], epochs=9, callback=stop, **asked)
    except KeyboardInterrupt:
        pass
    assert threading.active_count() == 1
    print("done", file=sys.stderr)


for arguments in eval(sys.argv[2]):
    fit(*arguments)
"""
WHOLE, ENDS, FAILS = (0, "whole", {}), (0, "ends", {}), (0, "fails", {})
SHORT, UNASKED, ASKED = (100, "whole", {}), (0, "whole", {"progress": False}), (
    0, "whole", {"progress": True})
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}


def in_terminal(kind, *fits):
    """What a program of some fits writes to a terminal: all states of each line."""
    pty = pytest.importorskip("pty")
    import fcntl
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, kind, repr(fits)],
                               stderr=slave, stdout=slave, stdin=slave, env=ENVIRONMENT)
    os.close(slave)
    found = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux: the other end is closed
            part = b""
        if not part:
            break
        found += part
    os.close(master)
    assert process.wait() == 0, found.decode()
    text = found.decode().replace("\r\n", "\n")
    return [line.split("\r") for line in text.removesuffix("\n").split("\n")]


@pytest.mark.parametrize("kind", [
    pytest.param("tqdm", marks=pytest.mark.slow), "plain"])
def test_in_a_terminal(kind):
    if kind == "tqdm":
        pytest.importorskip("tqdm")
    # of a whole fit, one that is stopped, one that is interrupted; then two that show nothing
    states = in_terminal(kind, WHOLE, ENDS, FAILS, SHORT, UNASKED)
    lines = [line[-1].rstrip() for line in states]
    assert lines[1::2][:3] == ["done"] * 3 and lines[6:] == ["done"] * 2
    whole, ends, fails = lines[:6:2]
    assert "9/9" in whole and "loss" in whole and "fit" in whole
    assert len(states[0]) > 5, "it moves"
    if kind == "plain":
        assert re.fullmatch(r"fit: 9/9 epochs, loss [\d.e+-]+, \d:\d\d", whole)
    assert "5/9" in ends and "5/9" in fails
    assert states[1] == states[6] == states[7] == ["done"], "nothing was there before"


def test_in_a_log_there_is_nothing(tmp_path):
    """By itself; where it is asked for, whole lines."""
    log = tmp_path / "log"
    with open(log, "w") as file:
        subprocess.run([sys.executable, "-c", PROGRAM, "tqdm", repr([WHOLE, ASKED])],
                       stderr=file, check=True, env=ENVIRONMENT)
    text = log.read_text()
    assert "\r" not in text
    nothing, asked = text.split("done\n", 1)
    assert nothing == ""
    assert re.fullmatch(r"(fit: \d/9 epochs, loss .*\n)+done\n", asked)
    assert "fit: 9/9 epochs" in asked


class OutStream(io.StringIO):
    """As a cell of a notebook has it."""


OutStream.__module__ = "ipykernel.iostream"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, monkeypatch, **more):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    net = make()
    history = net.fit(*data(), epochs=4, **more)
    return net, history


def test_in_a_notebook(monkeypatch):
    stream = OutStream()
    shown(stream, monkeypatch, validation_data=data(20), metrics={"one": lambda y, output: 1})
    text = stream.getvalue()
    assert "4/4" in text and "val_loss" in text and "val_one 1" in text


@pytest.mark.slow
def test_in_a_real_notebook():
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    program = PROGRAM.replace("sys.argv[", f"['', 'plain', {repr([WHOLE])!r}][").replace(
        "assert threading.active_count() == 1", "")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(program)])
    client.NotebookClient(notebook, timeout=120).execute()
    text = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "fit: 9/9 epochs, loss" in text


def test_it_changes_nothing(monkeypatch):
    plain = make()
    wanted = plain.fit(*data(), epochs=4)
    net, history = shown(Terminal(), monkeypatch)
    assert net.parameters.tobytes() == plain.parameters.tobytes()
    assert history.loss == wanted.loss


class Broken(Terminal):
    def write(self, text):
        raise BrokenPipeError


class Closed(Terminal):
    def write(self, text):
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [None, Broken(), Closed(), object(), open(os.devnull)],
                         ids=["none", "broken", "closed", "object", "read-only"])
def test_a_stream_that_cannot_be_written_to_ends_no_fit(stream, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    for asked in (None, True):
        assert len(shown(stream, monkeypatch, progress=asked)[1].loss) == 4


def test_its_cost_is_below_one_percent(monkeypatch):
    """Of an epoch that shows nothing a look at the clock; of one that does, at most so much that
    ten in a second take 1 %."""
    made = progress.ProgressLine(Terminal(), 0.0)
    state = type("State", (), {"epoch": -1, "epochs": 10**6, "reason": None,
                               "history": fastnn.History()})()
    state.history.loss.append(1.0)
    made.on_fit_begin(state)
    state.epoch = 0
    made.on_epoch_end(state)  # imports tqdm
    def show():
        for _ in range(20):
            made.next = 0.0
            made.on_epoch_end(state)

    def look():
        made.next = float("inf")
        for _ in range(20):
            made.on_epoch_end(state)

    assert seconds(show) / 20 < 0.01 * progress.INTERVAL
    assert seconds(look) / 20 < 5e-6  # the smallest epochs take a millisecond
