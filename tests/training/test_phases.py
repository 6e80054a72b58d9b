"""What an update does beside its optimizer's row: clipping, settings by layer, frozen layers,
limits of norms, averages; against the slow steps of step_problem.py."""

import pickle

import numpy as np
import pytest
import reference
from each import each
from step_problem import Problem, twin_update

import fastnn

LAYERS = {0: dict(learning_rate_factor=0.5, alpha=0.3, weight_decay=0.1),
          1: dict(l1=0.2, max_norm=0.8), 2: dict(learning_rate_factor=2.0, alpha=0.0)}


@each("settings", [
    dict(clip_norm=0.2), dict(clip_norm=0.2, alpha=2.0), dict(clip_norm=50.0),
    dict(clip_value=0.01), dict(clip_value=0.01, alpha=2.0), dict(clip_value=0.05, clip_norm=0.1),
    dict(l1=1.5), dict(l1=1.5, alpha=2.0, clip_norm=0.4), dict(max_norm=0.9),
    dict(max_norm=0.9, clip_norm=0.3), dict(frozen=(0,)), dict(frozen=(1, 3), alpha=0.7, l1=0.4),
    dict(frozen=(0, 2), alpha=0.7, clip_norm=0.2, max_norm=0.9), dict(frozen=(0, 1, 2, 3)),
])
def test_steps(settings, path):
    problem = Problem()
    trainer, loss = problem.trained(fastnn.SGD(0.3), **settings)
    wanted, _, wanted_loss = problem.slowly(twin_update(reference.SGD, 0.3), **settings)
    np.testing.assert_allclose(trainer.parameters, wanted, rtol=1e-9, atol=1e-11)
    assert loss == pytest.approx(wanted_loss, rel=1e-9)
    if settings != dict(clip_norm=50.0):
        plain, _ = problem.trained(fastnn.SGD(0.3), alpha=settings.get("alpha", 0.0))
        assert np.abs(plain.parameters - trainer.parameters).max() > 1e-3


@each("ours, make, rate", [
    (fastnn.SGD(0.3, layers=LAYERS), reference.SGD, 0.3),
    (fastnn.Adam(0.02, layers=LAYERS), reference.Adam, 0.02),
    (fastnn.Nadam(0.02, layers=LAYERS), reference.Nadam, 0.02),
])
def test_settings_of_layers(ours, make, rate, path):
    problem = Problem()
    scaled = {number: {**own, **({"weight_decay": own["weight_decay"] * rate}
                                 if "weight_decay" in own else {})}
              for number, own in LAYERS.items()}
    for more in ({}, dict(clip_norm=0.3)):
        trainer, loss = problem.trained(ours, alpha=0.1, l1=0.05, **more)
        wanted, _, wanted_loss = problem.slowly(twin_update(make, rate), layers=scaled, alpha=0.1,
                                                l1=0.05, **more)
        np.testing.assert_allclose(trainer.parameters, wanted, rtol=1e-8, atol=1e-10)
        assert loss == pytest.approx(wanted_loss, rel=1e-9)


def test_weight_decay_of_a_layer_takes_the_place_of_the_optimizers_own():
    problem = Problem()
    whole, _ = problem.trained(fastnn.AdamW(0.02, weight_decay=0.3))
    layers = {number: dict(weight_decay=0.3) for number in range(4)}
    for optimizer in (fastnn.AdamW(0.02, layers=layers), fastnn.Adam(0.02, layers=layers)):
        found, _ = problem.trained(optimizer)
        np.testing.assert_allclose(found.parameters, whole.parameters, rtol=1e-9, atol=1e-11)


def test_learning_rate_of_a_layer():
    """In proportion to the one at the start, whatever says that one."""
    problem = Problem()
    wanted, _ = problem.trained(fastnn.SGD(0.2, layers={1: dict(learning_rate_factor=0.25)}))
    for rate in (0.2, lambda epoch: 0.2 / (1 + epoch)):
        found, _ = problem.trained(fastnn.SGD(rate, layers={1: dict(learning_rate=0.05)}), rate=0.2)
        assert found.parameters.tobytes() == wanted.parameters.tobytes()
    rising = fastnn.SGD(lambda epoch: 0.1 * epoch, layers={1: dict(learning_rate=0.05)})
    with pytest.raises(ValueError, match="learning_rate_factor"):
        problem.trainer(rising)


