"""Batch normalisation: ghost statistics against the twin, running averages, and what has none."""

import pickle

import numpy as np
import pytest
import reference
from layer_networks import data, start
from planning import use_rules

import fastnn
from fastnn import Activation, BatchNorm, Dense, Dropout, LayerNorm, PReLU, Residual, Scale
from fastnn.core.threads import single_threaded_blas
from fastnn.training._trainer import Trainer

OPTIMIZERS = {
    "sgd": (lambda: fastnn.SGD(1.0), reference.SGD),
    "adam": (lambda: fastnn.Adam(eps=1e-3), lambda: reference.Adam(eps=1e-3)),
    "adamw": (lambda: fastnn.AdamW(eps=1e-3), lambda: reference.AdamW(eps=1e-3)),
}


def networks(dtype):
    """Pairs of a name and a `NetworkSpec`."""
    found = {
        "chain": (7, fastnn.NetworkSpec.chain((7, 12, 9, 3), "gelu", norm="batch").layers),
        "residual": (8, fastnn.NetworkSpec.chain((8, 8, 8, 3), "relu", norm="batch",
                                                 residual=True).layers),
        "first": (5, [BatchNorm(1e-3), Dense(17, "tanh"), Dropout(0.3), Dense(3)]),
        "of a value that is shared": (6, [Dense(6, "silu"), Residual([
            BatchNorm(0.1, 1.0), PReLU(), Dense(6), Scale()]), LayerNorm(), Dense(3)]),
        "twice, then an activation": (6, [Dense(40), BatchNorm(), BatchNorm(), Activation("tanh"),
                                          Dense(3), BatchNorm(0.5)]),
    }
    for name, (n_in, layers) in found.items():
        yield name, fastnn.NetworkSpec(n_in, layers, "softmax", dtype)


def trained(spec, kind, *, batch=41, rows=95, shards=3, epochs=3, n_threads=1, gemm="native",
            **settings):
    """(trainer, losses) after some epochs, of batches whose last one is short; and a twin that
    was trained alike."""
    X, y = data(spec, "cross_entropy", True, rows)
    trainer = Trainer(spec, "cross_entropy", optimizer=OPTIMIZERS[kind][0](), batch_size=batch,
                      n_threads=n_threads, gemm=gemm, seed=3, **settings)
    start(trainer)
    twin = reference.Twin.of(trainer)
    twin.shard_rows = trainer.plan.shard_rows
    trainer.set_data(X, y)
    assert trainer.plan.shards == shards
    orders = [np.random.default_rng(i).permutation(rows) for i in range(epochs)]
    with single_threaded_blas():
        losses = [trainer.run_epoch(order, learning_rate=0.01) for order in orders]
    wanted = reference.train(twin, X, y, loss_name="cross_entropy", optimizer=OPTIMIZERS[kind][1](),
                             orders=orders, batch_size=batch, learning_rates=[0.01] * epochs,
                             seed=3)
    return trainer, losses, twin, wanted


def blocks(holder, kinds=("mean", "variance")):
    """The running averages of an MLP or Trainer, by name."""
    layout = getattr(holder, "layout", None) or holder._layout
    views = layout.views(holder.parameters)
    return {block.name: view for block, view in zip(layout.blocks, views, strict=True)
            if block.kind in kinds}


@pytest.fixture
def shards(monkeypatch):
    """Several, of few rows."""
    use_rules(monkeypatch.setattr, norm_rows=12, block_rows=0, min_shard_flops=0, epoch_flops=0,
              max_blocks=8)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_the_twins(kind, dtype, shards):
    """Weights and running averages; the averages feel no decay."""
    tolerance = {"float64": 1e-12, "float32": 1e-4}[dtype]
    for name, spec in networks(dtype):
        for gemm in ("native", "blas"):
            trainer, losses, twin, wanted = trained(spec, kind, gemm=gemm)
            np.testing.assert_allclose(losses, wanted, rtol=tolerance, err_msg=name)
            for mine, its in zip(trainer.layout.views(trainer.parameters), twin.parameters(),
                                 strict=True):
                np.testing.assert_allclose(mine, its, rtol=0,
                                           atol=tolerance * max(1, abs(its).max()), err_msg=name)


