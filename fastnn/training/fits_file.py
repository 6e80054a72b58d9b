"""Checkpoints of `fit_many`: one file for several fits, each of which has a section of it.

A file (files/container.py) holds the arrays of section i with "i." before their names, and in its
settings, below "fits",

========  =====================================================================================
about     what decides the fits beside what is said of each; empty for `fit_many`
seed      of the fit that chose the networks, where the user gave none; else None
common    what decides the result of each fit (see checkpoint.py), the part in which they agree
networks  for each the rest of that, and the other settings of a checkpoint. One that has not
          begun has its first weights.
========  =====================================================================================
"""

import json
import threading
import time

import numpy as np

from fastnn.core import validation
from fastnn.files import container
from fastnn.training.checkpoint import ROWS, START, Checkpoint, Progress
from fastnn.training.fit_file import FILE_BYTES, Compared, checked_path, rows_digest

__all__ = ["FitsFile", "opened"]

MAX_NETWORKS = 500  # whose settings a header has room for


class FitsFile(Compared):
    """The file of several fits.

    The threads that train give it where their networks stand; one of them writes.

    Parameters
    ----------
    path : str or path
    seconds : float
        Time between two writes at least. Each network says twice as often where it stands.
    about : dict or None, default=None
        What decides the fits beside what is said of each: plain values.
    seed : int or None, default=None
        That the fit begins with, where there is no file.

    Attributes
    ----------
    seed : int or None
        That of the file, where there is one.

    Raises
    ------
    ModelFormatError
        When the file is no such checkpoint, or belongs to another fit.
    """

    def __init__(self, path, seconds, about=None, seed=None):
        self.path = checked_path(path)
        self.seconds = seconds
        self.about = json.loads(container.canonical(about or {}))
        self.seed, self.sections, self.needs = seed, [], set()
        self.writing, self.written, self.changed = threading.Lock(), time.monotonic(), False
        self.common = self.hashed = None
        if self.path.exists():
            found = container.read_settings(self.path, self._checked, "checkpoint")["fits"]
            self.seed = found["seed"]

    def open(self, fits):
        """Make a section for each fit, and let it go on from there.

        Parameters
        ----------
        fits : list of Fit
        """
        if len(fits) > MAX_NETWORKS:
            raise ValueError(f"checkpoint must be None with {len(fits)} networks: a file has room "
                             f"for {MAX_NETWORKS}; several calls, each with a file of its own, do")
        self.hashed = {}
        for i, fit in enumerate(fits):
            self.sections.append(Section(self, i, fit))
            self.needs.update(fit.net.spec.needs)
        self.hashed = None  # and the arrays with them
        descriptions = [section.fit for section in self.sections]
        self.common = {key: value for key, value in descriptions[0].items()
                       if all(key in own and own[key] == value for own in descriptions)}
        if self.path.exists():
            self._read()
        for fit, section in zip(fits, self.sections, strict=True):
            fit.checkpoint = section

    def digest(self, *arrays):
        """Return the `rows_digest` of arrays, which many networks share."""
        key = tuple(map(id, arrays))
        if key not in self.hashed:
            self.hashed[key] = rows_digest(*arrays), arrays
        return self.hashed[key][0]

    # ---- reading ----

    def _checked(self, settings):
        """Return what belongs to the fits; raise unless the settings are those of these fits."""
        if "fits" not in settings:
            raise container.ModelFormatError(
                "is the checkpoint of one network, not of several: choose another file"
                if "progress" in settings else "is a model, not a checkpoint: choose another file")
        found = settings["fits"]
        if found.keys() != {"about", "seed", "common", "networks"}:
            raise ValueError(f"fits holds {sorted(found)}")
        if not all(isinstance(found[name], dict) for name in ("about", "common")):
            raise ValueError("about and common must be dictionaries")
        if found["seed"] is not None:
            validation.check_count("seed", found["seed"], minimum=0)
        for key, was, now in self.differences(found["about"], self.about):
            self.refuse_other(key, was, now)
        return settings

    def _read(self):
        arrays, settings, _ = container.read(self.path, self._expected, FILE_BYTES, "checkpoint")
        found = settings["fits"]
        for i, (section, saved) in enumerate(zip(self.sections, found["networks"], strict=True)):
            own = {name: np.array(arrays[f"{i}.{name}"])  # a mapped file cannot be replaced
                   for name in section._expected(self._whole(found, saved))}
            section.go_on_from(own, self._whole(found, saved))

    def _expected(self, settings):
        """Return the arrays of a checkpoint with these settings."""
        found = self._checked(settings)["fits"]
        if not isinstance(found["networks"], list):
            raise ValueError("networks must be a list")
        if len(found["networks"]) != len(self.sections):
            raise container.ModelFormatError(
                f"is the checkpoint of another fit: it has {len(found['networks'])} networks, this "
                f"one {len(self.sections)}. Delete the file to start anew")
        arrays = {}
        for i, (section, saved) in enumerate(zip(self.sections, found["networks"], strict=True)):
            for name, kind in section._expected(self._whole(found, saved)).items():
                arrays[f"{i}.{name}"] = kind
        return arrays

    @staticmethod
    def _whole(found, saved):
        """Return the settings of a section as a file of its own would have them."""
        return {**saved, "fit": {**found["common"], **saved["fit"]}}

    # ---- writing ----

    def give(self):
        """Write, where that is due and no other thread does."""
        self.changed = True
        if time.monotonic() - self.written < self.seconds or not self.writing.acquire(False):
            return
        try:
            self._write()
        finally:
            self.writing.release()

    def finish(self):
        """Write what has been done since the last time; no thread trains any more."""
        if self.changed:
            self._write()

    def _write(self):
        self.changed, arrays, networks = False, {}, []
        for i, section in enumerate(self.sections):
            own, settings = section.saved  # of one moment
            for name, array in own.items():
                arrays[f"{i}.{name}"] = array
            rest = {key: value for key, value in settings["fit"].items() if key not in self.common}
            networks.append({**settings, "fit": rest})
        container.write(self.path, arrays, {"fits": {
            "about": self.about, "seed": self.seed, "common": self.common,
            "networks": networks}}, needs=sorted(self.needs), max_bytes=FILE_BYTES)
        self.written = time.monotonic()


