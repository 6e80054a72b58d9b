"""Checkpoints that no fit has written: a sparse file of a terabyte, refused before anything of it
is read; states of callbacks."""

import json
import os

import numpy as np
import pytest
from each import each
from timing import seconds

import fastnn
from fastnn.files import container


def test_a_sparse_checkpoint_is_refused_at_once(tmp_path):
    """Its header is consistent; but this fit has fewer epochs."""
    path = tmp_path / "fit"
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 2, 64)

    def fit(epochs):
        net = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
        return net.fit(X, y, epochs=epochs, checkpoint=path)

    fit(3)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    settings = json.loads(header["__metadata__"]["fastnn"])
    epochs = 1 << 37
    settings["progress"]["epochs"] = epochs
    header["__metadata__"]["fastnn"] = container.canonical(settings)
    at = 8 * epochs
    for name in sorted(header.keys() - {"__metadata__"}):
        begin, end = header[name]["data_offsets"]
        header[name]["data_offsets"] = [at, at + end - begin]
        at += end - begin
    header["loss"] = {"dtype": "F64", "shape": [epochs], "data_offsets": [0, 8 * epochs]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    try:
        os.truncate(path, 8 + len(text) + at)
    except OSError:
        pytest.skip("no sparse files of a terabyte here")

    def refused():
        with pytest.raises(fastnn.ModelFormatError,
                           match=f"{epochs} epochs, this fit has epochs=5"):
            fit(5)

    assert seconds(refused, enough=1) < 1


X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
CALLBACKS = {
    "early": lambda tmp_path: fastnn.EarlyStopping(patience=3),
    "plateau": lambda tmp_path: fastnn.ReduceOnPlateau(patience=1),
    "path": lambda tmp_path: fastnn.RecordPath(),
    "snapshots": lambda tmp_path: fastnn.Snapshots(tmp_path / "snaps"),
}
ODD = [None, True, "x", -2, 0.5, [1, "x"], {"dict": []}]
STATES = [("early", name, value) for name in ("best", "best_epoch", "waited") for value in ODD] + [
    ("plateau", name, value) for name in ("best", "waited", "cooling") for value in ODD] + [
    ("path", "epochs", value) for value in (*ODD, [], [0], ["a", "b", "c", "d"])] + [
    ("snapshots", name, value) for name in ("best", "best_epoch") for value in ODD]


@each("name, key, value", [
    *(state for state in STATES if state[1:] not in [("best", -2), ("best", 0.5)]),
    *((name, None, None) for name in CALLBACKS), *((name, 7, None) for name in CALLBACKS)])
def test_states_of_callbacks_that_they_have_not_written(name, key, value, tmp_path):
    """They were errors of Python in the midst of the fit, or decided when it ended."""
    path = tmp_path / "fit"

    def fit(epochs):
        net = fastnn.MLP((3, 4, 1), random_state=0)
        return net.fit(X, X[:, :1], epochs=epochs, validation_data=(X, X[:, :1]), checkpoint=path,
                       callbacks=[CALLBACKS[name](tmp_path)])

    if path.exists():
        path.unlink()
    fit(3)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    settings = json.loads(header.pop("__metadata__")["fastnn"])
    kinds = {"F32": np.float32, "F64": np.float64}
    arrays = {key: np.frombuffer(data, kinds[one["dtype"]], int(np.prod(one["shape"])),
                                 8 + length + one["data_offsets"][0]).reshape(one["shape"])
              for key, one in header.items()}
    saved = settings["control"]["callbacks"][0]
    values = saved["values"]["dict"]
    if name == "path":  # as files of before have them
        del saved["arrays"]["epochs"]
        values.append(["epochs", arrays.pop("callbacks.0.epochs").astype(int).tolist()])
    if key is None:
        values.pop()
    elif key == 7:  # a name that is no text
        values[0][0] = key
    for pair in values:
        if pair[0] == key:
            pair[1] = value
    container.write(path, arrays, settings, needs=settings.pop("needs", ()))
    with pytest.raises(fastnn.ModelFormatError, match="the checkpoint holds a state of a callback"):
        fit(5)


def test_a_checkpoint_of_several_networks_that_is_no_dictionary(tmp_path):
    """AttributeError: 'str' object has no attribute 'keys'."""
    for fits in ("x", [], None, {}):
        container.write(tmp_path / "fits", {"a": np.zeros(1)}, {"fits": fits})
        with pytest.raises(fastnn.ModelFormatError, match="is not a checkpoint of fastnn"):
            fastnn.fit_many([fastnn.MLP((3, 1))], X, X[:, :1], epochs=1,
                            checkpoint=tmp_path / "fits")
