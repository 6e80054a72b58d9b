"""Training of networks with layers that are not dense, against the twin, finite differences and
themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import reference
import scipy.sparse
from layer_networks import SMOOTH, data, networks, start
from planning import rule, use_rules
from safetensors import safe_open

import fastnn
from fastnn.core import _kernels
from fastnn.core.threads import single_threaded_blas
from fastnn.training._trainer import Trainer

ROWS = 23
# who computes the products, and rules of the planner: rows that are a line longer than they must
# be, W in panels, X gathered
PANELS = {"packed_bytes": 4, "gathered_rows": 0, "panel_rows": 1,
          "gradient_bytes": (("avx512", 4), ("avx2", 4), ("baseline", 4))}
PATHS = [("native", {}), ("native", PANELS), ("blas", {})]
TOLERANCE = {"float64": 1e-13, "float32": 1e-5}
H = 1e-4


OPTIMIZERS = {  # with an eps at which rounding in a gradient that ought to be 0 moves nothing
    "sgd": (fastnn.SGD(1.0), reference.SGD()),
    "adam": (fastnn.Adam(eps=1e-3), reference.Adam(eps=1e-3)),
    "nesterov": (fastnn.SGD(1.0, nesterov=True), reference.SGD(nesterov=True)),
    "adamw": (fastnn.AdamW(eps=1e-3), reference.AdamW(eps=1e-3)),
    "rmsprop": (fastnn.RMSprop(eps=1e-3), reference.RMSprop(eps=1e-3)),
    "adagrad": (fastnn.Adagrad(eps=1e-3), reference.Adagrad(eps=1e-3)),
}
worst = {}  # what was found, printed by -s


@pytest.fixture(params=[10, pytest.param(40, marks=pytest.mark.slow)])
def count(request):
    """How many random networks."""
    return request.param


def off(what, got, wanted):
    """The largest difference, relative where the wanted is large."""
    wanted = np.asarray(wanted, float)
    found = float(np.max(np.abs(got - wanted), initial=0) / max(1, np.abs(wanted).max(initial=0)))
    worst[what] = max(found, worst.get(what, 0))
    return found


def members(spec):
    """How many an ensemble has; 0 of other networks."""
    return next((layer.members for layer in spec.layers if isinstance(layer, fastnn.Repeat)), 0)


@pytest.fixture
def paths(monkeypatch):
    """A generator of the ways a step can take; the rules of each hold until the next one."""

    def found():
        for gemm, rules in PATHS:
            with monkeypatch.context() as patch:
                use_rules(patch.setattr, **rules)
                yield gemm

    return found


@pytest.fixture(scope="module", autouse=True)
def tell():
    yield
    print(*(f"\n{what}: {found:.1e}" for what, found in sorted(worst.items())))


def network(spec, gemm, n_threads=1):
    net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                        random_state=0, gemm=gemm, n_threads=n_threads)
    assert net.spec == spec
    start(net)
    return net


def trainer_of(spec, loss, gemm="native", **settings):
    trainer = Trainer(spec, loss, **{"optimizer": None, "batch_size": ROWS, "n_threads": 1,
                                     "gemm": gemm, **settings})
    start(trainer)
    return trainer


def variant(i, X):
    """Sample weights, alpha and X, dense or sparse, of a network's number."""
    weights = np.random.default_rng(i).uniform(0, 2, len(X)) if i % 2 else None
    if i % 3 == 1:
        X = scipy.sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0).astype(X.dtype))
    return X, None if weights is None else weights.astype(X.dtype), (0.0, 0.3)[i // 2 % 2]


def test_loss_gradient_and_error_terms_are_the_twins(dtype, paths, count):
    """Dense and sparse X, labels and rows of targets, sample weights; L2 on W alone."""
    for gemm in paths():
        for i, (name, spec, loss, labels) in enumerate(networks(count, dtype=dtype, dropout=0.3)):
            X, y = data(spec, loss, labels, ROWS)
            net = network(spec, gemm)
            twin = reference.Twin.of(net)
            wanted_deltas = twin.loss_and_grad(X, y, loss, with_deltas=True)[2]
            if not members(spec):
                got = net.deltas(X, y, loss=loss)
                assert len(got) == len(wanted_deltas) == len(net.weights), name
                for pair in zip(got, wanted_deltas, strict=True):
                    assert off(f"deltas {dtype}", *pair) < TOLERANCE[dtype], name
            X, weights, alpha = variant(i, X)
            value, grad = net.loss_and_grad(X, y, loss=loss, sample_weight=weights, alpha=alpha)
            wanted_value, wanted = twin.loss_and_grad(X, y, loss, weights, alpha)
            assert off(f"loss {dtype}", value, wanted_value) < TOLERANCE[dtype], name
            for pair in zip(net._layout.views(grad), wanted, strict=True):
                assert off(f"gradient {dtype}", *pair) < TOLERANCE[dtype], name
            assert net.loss(X, y, loss=loss, sample_weight=weights, alpha=alpha) == value


def test_gradients_are_slopes_of_the_loss(paths, count):
    """4th-order central differences, in one parameter of each block and some others."""
    for gemm in paths():
        for i, (name, spec, loss, labels) in enumerate(networks(count, activations=SMOOTH)):
            X, y = data(spec, loss, labels, ROWS)
            X, weights, alpha = variant(i, X)
            trainer = trainer_of(spec, loss, gemm, alpha=alpha)
            trainer.set_data(X, y, weights)
            grad = trainer.layout.allocate()
            with single_threaded_blas():
                trainer.loss_and_grad(grad)
                rng = np.random.default_rng(i)
                for block in trainer.layout.blocks:
                    for at in block.at + rng.integers(0, block.size, min(block.size, 5)):
                        middle, values = trainer.parameters[at], []
                        for step in (1, -1, 2, -2):
                            trainer.parameters[at] = middle + step * H
                            values.append(trainer.loss_and_grad())
                        trainer.parameters[at] = middle
                        slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * H)
                        assert off("slopes", grad[at], slope) < 1e-9, (name, block.name)


