"""How far the networks of a fit are, on standard error."""

import sys
import threading
import time

from fastnn.training.epochs import Callback
from fastnn.training.progress import DELAY, LOG_INTERVAL, is_watched

__all__ = ["progress_callbacks"]

INTERVAL = 0.5  # seconds between two lines in a terminal


def progress_callbacks(progress, count):
    """Return a callback for each of so many networks; empty where nothing is to be shown.

    Parameters
    ----------
    progress : bool or None
        None: where somebody looks at standard error, once the fit has taken two seconds.
    count : int
    """
    stream = sys.stderr
    if progress is False or stream is None or progress is None and not is_watched(stream):
        return []
    line = _Line(stream, count, 0.0 if progress else DELAY)
    return [_Watch(line) for _ in range(count)]


class _Line:
    """What all networks write to; they are trained in several threads."""

    def __init__(self, stream, count, delay):
        self.stream, self.count, self.lock = stream, count, threading.Lock()
        self.watched = is_watched(stream)
        self.start = time.monotonic()
        self.next, self.epochs, self.done, self.losses = self.start + delay, 0, 0, {}
        self.shown = False

    def tell(self, network, loss=None, done=False):
        with self.lock:
            self.epochs += not done
            self.done += done
            if loss is not None:
                self.losses[network] = loss
            now = time.monotonic()
            last = self.done == self.count and (self.shown or now >= self.next)
            if self.stream is None or now < self.next and not last:
                return
            self.shown = True
            self.next = now + (INTERVAL if self.watched else LOG_INTERVAL)
            self.write(now, last)

    def write(self, now, last):
        mean = sum(self.losses.values()) / max(len(self.losses), 1)
        text = (f"fastnn: {self.done} of {self.count} networks, {self.epochs} epochs, "
                f"{now - self.start:.0f} s, held-out loss {mean:.4g}")
        try:
            self.stream.write(f"\r{text}\033[K" + "\n" * last if self.watched else text + "\n")
            self.stream.flush()
        except (AttributeError, OSError, ValueError):  # a terminal that is gone ends no fit
            self.stream = None


class _Watch(Callback):
    def __init__(self, line):
        self.line = line

    def on_epoch_end(self, state):
        """Tell of the epoch."""
        losses = state.history.val_loss
        self.line.tell(id(self), losses[-1] if losses else None)

    def on_fit_end(self, state):
        """Tell that the network is done."""
        self.line.tell(id(self), done=True)