class Section(Checkpoint):
    """What the file holds of one fit; for this fit it is its checkpoint.

    Parameters
    ----------
    file : FitsFile
    number : int
    fit : Fit
    """

    digests = (*Checkpoint.digests, *ROWS)

    def __init__(self, file, number, fit):
        self.file, self.number = file, number
        net = fit.net
        super().__init__(file.path, file.seconds / 2, fit.description(file.digest),
                         **fit.checkpoint_settings())
        progress = Progress(net._seed, net._epochs_done, None).plain()
        self.saved = {"parameters": net._layout.copy(net.parameters)}, {
            **self.settings_of(), "progress": progress}

    is_there = False  # something to go on from

    def _checked(self, path):
        return path  # by the file

    def go_on_from(self, arrays, settings):
        """Take what the file holds; raise where its numbers cannot be those of a fit."""
        self.saved, self.is_there = (arrays, settings), True
        self.load()

    def read(self, history):
        """Return the `Progress` of the section; see `Checkpoint.read`."""
        arrays, settings = self.saved
        if not self.is_there or settings["progress"]["epochs"]:
            return super().read(history)
        self.start = self.fit[START] = settings["fit"][START]
        return Progress(**settings["progress"], parameters=np.array(arrays["parameters"]))

    def _read_file(self):
        return self.saved

    def _expected(self, settings):
        found = super()._expected(settings)
        if settings["progress"]["epochs"] == 0:
            return {"parameters": found["parameters"]}
        return found

    def _check_control(self, control, epochs):
        return super()._check_control(control, epochs) if epochs else {}

    def refuse_other(self, key, was, now, remedy="Delete", of=""):
        """Raise: the file is that of another fit."""
        super().refuse_other(key, was, now, remedy, f"{of}networks[{self.number}]: ")

    def replace(self, arrays, settings):
        """Give the file where the fit stands."""
        own = {}
        for name, array in arrays.items():
            own[name] = np.array(array)  # the fit goes on while another thread writes
        self.saved, self.written = (own, settings), time.monotonic()
        self.file.give()


def opened(checkpoint, seconds, fits):
    """Return the `FitsFile` of some fits, each of which goes on from its section.

    Parameters
    ----------
    checkpoint : str, path or FitsFile
    seconds : float
    fits : list of Fit
    """
    if not isinstance(checkpoint, FitsFile):
        checkpoint = FitsFile(checkpoint, seconds)
    checkpoint.open(fits)
    return checkpoint
