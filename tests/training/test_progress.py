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
progress.DELAY = float(sys.argv[2])
progress._Line.interval = progress._Bar.interval = 0.0
import threading
X = np.zeros((60, 3), "f")
net = fastnn.MLP((3, 4, 1), random_state=0)

def stop(epoch, net, history):
    if sys.argv[3] == "ends" and epoch == 4:
        raise fastnn.StopFit
    if sys.argv[3] == "fails" and epoch == 4:
        raise KeyboardInterrupt

try:
    net.fit(X, X[:, 0], epochs=9, callback=stop,
            **({} if sys.argv[4] == "None" else {"progress": sys.argv[4] == "True"}))
except KeyboardInterrupt:
    pass
assert threading.active_count() == 1
print("done", file=sys.stderr)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}


def in_terminal(*arguments):
    """What a program writes to a terminal, its last state of each line."""
    pty = pytest.importorskip("pty")
    import fcntl
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, arguments)],
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
    states = [line.split("\r") for line in text.removesuffix("\n").split("\n")]
    return [line[-1].rstrip() for line in states], max(map(len, states))


@pytest.mark.parametrize("kind", [
    pytest.param("tqdm", marks=pytest.mark.slow), "plain"])
def test_in_a_terminal(kind):
    if kind == "tqdm":
        pytest.importorskip("tqdm")
    (line, done), n_states = in_terminal(kind, 0, "whole", "None")
    assert "9/9" in line and "loss" in line and "fit" in line and done == "done"
    assert n_states > 5, "it moves"
    if kind == "plain":
        assert re.fullmatch(r"fit: 9/9 epochs, loss [\d.e+-]+, \d:\d\d", line)
    (line, _), _ = in_terminal(kind, 0, "ends", "None")
    assert "5/9" in line


def test_a_short_fit_shows_nothing():
    assert in_terminal("plain", 100, "whole", "None")[0] == ["done"]
    assert in_terminal("plain", 0, "whole", "False")[0] == ["done"]


def test_the_line_ends_where_the_fit_is_interrupted():
    (line, done), _ = in_terminal("plain", 0, "fails", "None")
    assert "5/9" in line and done == "done"


def test_in_a_log_there_is_nothing(tmp_path):
    """By itself; where it is asked for, whole lines."""
    log = tmp_path / "log"
    for asked, wanted in (("None", "done\n"), ("True", None)):
        with open(log, "w") as file:
            subprocess.run([sys.executable, "-c", PROGRAM, "tqdm", "0", "whole", asked],
                           stderr=file, check=True, env=ENVIRONMENT)
        text = log.read_text()
        assert "\r" not in text
        if wanted is not None:
            assert text == wanted
        else:
            assert re.fullmatch(r"(fit: \d/9 epochs, loss .*\n)+done\n", text)
            assert "fit: 9/9 epochs" in text


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
    program = PROGRAM.replace("sys.argv[", "['', 'plain', '0', 'whole', 'None'][").replace(
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
