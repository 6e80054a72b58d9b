"""Ensembles whose members share a network (TabM-mini), against the twin and themselves."""

import copy
import pickle

import numpy as np
import pytest
import reference
import scipy.sparse
from each import each
from planning import DEFAULTS, use_rules

import fastnn
from fastnn import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Heads,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
    losses,
)
from fastnn.network.spec import NetworkSpec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(61, 5))
LABELS = RNG.integers(0, 3, 61)
TARGETS = RNG.normal(size=(61, 3))
WEIGHTS = RNG.uniform(0.2, 2.0, 61)
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}
SIZES = 5, 9, 7, 3


def ensemble(members=4, sizes=SIZES, output="softmax", dtype="float64", **settings):
    net = fastnn.MLP(sizes, "tanh", output, members=members, dtype=dtype, random_state=0,
                     **settings)
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=array.shape) * 0.4 for array in net.get_weights()])
    return net


def near(got, wanted, dtype):
    wanted = np.asarray(wanted, float)
    scale = max(1, np.abs(wanted).max())
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


NETWORKS = {
    "plain": dict(),
    "one member": dict(members=1),
    "many": dict(members=19),
    "no hidden layer": dict(sizes=(5, 3)),
    "norm and residual": dict(sizes=(5, 8, 8, 3), norm="layer", residual=True),
    "values": dict(output="identity"),
    "wide heads": dict(sizes=(5, 60, 3), members=3),
    "by BLAS": dict(gemm="blas"),
}


@each("name", NETWORKS)
@each("dtype", ["float32", "float64"])
@each("weighted", [False, True])
def test_loss_gradient_and_prediction_are_the_twins(name, dtype, weighted):
    net = ensemble(dtype=dtype, **NETWORKS[name])
    y = LABELS if net.output == "softmax" else TARGETS
    loss = "cross_entropy" if net.output == "softmax" else "squared_error"
    weights, alpha = (WEIGHTS, 0.7) if weighted else (None, 0.0)
    twin = reference.Twin.of(net)
    value, grad = net.loss_and_grad(X, y, sample_weight=weights, alpha=alpha)
    wanted, gradients = twin.loss_and_grad(X, y, loss, weights, alpha)
    near(value, wanted, dtype)
    for got, true in zip(net._layout.views(grad), gradients, strict=True):
        near(got, true, dtype)
    near(net.predict(X), twin.predict(X), dtype)
    near(net.predict(scipy.sparse.csr_matrix(X)), twin.predict(X), dtype)


def test_the_gradient_is_that_of_the_loss():
    net = ensemble(norm="layer", residual=True)
    _, grad = net.loss_and_grad(X, LABELS, alpha=0.3)
    direction = np.random.default_rng(2).normal(size=grad.size) * (grad != 0)
    found = []
    for h in (1e-5, -1e-5):
        moved = copy.deepcopy(net)
        moved.set_weights(net._layout.views(net.parameters + h * direction))
        found.append(moved.loss(X, LABELS, alpha=0.3))
    assert (found[0] - found[1]) / 2e-5 == pytest.approx(grad @ direction, rel=1e-8)


@each("members", [1, 3, 16])
def test_it_is_so_many_networks_with_a_mean(members):
    """Each member as a network of its own: its scale goes into the first W."""
    net = ensemble(members)
    scale, w0, b0, w1, b1, w2, b2 = net.get_weights()
    outputs, found = [], []
    for m in range(members):
        one = fastnn.MLP(SIZES, "tanh", "softmax", dtype="float64")
        one.set_weights([scale[m][:, None] * w0, b0, w1, b1, w2.reshape(members, 7, 3)[m], b2[m]])
        outputs.append(one.predict(X))
        found.append(one.loss(X, LABELS))
    np.testing.assert_allclose(net.predict(X), np.mean(outputs, axis=0), rtol=0, atol=1e-14)
    assert net.loss(X, LABELS) == pytest.approx(np.mean(found), rel=1e-13)
    if members > 1:  # the mean of the outputs has another loss
        of_mean = -np.log(net.predict(X)[range(61), LABELS]).mean()
        assert of_mean < net.loss(X, LABELS) - 1e-3


