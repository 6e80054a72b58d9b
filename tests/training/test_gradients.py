"""loss_and_grad against 4th-order finite differences and against the twin."""

import numpy as np
import pytest
import reference
from each import each
from gradient_cases import CASES, COVERING, PATHS, SOME, build, of_twin, targets
from trainers import make_layout, make_trainer

import fastnn
from fastnn.core import _kernels
from fastnn.core.threads import single_threaded_blas

H = 1e-4


def flat(layout, arrays):
    """[dW0, db0, ...] as a flat vector like the network's parameters."""
    vector = layout.allocate()
    own = layout.views(vector)
    for view, array in zip(own, arrays, strict=True):
        view[...] = array
    return vector


def finite_differences(trainer):
    """4th-order central differences of the trainer's loss in each of its parameters."""
    slopes = np.zeros_like(trainer.parameters)
    ones = np.ones(2 * len(trainer.weights))
    for at in np.flatnonzero(flat(trainer.layout, ones)):
        middle, values = trainer.parameters[at], []
        for step in (1, -1, 2, -2):
            trainer.parameters[at] = middle + step * H
            values.append(trainer.loss_and_grad())
        trainer.parameters[at] = middle
        slopes[at] = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * H)
    return slopes


def trainer_for(net, X, y, loss, sample_weight=None, **more):
    trainer = make_trainer(net.sizes, net.activations, net.output, loss, dtype=net.dtype,
                           optimizer=None, batch_size=len(X), n_threads=1, **more)
    trainer.parameters[:] = net.parameters
    if loss == "gaussian_nll":
        y = np.hstack([y, np.zeros_like(y)])  # two outputs for each target
    trainer.set_data(X, y.astype(np.int32) if y.ndim == 1 else y, sample_weight)
    return trainer


def assert_is_slope(grad, slopes):
    """1e-6 relative in each element; 1e-10 is what rounding leaves of a difference quotient."""
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad, slopes, rtol=1e-6, atol=1e-10 * max(1, np.abs(grad).max()))


def assert_is_twins(net, got, wanted, rtol=1e-12):
    value, grad = got
    wanted_value, gradients = wanted
    wanted_grad = flat(make_layout(net.sizes, net.dtype), gradients).astype(float)
    assert value == pytest.approx(wanted_value, rel=rtol, abs=1e-15)
    np.testing.assert_allclose(grad, wanted_grad, rtol=0,
                               atol=rtol * max(np.abs(wanted_grad).max(), 1e-3))


@each("name", CASES)
def test_gradient_is_the_slope_and_the_twins(name):
    net, X, y, loss = build(name)
    value, grad = net.loss_and_grad(X, y, loss=loss)
    assert net.loss(X, y, loss=loss) == value
    with single_threaded_blas():
        assert_is_slope(grad, finite_differences(trainer_for(net, X, y, loss)))
    assert_is_twins(net, (value, grad), of_twin(name)[:2])


@each("name", CASES)
def test_every_path(name, path):
    """Feature-major, row-major and by BLAS: the twin's gradient and error terms."""
    net, X, y, loss = build(name)
    *wanted, wanted_deltas = of_twin(name)
    assert_is_twins(net, net.loss_and_grad(X, y, loss=loss), wanted)
    for got, delta in zip(net.deltas(X, y, loss=loss), wanted_deltas, strict=True):
        np.testing.assert_allclose(got, delta, rtol=0, atol=1e-13 * max(1, np.abs(delta).max()))


@pytest.mark.parametrize("other", _kernels.available_isas())
def test_every_instruction_set(other, run_python, tmp_path):
    """Each one, in a process of its own, gives the twin's gradients on every path."""
    done = run_python("import runpy; runpy.run_module('gradient_cases', run_name='__main__')",
                      tmp_path / "gradients.npz", FASTNN_ISA=other)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "gradients.npz") as found:
        assert str(found["isa"]) == other
        for name in COVERING:
            net = build(name)[0]
            for path in PATHS:
                got = found[f"{path} {name}"]
                assert_is_twins(net, (got[0], got[1:]), of_twin(name)[:2])


# ---- what is added to the plain mean loss ----


