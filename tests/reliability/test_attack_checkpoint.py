"""A checkpoint that is a sparse file of a terabyte: refused before anything of it is read."""

import json
import os

import numpy as np
import pytest
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