OPTIMIZERS = {
    "sgd": (fastnn.SGD(0.1), reference.SGD(), 0.1),
    "adam": (fastnn.Adam(0.01, eps=1e-3), reference.Adam(eps=1e-3), 0.01),
}


@each("optimizer", OPTIMIZERS)
@each("dropout", [0.0, 0.3])
@each("l2", [0.0, 0.5])
def test_steps_are_the_twins(optimizer, dropout, l2):
    """Dropout has masks of its own for each member."""
    ours, theirs, rate = OPTIMIZERS[optimizer]
    net = ensemble(3, sizes=(5, 8, 8, 3), norm="layer", residual=True, dropout=dropout)
    twin, theirs, seed = reference.Twin.of(net), copy.deepcopy(theirs), net._key(0, 0)
    history = net.fit(X, LABELS, optimizer=ours, epochs=6, batch_size=25, shuffle=False, alpha=l2)
    assert len(history.loss) == 6
    for step in range(18):
        rows = slice(25 * (step % 3), 25 * (step % 3 + 1))

        def drop(layer, shape, rate, step=step):
            return reference.dropout_mask(*shape, rate, seed, step, layer)

        _, gradients = twin.loss_and_grad(X[rows], LABELS[rows], "cross_entropy", alpha=l2,
                                          drop=drop if dropout else None)
        theirs.update(twin.arrays, gradients, rate)
    for got, true in zip(net.get_weights(), twin.arrays, strict=True):
        near(got, true, "float64")


FITS = {
    "plain": (dict(), dict()),
    "norm": (dict(norm="layer", residual=True, dropout=0.2, sizes=(5, 8, 8, 3)), dict()),
    "clipped": (dict(), dict(clip_norm=0.1, max_norm=0.5, l1=0.01)),
    "ema": (dict(members=2), dict(optimizer=fastnn.EMA(fastnn.Adam(0.01), 0.9))),
    "muon": (dict(), dict(optimizer=fastnn.Muon(0.01))),
    "mixup": (dict(), dict(mixup=0.5, input_noise=0.1, input_dropout=0.1)),
    "weights": (dict(), dict(sample_weight=WEIGHTS)),
    "blas": (dict(gemm="blas"), dict()),
}


@each("name", FITS)
@each("dtype", ["float32", "float64"])
def test_any_threads_give_the_same_bytes(name, dtype, monkeypatch):
    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=0, block_rows=8, head_rows=3,
              chunk_size=64, chunk_rows=4)
    settings, fit = FITS[name]
    found = set()
    for n_threads in (1, 2, 3, 8):
        net = ensemble(dtype=dtype, n_threads=n_threads, **settings)
        net.fit(X, LABELS, epochs=3, batch_size=30, **fit)
        found.add((net.parameters.tobytes(), net.predict(X).tobytes()))
    assert len(found) == 1


def test_a_row_does_not_depend_on_its_neighbours(dtype):
    net = ensemble(6, dtype=dtype)
    many = np.tile(X.astype(dtype), (9, 1))
    whole = net.predict(many)
    assert whole.tobytes() == ensemble(6, dtype=dtype, n_threads=3).predict(many).tobytes()
    for rows in (1, 2, 7, 96):
        assert net.predict(many[5:5 + rows]).tobytes() == whole[5:5 + rows].tobytes()
    assert np.isnan(net.predict(np.full((2, 5), np.nan, dtype))).all()
    assert net.predict(many[:0]).shape == (0, 3)


def test_mixup_trains_each_member_on_the_same_mixture():
    net, other = ensemble(2), ensemble(2)
    net.fit(X, LABELS, epochs=1, batch_size=61, shuffle=False, mixup=0.4,
            optimizer=fastnn.SGD(0.1, momentum=0.0))
    twin, seed = reference.Twin.of(other), other._key(0, 0)
    changed, y, _ = reference.changed_inputs(X, reference.one_hot(LABELS, 3), None, seed, 0,
                                             mixup=0.4)
    _, gradients = twin.loss_and_grad(changed, y, "cross_entropy")
    for got, start, gradient in zip(net.get_weights(), twin.arrays, gradients, strict=True):
        near(got, start - 0.1 * gradient, "float64")


