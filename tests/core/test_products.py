"""The forward product with bias and activation, and column sums, for odd shapes."""

import numpy as np
import pytest
import reference
from each import each

from fastnn.core import _kernels, _probes

SHAPES = [
    *((rows, 7, 5) for rows in range(1, 41)),
    *((5, n_in, 7) for n_in in range(1, 41)),
    *((7, 5, n_out) for n_out in range(1, 41)),
    (1, 1, 1), (13, 383, 9), (7, 384, 65), (6, 385, 64), (3, 1000, 129), (31, 17, 200),
]


def case(rows, n_in, n_out, dtype):
    rng = np.random.default_rng(rows * 10_000 + n_in * 100 + n_out)
    shapes = (rows, n_in), (n_in, n_out), n_out
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)


def bound(x, w, b):
    """Rounding error of a chain of n_in + 1 additions, to first order."""
    size = np.abs(x).astype(float) @ np.abs(w).astype(float) + np.abs(b)
    return (len(w) + 1) * np.finfo(x.dtype).eps / 2 * size


@each("shape", SHAPES)
def test_dense_against_numpy(shape, dtype, isa):
    x, w, b = case(*shape, dtype)
    got = _probes.dense(x, w, b, "identity", isa)
    wanted = x.astype(np.longdouble) @ w.astype(np.longdouble) + b
    assert got.dtype == dtype
    assert got.shape == wanted.shape
    assert (np.abs(got - wanted) <= bound(x, w, b)).all()


@each("name", _kernels.ACTIVATIONS)
def test_dense_with_activation(name, dtype, isa):
    """The activation of the sums, by the twin; a step is sure where rounding cannot reach 0."""
    x, w, b = case(9, 5, 19, dtype)
    got = _probes.dense(x, w, b, name, isa)
    z = x.astype(float) @ w.astype(float) + b
    wanted = reference.activation(name)[0](z)
    sure = np.abs(z) > bound(x, w, b) if name == "step" else np.full(z.shape, True)
    assert sure.mean() > 0.9
    np.testing.assert_allclose(got[sure], wanted[sure], rtol=300 * np.finfo(dtype).eps,
                               atol=30 * np.finfo(dtype).eps)


@each("n_out", [83, 301])
def test_dense_row_does_not_depend_on_its_neighbours(n_out, dtype, isa):
    """The same bits for one row alone and anywhere in a batch."""
    x, w, b = case(40, 403, n_out, dtype)
    whole = _probes.dense(x, w, b, "identity", isa)
    for r in range(len(x)):
        assert _probes.dense(x[r : r + 1], w, b, "identity", isa).tobytes() == whole[r].tobytes()
    for start in (1, 3, 7):
        part = _probes.dense(x[start:], w, b, "identity", isa)
        assert part.tobytes() == whole[start:].tobytes()


def test_dense_column_does_not_depend_on_its_neighbours(dtype, isa):
    x, w, b = case(13, 33, 83, dtype)
    whole = _probes.dense(x, w, b, "identity", isa)
    for n_out in range(1, 83):
        part = _probes.dense(x, w[:, :n_out], b[:n_out], "identity", isa)
        np.testing.assert_array_equal(part, whole[:, :n_out])


def test_instruction_sets_agree_on_dense(dtype):
    x, w, b = case(13, 500, 83, dtype)
    results = [_probes.dense(x, w, b, "identity", isa) for isa in _kernels.available_isas()]
    for other in results[1:]:
        assert (np.abs(other - results[0]) <= 2 * bound(x, w, b)).all()


def test_fused_instruction_sets_agree_bitwise(dtype):
    """AVX2 and AVX-512 both run one chain of fused multiply-adds over k."""
    fused = [name for name in ("avx2", "avx512") if name in _kernels.available_isas()]
    if len(fused) < 2:
        pytest.skip("needs two instruction sets with fused multiply-add")
    x, w, b = case(13, 500, 83, dtype)
    first, second = (_probes.dense(x, w, b, "identity", isa) for isa in fused)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("place", ["x", "w", "b"])
def test_nan_reaches_the_product(place, dtype, isa):
    arrays = dict(zip("xwb", case(7, 5, 37, dtype), strict=True))
    arrays[place].flat[3] = np.nan
    got = np.isnan(_probes.dense(*arrays.values(), "relu", isa))
    wanted = np.isnan(arrays["x"] @ arrays["w"] + arrays["b"])
    np.testing.assert_array_equal(got, wanted)
    assert got.any()


@each("rows", [1, 2, 3, 31, 32, 33, 500])
def test_column_sums(rows, dtype, isa):
    for n in (*range(1, 41), 511, 513):
        x = np.random.default_rng(n).normal(size=(rows, n)).astype(dtype)
        got = _probes.column_sums(x, isa)
        wanted = x.astype(np.longdouble).sum(axis=0)
        error = rows * np.finfo(dtype).eps / 2 * np.abs(x).sum(axis=0)
        assert (np.abs(got - wanted) <= error).all()


