"""Arrays of every form in memory: the values decide, to the bit, and nothing is written to them.

Hypothesis draws dtype, byte order, order, strides, alignment, flags and the kind of memory; sizes
are those at which tiles, blocks and lanes end. The values are eighths, exact in every dtype, so a
plain copy must give the same bytes, and the slow twin nearly the same values.
"""

import mmap
import os
import tempfile
import warnings

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.core.arrays import require

SETTINGS = settings(deadline=None, derandomize=True, database=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SIZES = sorted({*(2**k + d for k in range(10) for d in (-1, 0, 1)), 5, 95, 96, 97, 479, 480, 481})
ROWS = st.sampled_from([size for size in SIZES if size <= 513])
SOME_ROWS = st.sampled_from([size for size in SIZES if 1 <= size <= 130])
WIDTHS = st.sampled_from([size for size in SIZES if 1 <= size <= 130])
OUTPUTS = st.sampled_from([1, 2, 3, 15, 16, 17, 65])
FLOATS = ["f2", "f4", "f8", "longdouble"]
KINDS = ["plain", "view", "view", "memmap", "mapped", "broadcast", "field"]
DTYPES = [*FLOATS, "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "bool"]


def whole(dtype):
    return np.dtype(dtype).kind in "iub"


@st.composite
def arrays(draw, shape, values=None, dtypes=DTYPES):
    """An array of that shape; its values are multiples of 1/8, or those given, or whole."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    if values is None:
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        values = rng.integers(0, 2, shape) if whole(dtype) else rng.integers(-16, 17, shape) / 8
    if draw(st.integers(0, 3)) == 0:
        dtype = dtype.newbyteorder()
    kind = draw(st.sampled_from(KINDS))
    if kind == "broadcast" and len(shape) == 2 and shape[0] > 0:
        array = np.broadcast_to(np.asarray(values[:1], dtype), shape)
    elif kind == "memmap" and np.prod(shape) > 0:
        with tempfile.NamedTemporaryFile(delete=os.name == "nt") as file:
            offset = draw(st.sampled_from([0, 1, 8]))
            array = np.memmap(file.name, dtype, "w+", offset, shape, draw(st.sampled_from("CF")))
            array[...] = values
            if draw(st.booleans()):
                array = np.memmap(file.name, dtype, "r", offset, shape,
                                  "F" if array.flags.f_contiguous else "C")
            if os.name != "nt":
                os.unlink(file.name)
                file.delete = False
        return array
    elif kind == "mapped":
        memory = mmap.mmap(-1, max(1, int(np.prod(shape)) * dtype.itemsize))
        array = np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)
        array[...] = values
    elif kind == "field":
        records = np.zeros(shape, np.dtype([("pad", "i1"), ("value", dtype), ("end", "i2")]))
        array = records["value"]
        array[...] = values
    elif kind == "view":
        steps = [draw(st.sampled_from([1, 1, 2, 3])) for _ in shape]
        signs = [draw(st.sampled_from([1, 1, -1])) for _ in shape]
        around = tuple(size * step for size, step in zip(shape, steps, strict=True))
        offset = draw(st.sampled_from([0, 1, 2, 4, 7, 8, 64]))
        raw = np.full(offset + int(np.prod(around)) * dtype.itemsize, 0xFF, np.uint8)
        base = raw[offset:].view(dtype).reshape(around, order=draw(st.sampled_from("CF")))
        array = base[tuple(slice(None, None, step) for step in steps)]
        array = array[tuple(slice(None, None, sign) for sign in signs)]
        array[...] = values
    else:
        array = np.array(values, dtype, order=draw(st.sampled_from("CF")))
    if array.flags.writeable and draw(st.booleans()):
        array.flags.writeable = False
    return array


def plain(array, dtype):
    return np.array(array.tolist(), dtype).reshape(array.shape)


class Untouched:
    """The bytes of arrays before; the same after, or it raises."""

    def __init__(self, *arrays):
        self.arrays = arrays
        self.before = [array.tobytes() for array in arrays]

    def check(self):
        assert [array.tobytes() for array in self.arrays] == self.before


@settings(SETTINGS, max_examples=120)
@given(st.data())
def test_predict(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    rows, n_in, n_out = data.draw(ROWS), data.draw(WIDTHS), data.draw(OUTPUTS)
    X = data.draw(arrays((rows, n_in)))
    net = fastnn.MLP((n_in, data.draw(WIDTHS), n_out), "tanh",
                     data.draw(st.sampled_from(["softmax", "identity"])), dtype=dtype,
                     random_state=0, n_threads=data.draw(st.sampled_from([1, 2])))
    untouched = Untouched(X)
    x = plain(X, dtype)
    wanted = net.predict(x)
    assert wanted.shape == (rows, n_out) and wanted.dtype == dtype
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(wanted, reference.Twin.of(net).predict(x), rtol=rtol, atol=rtol)
    assert net.predict(X).tobytes() == wanted.tobytes()
    if rows > 0:
        model = fastnn.Predictor(net)
        assert model.predict(X).tobytes() == wanted.tobytes()
        model = fastnn.Predictor(net, scaler=fastnn.Scaler(np.full(n_in, 0.5), np.full(n_in, 2.0)))
        # exact: eighths less one half, halved
        assert model.predict(X).tobytes() == net.predict((x - x.dtype.type(0.5)) / 2).tobytes()
    untouched.check()


@settings(SETTINGS, max_examples=80)
@given(st.data())
def test_out(data):
    """Whatever array is given as ``out`` takes the result, or is refused and stays as it is."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    rows, n_out = data.draw(SOME_ROWS), data.draw(OUTPUTS)
    net = fastnn.MLP((5, 4, n_out), dtype=dtype, random_state=0, n_threads=1)
    X = np.random.default_rng(0).normal(size=(rows, 5)).astype(dtype)
    out = data.draw(arrays((rows, n_out), dtypes=["f4", "f8", "f4", "f8", "f2", "i4"]))
    fits = (out.dtype == dtype and out.flags.carray and type(out) is np.ndarray)
    untouched = Untouched(out)
    if fits:
        assert net.predict(X, out=out) is out
        assert out.tobytes() == net.predict(X).tobytes()
    else:
        with pytest.raises(ValueError, match="out is"):
            net.predict(X, out=out)
        untouched.check()


def odd(name, shape, dtype):
    """An array with one oddity alone: all else is as the compiled loops want it."""
    dtype = np.dtype(dtype)
    if name == "strided":
        return np.zeros((shape[0], 2 * shape[1]), dtype)[:, ::2]
    if name == "rows apart":
        return np.zeros((shape[0], shape[1] + 1), dtype)[:, 1:]
    if name == "reversed":
        return np.zeros(shape, dtype)[::-1]
    if name == "unaligned":
        raw = np.zeros(int(np.prod(shape)) * dtype.itemsize + 1, np.uint8)
        return raw[1:].view(dtype).reshape(shape)
    return np.zeros(shape, dtype.newbyteorder() if name == "swapped" else dtype,
                    order="F" if name == "column-major" else "C")


ODD = ["strided", "rows apart", "reversed", "unaligned", "swapped", "column-major"]


@pytest.mark.parametrize("name", [*ODD, "read-only", "other dtype", "subclass"])
def test_out_of_one_oddity(name, dtype):
    net = fastnn.MLP((5, 4, 3), dtype=dtype, random_state=0, n_threads=1)
    other = "float32" if dtype == "float64" else "float64"
    out = odd(name, (6, 3), other if name == "other dtype" else dtype)
    if name == "subclass":
        out = out.view(np.memmap)
    out.flags.writeable = name != "read-only"
    with pytest.raises(ValueError, match="out is"):
        net.predict(np.ones((6, 5), dtype), out=out)
    assert not out.any()


@pytest.mark.parametrize("name", [*ODD, "none"])
def test_what_compiled_loops_read(name, dtype):
    """Unaligned rows, too, are copied first, though x86 would read them."""
    net = fastnn.MLP((5, 4, 3), dtype=dtype, random_state=0, n_threads=1)
    X = odd(name, (6, 5), dtype)
    X.flags.writeable = False
    assert net._snapshot.accepts(X) == (name == "none")
    assert not net._snapshot.accepts(X, writes=True)
    assert fastnn.core._arrays.is_ready(X, 5) == (name == "none")
    assert not fastnn.core._arrays.is_ready(X, 4)
    found = require("X", X, dtype)
    assert (found is X) == (name == "none")
    assert found.flags.c_contiguous and found.flags.aligned and found.dtype.isnative


@settings(SETTINGS, max_examples=40)
@given(st.data())
def test_out_that_overlaps(data):
    """X itself, or memory that begins some rows away."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    rows, n = data.draw(SOME_ROWS), data.draw(st.sampled_from([1, 3, 16, 17]))
    net = fastnn.MLP((n, 7, n), dtype=dtype, random_state=0, n_threads=data.draw(
        st.sampled_from([1, 2])))
    shift = data.draw(st.integers(0, min(rows, 5)))
    memory = np.random.default_rng(0).normal(size=(rows + 5, n)).astype(dtype)
    X, out = memory[:rows], memory[shift:shift + rows]
    if data.draw(st.booleans()):
        X, out = out, X
    wanted = net.predict(X.copy())
    assert net.predict(X, out=out).tobytes() == wanted.tobytes()


@settings(SETTINGS, max_examples=50)
@given(st.data())
def test_fit(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    rows, n_in, n_out = data.draw(SOME_ROWS), data.draw(WIDTHS), data.draw(OUTPUTS)
    labelled = n_out > 1 and data.draw(st.booleans())
    X = data.draw(arrays((rows, n_in)))
    if labelled:
        labels = np.random.default_rng(0).integers(0, min(n_out, 2), rows)
        y = data.draw(arrays((rows,), values=labels))
    else:
        y = data.draw(arrays((rows, n_out)))
    weights = data.draw(st.none() | arrays((rows,), values=np.ones(rows)))
    nets = [fastnn.MLP((n_in, 7, n_out), "tanh", "softmax" if labelled else "identity",
                       dtype=dtype, random_state=0, n_threads=data.draw(st.sampled_from([1, 2])))
            for _ in range(2)]
    untouched = Untouched(X, y, *([] if weights is None else [weights]))
    more = {"epochs": 2, "batch_size": data.draw(SOME_ROWS)}
    loss = nets[0].fit(X, y, sample_weight=weights, **more).loss
    target = plain(y, np.int64 if labelled else dtype)
    wanted = nets[1].fit(plain(X, dtype), target, **more,
                         sample_weight=None if weights is None else np.ones(rows)).loss
    assert loss == wanted
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    value, grad = nets[0].loss_and_grad(X, y, sample_weight=weights)
    name = "cross_entropy" if labelled else "squared_error"
    twin_value, gradients = reference.Twin.of(nets[0]).loss_and_grad(plain(X, float), target, name)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(value, twin_value, rtol=rtol, atol=rtol / 100)
    found = nets[0]._layout.views(grad)
    for mine, its in zip(found, gradients, strict=True):
        np.testing.assert_allclose(mine, its, rtol=rtol, atol=rtol)
    untouched.check()


@settings(SETTINGS, max_examples=40)
@given(st.data())
def test_no_rows(data):
    """Nothing to predict is an empty answer; nothing to learn from is an error."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    n_in = data.draw(WIDTHS)
    X = data.draw(arrays((0, n_in)))
    net = fastnn.MLP((n_in, 3), dtype=dtype, random_state=0)
    assert net.predict(X).shape == (0, 3)
    with pytest.raises(ValueError, match="0 rows"):
        net.fit(X, np.empty((0, 3)))


@settings(SETTINGS, max_examples=40)
@given(st.data())
def test_estimators(data):
    rows = data.draw(st.sampled_from([n for n in SIZES if 3 <= n <= 130]))
    n_in = data.draw(st.sampled_from([1, 3, 16, 17, 65]))
    X = data.draw(arrays((rows, n_in)))
    y = data.draw(arrays((rows,), values=np.arange(rows) % 2))
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    untouched = Untouched(X, y)
    kind = data.draw(st.sampled_from([fastnn.MLPClassifier, fastnn.MLPRegressor]))
    solver = data.draw(st.sampled_from(["adam", "sgd", "lbfgs"]))
    models = [kind(hidden_layer_sizes=(6,), solver=solver, max_iter=3, random_state=0)
              for _ in range(2)]
    target = plain(y, np.int64 if kind is fastnn.MLPClassifier else dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models[0].fit(X, y)
        models[1].fit(plain(X, dtype), target)
    assert models[0].coefs_[0].dtype == dtype
    for mine, its in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert mine.tobytes() == its.tobytes()
    found, wanted = models[0].predict(X), models[1].predict(plain(X, dtype))
    np.testing.assert_array_equal(found.astype(float), wanted.astype(float))
    untouched.check()
