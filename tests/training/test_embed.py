"""`Embed`: embeddings of columns, against the twin and a dense layer that is block-diagonal."""

import pickle

import numpy as np
import pytest
import reference
import scipy.sparse
from each import each

import fastnn
from fastnn import GLU, Activation, Dense, Dropout, Embed, Heads, LayerNorm, Repeat
from fastnn.core.codes import Codes
from fastnn.encoders import Categories, Encoder, Numbers

ROWS = 90
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
REST = (Activation("tanh"), Dense(6, "relu"), Dense(3))


def encoder(bins=7, n_columns=3):
    """Numbers with missing ones, and categories by turns."""
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=ROWS) if i % 2 == 0 else
               np.array(["a", "b", None, "c"], object)[rng.integers(0, 4, ROWS)]
               for i in range(n_columns)]
    columns[0][::7] = np.nan
    kinds = [Numbers(bins) if i % 2 == 0 else Categories() for i in range(n_columns)]
    return Encoder(kinds).fit(columns), columns


def made(dtype="float64", units=4, rest=REST, **settings):
    found, columns = encoder(**settings)
    net = fastnn.MLP.of([Embed(units, found.counts), *rest], n_in=found.n_inputs, output="softmax",
                        dtype=dtype, random_state=0)
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=array.shape) * 0.4 for array in net.get_weights()])
    return net, found.transform(columns, dtype), found.to_dense(columns, dtype)


def as_dense(net):
    """The network whose first layer is dense: its W is block-diagonal."""
    embed, *rest = net.spec.layers
    other = fastnn.MLP.of([Dense(embed._width(0)), *rest], n_in=net.spec.n_in,
                          output=net.spec.output, dtype=net.dtype.name, random_state=0)
    w, *arrays = net.get_weights()
    other.set_weights([expanded(embed, w), *arrays])
    return other


def expanded(embed, w):
    blocks = np.split(w, np.cumsum(embed.counts)[:-1])
    return scipy.sparse.block_diag(blocks).toarray().astype(w.dtype)


def labels(rows=ROWS):
    return np.random.default_rng(2).integers(0, 3, rows)


def forms(codes, dense):
    """The same rows as codes, sparse, and dense."""
    return {"codes": codes, "sparse": scipy.sparse.csr_matrix(dense), "dense": dense}


def close(got, wanted, dtype="float64"):
    scale = max(1.0, np.abs(np.asarray(wanted, float)).max())
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


@each("settings", [{}, {"units": 1}, {"n_columns": 1}, {"n_columns": 130, "units": 2},
                   {"units": 40}, {"units": 300, "n_columns": 2},
                   {"units": 256, "n_columns": 2}])  # rows of a page, which are padded
def test_losses_gradients_and_predictions_are_the_twins_and_the_dense_ones(settings, dtype):
    net, codes, dense = made(dtype, **settings)
    twin, other, y = reference.Twin.of(net), as_dense(net), labels()
    value, gradients = twin.loss_and_grad(dense, y, "cross_entropy", None, 0.3)
    for name, X in forms(codes, dense).items():
        loss, grad = net.loss_and_grad(X, y, alpha=0.3)
        close(loss, value, dtype)
        for got, wanted in zip(net._layout.views(grad), gradients, strict=True):
            close(got, wanted, dtype)
        close(net.predict(X), twin.predict(dense), dtype)
        close(net.predict(X), other.predict(dense), dtype)
        close(net.loss(X, y), other.loss(dense, y), dtype)
        for got, wanted in zip(net.activations_of(X), other.activations_of(dense), strict=True):
            close(got, wanted, dtype)
        assert net.predict(X[5:6]).tobytes() == net.predict(X)[5:6].tobytes(), name


@each("name, settings", [("Adam", {}), ("SGD", {"momentum": 0.0}), ("Adagrad", {}),
                         ("SGD", {"momentum": 0.9})])