def test_the_limit_of_norms_is_that_of_each_members_units():
    net = ensemble(5)
    net.fit(X, LABELS, epochs=1, max_norm=0.3, optimizer=fastnn.SGD(1e-12))
    w0, heads = net.weights[0], net.weights[-1].reshape(5, 7, 3)
    for norms in (np.linalg.norm(w0, axis=0), np.linalg.norm(heads, axis=1)):
        assert norms.max() <= 0.3 * (1 + 1e-12)
        assert norms.max() == pytest.approx(0.3)


def test_other_losses():
    for loss in (losses.Huber(0.5), losses.Quantile([0.1, 0.5, 0.9]),
                 losses.Custom(lambda y, z: (z - y) ** 2, lambda y, z: 2 * (z - y))):
        net = ensemble(3, output="identity")
        members = [fastnn.MLP(SIZES, "tanh", "identity", dtype="float64") for _ in range(3)]
        scale, w0, b0, w1, b1, w2, b2 = net.get_weights()
        found = []
        for m, one in enumerate(members):
            one.set_weights([scale[m][:, None] * w0, b0, w1, b1, w2.reshape(3, 7, 3)[m], b2[m]])
            found.append(one.loss(X, TARGETS, loss=loss))
        assert net.loss(X, TARGETS, loss=loss) == pytest.approx(np.mean(found), rel=1e-12)


def test_the_start():
    net = fastnn.MLP((40, 30, 2), members=16, random_state=0)
    scale, w0, b0, heads, biases = net.get_weights()
    assert set(np.unique(scale)) == {-1, 1}
    assert abs(scale.mean()) < 0.2
    assert len(np.unique(scale, axis=0)) == 16
    assert heads.shape == (16 * 30, 2) and biases.shape == (16, 2) and not biases.any()
    bound = np.sqrt(6 / 32)  # of one member's head
    assert 0.9 * bound < np.abs(heads).max() <= bound
    assert np.abs(w0).max() <= np.sqrt(6 / 70) and not b0.any()
    assert net.n_parameters == 16 * 40 + 41 * 30 + 16 * 31 * 2 == net.spec.n_parameters
    again = fastnn.MLP((40, 30, 2), members=16, random_state=0)
    assert again.parameters.tobytes() == net.parameters.tobytes()
    zeros = fastnn.MLP((40, 30, 2), members=3, initializer="zeros", random_state=0)
    assert set(np.unique(zeros.get_weights()[0])) == {-1, 1} and not zeros.get_weights()[1].any()


def test_it_learns():
    rng = np.random.default_rng(3)
    data = rng.normal(size=(400, 4)).astype("float32")
    y = (data[:, 0] * data[:, 1] > 0).astype(int)
    net = fastnn.MLP((4, 24, 2), output="softmax", members=8, random_state=0)
    net.fit(data, y, optimizer=fastnn.Adam(0.02), epochs=60, batch_size=40)
    assert (net.predict(data).argmax(axis=1) == y).mean() > 0.95
    np.testing.assert_allclose(net.predict(data).sum(axis=1), 1, atol=1e-5)


def test_activations_of_the_members():
    net = ensemble(4)
    first, second, output = net.activations_of(X)
    scale, w0, b0, *_ = net.get_weights()
    assert first.shape == (61, 4, 9) and second.shape == (61, 4, 7)
    np.testing.assert_allclose(first, np.tanh((X[:, None] * scale) @ w0 + b0), atol=1e-14)
    assert output.tobytes() == net.predict(X).tobytes()


# ---- kept and read again ----