def test_gradients_are_the_twins_and_slopes(dtype, shards):
    """The gradient sees the statistics of each shard; of the running averages it is 0."""
    tolerance = {"float64": 1e-13, "float32": 1e-5}[dtype]
    for name, spec in networks(dtype):
        X, y = data(spec, "cross_entropy", True, 50)
        trainer = Trainer(spec, "cross_entropy", optimizer=None, batch_size=50, n_threads=1)
        start(trainer)
        trainer.set_data(X, y)
        twin, grad = reference.Twin.of(trainer), trainer.layout.allocate()
        twin.shard_rows = trainer.plan.shard_rows
        with single_threaded_blas():
            value = trainer.loss_and_grad(grad)
            assert trainer.loss_and_grad() == pytest.approx(
                reference.loss("cross_entropy", twin.run(X)[1], y)[0].mean(), rel=tolerance)
        wanted_value, wanted = twin.loss_and_grad(X, y, "cross_entropy")
        assert value == pytest.approx(wanted_value, rel=tolerance * 10), name
        for mine, its in zip(trainer.layout.views(grad), wanted, strict=True):
            np.testing.assert_allclose(mine, its, rtol=0, atol=tolerance * 10, err_msg=name)
        if dtype == "float64" and name == "chain":
            for at in range(0, trainer.layout.size, 7):
                middle, values = trainer.parameters[at], []
                for step in (1, -1):
                    trainer.parameters[at] = middle + step * 1e-5
                    values.append(trainer.loss_and_grad(trainer.layout.allocate()))
                trainer.parameters[at] = middle
                assert grad[at] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-8)


def test_same_bytes_for_any_number_of_threads(dtype, shards):
    for name, spec in networks(dtype):
        found = set()
        for n_threads in (1, 2, 3, 8):
            trainer, losses, _, _ = trained(spec, "adam", n_threads=n_threads, batch=41, epochs=1)
            assert trainer.team == min(n_threads, 3)
            found.add((trainer.parameters.tobytes(), tuple(losses)))
        assert len(found) == 1, name


def test_shards_have_rows_enough():
    """What is left over goes to the last shard; a batch of few rows is one."""
    for batch, shards, rows in [(128, 2, 64), (200, 3, 66), (100, 1, 100), (4096, 16, 256)]:
        plan = fastnn.MLP((64, 256, 256, 3), norm="batch", random_state=0).plan(batch)
        assert (plan.shards, plan.shard_rows) == (shards, rows)
        assert plan.shards * plan.shard_rows <= batch
    assert fastnn.MLP((64, 256, 256, 3), norm="layer").plan(128).shard_rows == 32


def test_predictions_take_running_averages(dtype):
    for name, spec in networks(dtype):
        net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=dtype)
        start(net)
        X, y = data(spec, "cross_entropy", True, 150)
        wanted = reference.Twin.of(net).predict(X)
        tolerance = {"float64": 1e-13, "float32": 1e-5}[dtype]
        found = net.predict(X)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance, err_msg=name)
        for row in (0, 97, 149):
            assert net.predict(X[row:row + 1]).tobytes() == found[row].tobytes()
        assert net.loss(X, y) == pytest.approx(
            reference.loss("cross_entropy", reference.Twin.of(net).run(X)[1], y)[0].mean(),
            rel=tolerance * 10)
        view = next(iter(blocks(net).values()))
        view += 1  # in place, as weights can be changed
        assert abs(net.predict(X) - found).max() > 1e-4


def test_a_batch_norm_learns_what_its_inputs_are():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(2000, 3)) * [1, 10, 0.1] + [5, -50, 0.2]).astype("float32")
    y = ((X - [5, -50, 0.2]) / [1, 10, 0.1]).sum(axis=1, keepdims=True).astype("float32")
    net = fastnn.MLP.of([BatchNorm(), Dense(16, "tanh"), Dense(1)], n_in=3, random_state=0)
    net.fit(X, y, epochs=20, optimizer=fastnn.Adam(0.02))
    mean, variance = blocks(net).values()
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=0.02, atol=0.05)
    np.testing.assert_allclose(variance, X.var(axis=0), rtol=0.2)
    assert np.square(net.predict(X) - y).mean() < 0.05


