"""Progress of several networks: a line that changes in a terminal, lines now and then in a log."""

import io
from types import SimpleNamespace

import pytest

from fastnn.cli import preset
from fastnn.tabular import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def told(monkeypatch, clock, stream, wanted, epochs=40, seconds=1.0):
    """What three networks write whose epochs take so long."""
    monkeypatch.setattr("sys.stderr", stream)
    callbacks = progress.progress_callbacks(wanted, 3)
    for callback in callbacks:
        for epoch in range(epochs):
            clock.seconds += seconds
            losses = SimpleNamespace(val_loss=[1 / (epoch + 1)])
            callback.on_epoch_end(SimpleNamespace(history=losses))
        callback.on_fit_end(None)
    return stream.getvalue()


def test_a_log_has_a_line_every_ten_seconds_at_most(monkeypatch, clock):
    text = told(monkeypatch, clock, io.StringIO(), True)
    lines = text.splitlines()
    assert "\r" not in text and "\033" not in text and text.endswith("\n")
    assert 10 <= len(lines) <= 14  # of two minutes
    assert lines[0].startswith("fastnn: 0 of 3 networks, 1 epochs, 1 s, held-out loss 1")
    assert lines[-1].startswith("fastnn: 3 of 3 networks, 120 epochs, 120 s, held-out loss 0.025")


def test_a_terminal_has_one_line_that_changes(monkeypatch, clock):
    text = told(monkeypatch, clock, Terminal(), None)
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") > 100


@pytest.mark.parametrize(("stream", "wanted"), [
    (io.StringIO(), None), (io.StringIO(), False), (Terminal(), False), (None, True)])
def test_nothing_where_nobody_looks(monkeypatch, stream, wanted):
    monkeypatch.setattr("sys.stderr", stream)
    assert progress.progress_callbacks(wanted, 3) == []


def test_short_fits_in_a_terminal_show_nothing(monkeypatch, clock):
    assert told(monkeypatch, clock, Terminal(), None, epochs=3, seconds=0.1) == ""


@pytest.mark.parametrize(("stream", "quiet", "wanted"), [
    (io.StringIO(), False, True), (Terminal(), False, None), (io.StringIO(), True, False)])
def test_train_of_the_command_line_tells_a_log(monkeypatch, stream, quiet, wanted):
    """Where there is no terminal, its fits have lines without being asked."""
    found = {}

    def fit_model(*arguments, **settings):
        found.update(settings)
        return SimpleNamespace()

    monkeypatch.setattr(preset, "fit_model", fit_model)
    monkeypatch.setattr("sys.stderr", stream)
    options = SimpleNamespace(class_weight=None, preset="fast", categorical_features=None,
                              metric=None, seed=0, threads=1, time_limit=None)
    goal = SimpleNamespace(classes=["a", "b"], names=["y"])
    rows = SimpleNamespace(table={}, truth=[0, 1], weight=None)
    preset.learn(options, goal, rows, quiet)
    assert found["progress"] is wanted
