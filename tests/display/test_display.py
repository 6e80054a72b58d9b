"""Pictures by matplotlib: what is drawn, looked at as numbers."""

import sys

import numpy as np
import pytest

import fastnn

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from fastnn.display import (  # noqa: E402
    activations,
    decision_boundary,
    hidden_units,
    loss_surface,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def xor():
    """(X, y, trained network, the path of its weights)."""
    X = np.random.default_rng(0).uniform(-1, 1, size=(200, 2)).astype("float32")
    y = (X[:, 0] * X[:, 1] > 0).astype("int32")
    net, record = fastnn.MLP((2, 8, 1), output="sigmoid", random_state=0), fastnn.RecordPath()
    net.fit(X, y, optimizer=fastnn.Adam(0.05), epochs=40, batch_size=32, callbacks=[record])
    assert ((net.predict(X)[:, 0] > 0.5) == y).mean() > 0.95
    return X, y, net, record


# ---- histories and curves of learning rates ----

def test_plot_of_a_history():
    X = np.ones((8, 2), "float32")
    history = fastnn.MLP((2, 1), random_state=0).fit(
        X, X[:, 0], epochs=5, validation_data=(X, X[:, 0]), metrics=["neg_mean_squared_error"])
    ax = history.plot()
    assert [line.get_label() for line in ax.lines] == ["loss", "val_loss"]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), list(enumerate(history.loss, 1)))
    assert ax.get_xlabel() == "epoch" and ax.get_ylabel() == "loss"
    same = history.plot(ax, names=["val_neg_mean_squared_error"], log=False)
    assert same is ax and len(ax.lines) == 3
    assert history.plot(names="loss", log=True).get_yscale() == "log"
    with pytest.raises(KeyError, match="val_f1"):
        history.plot(names=["val_f1"])


def test_scale_of_a_history():
    history = fastnn.training.history.History()
    for loss, scale in (([1.0, 0.5], "linear"), ([1.0, 1e-4], "log"), ([1.0, -1e-4], "linear"),
                        ([float("nan"), 1.0, 1e-3], "log"), ([], "linear")):
        history.loss = loss
        assert history.plot().get_yscale() == scale, loss


def test_plot_of_learning_rates(xor):
    X, y, net, _ = xor
    curve = fastnn.find_learning_rate(net, X, y)
    ax = curve.plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), curve.losses)


# ---- decision boundaries ----

def image_of(ax):
    return np.asarray(ax.images[0].get_array())


def test_boundary_of_a_network(xor):
    X, y, net, _ = xor
    ax = decision_boundary(net, X, y, grid=21, margin=0)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert (left, right, low, high) == pytest.approx(
        [X[:, 0].min(), X[:, 0].max(), X[:, 1].min(), X[:, 1].max()])
    corners = np.array([[left, low], [right, low], [left, high], [right, high]])
    image = image_of(ax)
    np.testing.assert_allclose(
        [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]],
        net.predict(corners.astype("float32"))[:, 0], rtol=1e-4)
    assert ax.collections[-1].get_offsets().shape == (200, 2)
    assert decision_boundary(net, X, ax=ax, grid=5) is ax


def test_boundary_of_estimators_and_predictors(xor, tmp_path):
    X, y, net, _ = xor
    pytest.importorskip("sklearn")
    names = np.array(["no", "yes"])[y]
    est = fastnn.MLPClassifier((8,), learning_rate_init=0.02, max_iter=60, random_state=0,
                               tol=0, n_iter_no_change=1000)
    with pytest.warns(UserWarning):
        est.fit(X, names)
    ax = decision_boundary(est, X, names, grid=11)
    rows = np.stack(np.meshgrid(*(np.linspace(*limits, 11) for limits in
                                  (ax.get_xlim(), ax.get_ylim()))), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(image_of(ax).ravel(), est.predict_proba(rows)[:, 1], atol=1e-4)
    np.testing.assert_array_equal(ax.collections[-1].get_array(), y)
    net.save(tmp_path / "net.safetensors", classes=["no", "yes"])
    model = fastnn.load(tmp_path / "net.safetensors")
    decision_boundary(model, X, names, grid=5)


def test_labels_that_the_model_has_not_are_named(xor):
    """matplotlib listed all of them; of numbers beside names all points had one colour."""
    X, y, net, _ = xor
    with pytest.raises(ValueError, match="y holds .*'.*, the network has numbers for classes"):
        decision_boundary(net, X, np.array(["no", "yes"])[y])
    pytest.importorskip("sklearn")
    model = fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=20, random_state=0)
    model.fit(X, np.array(["no", "yes"])[y])
    with pytest.raises(ValueError, match=r"y holds 0, which is no class of the model: \['no', 'y"):
        decision_boundary(model, X, y)
    decision_boundary(model, X, np.array(["no", "yes"])[y])


