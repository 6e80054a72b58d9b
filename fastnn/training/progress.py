"""How far a fit is, on standard error: a bar by tqdm where that is installed, else a plain line."""

import sys
import time

from fastnn.core.imports import imported
from fastnn.core.notices import shown
from fastnn.training.epochs import Hook

__all__ = ["DELAY", "LOG_INTERVAL", "ProgressLine", "is_watched", "progress_hook"]

DELAY = 2.0  # seconds before a line shows by itself: most fits are over by then
INTERVAL = 0.1  # between two of its states; each takes some 0.1 ms
LOG_INTERVAL = 10.0  # between two lines where there is no terminal


def is_notebook(stream):
    """Return whether a stream is that of a notebook's cell."""
    return type(stream).__module__.startswith("ipykernel.")


def is_watched(stream):
    """Return whether somebody looks at a stream while it is written: a terminal or a notebook."""
    if stream is None:  # Windows without a console
        return False
    if is_notebook(stream):
        return True
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no file, or a closed one
        return False


def progress_hook(progress):
    """Return the hook that shows a fit; None where nothing is to be shown.

    Parameters
    ----------
    progress : bool or None
        None: by itself, see `MLP.fit`.
    """
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"progress={shown(progress)} must be True, False or None")
    stream = sys.stderr
    if progress is False or stream is None or progress is None and not is_watched(stream):
        return None
    return ProgressLine(stream, 0.0 if progress else DELAY)


class ProgressLine(Hook):
    """Shows epochs, losses and times.

    It can never end a fit: a stream that cannot be written to is left alone from then on.

    Parameters
    ----------
    stream : text stream
    delay : float
        Seconds before it shows.
    """

    def __init__(self, stream, delay):
        self.stream, self.delay = stream, delay
        self.writer, self.start, self.next, self.first = None, 0.0, 0.0, 0

    @property
    def quiet(self):
        """Whether it need not be told of each epoch: it is not, where it shows by itself."""
        return self.delay > 0

    def on_fit_begin(self, state):
        """Take the time."""
        self.start = time.monotonic()
        self.next = self.start + self.delay
        self.first = state.epoch + 1

    def on_epoch_end(self, state):
        """Show the epoch where it is time for that."""
        now = time.monotonic()
        if now < self.next or self.stream is None:
            return
        self.show(state, now)

    def on_fit_end(self, state):
        """Show the last epoch, where something has been shown, and end the line."""
        if self.writer is not None and self.stream is not None:
            self.show(state, time.monotonic(), last=True)

    def show(self, state, now, last=False):
        """Show an epoch."""
        try:
            if self.writer is None:
                self.writer = _writer(self.stream, state, self.first, now - self.start)
            done = state.epoch + 1
            if state.reason in ("interrupted", "failed"):
                done = min(done, len(state.history.loss))
            self.writer.show(done, _values(state.history), now - self.start, last)
            self.next = time.monotonic() + self.writer.interval
        except (AttributeError, OSError, ValueError):
            # no stream, a closed one, a terminal that is gone, an odd encoding
            self.stream = None


def _values(history):
    """Return the last values of all curves as text."""
    parts = []
    for name in history.names:
        if history[name]:
            parts.append(f"{name} {history[name][-1]:.4g}")
    return ", ".join(parts)


def _writer(stream, state, first, seconds):
    """Return what writes to a stream."""
    if not is_watched(stream):
        return _Log(stream, state.epochs, first)
    try:
        return _Bar(stream, state.epochs, first, seconds)
    except ImportError:
        return _Line(stream, state.epochs, first)


def _clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Line:
    """One line that is written over and over."""

    interval = INTERVAL

    def __init__(self, stream, epochs, first):
        self.stream, self.epochs, self.first, self.width = stream, epochs, first, 0

    def text(self, done, values, seconds):
        """Return the line."""
        left = ""
        if self.first < done < self.epochs:
            rest = seconds / (done - self.first) * (self.epochs - done)
            left = f", {_clock(rest)} left"
        comma = ", " if values else ""
        return f"fit: {done}/{self.epochs} epochs{comma}{values}, {_clock(seconds)}{left}"

    def show(self, done, values, seconds, last):
        """Write it."""
        text = self.text(done, values, seconds)
        self.stream.write("\r" + text.ljust(self.width) + ("\n" if last else ""))
        self.stream.flush()
        self.width = len(text)


class _Log(_Line):
    """A line of its own now and then, for files."""

    interval = LOG_INTERVAL

    def show(self, done, values, seconds, last):
        """Write it."""
        self.stream.write(self.text(done, values, seconds) + "\n")
        self.stream.flush()


class _Bar:
    """A bar of tqdm's, without its thread that watches over bars."""

    interval = INTERVAL

    def __init__(self, stream, epochs, first, seconds):
        kind = _bar_class(is_notebook(stream))
        self.bar = kind(total=epochs, initial=first, desc="fit", unit="epoch", file=stream,
                        mininterval=0, miniters=1)
        self.bar.start_t -= seconds  # from the start of the fit, for rates and what is left

    def show(self, done, values, seconds, last):
        """Move it."""
        self.bar.set_postfix_str(values, refresh=False)
        self.bar.n = done
        self.bar.refresh()
        if last:
            self.bar.close()


def _bar_class(notebook):
    """Return tqdm's bar for a terminal, or for a notebook where its widgets are there."""
    base = imported("tqdm").tqdm
    if notebook:
        try:
            imported("ipywidgets")
            base = imported("tqdm.notebook").tqdm_notebook
        except ImportError:
            pass

    class Bar(base):
        monitor_interval = 0  # no thread

    return Bar