# ---- what does not move them ----


def test_a_shard_of_one_row_takes_the_averages_and_leaves_them(dtype):
    spec = fastnn.NetworkSpec.chain((4, 6, 3), "tanh", "softmax", norm="batch", dtype=dtype)
    trainer, losses, twin, wanted = trained(spec, "adam", batch=32, rows=33, shards=1, epochs=2)
    np.testing.assert_allclose(losses, wanted, rtol={"float64": 1e-12, "float32": 1e-5}[dtype])
    for mine, its in zip(trainer.layout.views(trainer.parameters), twin.parameters(), strict=True):
        np.testing.assert_allclose(mine, its, atol={"float64": 1e-12, "float32": 1e-5}[dtype])


def test_a_frozen_layer_is_normalised_by_its_averages():
    net = fastnn.MLP((4, 8, 8, 2), "tanh", "softmax", norm="batch", random_state=0)
    start(net)
    X, y = data(net.spec, "cross_entropy", True, 100)
    net.freeze(1)  # the first norm
    before = {name: view.copy() for name, view in net.named_parameters().items()}
    net.fit(X, y, epochs=2)
    for name, view in net.named_parameters().items():
        assert (view.tobytes() == before[name].tobytes()) == name.startswith("layers.1."), name
    net.freeze(0, 1, 2, 3, 4)
    before = net.parameters.tobytes()
    history = net.fit(X, y, epochs=1, batch_size=100)
    assert net.parameters.tobytes() == before
    assert history.loss[0] == pytest.approx(net.loss(X, y), rel=1e-6)


def test_an_evolution_strategy_leaves_them():
    net = fastnn.MLP((4, 8, 2), "tanh", "softmax", norm="batch", random_state=0)
    X, y = data(net.spec, "cross_entropy", True, 40)
    net.fit(X, y, optimizer=fastnn.EvolutionStrategy(population=4), epochs=1)
    mean, variance = blocks(net).values()
    assert (mean == 0).all() and (variance == 1).all()


def test_losses_gradients_and_given_gradients_leave_them():
    net = fastnn.MLP((4, 8, 2), "tanh", "softmax", norm="batch", random_state=0)
    start(net)
    X, y = data(net.spec, "cross_entropy", True, 100)
    before = net.parameters.tobytes()
    net.loss(X, y)
    _, grad = net.loss_and_grad(X, y)
    net.deltas(X, y)
    assert net.parameters.tobytes() == before
    trainer = Trainer(net.spec, "cross_entropy", optimizer=fastnn.SGD(), batch_size=50, n_threads=1)
    start(trainer)
    kept = {name: view.copy() for name, view in blocks(trainer).items()}
    trainer.set_data(X, y)
    trainer.apply(np.ones_like(grad), learning_rate=0.1)
    for name, view in blocks(trainer).items():
        assert view.tobytes() == kept[name].tobytes()


def test_what_clips_penalises_and_averages_sees_none_of_them():
    """Settings that need phases of their own come to what plain ones do, where they do nothing."""
    net = fastnn.MLP((4, 8, 2), "tanh", "softmax", norm="batch", random_state=0)
    X, y = data(net.spec, "cross_entropy", True, 100)

    def fit(optimizer=None, **settings):
        net = fastnn.MLP((4, 8, 2), "tanh", "softmax", norm="batch", random_state=0)
        net.fit(X, y, epochs=3, batch_size=30, optimizer=optimizer or fastnn.Adam(), **settings)
        return net

    plain = fit()
    assert fit(clip_norm=1e9).parameters.tobytes() == plain.parameters.tobytes()
    averaged = fit(fastnn.EMA(fastnn.Adam(), decay=0.9))
    for name, view in blocks(averaged).items():  # of the last step, as those of the weights' fit
        assert view.tobytes() == blocks(plain)[name].tobytes()
    assert averaged.weights[0].tobytes() != plain.weights[0].tobytes()
    decayed = fit(fastnn.AdamW(weight_decay=10.0))
    assert all((view > 0.1).all() for name, view in blocks(decayed, ("variance",)).items())


