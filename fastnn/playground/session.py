"""One network of the playground in training: what a page sees and can ask for.

The epochs are those of the compiled loop, some hundred in a call; between two calls a frame is made
of what the network is then.
"""

import json
import math
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from fastnn.core.threads import single_threaded_blas
from fastnn.mlp import MLP
from fastnn.playground import code
from fastnn.playground.data import RANGE, features, make_points
from fastnn.playground.settings import FEATURES, OPTIMIZERS, SCHEDULES, SettingsError
from fastnn.training import optimizers, schedules

__all__ = ["Session"]

OUTPUT_GRID, UNIT_GRID = 100, 32  # points along each side of the maps
CHUNK_SECONDS = 0.004  # of epochs in one compiled call, roughly
MAX_CHUNK = 1000
LIVE = ("rate", "l1", "l2", "optimizer", "schedule", "horizon", "batch")  # weights stay


class Session:
    """A network, its data and where its training stands. Any number of threads may call it.

    Parameters
    ----------
    settings : Settings
    table : Table or None, default=None
        The CSV file.
    """

    def __init__(self, settings, table=None):
        self.lock = threading.Lock()
        self.table = None
        self.restart(settings, table)

    # ---- settings ----

    @contextmanager
    def _changing(self):
        """Hold the lock; whatever is raised meanwhile leaves all as it was."""
        with self.lock:
            before = dict(vars(self))
            try:
                yield
            except BaseException:
                vars(self).update(before)  # at no time without the lock, which others look for
                raise

    def change(self, settings):
        """Go on with other settings: with the weights, where what is learned and the layers stay;
        else from the start."""
        with self._changing():
            settings = self._whole(settings, self.table)
            before = self.settings
            same = all(getattr(before, name) == value for name, value in settings.plain().items()
                       if name not in LIVE)
            if not same or self.diverged:
                self._restart(settings, self.table)
            elif settings != before:
                plain = settings.plain()
                rate_alone = all(before.plain()[name] == plain[name] for name in LIVE[1:])
                self.settings = settings
                self.exact = self.exact and self.epoch == 0
                self._set_optimizer(keep=rate_alone)

    def restart(self, settings=None, table=None):
        """Begin anew, with other settings or another table where they are given."""
        with self._changing():
            table = self.table if table is None else table
            settings = self.settings if settings is None else settings
            self._restart(self._whole(settings, table), table)

    @staticmethod
    def _whole(settings, table):
        """Return settings with the names of columns and the loss that goes with the data."""
        if settings.data != "csv":
            return settings
        if table is None:
            raise SettingsError("data=csv: no CSV file is loaded; choose one")
        x, y, target = table.chosen(settings)
        settings = replace(settings, x=x, y=y, target=target)
        return settings.with_loss(table.points(settings).classifies)

    def _restart(self, settings, table):
        points = make_points(settings, table)
        X = features(points.x, settings.features)
        self.settings, self.table, self.points = settings, table, points
        n = points.n_train
        self.train, self.test = (X[:n], points.y[:n]), (X[n:], points.y[n:])
        self.net = net = MLP(
            (X.shape[1], *settings.layers, 1), activation=settings.activation,
            output=settings.output(points.classifies), dropout=settings.dropout if settings.layers
            else 0.0, random_state=settings.seed, n_threads=1)
        self.output_rows = features(_mesh(OUTPUT_GRID), settings.features)
        self.unit_rows = features(_mesh(UNIT_GRID), settings.features)
        self.epoch, self.diverged, self.exact, self.per_second = 0, False, True, 2000.0
        info = net._bound(settings.loss)
        self.data = net._check_data(*self.train, None, info)
        self._measures = [net._trainer(net._check_data(*part, None, info), info, 0.0,
                                       net.parameters) for part in (self.train, self.test)]
        self._info = info
        self._set_optimizer()

    def _set_optimizer(self, keep=False):
        """Make the optimizer of the settings, and a trainer that goes on from the weights;
        ``keep``: with the old one, as the rate is given with each call."""
        settings = self.settings
        rate = settings.rate
        schedule, others = SCHEDULES[settings.schedule]
        if schedule:
            rate = getattr(schedules, schedule)(rate, **others(settings.horizon))
        name, others = OPTIMIZERS[settings.optimizer]
        self._rate = rate
        if keep:
            return
        net = self.net
        self._before = self.epoch
        self._trainer = net._trainer(
            self.data, self._info, settings.l2, net.parameters,
            optimizer=getattr(optimizers, name)(rate, **others),
            batch_size=min(settings.batch, len(self.train[0])), seed=net._key(0, self.epoch),
            **({"l1": settings.l1} if settings.l1 else {}))
        self._kept = np.empty_like(net.parameters)

    # ---- training ----

    @property
    def steps_per_epoch(self):
        """Steps of the optimizer in an epoch."""
        return -(-len(self.train[0]) // min(self.settings.batch, len(self.train[0])))

    def advance(self, epochs=None, seconds=0.0):
        """Train for so many epochs, or for so many seconds.

        Returns
        -------
        int
            Epochs that were done: fewer where the loss left the finite numbers.
        """
        with self.lock:
            first, start = self.epoch, time.perf_counter()
            end = start + seconds
            with single_threaded_blas():
                while not self.diverged:
                    chunk = min(max(int(self.per_second * CHUNK_SECONDS), 1), MAX_CHUNK)
                    if epochs is not None:
                        chunk = min(chunk, first + epochs - self.epoch)
                    begun = time.perf_counter()
                    if chunk <= 0 or epochs is None and begun >= end:
                        break
                    self._run(chunk)
                    self.per_second = chunk / max(time.perf_counter() - begun, 1e-7)
            return self.epoch - first

    def _run(self, n_epochs):
        trainer, losses = self._trainer, np.empty(n_epochs)
        trainer.run_epochs(losses, self._rates(n_epochs), self._kept,
                           (self.net._key(1), self.epoch))
        done, parameters = trainer.epochs_run, trainer.published
        if not math.isfinite(losses[done - 1]) or not np.isfinite(parameters).all():
            self.diverged, done = True, done - 1
            parameters = self._kept if done else self.net.parameters
        self.epoch += done
        self.net._publish_copy(parameters, self.epoch)

    def _rates(self, n_epochs):
        """Return the learning rates of the next epochs, (n,) or (n, steps)."""
        if isinstance(self._rate, float):
            return np.full(n_epochs, self._rate)
        steps, horizon = self.steps_per_epoch, self.settings.horizon
        left = min(max(horizon - self.epoch, 0), n_epochs)
        found = np.empty((n_epochs, steps))
        if left:
            found[:left] = self._rate.rates(self.epoch * steps, left * steps, horizon * steps,
                                            steps).reshape(left, steps)
        if left < n_epochs:  # after its end a schedule stays where it is
            found[left:] = self._rate.rates(horizon * steps - 1, 1, horizon * steps, steps)[0]
        return found

    # ---- what a page sees ----

    def setup(self):
        """Return what stays the same while the network learns, as JSON has it."""
        with self.lock:
            points, settings = self.points, self.settings
            return {
                "settings": settings.plain(), "query": settings.query(),
                "sizes": self.net.sizes, "n_parameters": self.net.n_parameters,
                "points": np.round(points.x, 3).tolist(), "targets": np.round(
                    points.y, 3).tolist(), "n_train": points.n_train,
                "classifies": points.classifies, "names": points.names, "classes": points.classes,
                "left_out": points.left_out, "ranges": points.ranges, "range": RANGE,
                "table": None if self.table is None else self.table.describe(),
                "steps_per_epoch": self.steps_per_epoch,
                "code": self._code(), "exact": self.exact,
            }

    def script(self):
        """Return the same network as a script, with as many epochs as have been done."""
        with self.lock:
            return self._code()

    def _code(self):
        settings, separator = self.settings, getattr(self.table, "separator", ",")
        epochs = settings.horizon if settings.schedule != "constant" else self.epoch or 1000
        text = code.script(settings, self.points, epochs, separator)
        if not self.exact:
            text = ("# Settings were changed while the network learned: this trains with those of "
                    "now from the start.\n") + text
        return text

    def feature_maps(self):
        """Return the maps of all inputs that there are, uint8 (7, UNIT_GRID, UNIT_GRID)."""
        return _bytes(features(_mesh(UNIT_GRID), FEATURES).T)

    def frame(self):
        """Return where the training stands: a line of JSON, weights and maps, as bytes.

        Four bytes with the length of the JSON, the JSON with blanks up to a multiple of four, the
        weights as float32 (W0, b0, W1, b1, ...), the map of the output (100 by 100) and one of each
        hidden unit (32 by 32) as bytes: 0 for -1, 255 for 1.
        """
        with self.lock:
            net = self.net
            losses, right = [], []
            for trainer, (X, y) in zip(self._measures, (self.train, self.test), strict=True):
                trainer.parameters[:] = net.parameters
                losses.append(trainer.loss_and_grad())
                right.append(self._accuracy(net.predict(X)[:, 0], y))
            head = {"epoch": self.epoch, "step": self.epoch * self.steps_per_epoch,
                    "loss": [_plain(loss) for loss in losses], "accuracy": right,
                    "diverged": self.diverged, "rate": self._present_rate()}
            text = json.dumps(head).encode()
            text += b" " * (-len(text) % 4)
            weights = np.concatenate([array.ravel() for array in net.get_weights()])
            output = net.predict(self.output_rows)[:, 0]
            if net.output == "sigmoid":
                output = 2 * output - 1
            parts = [struct.pack("<I", len(text)), text, weights.astype("<f4").tobytes(),
                     _bytes(output).tobytes()]
            if self.settings.layers:
                for layer in net.activations_of(self.unit_rows)[:-1]:
                    parts.append(_bytes(layer.T).tobytes())
            return b"".join(parts)

    def _accuracy(self, output, y):
        if not self.points.classifies:
            return None
        return float(((output > (0.5 if self.net.output == "sigmoid" else 0)) == y).mean())

    def _present_rate(self):
        return float(self._rates(1).ravel()[-1])


def _plain(value):
    return value if math.isfinite(value) else None


def _mesh(n):
    """Return the points of a grid, rows from the top, float64 (n * n, 2)."""
    axis = (np.arange(n) + 0.5) / n * 2 * RANGE - RANGE
    return np.stack(np.meshgrid(axis, axis[::-1]), axis=-1).reshape(-1, 2)


def _bytes(values):
    """Return values as bytes, 0 for -1 and 255 for 1; rows with larger ones are scaled."""
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(values).max(axis=-1, keepdims=True)
        if values.ndim == 2:
            values = values / np.maximum(largest, 1)
        scaled = np.clip(np.nan_to_num(values), -1, 1) * 127.5 + 127.5
    return np.rint(scaled).astype(np.uint8)