@each("settings", [dict(clip_norm=1e9), dict(clip_value=1e9), dict(max_norm=1e9),
                   dict(optimizer=fastnn.EMA(fastnn.Adam(0.02))),
                   dict(optimizer=fastnn.Adam(0.02, layers={0: dict(learning_rate=0.02)},)),
                   dict(clip_norm=1e9, max_norm=1e9,
                        optimizer=fastnn.EMA(fastnn.Adam(0.02), decay=0.5))])
def test_what_does_not_bind_changes_no_byte(settings, path, dtype):
    problem = Problem(dtype, norm="layer" if path.startswith("row") else None)
    settings = {"optimizer": fastnn.Adam(0.02), **settings}
    plain, _ = problem.trained(fastnn.Adam(0.02), alpha=0.5)
    found, _ = problem.trained(**settings, rate=0.02, alpha=0.5)
    assert found.parameters.tobytes() == plain.parameters.tobytes()


def test_max_norm_holds(dtype):
    net = fastnn.MLP((4, 150, 2), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    net.fit(rng.normal(size=(200, 4)), rng.normal(size=(200, 2)), optimizer=fastnn.SGD(0.1),
            max_norm=0.2, epochs=3, batch_size=50)
    for w in net.weights:
        norms = np.linalg.norm(w.astype(float), axis=0)
        assert norms.max() == pytest.approx(0.2, rel=1e-5)
    assert np.linalg.norm(net.weights[0].astype(float), axis=0).min() < 0.19
    free = fastnn.SGD(0.1, layers={1: {"max_norm": None}})  # the others keep that of the fit
    net.fit(rng.normal(size=(200, 4)), rng.normal(size=(200, 2)), optimizer=free, max_norm=0.1,
            epochs=3, batch_size=50)
    first, last = (np.linalg.norm(w.astype(float), axis=0).max() for w in net.weights)
    assert first == pytest.approx(0.1, rel=1e-5)
    assert last > 0.2


def test_gradient_and_apply_are_the_two_halves():
    """Clipping, groups and averages act on a gradient that is given, too."""
    problem = Problem(n_steps=3)
    for settings in (dict(clip_norm=0.2), dict(clip_value=0.01), dict(frozen=(1,)),
                     dict(max_norm=0.9), {}):
        optimizer = fastnn.EMA(fastnn.Adam(0.02, layers={0: dict(weight_decay=0.1)}), 0.5)
        whole, _ = problem.trained(optimizer, **settings)
        halves = problem.trainer(optimizer, **settings)
        halves.parameters[:] = problem.start
        gradient = halves.layout.allocate()
        for rows in problem.batches():
            halves.loss_and_grad(gradient, rows)
            halves.apply(gradient, learning_rate=0.02)
        np.testing.assert_allclose(halves.parameters, whole.parameters, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(halves.published, whole.published, rtol=1e-9, atol=1e-12)


def test_penalties_in_loss_and_gradient():
    problem = Problem()
    trainer = problem.trainer(fastnn.Adam(layers=LAYERS), alpha=0.1, l1=0.05)
    trainer.parameters[:] = problem.start
    gradient = trainer.layout.allocate()
    loss = trainer.loss_and_grad(gradient)
    for i in np.random.default_rng(0).choice(trainer.layout.size, 30, replace=False):
        if not any(b.at <= i < b.at + b.size for b in trainer.layout.blocks):
            continue
        sides = []
        for side in (1e-6, -1e-6):
            trainer.parameters[:] = problem.start
            trainer.parameters[i] += side
            sides.append(trainer.loss_and_grad())
        assert gradient[i] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)
    assert loss > problem.gradient(problem.start, None)[0]


# ---- EMA ----

def test_mean_of_the_weights(path):
    problem = Problem()
    trainer, _ = problem.trained(fastnn.EMA(fastnn.SGD(0.3), decay=0.8))
    w, mean, _ = problem.slowly(twin_update(reference.SGD, 0.3), mean_decay=0.8)
    np.testing.assert_allclose(trainer.parameters, w, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(trainer.published, mean, rtol=1e-9, atol=1e-11)
    assert np.abs(w - mean).max() > 0.01


def test_mean_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    problem = Problem()
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.tensor(problem.start))
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    steps = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for rows in problem.batches():
        model.w.grad = torch.tensor(problem.gradient(model.w.detach().numpy(), rows)[1])
        steps.step()
        mean.update_parameters(model)
    trainer, _ = problem.trained(fastnn.EMA(fastnn.SGD(0.3), decay=0.8))
    np.testing.assert_allclose(trainer.parameters, model.w.detach().numpy(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(trainer.published, mean.module.w.detach().numpy(), rtol=1e-9,
                               atol=1e-11)


def data(dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 5)).astype(dtype), rng.normal(size=(120, 2)).astype(dtype)


def test_the_network_has_the_mean():
    X, y = data()
    seen = []
    net = fastnn.MLP((5, 8, 2), random_state=0)
    history = net.fit(
        X, y, optimizer=fastnn.EMA(fastnn.Adam(0.05), decay=0.9), epochs=4, batch_size=20,
        validation_data=(X, y),
        callback=lambda epoch, net, history: seen.append((net.parameters.copy(),
                                                          net.loss(X, y))))
    raw = fastnn.MLP((5, 8, 2), random_state=0)
    raw.fit(X, y, optimizer=fastnn.Adam(0.05), epochs=4, batch_size=20)
    assert np.abs(net.parameters - raw.parameters).max() > 1e-3
    assert net.parameters.tobytes() == seen[-1][0].tobytes()
    np.testing.assert_allclose(history.val_loss, [loss for _, loss in seen], rtol=1e-5)


# ---- frozen layers ----

def test_freezing():
    X, y = data()
    net = fastnn.MLP((5, 8, 6, 2), random_state=0)
    assert net.frozen == ()
    net.freeze(0)
    net.freeze(2, 0)
    assert net.frozen == (0, 2)
    before = net.get_weights()
    copies = [pickle.loads(pickle.dumps(net)), net]
    for one in copies:
        assert one.frozen == (0, 2)
        one.fit(X, y, epochs=2, batch_size=20, alpha=0.1)
        changed = [not np.array_equal(a, b)
                   for a, b in zip(before, one.get_weights(), strict=True)]
        assert changed == [False, False, True, True, False, False]
    assert copies[0].parameters.tobytes() == net.parameters.tobytes()
    net.unfreeze(2)
    assert net.frozen == (0,)
    net.unfreeze()
    net.fit(X, y, epochs=1)
    assert all(not np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))
    assert "_frozen" not in net.__getstate__()


@each("call, error, words", [
    (lambda net: net.freeze(3), ValueError, ["layer=3", "0...2"]),
    (lambda net: net.freeze(-1), ValueError, ["layer=-1"]),
    (lambda net: net.unfreeze(7), ValueError, ["layer=7"]),
    (lambda net: net.freeze("0"), TypeError, ["layer='0'"]),
    (lambda net: net.fit(*data(), clip_norm=0), ValueError, ["clip_norm=0", "> 0"]),
    (lambda net: net.fit(*data(), clip_value=0), ValueError, ["clip_value=0", "> 0"]),
    (lambda net: net.fit(*data(), clip_norm=np.nan), ValueError, ["clip_norm=nan"]),
    (lambda net: net.fit(*data(), max_norm=0), ValueError, ["max_norm=0", "> 0"]),
    (lambda net: net.fit(*data(), l1=-1), ValueError, ["l1=-1", ">= 0"]),
    (lambda net: net.fit(*data(), clip_norm="a"), TypeError, ["clip_norm='a'"]),
    (lambda net: net.fit(*data(), optimizer=fastnn.Adam(layers={3: {}})), ValueError,
     ["layer 3", "0...2"]),
    (lambda net: net.fit(*data(), optimizer=fastnn.EMA(fastnn.Adam(layers={3: {}}))), ValueError,
     ["layer 3"]),
    (lambda net: net.fit(*data(), optimizer="adma"), ValueError, ["optimizer='adma'", "adagrad"]),
])
def test_what_is_refused(call, error, words):
    net = fastnn.MLP((5, 8, 8, 2), random_state=0)
    before = net.parameters.tobytes()
    with pytest.raises(error) as caught:
        call(net)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert net.parameters.tobytes() == before


# ---- threads, checkpoints ----

FEATURES = {
    "rates": dict(optimizer=fastnn.Adam(layers={1: dict(learning_rate=0.1, weight_decay=0.1)})),
    "clip_norm": dict(clip_norm=0.05),
    "clip_value": dict(clip_value=1e-3),
    "l1": dict(l1=0.5),
    "max_norm": dict(max_norm=0.7),
    "frozen": dict(frozen=(1,)),
    "amsgrad": dict(optimizer=fastnn.Adam(amsgrad=True), clip_norm=0.1),
    "ema": dict(optimizer=fastnn.EMA("nadam", decay=0.9)),
    "muon": dict(optimizer=fastnn.Muon()),
    "all": dict(optimizer=fastnn.EMA(fastnn.Muon(
        adam=fastnn.AdamW(), layers={0: dict(muon=True, l1=0.1), 2: dict(max_norm=1.0)})),
        clip_norm=0.1, clip_value=0.1, l1=0.1, max_norm=2.0, frozen=(3,)),
}


@each("name", FEATURES)
@each("sizes", [(30, 96, 80, 70, 5), (30, 144, 132, 140, 5)])
def test_same_bytes_for_any_number_of_threads(name, sizes, dtype, teams):
    settings = {"optimizer": fastnn.Adam(), **FEATURES[name]}
    problem = Problem(dtype, sizes, n_steps=3, batch=256)
    one, loss = problem.trained(**settings, n_threads=1, alpha=0.1, rate=0.01)
    for n_threads in (2, 3, 8):
        other, other_loss = problem.trained(**settings, n_threads=n_threads, alpha=0.1, rate=0.01)
        assert teams[-1] == min(n_threads, 4 if sizes[1] < 128 else 8)
        assert other_loss == loss
        assert other.parameters.tobytes() == one.parameters.tobytes()
        assert other.published.tobytes() == one.published.tobytes()
        for mine, its in zip(other.optimizer_state, one.optimizer_state, strict=True):
            assert mine.tobytes() == its.tobytes()


@each("name", FEATURES)
def test_resumed_fit_has_the_same_bytes(name, tmp_path):
    X, y = data()
    settings = {"optimizer": "adam", **FEATURES[name]}
    frozen = settings.pop("frozen", ())
    path = tmp_path / name

    def fitted(epochs, **more):
        net = fastnn.MLP((5, 8, 9, 7, 2), random_state=0)
        net.freeze(*frozen)
        history = net.fit(X, y, epochs=epochs, batch_size=20, alpha=0.1, **settings, **more)
        return net.parameters.tobytes(), history.loss

    whole = fitted(5)
    fitted(2, checkpoint=path)
    assert fitted(5, checkpoint=path) == whole


def test_checkpoint_of_other_settings(tmp_path):
    X, y = data()

    def fit(**settings):
        net = fastnn.MLP((5, 8, 8, 2), random_state=0)
        net.freeze(*settings.pop("frozen", ()))
        net.fit(X, y, epochs=1, checkpoint=tmp_path / "checkpoint", **settings)

    fit(optimizer=fastnn.EMA(fastnn.Muon()), clip_norm=0.5)
    for words, settings in (
            ("clip_norm was 0.5, is 0.25", dict(optimizer=fastnn.EMA(fastnn.Muon()),
                                                clip_norm=0.25)),
            ("clip_norm", dict(optimizer=fastnn.EMA(fastnn.Muon()))),
            ("frozen", dict(optimizer=fastnn.EMA(fastnn.Muon()), clip_norm=0.5, frozen=(1,))),
            ("optimizer.decay was 0.999, is 0.5", dict(optimizer=fastnn.EMA(fastnn.Muon(), 0.5),
                                                       clip_norm=0.5)),
            ("optimizer", dict(optimizer=fastnn.Muon(), clip_norm=0.5)),
            ("optimizer.optimizer", dict(optimizer=fastnn.EMA(fastnn.Muon(steps=4)),
                                         clip_norm=0.5))):
        with pytest.raises(fastnn.ModelFormatError, match=words):
            fit(**settings)
    fit(optimizer=fastnn.EMA(fastnn.Muon()), clip_norm=0.5)