# ---- copies, files, checkpoints ----


def test_copies_and_files_keep_them(tmp_path, dtype):
    for name, spec in networks(dtype):
        net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=dtype)
        start(net)
        X, _ = data(spec, "cross_entropy", True, 20)
        net.save(tmp_path / "m.safetensors")
        other = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=dtype)
        other.set_weights(net.get_weights())
        for copy in (pickle.loads(pickle.dumps(net)), fastnn.load(tmp_path / "m.safetensors"),
                     other):
            assert copy.spec == net.spec
            assert copy.predict(X).tobytes() == net.predict(X).tobytes(), name
        assert "batch_norm" in spec.needs or "residual" in spec.needs


def test_a_fit_goes_on_from_its_checkpoint(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, net, history):
        if epoch == 2:
            raise Stop

    for optimizer in (fastnn.Adam(), fastnn.EMA(fastnn.SGD(0.1))):
        path = tmp_path / f"{type(optimizer).__name__}.checkpoint"

        def fit(optimizer=optimizer, **settings):
            net = fastnn.MLP((5, 9, 9, 2), output="softmax", norm="batch", residual=True,
                             random_state=0)
            X, y = data(net.spec, "cross_entropy", True, 150)
            history = net.fit(X, y, epochs=6, batch_size=70, validation_data=(X, y),
                              optimizer=optimizer, **settings)
            return net.parameters.tobytes(), history.loss, history.val_loss

        wanted = fit()
        with pytest.raises(Stop):
            fit(checkpoint=path, checkpoint_seconds=0, callback=stop)
        assert fit(checkpoint=path) == wanted


def test_estimators_have_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) * 3
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = fastnn.MLPClassifier((32, 32), norm="batch", max_iter=60, random_state=0,
                                 learning_rate_init=0.01, dtype="float32").fit(X, y)
    assert model.score(X, y) > 0.9
    assert [array.shape for array in model.norm_parameters_] == [(32,)] * 8
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    model.partial_fit(X, y)
    with pytest.raises(ValueError, match="solver='lbfgs'.*norm='batch'"):
        fastnn.MLPClassifier((8,), norm="batch", solver="lbfgs").fit(X, y)


# ---- bad input ----


def test_what_is_refused():
    X, y = np.zeros((10, 3), "float32"), np.zeros((10, 1), "float32")
    net = fastnn.MLP((3, 4, 1), norm="batch", random_state=0)
    for rows, batch_size in ((10, 1), (1, 128)):
        with pytest.raises(ValueError, match="batch_size=1, or X has one.*BatchNorm.*2 rows"):
            net.fit(X[:rows], y[:rows], batch_size=batch_size)
    net.freeze(1)
    net.fit(X, y, batch_size=1, epochs=1)
    net.unfreeze()
    with pytest.raises(ValueError, match=r"optimizer=LBFGS.*BatchNorm"):
        net.fit(X, y, optimizer=fastnn.LBFGS())
    for momentum in (0.0, 1.5, -1, np.nan):
        with pytest.raises(ValueError, match="momentum"):
            BatchNorm(momentum=momentum)
    with pytest.raises(ValueError, match="eps"):
        BatchNorm(eps=0)
    with pytest.raises(ValueError, match="norm='group' must be None, 'layer' or 'batch'"):
        fastnn.MLP((3, 4, 1), norm="group")
    arrays = net.get_weights()
    arrays[5][1] = -0.5
    with pytest.raises(ValueError, match=r"arrays\[5\].*variance.*-0.5.*>= 0"):
        net.set_weights(arrays)


def test_numbers_that_are_all_the_same():
    """A column without variance gives its bias, and its gain no gradient."""
    net = fastnn.MLP.of([BatchNorm(), Dense(2)], n_in=3, random_state=0)
    X = np.ones((50, 3), "float32")
    X[:, 1] = np.arange(50)
    history = net.fit(X, np.zeros((50, 2), "float32"), epochs=3)
    assert np.isfinite(history.loss).all() and np.isfinite(net.parameters).all()
