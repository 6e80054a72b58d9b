"""Targets and optimizers of rounds: several labels, label smoothing, averaged weights."""

import numpy as np
import pytest
from cluster_data import network, rows

import fastnn

da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")
import fastnn.dask  # noqa: E402


def test_averaged_weights_are_those_of_one_machine(client):
    X, y = rows()
    alone, spread = network(), network()
    alone.freeze(0)
    spread.freeze(0)
    settings = dict(optimizer=fastnn.EMA(fastnn.Adam(0.02), 0.9), epochs=2, batch_size=32)
    alone.fit(X, y, **settings)
    fastnn.dask.fit(spread, X, y, shards=1, local_steps=5, outer_momentum=0, **settings)
    assert spread.parameters.tobytes() == alone.parameters.tobytes()


def test_averaged_weights_of_shards(client, tmp_path):
    X, y = rows()
    path = tmp_path / "fit.safetensors"
    settings = dict(optimizer=fastnn.EMA(fastnn.Adam(0.05), 0.9), shards=3, local_steps=4)
    # in float32 a mean of equal numbers of three shards is that number, whatever is done
    nets = [network(dtype="float64") for _ in range(3)]
    first = nets[0].named_parameters()["layers.0.weight"].copy()
    for net in nets:
        net.freeze(0)
    history = fastnn.dask.fit(nets[0], X, y, epochs=4, validation_data=(X, y), **settings)
    assert (nets[0].named_parameters()["layers.0.weight"] == first).all()
    # the mean is what is validated, and what the network has
    assert history.val_loss[-1] == pytest.approx(nets[0].loss(X, y), rel=1e-6)

    for net, epochs in ((nets[1], 2), (nets[2], 4)):
        fastnn.dask.fit(net, X, y, epochs=epochs, checkpoint=path, **settings)
    assert nets[2].parameters.tobytes() == nets[0].parameters.tobytes(), "it went on"


pytest.importorskip("sklearn")
SMOOTH = fastnn.losses.CrossEntropy(label_smoothing=0.2)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(("kind", "loss"), [
    ("two", SMOOTH), ("three", SMOOTH), ("labels", SMOOTH), ("labels", "log_loss")])
def test_classifiers_have_the_iterates_of_one_machine(client, kind, loss):
    X, y = rows(200, "float64")
    y = {"two": y, "three": y + (X[:, 2] > 1), "labels": np.stack([y, X[:, 1] > 0], 1)}[kind]
    settings = dict(hidden_layer_sizes=(6,), solver="lbfgs", max_iter=6, random_state=0, loss=loss)
    alone = fastnn.MLPClassifier(**settings).fit(X, y)
    model = fastnn.dask.MLPClassifier(**settings, shards=3).fit(X, y)
    for one, other in zip(model.coefs_, alone.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    assert (model.classes_ == alone.classes_).all()
    assert (model.predict(X) == alone.predict(X)).all()


def test_several_labels(client):
    X, y = rows(120)
    y = np.stack([y, 1 - y, X[:, 1] > 0], axis=1)
    data = da.from_array(X, chunks=(50, 5)), da.from_array(y, chunks=(50, 3))
    model = fastnn.dask.MLPClassifier((8,), max_iter=2, shards=2, random_state=0).fit(*data)
    assert model.predict(data[0]).compute().shape == (120, 3)
    right = (model.predict(X) == y).all(axis=1).mean()
    assert model.score(*data) == pytest.approx(right) == pytest.approx(model.score(X, y))
    with pytest.raises(ValueError, match="partition 0: y has shape .* one column per label"):
        model.fit(X, y + 1)
    with pytest.raises(ValueError, match="class_weight='balanced' must be None for multilabel"):
        model.set_params(class_weight="balanced").fit(X, y)