def test_files_pickles_and_copies(dtype, tmp_path):
    net = ensemble(3, dtype=dtype)
    net.fit(X, LABELS, epochs=1)
    net.save(tmp_path / "model.safetensors")
    for same in (fastnn.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(net)),
                 copy.deepcopy(net), pickle.loads(pickle.dumps(net.spec)) and net):
        assert same.spec == net.spec
        assert same.parameters.tobytes() == net.parameters.tobytes()
        assert same.predict(X).tobytes() == net.predict(X).tobytes()
    assert {"heads", "layers", "repeat"} == set(net.spec.needs)
    assert NetworkSpec.from_plain(net.spec.to_plain()) == net.spec
    assert list(net.named_parameters()) == [
        "layers.0.scale", "layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias",
        "layers.3.weight", "layers.3.bias"]
    assert eval(repr(net), vars(fastnn) | {"MLP": fastnn.MLP}).spec == net.spec


def test_a_checkpoint_goes_on_to_the_same_bytes(tmp_path):
    whole = ensemble(3, dropout=0.2)
    whole.fit(X, LABELS, epochs=6)
    path = tmp_path / "fit.checkpoint"
    ensemble(3, dropout=0.2).fit(X, LABELS, epochs=2, checkpoint=path)
    resumed = ensemble(3, dropout=0.2)
    history = resumed.fit(X, LABELS, epochs=6, checkpoint=path)
    assert len(history.loss) == 6
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()


def test_other_ways_to_train():
    net, same = ensemble(3), ensemble(3)
    net.fit_batches([(X[:30], LABELS[:30]), (X[30:], LABELS[30:])], epochs=2)
    same.fit_batches([(X[:30], LABELS[:30]), (X[30:], LABELS[30:])], epochs=2)
    assert net.parameters.tobytes() == same.parameters.tobytes()
    before = net.loss(X, LABELS)
    net.fit(X, LABELS, optimizer=fastnn.LBFGS(max_iter=20))
    assert net.loss(X, LABELS) < before
    fastnn.fit_many([net, same], X, LABELS, epochs=2)
    alone = ensemble(3)
    alone.fit_batches([(X[:30], LABELS[:30]), (X[30:], LABELS[30:])], epochs=2)
    alone.fit(X, LABELS, epochs=2)
    assert alone.parameters.tobytes() == same.parameters.tobytes()


# ---- bad input ----

@each("members, kind", [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("4", TypeError),
                        (True, TypeError), (2**40, ValueError)])
def test_members_that_are_no_number_of_them(members, kind):
    with pytest.raises(kind, match="members="):
        fastnn.MLP((3, 4, 2), members=members)


@each("layers, message", [
    ([Repeat(2), Dense(3), Dense(2)], "Heads as its last"),
    ([Dense(3), Heads(2, 2)], "one Repeat"),
    ([Heads(2, 2), Repeat(2)], "Heads as its last"),
    ([Residual([Repeat(2)]), Heads(2, 2)], "in no Residual"),
    ([Repeat(2), Heads(3, 2), Heads(2, 2)], "no other of them"),
    ([Repeat(2), Heads(2, 2), Dense(1)], "Heads as its last"),
    ([Repeat(2), Residual([Repeat(2)]), Heads(2, 2)], "no other of them"),
    ([Repeat(2), Dense(3), Heads(2, 3)], "members=3 of Heads must be 2, as of Repeat"),
])
def test_orders_of_layers_that_are_none(layers, message):
    with pytest.raises(ValueError, match=message):
        fastnn.MLP.of(layers, n_in=3)


def test_what_an_ensemble_has_not():
    with pytest.raises(ValueError, match="members=4"):
        ensemble().deltas(X, LABELS)
    with pytest.raises(ValueError, match="muon"):
        ensemble().fit(X, LABELS, optimizer=fastnn.Muon(0.01, layers={3: dict(muon=True)}))


