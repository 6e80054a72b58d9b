"""X that is mapped from a file, or large and of another dtype: converted batch by batch."""

import sys
import tracemalloc

import numpy as np
import pytest
from each import each
from planning import use_rules

import fastnn
from fastnn.core.arrays import is_mapped
from fastnn.core.rows import check_training_rows
from fastnn.training._data import NUMBERS

ROWS = 70
SIZES = {"feature-major": (7, 12, 3), "row-major": (300, 12, 3)}  # 300: more than one piece


def numbers(dtype, shape):
    """All that a dtype holds, within what float32 can: least and largest, subnormal, -0."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        X = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        X.flat[:3] = info.min, info.max, 1
        return X
    X = rng.normal(size=shape).astype(dtype)
    info = np.finfo(dtype)
    X.flat[:6] = -0.0, info.smallest_subnormal, info.smallest_subnormal * 37, -info.tiny, 1e-4, 9
    return X


def mapped(X, path, form="plain"):
    """The same numbers in a file."""
    def new(shape, dtype=X.dtype, **settings):
        return np.memmap(path, dtype, "w+", shape=shape, **settings)

    if form == "plain":
        map_ = new(X.shape)
    elif form == "columns first":
        map_ = new(X.shape, order="F")
    elif form == "swapped":
        map_ = new(X.shape, X.dtype.newbyteorder())
    elif form == "misaligned":
        map_ = new(X.shape, offset=1)
    elif form == "every other row":
        map_ = new((2 * len(X), X.shape[1]))[::2]
    elif form == "some columns":
        map_ = new((len(X), 3 * X.shape[1]))[:, 1::3]
    else:
        map_ = new(X.shape)[::-1]
    map_[:] = X
    assert is_mapped(map_)
    return map_


FORMS = ["plain", "columns first", "swapped", "misaligned", "every other row", "some columns",
         "reversed"]


def fit(X, y, layout, dtype="float32", n_threads=1, **settings):
    """A net after some epochs on X, small enough that no number overflows."""
    net = fastnn.MLP(SIZES[layout], "tanh", "softmax", dtype=dtype, random_state=0,
                     n_threads=n_threads)
    assert net.plan().layout == layout
    settings = {"epochs": 2, "batch_size": 16, "optimizer": fastnn.Adam(0.01), **settings}
    history = net.fit(X, y, **settings)
    return net.parameters.tobytes(), history.loss


def labels():
    return np.random.default_rng(1).integers(0, 3, ROWS)


@each("number", NUMBERS)
@each("layout", SIZES)
def test_every_type_of_number(number, layout, dtype, tmp_path):
    X = numbers(number, (ROWS, SIZES[layout][0]))
    map_ = mapped(X, tmp_path / "X")
    for shuffle in (True, False):
        assert (fit(map_, labels(), layout, dtype, shuffle=shuffle)
                == fit(X.astype(dtype), labels(), layout, dtype, shuffle=shuffle))


@each("form", FORMS)
@each("number", ["uint8", "int16", "float16", "float32", "float64"])
@each("layout", SIZES)
def test_every_way_to_lie(form, number, layout, tmp_path):
    X = numbers(number, (ROWS, SIZES[layout][0]))
    map_ = mapped(X, tmp_path / "X", form)
    assert fit(map_, labels(), layout) == fit(X.astype("float32"), labels(), layout)


@each("layout", SIZES)
def test_threads_change_nothing(layout, tmp_path, monkeypatch):
    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=0, shard_rows=1, block_rows=2)
    map_ = mapped(numbers("uint8", (ROWS, SIZES[layout][0])), tmp_path / "X")
    found = {fit(map_, labels(), layout, n_threads=n)[0] for n in (1, 2, 3, 8)}
    assert len(found) == 1


@each("layout", SIZES)
def test_loss_gradient_and_validation(layout, tmp_path):
    X = numbers("uint8", (ROWS, SIZES[layout][0]))
    found = []
    for data in (mapped(X, tmp_path / "X"), X):
        net = fastnn.MLP(SIZES[layout], "tanh", "softmax", random_state=0)
        loss, grad = net.loss_and_grad(data, labels())
        deltas = b"".join(delta.tobytes() for delta in net.deltas(data, labels()))
        history = net.fit(X, labels(), epochs=1, validation_data=(data, labels()))
        found.append((loss, grad.tobytes(), deltas, history.val_loss))
    assert found[0] == found[1]


def test_large_arrays_in_memory_are_not_copied(monkeypatch):
    X = numbers("uint8", (ROWS, 300))
    expected = fit(X, labels(), "row-major")
    assert check_training_rows("X", X, 300, np.dtype("float32")).dtype == "float32"
    monkeypatch.setattr("fastnn.core.rows.COPIED_BYTES", X.size)
    assert check_training_rows("X", X, 300, np.dtype("float32")) is X
    assert fit(X, labels(), "row-major") == expected
    columns_first = np.asfortranarray(X.astype("float32"))
    assert fit(columns_first, labels(), "row-major") == expected


@each("number", ["uint8", "float16", "float64", "float32"])
def test_no_copy_is_made(number, tmp_path):
    """Not of the file, nor of its numbers in the network's dtype: what is taken is a few batches,
    and the blocks in which floats are looked through for NaN."""
    X = np.memmap(tmp_path / "X", number, "w+", shape=(20_000, 784))
    X[::7] = 1
    y = np.zeros(len(X), np.int32)
    net = fastnn.MLP((784, 4, 2), output="softmax", random_state=0, n_threads=1)
    net.fit(X[:10], y[:10], epochs=1)
    tracemalloc.start()
    try:
        net.fit(X, y, epochs=1, batch_size=100)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2**23 < X.size / 1.8


@each("number", ["float16", "float32", "float64"])
@each("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_named(number, value, tmp_path):
    X = numbers(number, (ROWS, 7))
    X[41, 5] = value
    for form in FORMS:
        with pytest.raises(ValueError, match=r"X contains (NaN|inf.*) in column 5 \(.*row 41\)"):
            fit(mapped(X, tmp_path / "X", form), labels(), "feature-major")


def test_beyond_the_dtype_of_the_network(tmp_path):
    X = numbers("float64", (ROWS, 7))
    X[3, 2] = 1e300
    map_ = mapped(X, tmp_path / "X")
    fit(map_, labels(), "feature-major", "float64")
    with pytest.raises(ValueError, match=r"infinity \(as float32\) in column 2 \(first in row 3\)"):
        fit(map_, labels(), "feature-major")


def test_what_np_load_maps(tmp_path):
    X = numbers("int16", (ROWS, 7))
    np.save(tmp_path / "X.npy", X)
    map_ = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert check_training_rows("X", map_, 7, np.dtype("float32")).dtype == np.int16
    assert fit(map_, labels(), "feature-major") == fit(X, labels(), "feature-major")


@each("form", FORMS)
def test_predictions_of_a_map(form, tmp_path, monkeypatch):
    X = numbers("uint8", (ROWS, 7))
    net = fastnn.MLP(SIZES["feature-major"], "tanh", "softmax", random_state=0)
    expected = net.predict(X)
    monkeypatch.setattr("fastnn.prediction.blocks.SPARSE_BLOCK", 7 * 16)  # blocks of 16 rows
    map_ = mapped(X, tmp_path / "X", form)
    np.testing.assert_array_equal(net.predict(map_), expected)
    out = np.empty_like(expected)
    assert net.predict(map_, out=out) is out and (out == expected).all()
    with pytest.raises(ValueError, match="X has 6 columns, must have 7"):
        net.predict(map_[:, :6])


def test_wrong_shapes_are_named(tmp_path):
    map_ = mapped(numbers("uint8", (ROWS, 6)), tmp_path / "X")
    with pytest.raises(ValueError, match="X has 6 columns, must have 7"):
        fit(map_, labels(), "feature-major")
    empty = mapped(numbers("uint8", (ROWS, 7)), tmp_path / "X")[:0]
    with pytest.raises(ValueError, match="X has 0 rows"):
        fit(empty, labels()[:0], "feature-major")
    complex_ = np.memmap(tmp_path / "C", "complex64", "w+", shape=(ROWS, 7))
    with pytest.raises(TypeError, match="complex64"):
        fit(complex_, labels(), "feature-major")


@pytest.mark.parametrize("layout", SIZES)
def test_checkpoint_of_a_map(layout, tmp_path):
    X = numbers("uint8", (ROWS, SIZES[layout][0]))
    path = tmp_path / "fit.checkpoint"
    whole = fit(mapped(X, tmp_path / "X"), labels(), layout, epochs=4)
    fit(mapped(X, tmp_path / "X"), labels(), layout, epochs=2, checkpoint=path)
    map_ = mapped(X, tmp_path / "X")
    assert fit(map_, labels(), layout, epochs=4, checkpoint=path) == whole
    map_[0, 0] ^= 1
    with pytest.raises(fastnn.ModelFormatError, match="X, y or sample_weight"):
        fit(map_, labels(), layout, epochs=4, checkpoint=path)


LARGE = """
import resource
import sys

