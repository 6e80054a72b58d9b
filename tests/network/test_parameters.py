"""Where parameters lie in the flat vector, and the pieces in which they are updated."""

import numpy as np
from each import each
from planning import rule
from trainers import make_layout

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