BEHIND = {
    "a dense one": [Dense(7), Repeat(3), Dense(6, "gelu"), Heads(3, 3)],
    "relu, whose gate no product has": [Dense(7, "relu"), Repeat(3), Heads(3, 3)],
    "several": [Dense(7, "relu"), LayerNorm(), Residual([Dense(7, "silu"), Dropout(0.2)]),
                Repeat(5), LayerNorm(), Dense(6, "relu"), Residual([Dense(6)]), Heads(3, 5)],
    "all kinds": [Scale(), Dense(6), PReLU(per_unit=True), Scale(), Repeat(2), Scale(), PReLU(),
                  Dense(8, "tanh"), Heads(3, 2)],
    "wide": [Dense(300), Repeat(2), Dense(40, "relu"), Heads(3, 2)],
}


IN_THE_MIDDLE = [Repeat(3), Activation("tanh"), Dropout(0.2), LayerNorm(), Dense(6, "relu"),
                 Residual([Dense(6, "gelu"), Dropout(0.1)]), Heads(3, 3)]


@each("layers", [IN_THE_MIDDLE, *BEHIND.values()])
@each("rules", [{}, dict(epoch_flops=0, min_shard_flops=0, block_rows=8, head_rows=1)])
def test_layers_in_the_middle_and_before(layers, rules, monkeypatch):
    """In one shard, and in several."""
    use_rules(monkeypatch.setattr, **{**DEFAULTS, **rules})
    net = fastnn.MLP.of(layers, n_in=5, output="softmax", dtype="float64", random_state=0)
    assert net.plan(len(X)).shards > 1 or not rules
    twin = reference.Twin.of(net)
    near(net.predict(X), twin.predict(X), "float64")
    near(net.predict(X[:1]), twin.predict(X[:1]), "float64")
    _, grad = net.loss_and_grad(X, LABELS)
    for got, true in zip(net._layout.views(grad),
                         twin.loss_and_grad(X, LABELS, "cross_entropy")[1], strict=True):
        near(got, true, "float64")


@each("layers", BEHIND)
def test_repeats_behind_layers_have_the_same_bytes_for_any_threads(layers, monkeypatch):
    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=0, block_rows=8, head_rows=1)
    found = []
    for threads in (1, 2, 3):
        net = fastnn.MLP.of(BEHIND[layers], n_in=5, output="softmax", random_state=0,
                            n_threads=threads)
        assert net.plan(40).shards > 1
        net.fit(X, LABELS, optimizer=fastnn.AdamW(0.01), epochs=3, batch_size=40)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1] == found[2]


def test_batch_norm_on_both_sides_of_a_repeat():
    """Its statistics are of the rows that come in: before it as many as the batch has."""
    layers = [Dense(7), BatchNorm(), Repeat(3), Dense(6, "gelu"), BatchNorm(), Heads(3, 3)]
    net = fastnn.MLP.of(layers, n_in=5, output="softmax", dtype="float64", random_state=0)
    net.fit(X, LABELS, epochs=2, batch_size=31)
    twin = reference.Twin.of(net)
    near(net.predict(X), twin.predict(X), "float64")
    value, grad = net.loss_and_grad(X, LABELS)
    direction = np.random.default_rng(2).normal(size=grad.size) * (grad != 0)
    found = []
    for h in (1e-6, -1e-6):
        moved = copy.deepcopy(net)
        moved.set_weights(net._layout.views(net.parameters + h * direction))
        found.append(moved.loss_and_grad(X, LABELS)[0])
    assert (found[0] - found[1]) / 2e-6 == pytest.approx(grad @ direction, rel=1e-6)


def test_codes_before_a_repeat_are_the_dense_encoding():
    encoder = fastnn.encoders.Encoder(fastnn.encoders.Numbers(8)).fit(X)
    codes, dense = encoder.transform(X, "float64"), encoder.to_dense(X)
    nets = [fastnn.MLP.of([Dense(7), Repeat(3), Dense(6, "gelu"), Heads(3, 3)], dtype="float64",
                          n_in=encoder.n_inputs, output="softmax", random_state=0)
            for _ in range(2)]
    for net, inputs in zip(nets, (codes, dense), strict=True):
        net.fit(inputs, LABELS, epochs=4, batch_size=20)
    near(nets[0].parameters, nets[1].parameters, "float64")
    near(nets[0].predict(codes), nets[1].predict(dense), "float64")