import numpy as np
from timing import seconds

import fastnn

ROWS, COLUMNS, PART = 2**20, 4096, 2**15
X = np.memmap(sys.argv[1], np.uint8, "w+", shape=(ROWS, COLUMNS))
block = np.random.default_rng(0).integers(0, 256, (PART // 4, COLUMNS), np.uint8)
for start in range(0, ROWS, len(block)):
    X[start:start + len(block)] = block
del block
y = (X[:, 0] > 127).astype(np.int32)
net = fastnn.MLP((COLUMNS, 32, 2), output="softmax", random_state=0, n_threads=1)
net.fit(X[:100], y[:100], epochs=1)

resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))
try:
    np.empty(2**30, np.uint8)
except MemoryError:
    pass
else:
    sys.exit("there is no limit")
net.fit(X, y, epochs=1, batch_size=256, optimizer=fastnn.Adam(1e-5))  # 4 GiB, shuffled

part, labels = X[:PART], y[:PART]
rows = {"mapped": part, "in memory": np.array(part), "float32": part.astype("float32")}
assert rows["in memory"].base is None
least = dict.fromkeys(rows, float("inf"))
for turn in range(30):  # least times come down to what work takes, beside other programs later
    if turn >= 5 and least["in memory"] >= 0.9 * least["mapped"]:
        break
    for name, data in rows.items():
        least[name] = min(least[name], seconds(
            lambda: net.fit(data, labels, epochs=1, batch_size=256), tries=1))
print(least)
assert least["in memory"] >= 0.9 * least["mapped"], least
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux counts RLIMIT_DATA so")
def test_four_gibibytes_under_a_limit_of_one(run_python, tmp_path):
    """The limit is that of the data of the process: heap and anonymous memory, all that a copy
    could lie in. A map of a file does not count, nor does the system's cache of that file, which
    shrinks where memory is short; a limit of address space would forbid the map itself. Time is
    that of the CPU, the system's work on pages included."""
    done = run_python(LARGE, tmp_path / "X", timeout=900, OMP_NUM_THREADS=1)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
