"""Where parameters lie in the flat vector, and the pieces in which they are updated."""

import copy
import pickle

import numpy as np
import pytest
from each import each
from planning import rule
from trainers import make_layout

import fastnn

SIZES = [(1, 1), (3, 5, 7, 2), (784, 256, 128, 10), (20, 64, 64, 2), (5000, 3), (3, 5000, 1)]


@each("sizes", SIZES)
def test_parameter_layout(sizes, dtype):
    layout = make_layout(sizes, dtype)
    flat = layout.allocate()
    assert flat.size == layout.size
    assert flat.dtype == dtype
    assert flat.ctypes.data % 64 == 0
    assert not flat.any()
    weights, biases = layout.weights_and_biases(flat)
    assert [w.shape for w in weights] == list(zip(sizes, sizes[1:], strict=False))
    assert [b.shape for b in biases] == [(n,) for n in sizes[1:]]
    for view in (*weights, *biases):
        assert np.shares_memory(view, flat)
        view += 1
    assert flat.max() == 1  # no two of them overlap
    assert flat.sum() == layout.n_parameters == sum(
        (n_in + 1) * n_out for n_in, n_out in zip(sizes, sizes[1:], strict=False))
    assert all(w.ctypes.data % 64 == 0 for w in weights)
    assert layout.size - layout.n_parameters < 16 * len(weights)


@each("rows", [16, rule("chunk_rows")])
@each("size", [100, rule("chunk"), rule("chunk_size")])
@each("sizes", SIZES)
def test_chunks_cover_every_parameter_once(sizes, size, rows, dtype):
    layout = make_layout(sizes, dtype)
    counts, decays = layout.allocate(), layout.allocate()
    for chunk in layout.chunks(size, rows):
        assert chunk.size > 0
        # rows of W in whole cache lines: two threads do not write to one line of W'
        assert chunk.row * layout.dtype.itemsize % 64 == 0
        counts[chunk.at : chunk.at + chunk.size] += 1
        decays[chunk.at : chunk.at + chunk.size] = chunk.block.decay
    for view in layout.views(counts):
        assert (view == 1).all()
    assert counts.sum() == layout.n_parameters
    weights, biases = layout.weights_and_biases(decays)
    assert all((w == 1).all() for w in weights)
    assert all((b == 0).all() for b in biases)


X, Y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
USES = {
    "fit": lambda net, v: net.fit(X, Y[:, :2], epochs=2, clip_norm=0.1),
    "fit with callbacks": lambda net, v: net.fit(X, Y[:, :2], epochs=2, callback=lambda *_: None),
    "fit_batches": lambda net, v: net.fit_batches([(X, Y[:, :2])], epochs=2),
    "lbfgs": lambda net, v: net.fit(X, Y[:, :2], optimizer=fastnn.LBFGS(3)),
    "pickle": lambda net, v: net.__setstate__(pickle.loads(pickle.dumps(net)).__getstate__()),
    "deepcopy": lambda net, v: net.__setstate__(copy.deepcopy(net).__getstate__()),
    "restore": lambda net, v: net.fit(X, Y[:, :2], callbacks=[Restores(v)]),
}


class Restores(fastnn.Callback):
    def __init__(self, parameters):
        self.parameters = parameters

    def on_epoch_end(self, state):
        state.restore(self.parameters)


@each("use", sorted(USES))
@each("value", [np.nan, np.inf, 7])
def test_what_lies_in_the_gaps_does_not_count(use, value):
    """Arithmetic on flat vectors, such as gradient / |gradient|, leaves NaN there."""
    net, wanted = (fastnn.MLP((3, 5, 2), random_state=0) for _ in range(2))
    gaps = np.ones(net.parameters.size, bool)
    for block in net._layout.blocks:
        gaps[block.at:block.at + block.size] = False
    assert gaps.any()
    start = wanted.parameters.copy()
    net.parameters[gaps] = value
    assert net.loss(X, Y[:, :2], alpha=0.1) == wanted.loss(X, Y[:, :2], alpha=0.1)
    USES[use](net, net.parameters.copy())
    USES[use](wanted, start)
    assert net.parameters.tobytes() == wanted.parameters.tobytes()
    assert not net.parameters[gaps].any()


@each("value", [np.nan, np.inf, 7])
def test_what_lies_in_the_gaps_of_a_direction_does_not_count(value):
    net = fastnn.MLP((3, 5, 2), random_state=0)
    v, gaps = net.parameters.copy(), np.ones(net.parameters.size, bool)
    for block in net._layout.blocks:
        gaps[block.at:block.at + block.size] = False
    v[gaps] = value
    found, wanted = net.hvp(X, Y[:, :2], v), net.hvp(X, Y[:, :2], net.parameters)
    assert found.tobytes() == wanted.tobytes() and (v[gaps] != 0).all()


DOORS = {
    "fit": lambda net: net.fit(X, Y[:, :2]), "loss": lambda net: net.loss(X, Y[:, :2]),
    "weights": lambda net: net.weights, "get_weights": lambda net: net.get_weights(),
    "save": lambda net: net.save("never"), "deepcopy": copy.deepcopy,
    "grow": lambda net: net.grow(n_in=4),
    "fit_batches": lambda net: net.fit_batches([(X, Y[:, :2])])}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy's, of such assignments
@each("door", sorted(DOORS))
@each("name, value", [("dtype", "i4"), ("dtype", "f8"), ("dtype", ">f4"), ("shape", (-1, 1))])
def test_a_vector_that_has_become_another_kind(door, name, value):
    """They trained from other numbers, or said nothing of where that came from."""
    net = fastnn.MLP((3, 8, 2), random_state=0)
    wanted, vector = net.predict(X), net.parameters
    before = getattr(vector, name)
    setattr(vector, name, value)
    with pytest.raises(ValueError, match="parameters.* must be float32"):
        DOORS[door](net)
    setattr(vector, name, before)
    assert net.predict(X).tobytes() == wanted.tobytes() and net.get_weights()
    setattr(vector, name, value)
    net.set_weights(fastnn.MLP((3, 8, 2), random_state=0).get_weights())
    assert net.predict(X).tobytes() == wanted.tobytes()