def test_boundary_of_several_classes(xor):
    X = xor[0]
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    net = fastnn.MLP((2, 8, 3), output="softmax", random_state=0)
    net.fit(X, y, optimizer=fastnn.Adam(0.05), epochs=40)
    ax = decision_boundary(net, X, y, grid=9)
    assert image_of(ax).shape == (9, 9, 3)
    assert len(np.unique(image_of(ax).reshape(-1, 3).round(1), axis=0)) > 3


def test_surface_of_a_regression(xor):
    X, _, _, _ = xor
    net = fastnn.MLP((2, 4, 1), random_state=0)
    image = image_of(decision_boundary(net, X, X[:, 0], grid=7, colorbar=True))
    assert image.min() < 0 or image.max() > 1 or np.ptp(image) > 0


def test_frames_name_the_axes(xor):
    pandas = pytest.importorskip("pandas")
    X, y, net, _ = xor
    ax = decision_boundary(net, pandas.DataFrame(X, columns=["age", "income"]), y, grid=5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "income")


@pytest.mark.parametrize("wrong, message", [
    (dict(X=np.ones((5, 3))), r"X has shape \(5, 3\), must be \(n_samples, 2\)"),
    (dict(X=np.ones((0, 2))), "X has shape"),
    (dict(X=np.full((5, 2), np.nan)), "X holds NaN"),
    (dict(y=np.zeros(3)), r"y has shape \(3,\), must be \(200,\)"),
    (dict(grid=1), "grid=1 must be from 2 to 2000"),
    (dict(grid=10**9), "must be from 2 to 2000"),
    (dict(margin=-1), "margin=-1"),
    (dict(model=fastnn.MLP((2, 3, 4))), "4 values for each point"),
])
def test_wrong_arguments(xor, wrong, message):
    X, y, net, _ = xor
    with pytest.raises(ValueError, match=message):
        decision_boundary(**{"model": net, "X": X, "y": y, **wrong})


# ---- units ----

def test_maps_of_hidden_units(xor):
    X, _, net, _ = xor
    figure = hidden_units(net, X, grid=5, margin=0)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == 8 + 1
    corner = X.min(axis=0)[None]
    for layer, units in zip(net.activations_of(corner), (shown[:8], shown[8:]), strict=True):
        np.testing.assert_allclose([image_of(ax)[0, 0] for ax in units], layer[0], atol=1e-5)
    assert len([ax for ax in hidden_units(net, X, layers=[1], grid=3).axes if ax.images]) == 1
    wide = fastnn.MLP((2, 30, 1))
    figure = hidden_units(wide, X, layers=[0], grid=3)
    assert len(figure.axes) == 10 and "of 30" in figure.axes[0].get_ylabel()
    for wrong in ([2], [-1], ["0"]):
        with pytest.raises(ValueError, match="there are layers 0...1"):
            hidden_units(net, X, layers=wrong)
    with pytest.raises(TypeError, match="must be a fastnn.MLP"):
        hidden_units("net", X)


def test_picture_of_activations(xor):
    X, _, net, _ = xor
    ax = activations(net, X)
    image, found = image_of(ax), net.activations_of(X)[0]
    assert image.shape == (200, 8)
    assert (np.diff(image.mean(axis=0)) >= 0).all()
    np.testing.assert_allclose(np.sort(image, axis=1), np.sort(found, axis=1))
    dead = fastnn.MLP((2, 3, 1), random_state=0)
    arrays = dead.get_weights()
    arrays[0][:, 1], arrays[1][1] = 0, -1
    dead.set_weights(arrays)
    assert "3 units, 1 of them always the same" in activations(dead, X).get_title()
    with pytest.raises(ValueError, match="layer=2: there are layers 0...1"):
        activations(net, X, layer=2)
    with pytest.raises(ValueError, match="X has 0 rows"):
        activations(net, X[:0])


# ---- the surface of the loss ----