def test_column_sums_are_one_chain_over_rows(dtype):
    """Every instruction set adds the rows in order, so all give the same bits."""
    x = np.random.default_rng(0).normal(size=(57, 83)).astype(dtype)
    chain = np.zeros(83, dtype)
    for row in x:
        chain += row
    for isa in _kernels.available_isas():
        assert _probes.column_sums(x, isa).tobytes() == chain.tobytes()


@each("shape", SHAPES)
@each("transpose_a", [False, True])
def test_product_against_numpy(shape, transpose_a, dtype, isa):
    a, b, _ = case(*shape, dtype)
    got = _probes.product(a.T.copy() if transpose_a else a, b, transpose_a, isa=isa)
    wanted = a.astype(np.longdouble) @ b.astype(np.longdouble)
    assert (np.abs(got - wanted) <= bound(a, b, 0)).all()
    straight = _probes.product(a, b, isa=isa)
    assert got.tobytes() == straight.tobytes()  # the same chain of multiply-adds


@each("shape", SHAPES)
@each("transpose_a", [False, True])
def test_every_option_of_a_product_leaves_the_chain_alone(shape, transpose_a, dtype, isa):
    """Pointers to rows and panels of B change no bit; relu and gate only what they cut off."""
    a, b, bias = case(*shape, dtype)
    a = a.T.copy() if transpose_a else a
    plain = _probes.product(a, b, transpose_a, bias=bias, isa=isa)
    order = np.random.default_rng(0).permutation(len(a))
    listed = a[order]
    wanted = _probes.product(listed, b, transpose_a, bias=bias, isa=isa)
    got = _probes.product(a, b, transpose_a, bias=bias, index=order, isa=isa)
    assert got.tobytes() == wanted.tobytes()
    got = _probes.product(a, b, transpose_a, bias=bias, panels=True, isa=isa)
    assert got.tobytes() == plain.tobytes()
    got = _probes.product(a, b, transpose_a, bias=bias, relu=True, isa=isa)
    np.testing.assert_array_equal(got, np.maximum(plain, 0))
    gate = np.random.default_rng(1).normal(size=plain.shape).astype(dtype)
    gate[:, ::3] = 0
    got = _probes.product(a, b, transpose_a, bias=bias, gate=gate, isa=isa)
    np.testing.assert_array_equal(got, np.where(gate > 0, plain, 0))


@each("shape", [(50, 403, 301), (24, 40, 512), (7, 1100, 257), (60, 1500, 256), (33, 9, 1024)])
@each("transpose_a", [False, True])
@each("panels", [False, True])
def test_room_for_packing_changes_no_bit(shape, transpose_a, panels, dtype, isa):
    a, b, bias = case(*shape, dtype)
    a = a.T.copy() if transpose_a else a
    plain = _probes.product(a, b, transpose_a, bias=bias, relu=True, isa=isa)
    order = np.arange(len(a))
    for index in (None, order):
        got = _probes.product(a, b, transpose_a, bias=bias, relu=True, panels=panels, index=index,
                              room=True, isa=isa)
        assert got.tobytes() == plain.tobytes()


@each("shape", SHAPES[::7])
def test_turned_product_is_the_same_chain(shape, dtype, isa):
    """W' X' with a bias for each row has the bits of X W: predictions rest on it."""
    x, w, bias = case(*shape, dtype)
    wanted = _probes.product(x, w, bias=bias, isa=isa)
    turned = _probes.product(w, x.T.copy(), True, bias=bias, bias_by_rows=True, isa=isa)
    assert turned.T.copy().tobytes() == wanted.tobytes()


def test_a_bias_of_minus_zero_stays(dtype, isa):
    """A broadcast that adds 0 would lose the sign, and rows by themselves differ from rows in
    company."""
    bias, zeros = np.full(3, -0.0, dtype), np.zeros((2, 1), dtype)
    w = np.full((1, 3), -1, dtype)
    wanted = _probes.product(zeros, w, bias=bias, isa=isa)
    got = _probes.product(w, zeros.T.copy(), True, bias=bias, bias_by_rows=True, isa=isa)
    assert got.T.copy().tobytes() == wanted.tobytes()


def test_relu_and_gate_let_nan_through(dtype, isa):
    x = np.full((3, 5), np.nan, dtype)
    eye = np.eye(5, dtype=dtype)
    assert np.isnan(_probes.product(x, eye, relu=True, isa=isa)).all()
    gate = np.full((3, 5), np.nan, dtype)
    assert (_probes.product(np.ones((3, 5), dtype), eye, gate=gate, isa=isa) == 1).all()


@each("shape", [(1, 1, 1), (3, 2, 5), (65, 1, 128), (17, 3, 32), (64, 4, 100)])
def test_row_product(shape, dtype, isa):
    rows, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, k)).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
    got = _probes.row_product(a, b, isa)
    wanted = a.astype(np.longdouble) @ b.T.astype(np.longdouble)
    assert (np.abs(got - wanted) <= bound(a, b.T, 0)).all()
    assert _probes.row_product(a[:1], b[:1], isa).tobytes() == got[:1, :1].tobytes()


@each("shape", [(1, 1), (1, 40), (40, 1), (7, 16), (16, 16), (17, 33), (99, 50)])
def test_transpose(shape, dtype, isa):
    x = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    np.testing.assert_array_equal(_probes.transposed(x, isa), x.T)