@each("name", SOME)
@each("alpha", [0.0, 0.3])
@each("weighted", [False, True])
def test_l2_and_sample_weights(name, alpha, weighted):
    net, X, y, loss = build(name)
    weights = np.random.default_rng(1).uniform(0, 3, len(X)) if weighted else None
    if weighted:
        weights[1] = 0
    got = net.loss_and_grad(X, y, loss=loss, alpha=alpha, sample_weight=weights)
    with single_threaded_blas():
        trainer = trainer_for(net, X, y, loss, weights, alpha=alpha)
        assert_is_slope(got[1], finite_differences(trainer))
    twin = reference.Twin.of(net)
    assert_is_twins(net, got, twin.loss_and_grad(X, y, loss, weights, alpha))
    assert net.loss(X, y, loss=loss, alpha=alpha, sample_weight=weights) == got[0]


@each("name", SOME)
def test_weights_repeat_rows(name):
    """A weight of k is the row k times, a weight of 0 is no row."""
    net, X, y, loss = build(name)
    counts = np.arange(len(X)) % 4
    repeated = net.loss_and_grad(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0),
                                 loss=loss, alpha=0.2)
    weighted = net.loss_and_grad(X, y, loss=loss, alpha=0.2, sample_weight=counts)
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-13, abs=0)
    np.testing.assert_allclose(weighted[1], repeated[1], rtol=0,
                               atol=1e-13 * np.abs(repeated[1]).max())


def test_biases_have_no_penalty():
    net, X, y, loss = build("tanh squared_error 5x2-5-3-2")
    net.set_weights([array if array.ndim == 1 else 0 * array for array in net.get_weights()])
    assert net.loss(X, y, alpha=10) == net.loss(X, y)


@each("name", SOME)
def test_sum_over_outputs(name):
    """reduction="sum" is scikit-learn's gradient of the squared error; the value stays."""
    net, X, y, loss = build(name)
    trainer = trainer_for(net, X, y, loss, alpha=0.2, reduction="sum")
    grad = np.zeros_like(trainer.parameters)
    with single_threaded_blas():
        value = trainer.loss_and_grad(grad)
    assert_is_twins(net, (value, grad), reference.Twin.of(net).loss_and_grad(
        X, y, loss, alpha=0.2, reduction="sum"))


@each("shape", [(1, (1, 1, 2)), (5, (3, 7, 2)), (33, (4, 5, 17))])
def test_labels_equal_one_hot(shape):
    rows, sizes = shape
    rng = np.random.default_rng(0)
    net = fastnn.MLP(sizes, "tanh", "softmax", dtype="float64", random_state=0)
    X, labels = rng.normal(size=(rows, sizes[0])), rng.integers(0, sizes[-1], rows)
    one_hot = reference.one_hot(labels, sizes[-1])
    for y in (labels.astype(np.uint8), labels.astype(float), labels.reshape(-1, 1)):
        by_label, by_row = net.loss_and_grad(X, y), net.loss_and_grad(X, one_hot)
        assert by_label[0] == pytest.approx(by_row[0], rel=1e-14, abs=0)
        np.testing.assert_allclose(by_label[1], by_row[1], rtol=0, atol=1e-15)


def test_soft_targets():
    """Probabilities as targets, and rows that do not sum to 1."""
    net, X, _, _ = build("gelu cross_entropy 17x5-17-3")
    y = np.random.default_rng(0).uniform(0, 1, (17, 3))
    assert_is_twins(net, net.loss_and_grad(X, y),
                    reference.Twin.of(net).loss_and_grad(X, y, "cross_entropy"))


@each("name", SOME)
def test_deltas_are_gradients_of_the_weighted_inputs(name):
    net, X, y, loss = build(name)
    deltas = net.deltas(X, y, loss=loss)
    _, _, wanted = reference.Twin.of(net).loss_and_grad(X, y, loss, with_deltas=True)
    assert [d.shape for d in deltas] == [(len(X), n) for n in net.sizes[1:]]
    for got, twin in zip(deltas, wanted, strict=True):
        np.testing.assert_allclose(got, twin, rtol=0, atol=1e-14)
    # and the gradient of a bias is their sum over rows
    _, grad = net.loss_and_grad(X, y, loss=loss)
    _, biases = make_layout(net.sizes, net.dtype).weights_and_biases(grad)
    for delta, slope in zip(deltas, biases, strict=True):
        np.testing.assert_allclose(delta.sum(axis=0), slope, rtol=0, atol=1e-14)