def test_surface_with_a_path(xor):
    X, y, net, record = xor
    before = net.parameters.copy()
    surface = loss_surface(net, X, y, path=record, grid=15)
    np.testing.assert_array_equal(net.parameters, before)
    np.testing.assert_allclose(surface.directions @ surface.directions.T, np.eye(2), atol=1e-6)
    assert surface.path.shape == (41, 2) and 0.5 < surface.explained <= 1
    np.testing.assert_allclose(surface.path[-1], 0, atol=1e-6)
    # any point of it is the loss of the network there
    other = fastnn.MLP((2, 8, 1), output="sigmoid")
    for i, j in ((0, 0), (3, 11), (14, 7)):
        flat = (surface.center + surface.a[j] * surface.directions[0]
                + surface.b[i] * surface.directions[1])
        other.parameters[:] = flat
        assert surface.losses[i, j] == pytest.approx(other.loss(X, y), rel=1e-5)
    same = loss_surface(net, X, y, path=record.path, grid=15)
    np.testing.assert_array_equal(same.losses, surface.losses)
    ax = surface.plot()
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), surface.path)
    assert "of its variance" in ax.get_title()


def test_surface_of_random_directions(xor):
    X, y, net, _ = xor
    surface = loss_surface(net, X, y, grid=5)
    assert surface.path is None and surface.explained is None
    assert surface.losses[2, 2] == pytest.approx(net.loss(X, y), rel=1e-6)
    for direction in surface.directions:  # of each unit as long as its weights
        (W, b, V, c), (own, _, other, _) = (net._layout.views(flat) for flat in (
            direction, net.parameters))
        np.testing.assert_allclose(np.linalg.norm(W, axis=0), np.linalg.norm(own, axis=0), 1e-5)
        np.testing.assert_allclose(np.linalg.norm(V), np.linalg.norm(other), 1e-5)
        assert not b.any() and not c.any()
    other = loss_surface(net, X, y, grid=5, random_state=1)
    assert (other.losses != surface.losses).sum() == 24
    surface.plot(log=False, levels=4)


def test_surface_leaves_running_averages_where_they_are():
    X = np.random.default_rng(0).normal(size=(80, 2))
    net, record = fastnn.MLP((2, 6, 1), norm="batch", random_state=0), fastnn.RecordPath()
    net.fit(X, X[:, 0], epochs=5, callbacks=[record])
    surface = loss_surface(net, X, X[:, 0], path=record, grid=3)
    for direction in surface.directions:
        for block, view in zip(net._layout.blocks, net._layout.views(direction), strict=True):
            assert block.trainable or not view.any()
    assert np.isfinite(surface.losses).all()


@pytest.mark.parametrize("path, message", [
    (np.ones((5, 3)), r"path has shape \(5, 3\), must be \(3 or more, "),
    (np.ones(7), "path has shape"),
    ("still", "does not leave its place"),
    ("nan", "NaN or infinities"),
    ("short", r"must be \(3 or more"),
])
def test_wrong_paths(xor, path, message):
    X, y, net, record = xor
    if isinstance(path, str):
        path = {"still": np.tile(net.parameters, (4, 1)), "nan": record.path * np.nan,
                "short": record.path[:2]}[path]
    with pytest.raises(ValueError, match=message):
        loss_surface(net, X, y, path=path)


def test_axes_that_are_none(xor):
    """A number has no attribute 'imshow', which told nobody what to give."""
    X, y, net, record = xor
    history = fastnn.MLP((2, 1), random_state=0).fit(X, X[:, 0], epochs=2)
    surface = loss_surface(net, X, y, path=record, grid=5)
    for draw in (lambda ax: decision_boundary(net, X, y, ax=ax), history.plot, surface.plot,
                 lambda ax: activations(net, X, ax=ax)):
        for ax in (5, "ax", plt.figure(), [plt.figure().add_subplot()]):
            with pytest.raises(TypeError, match="^ax=.* must be axes of matplotlib"):
                draw(ax)


def test_without_matplotlib(xor, monkeypatch):
    X, y, net, _ = xor
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name, draw in (("decision_boundary", lambda: decision_boundary(net, X, y, grid=3)),
                       ("hidden_units", lambda: hidden_units(net, X, grid=3)),
                       ("activations", lambda: activations(net, X)),
                       ("History.plot", net.history.plot)):
        with pytest.raises(ImportError, match=f"{name} needs matplotlib: pip install matplotlib"):
            draw()
    loss_surface(net, X, y, grid=2)  # numbers alone


def test_a_range_test_shows_what_it_suggests():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    found = fastnn.find_learning_rate(fastnn.MLP((2, 4, 1), random_state=0), X, X[:, 0], n_steps=20)
    assert repr(found).startswith("<LearningRateCurve 1e-07 to ") and len(repr(found)) < 80
    assert f"{found.suggestion:.3g} is suggested" in found._repr_html_()
    assert "<svg" in found._repr_html_() and "<script" not in found._repr_html_()