@each("form", ["codes", "sparse", "dense"])
def test_steps_are_those_of_the_twin(form, name, settings):
    """Adagrad and plain SGD leave rows without an entry as they are."""
    net, codes, dense = made()
    twin = reference.Twin.of(net)
    reference.train(twin, dense, labels(), loss_name="cross_entropy", batch_size=30,
                    optimizer=getattr(reference, name)(**settings),
                    orders=[np.arange(ROWS)] * 10, learning_rates=[0.05] * 10)
    net.fit(forms(codes, dense)[form], labels(), epochs=10, batch_size=30, shuffle=False,
            optimizer=getattr(fastnn, name)(0.05, **settings))
    for got, wanted in zip(net.get_weights(), twin.parameters(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


@each("fit", [{"clip_norm": 0.1}, {"l1": 0.01, "alpha": 0.1}, {"optimizer": fastnn.Muon(0.01)},
              {"optimizer": fastnn.LBFGS()}, {"sample_weight": np.linspace(0, 1, ROWS)},
              {"input_dropout": 0.2}, {"optimizer": fastnn.EMA(fastnn.Adam(0.01))}])
def test_what_else_a_fit_takes(fit):
    """As a sparse X, the result is that of the dense rows."""
    nets = []
    for form in ("sparse", "dense"):
        net, codes, dense = made()
        net.fit(forms(codes, dense)[form], labels(), epochs=3, **fit)
        nets.append(net)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, atol=1e-9)


def test_same_bytes_for_any_number_of_threads(dtype):
    net, codes, dense = made(dtype, n_columns=5)
    for X in forms(codes, dense).values():
        found = set()
        for threads in (1, 2, 3, 8):
            one = pickle.loads(pickle.dumps(net))
            one.n_threads = threads
            one.fit(X, labels(), epochs=2, batch_size=64)
            found.add(one.parameters.tobytes() + one.predict(X).tobytes())
        assert len(found) == 1


def test_initial_weights_are_those_of_a_dense_layer_of_each_column():
    net = fastnn.MLP.of([Embed(50, (2, 200)), Dense(1)], n_in=202, initializer="he_normal",
                        random_state=0)
    w = net.weights[0]
    assert w.shape == (202, 50) and net.biases[0].shape == (100,) and net.sizes == (202, 100, 1)
    np.testing.assert_allclose(w[:2].std(), 1.0, rtol=0.3)
    np.testing.assert_allclose(w[2:].std(), 0.1, rtol=0.1)


def test_many_networks_in_one_pass():
    _, codes, _ = made()
    solo, together = ([fastnn.MLP.of([Embed(3, encoder()[0].counts), Dense(8), GLU(), Dense(3)],
                                     n_in=codes.shape[1], output="softmax", dtype="float64",
                                     random_state=seed) for seed in range(3)] for _ in range(2))
    fastnn.fit_many(together, codes, labels(), epochs=3, batch_size=30)
    for one, other in zip(solo, together, strict=True):
        one.fit(codes, labels(), epochs=3, batch_size=30)
        assert one.parameters.tobytes() == other.parameters.tobytes()


def test_files_pickles_and_raw_rows(tmp_path):
    found, columns = encoder()
    net, codes, _ = made("float32")
    net.save(tmp_path / "model", encoder=found)
    model = fastnn.load(tmp_path / "model")
    assert model.net.spec == net.spec and net.spec.needs == ("activation", "embed", "layers")
    rows = dict(enumerate(columns))
    assert model.predict(rows).tobytes() == net.predict(codes).tobytes()
    again = pickle.loads(pickle.dumps(net))
    assert again.predict(codes).tobytes() == net.predict(codes).tobytes()


def test_checkpoints_batches_and_single_steps(tmp_path):
    net, codes, dense = made()
    whole, parts = (pickle.loads(pickle.dumps(net)) for _ in range(2))
    whole.fit(codes, labels(), epochs=4)
    parts.fit(codes, labels(), epochs=2, checkpoint=tmp_path / "c")
    parts.fit(codes, labels(), epochs=4, checkpoint=tmp_path / "c")
    assert whole.parameters.tobytes() == parts.parameters.tobytes()
    one, other = (pickle.loads(pickle.dumps(net)) for _ in range(2))
    one.fit_batches([(codes, labels())])
    other.fit(codes, labels(), epochs=1, batch_size=ROWS, shuffle=False)
    close(one.parameters, other.parameters)
    steps = net.steps(fastnn.SGD(0.1), batch_size=ROWS)
    first = steps(dense, labels())
    assert steps(dense, labels()) < first


def test_members_dropout_and_frozen_embeddings():
    rest = (Dropout(0.2), Repeat(3), LayerNorm(), Dense(5, "relu"), Heads(3, 3))
    net, codes, dense = made(rest=rest)
    close(net.predict(codes), reference.Twin.of(net).predict(dense))
    net.freeze(0)
    before = net.weights[0].copy(), net.biases[0].copy(), net.weights[1].copy()
    net.fit(codes, labels(), epochs=2)
    assert np.array_equal(before[0], net.weights[0]) and np.array_equal(before[1], net.biases[0])
    assert not np.array_equal(before[2], net.weights[1])


# ---- bad input ----

@each("layers, error, message", [
    ([Dense(6), Embed(2, (3, 3)), Dense(2)], ValueError, "must be the first layer"),
    ([Embed(2, (3, 3)), Embed(2, (2, 2)), Dense(2)], ValueError, "must be the first layer"),
    ([fastnn.Residual([Embed(3, (3, 3))]), Dense(2)], ValueError, "must be the first layer"),
    ([Embed(2, (3, 4)), Dense(2)], ValueError, "add up to 7, must be n_in=6"),
    ([Embed(2, (3, 3))], ValueError, "must hold a Dense layer"),
])
def test_orders_of_layers(layers, error, message):
    with pytest.raises(error, match=message):
        fastnn.MLP.of(layers, n_in=6)


def test_settings():
    for arguments, error, message in (((0, (1, 2)), ValueError, "units=0"),
                                      ((2, ()), TypeError, "counts=.*sequence of int"),
                                      ((2, 3), TypeError, "counts=3"),
                                      ((2, (1, 0)), ValueError, "counts=0"),
                                      ((2, (1, 2.5)), TypeError, "counts=2.5")):
        with pytest.raises(error, match=message):
            Embed(*arguments)


def test_entries_out_of_order_are_named():
    net, codes, dense = made()
    sparse = scipy.sparse.csr_matrix(dense)
    unsorted = sparse.copy()
    first = slice(sparse.indptr[4], sparse.indptr[5])
    unsorted.indices[first] = sparse.indices[first][::-1]
    unsorted.data[first] = sparse.data[first][::-1]
    unsorted.has_sorted_indices = False
    start, column = codes.indptr, codes.indices.copy()
    column[start[2]:start[3]] = column[start[2]:start[3]][::-1].copy()
    for X in (unsorted, Codes(codes.data, column, start, codes.adds)):
        for action in (net.predict, lambda X: net.fit(X, labels()),
                       lambda X: net.loss(X, labels())):
            with pytest.raises(ValueError, match="order of the columns of Embed"):
                action(X)
    unsorted.sort_indices()
    close(net.predict(unsorted), net.predict(dense))


def test_what_cannot_be_had_is_named():
    net, codes, dense = made()
    with pytest.raises(ValueError, match=r"max_norm=1.0 cannot be had for an Embed"):
        net.fit(codes, labels(), max_norm=1.0)
    net.fit(codes, labels(), max_norm=1.0, epochs=1,
            optimizer=fastnn.Adam(layers={0: {"max_norm": None}}))
    with pytest.raises(ValueError, match=r"layers\[0\]\['muon'\]=True"):
        net.fit(codes, labels(), optimizer=fastnn.Muon(layers={0: {"muon": True}}))
    with pytest.raises(ValueError, match="n_in cannot grow: beside a Embed layer"):
        net.grow(n_in=net.spec.n_in + 1)
    wild = dense.copy()
    wild[3, 2] = np.nan
    assert np.isnan(net.predict(wild)[3]).all() and np.isfinite(np.delete(net.predict(wild), 3, 0)
                                                                ).all()