@each("rows", [1023, 1024, 1025, 2500])
def test_many_rows(rows, path):
    """Beyond the rows that are worked on at a time."""
    rng = np.random.default_rng(0)
    net = fastnn.MLP((5, 16, 3), "silu", "softmax", dtype="float64", random_state=0)
    X, y = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)
    weights = rng.uniform(0, 2, rows)
    twin = reference.Twin.of(net)
    assert_is_twins(net, net.loss_and_grad(X, y, sample_weight=weights, alpha=0.1),
                    twin.loss_and_grad(X, y, "cross_entropy", weights, 0.1))
    _, _, wanted = twin.loss_and_grad(X, y, "cross_entropy", with_deltas=True)
    for got, delta in zip(net.deltas(X, y), wanted, strict=True):
        np.testing.assert_allclose(got, delta, rtol=0, atol=1e-15)


@each("name", [*_kernels.LOSSES, "labels"])
@each("weighted", [False, True])
def test_every_loss_of_many_rows(name, weighted, path, dtype):
    """Blocks of the losses' kernels, and the rest of the last one."""
    loss = "cross_entropy" if name == "labels" else name
    rng = np.random.default_rng(0)
    n_out = 6 if loss == "gaussian_nll" else 5
    net = fastnn.MLP((4, 6, n_out), "tanh", _kernels.LOSSES[loss].link, dtype=dtype, random_state=0)
    net.set_weights([rng.normal(size=a.shape) for a in net.get_weights()])
    X, y = rng.normal(size=(301, 4)).astype(dtype), targets(loss, 301, n_out, rng)
    if name in ("cross_entropy", "focal"):
        y = reference.one_hot(y, 5)
    weights = rng.uniform(0, 2, 301).astype(dtype) if weighted else None
    wanted = reference.Twin.of(net).loss_and_grad(X, y, loss, weights)
    assert_is_twins(net, net.loss_and_grad(X, y, loss=loss, sample_weight=weights), wanted,
                    rtol=1e-12 if dtype == "float64" else 1e-5)


@each("sizes", [(383, 65, 5), (385, 130, 33), (1000, 7, 3), (20, 400, 390, 2)])
def test_wide_layers(sizes, path, dtype):
    """Products in several blocks and tiles, sums of several terms of W'."""
    rng = np.random.default_rng(0)
    net = fastnn.MLP(sizes, "tanh", dtype=dtype, random_state=0)
    X, y = rng.normal(size=(37, sizes[0])), rng.normal(size=(37, sizes[-1]))
    X, y = X.astype(dtype), y.astype(dtype)
    wanted = reference.Twin.of(net).loss_and_grad(X, y, "squared_error", alpha=0.1)
    assert_is_twins(net, net.loss_and_grad(X, y, alpha=0.1), wanted,
                    rtol=1e-12 if dtype == "float64" else 1e-5)


@each("name", SOME)
def test_float32(name, path):
    """Single precision gives the same within its rounding."""
    net, X, y, loss = build(name, "float32")
    value, grad = net.loss_and_grad(X, y, loss=loss)
    assert grad.dtype == np.float32
    X = X.astype(np.float32)
    y = y if y.ndim == 1 else y.astype(np.float32)
    assert_is_twins(net, (value, grad), reference.Twin.of(net).loss_and_grad(X, y, loss),
                    rtol=2e-6)


def test_gaps_of_the_gradient_are_zero():
    """The padding between layers stays 0, so that norms and dot products are right."""
    net = fastnn.MLP((3, 5, 7, 2), dtype="float64", random_state=0)
    rng = np.random.default_rng(0)
    _, grad = net.loss_and_grad(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), alpha=0.1)
    layout = make_layout(net.sizes, net.dtype)
    gaps = flat(layout, np.ones(6)) == 0
    assert gaps.any()
    assert not grad[gaps].any()
    assert np.count_nonzero(~gaps) == net.n_parameters


def test_default_loss_follows_the_output():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 3))
    for output, loss in (("identity", "squared_error"), ("softmax", "cross_entropy"),
                         ("sigmoid", "binary_cross_entropy"), ("exp", "poisson"),
                         ("step", "perceptron"), ("tanh", "squared_error")):
        net = fastnn.MLP((3, 4, 2), output=output, dtype="float64", random_state=0)
        y = targets(loss, 9, 2, rng)
        assert net.loss(X, y) == net.loss(X, y, loss=loss)