def run(spec, loss, labels, kind, gemm="native", i=0, n_threads=1, steps=30, rows=53, batch=10):
    """(trainer, losses) of steps in short batches, shuffled; and a function that trains a twin
    alike."""
    ours, its = OPTIMIZERS[kind]
    X, y = data(spec, loss, labels, rows)
    X, weights, alpha = variant(i, X)
    trainer = trainer_of(spec, loss, gemm, optimizer=ours, batch_size=batch, alpha=alpha,
                         seed=2**40 + 3, n_threads=n_threads)
    trainer.set_data(X, y, weights)
    twin, rng = reference.Twin.of(trainer), np.random.default_rng(i)
    rate = (0.02 if kind == "sgd" else 0.005) * (0.1 if loss == "poisson" else 1)
    orders = [rng.permutation(rows) for _ in range(-(-steps // -(-rows // batch)))]
    with single_threaded_blas():
        losses = [trainer.run_epoch(order, learning_rate=rate) for order in orders]

    def train_twin():
        return twin, reference.train(
            twin, X, y, loss_name=loss, optimizer=replace(its, state=[]), orders=orders,
            batch_size=batch, learning_rates=[rate] * len(orders), sample_weight=weights,
            alpha=alpha, seed=2**40 + 3)

    return trainer, losses, train_twin


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_thirty_steps_are_the_twins(kind, dtype, paths, count):
    """With its masks of dropout. Among many networks one has a unit so near to its kink that
    float32 rounds it to the other side, and goes on from there: those of float32 have none.
    """
    activations = SMOOTH if dtype == "float32" and count > 10 else None
    tolerance, twins = {"float64": 1e-12, "float32": 1e-4}[dtype], {}
    for gemm in paths():
        for i, (name, spec, loss, labels) in enumerate(
                networks(count, dtype=dtype, dropout=0.3, activations=activations)):
            trainer, losses, train_twin = run(spec, loss, labels, kind, gemm, i)
            if name not in twins:
                twins[name] = train_twin()
            twin, wanted = twins[name]
            assert trainer.step == 30
            longer = trainer.plan.row_length(0) > trainer.layout.ops[0].n_out
            assert longer == (gemm == "native" and rule("packed_bytes") == 4)
            assert off(f"losses of {kind} {dtype}", losses, wanted) < tolerance, name
            for pair in zip(trainer.layout.views(trainer.parameters), twin.parameters(),
                            strict=True):
                assert off(f"steps of {kind} {dtype}", *pair) < tolerance, name


def test_same_bytes_for_any_number_of_threads(dtype, monkeypatch, paths, count):
    """And the twin's, whatever shard a row is in."""
    use_rules(monkeypatch.setattr, shard_rows=0, block_rows=0, min_shard_flops=0, epoch_flops=0,
              max_blocks=8)
    twins = {}
    for gemm in paths():
        for i, (name, spec, loss, labels) in enumerate(networks(count, dtype=dtype, dropout=0.3)):
            found = set()
            for n_threads in (1, 2, 3, 8):
                trainer, losses, train_twin = run(spec, loss, labels, "adam", gemm, i, n_threads,
                                                  rows=90, batch=41, steps=6)
                # an ensemble's shards have more rows
                assert trainer.plan.shards == 8 or members(spec) > 1
                assert trainer.team == min(n_threads, trainer.plan.shards) > 0, name
                found.add((trainer.parameters.tobytes(), tuple(losses)))
            assert len(found) == 1, name
            if name not in twins:
                twins[name] = train_twin()
            twin, wanted = twins[name]
            assert off(f"losses of shards {dtype}", losses, wanted) < TOLERANCE[dtype], name
            for pair in zip(trainer.layout.views(trainer.parameters), twin.parameters(),
                            strict=True):
                assert off(f"steps of shards {dtype}", *pair) < TOLERANCE[dtype] * 10, name


def test_the_two_halves_of_a_step_are_the_step(dtype):
    """`loss_and_grad` of some rows, then `apply`: what `run_epoch` does with them; for chains,
    feature-major, too."""
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    specs = [*networks(12, dtype=dtype), ("chain", fastnn.NetworkSpec.chain(
        (7, 12, 3), "tanh", "softmax", dtype=dtype), "cross_entropy", True)]
    for kind in OPTIMIZERS:
        for i, (name, spec, loss, labels) in enumerate(specs):
            X, y = data(spec, loss, labels, 40)
            X, weights, alpha = variant(i, X)
            whole, halves = (trainer_of(spec, loss, optimizer=OPTIMIZERS[kind][0], batch_size=15,
                                        alpha=alpha) for _ in range(2))
            grad, rng = whole.layout.allocate(), np.random.default_rng(i)
            for trainer in (whole, halves):
                trainer.set_data(X, y, weights)
            for step in range(4):
                rows = rng.permutation(40)[:15]
                loss_of_step = whole.run_epoch(rows, learning_rate=0.01)
                value = halves.loss_and_grad(grad, rows=rows)
                halves.apply(grad, learning_rate=0.01)
                assert halves.step == whole.step == step + 1
                assert value == pytest.approx(loss_of_step, rel=tolerance * 10), name
            assert off(f"halves {dtype}", halves.parameters, whole.parameters) < tolerance, (
                name, kind)
            for pair in zip(halves.optimizer_state, whole.optimizer_state, strict=True):
                assert off(f"halves {dtype}", *pair) < tolerance * 10, (name, kind)


def test_a_given_gradient_may_be_anyones(dtype):
    """The sum of two halves of the rows is the gradient of all."""
    for name, spec, loss, labels in networks(14, dtype=dtype):
        X, y = data(spec, loss, labels, 40)
        trainer = trainer_of(spec, loss)
        trainer.set_data(X, y)
        first, second, both = (trainer.layout.allocate() for _ in range(3))
        values = [trainer.loss_and_grad(first, rows=np.arange(20)),
                  trainer.loss_and_grad(second, rows=np.arange(20, 40))]
        assert trainer.loss_and_grad(both) == pytest.approx(np.mean(values), rel=1e-5)
        assert off(f"half of the rows {dtype}", (first + second) / 2, both) < TOLERANCE[dtype], name


def test_fit_goes_on_from_its_checkpoint_to_the_same_bytes(tmp_path, dtype):
    class Stop(Exception):
        pass

    def stop(epoch, net, history):
        if epoch == 2:
            raise Stop

    for i, (name, spec, loss, labels) in enumerate(networks(14, dtype=dtype, dropout=0.2)):
        X, y = data(spec, loss, labels, 60)
        X, weights, alpha = variant(i, X)
        path = tmp_path / f"{i}.checkpoint"

        def fit(n_threads=1, spec=spec, X=X, y=y, loss=loss, weights=weights, alpha=alpha, **more):
            net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                                random_state=0, n_threads=n_threads)
            history = net.fit(X, y, loss=loss, sample_weight=weights, alpha=alpha, epochs=6,
                              batch_size=17, checkpoint_seconds=0, validation_data=(X, y), **more)
            return net.parameters.tobytes(), history.loss, history.val_loss

        wanted = fit()
        with pytest.raises(Stop):
            fit(checkpoint=path, callback=stop)
        with safe_open(path, "numpy") as file:
            kept = json.loads(file.metadata()["fastnn"])
        assert kept.get("needs", []) == list(spec.needs) != []
        epochs = []
        found = fit(2, checkpoint=path, callback=lambda epoch, *_, seen=epochs: seen.append(epoch))
        assert found == wanted, name
        assert epochs[0] in (2, 3) and epochs[-1] == 5, epochs
        with pytest.raises(fastnn.ModelFormatError, match="network was|sizes was|activation was"):
            other = fastnn.MLP.of([*spec.layers[:-1], fastnn.LayerNorm(0.5), spec.layers[-1]],
                                  n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                                  random_state=0)
            other.fit(X, y, loss=loss, sample_weight=weights, alpha=alpha, epochs=6, batch_size=17,
                      validation_data=(X, y), checkpoint=path)


CHECK_GRADIENTS = """
import numpy as np, sys, reference
from layer_networks import data, networks, start
import fastnn
from fastnn.core import _kernels
assert _kernels.isa() == sys.argv[1]
for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
    for name, spec, loss, labels in networks(28, dtype=dtype):
        net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=dtype,
                            gemm="native")
        start(net)
        twin, (X, y) = reference.Twin.of(net), data(spec, loss, labels, 40)
        np.testing.assert_allclose(net.predict(X), twin.predict(X), rtol=0, atol=10 * tolerance)
        value, grad = net.loss_and_grad(X, y, loss=loss)
        wanted_value, wanted = twin.loss_and_grad(X, y, loss)
        assert abs(value - wanted_value) <= tolerance * max(1, wanted_value), name
        for got, its in zip(net._layout.views(grad), wanted, strict=True):
            np.testing.assert_allclose(got, its, rtol=0, atol=tolerance * max(1, abs(its).max()))
"""


@pytest.mark.parametrize("other", _kernels.available_isas())
def test_every_instruction_set(other, run_python):
    done = run_python(CHECK_GRADIENTS, other, FASTNN_ISA=other)
    assert done.returncode == 0, done.stderr
