"""A network of the playground in training, without the server."""

import json
import struct
import sys

import numpy as np
import pytest

import fastnn
from fastnn.playground.data import RANGE, Table, features
from fastnn.playground.session import OUTPUT_GRID, UNIT_GRID, Session
from fastnn.playground.settings import FEATURES, OPTIMIZERS, SCHEDULES, Settings, SettingsError

CSV = "a,b,kind\n" + "".join(
    f"{np.cos(i) * (1 + i % 2):.4f},{np.sin(i) * (1 + i % 2) if i % 7 else ''},{'no' * (i % 2)}"
    f"{'yes' * (1 - i % 2)}\n" for i in range(60))


def session_of(query="", table=None):
    return Session(Settings.parse(query), table)


def decode(frame, net):
    """(JSON, weights, map of the output, maps of the units) of a frame."""
    length, = struct.unpack("<I", frame[:4])
    head, rest = json.loads(frame[4:4 + length]), frame[4 + length:]
    assert length % 4 == 0
    n, hidden = net.n_parameters, sum(net.sizes[1:-1])
    weights = np.frombuffer(rest[:4 * n], "<f4")
    maps = np.frombuffer(rest[4 * n:], np.uint8)
    assert len(maps) == OUTPUT_GRID ** 2 + hidden * UNIT_GRID ** 2
    output = maps[:OUTPUT_GRID ** 2].reshape(OUTPUT_GRID, OUTPUT_GRID)
    return head, weights, output, maps[OUTPUT_GRID ** 2:].reshape(-1, UNIT_GRID, UNIT_GRID)


def script_of(session, monkeypatch=None, folder=None):
    """What the script of a session leaves behind."""
    found = {}
    if folder is not None:
        monkeypatch.chdir(folder)
    exec(compile(session.script(), "script", "exec"), found)
    return found


def test_circles_are_learned():
    session = session_of()
    assert session.net.sizes == (2, 4, 2, 1) and len(session.train[0]) == 200
    assert session.advance(epochs=1000) == 1000
    head, *_ = decode(session.frame(), session.net)
    assert head["epoch"] == 1000 and head["step"] == 20_000
    assert min(head["accuracy"]) >= 0.99


# ---- frames ----

def test_frames_show_the_network():
    session = session_of("features=x1,x2,x1*x2&layers=3,2")
    session.advance(epochs=30)
    head, weights, output, units = decode(session.frame(), session.net)
    np.testing.assert_array_equal(
        weights, np.concatenate([array.ravel() for array in session.net.get_weights()]))
    # the first point of the map is at the top on the left
    step = 2 * RANGE / OUTPUT_GRID
    edge = RANGE - step / 2
    corner = np.array([[-edge, edge], [edge, -edge]])
    predicted = session.net.predict(features(corner, session.settings.features))[:, 0]
    np.testing.assert_allclose(output[[0, -1], [0, -1]] / 255, predicted, atol=0.003)
    step = 2 * RANGE / UNIT_GRID
    corner = np.array([[-RANGE + step / 2, RANGE - step / 2]])
    layers = session.net.activations_of(features(corner, session.settings.features))
    np.testing.assert_allclose(units[:, 0, 0] / 127.5 - 1, np.concatenate(
        [layer[0] for layer in layers[:-1]]), atol=0.01)  # tanh is never beyond 1
    assert head["loss"] == pytest.approx([
        session.net.loss(*part, loss=session.settings.loss) for part in (
            session.train, session.test)])


def test_maps_of_large_values_are_scaled():
    session = session_of("activation=relu&layers=4&features=x1^2,x2^2")
    _, _, _, units = decode(session.frame(), session.net)
    assert units.max() == 255 and units.min() >= 127


def test_values_have_no_accuracy():
    session = session_of("data=hills&layers=")
    head, weights, _, units = decode(session.frame(), session.net)
    assert head["accuracy"] == [None, None] and len(weights) == 3 and not len(units)


def test_setup_is_json_and_says_what_there_is():
    session = session_of("data=xor&points=50&noise=0.2")
    setup = json.loads(json.dumps(session.setup()))
    assert setup["sizes"] == [2, 4, 2, 1] and setup["n_parameters"] == 25
    assert len(setup["points"]) == len(setup["targets"]) == 50 and setup["n_train"] == 25
    assert setup["query"] == "data=xor&noise=0.2&points=50"
    assert setup["steps_per_epoch"] == 3 and setup["table"] is None
    maps = session.feature_maps()
    assert maps.shape == (len(FEATURES), UNIT_GRID ** 2) and maps.dtype == np.uint8
    assert maps[0].reshape(UNIT_GRID, -1)[0, 0] < 10 < 245 < maps[1].reshape(UNIT_GRID, -1)[0, 0]


# ---- the same in Python ----

@pytest.mark.parametrize("query", [
    "",
    "data=spirals&layers=8,8&features=x1,x2,sin1,sin2&l2=0.01&l1=0.003&noise=0.05",
    "data=gaussians&layers=&loss=squared_error&test=0.7&seed=5&draw=3",
    "data=hills&loss=huber&layers=8&dropout=0.2&batch=32&points=90",
    "data=plane&features=" + ",".join(FEATURES).replace("*", "%2A"),
    *(f"data=xor&loss=hinge&schedule={name}&horizon=23" for name in SCHEDULES
      if name != "constant"),
    *(f"data=circles&loss=focal&optimizer={name}&rate=0.003&batch=2000" for name in OPTIMIZERS),
])
def test_the_script_trains_the_same_network(query, capsys):
    session = session_of(query)
    epochs = 23
    for part in (1, 5, epochs - 6):
        assert session.advance(epochs=part) == part
    found = script_of(session)
    np.testing.assert_array_equal(found["net"].parameters, session.net.parameters)
    head, *_ = decode(session.frame(), session.net)
    assert found["history"].val_loss[-1] == pytest.approx(head["loss"][1], rel=1e-6)
    if session.points.classifies:
        assert f"{head['accuracy'][1]:.1%} of the test are right" in capsys.readouterr().out


@pytest.mark.parametrize("query", ["data=csv", "data=csv&x=b&y=a&target=kind&layers=3",
                                   "data=csv&target=b&x=a&y=a"])
def test_the_script_of_a_file(query, tmp_path, monkeypatch):
    session = session_of(query, Table(CSV.encode()))
    assert session.points.left_out == 9
    session.advance(epochs=7)
    (tmp_path / "data.csv").write_text(CSV)
    found = script_of(session, monkeypatch, tmp_path)
    np.testing.assert_array_equal(found["net"].parameters, session.net.parameters)


def test_the_script_leaves_out_what_the_page_does(tmp_path, monkeypatch):
    """Infinite values, lines of blanks before the names and separators alone at the end."""
    text = "  \n" + CSV + "inf,1,yes\n1,-1e999,no\n,,\n , ,\n"
    session = session_of("data=csv", Table(text.encode()))
    assert session.points.left_out == 11
    session.advance(epochs=7)
    (tmp_path / "data.csv").write_text(text)
    found = script_of(session, monkeypatch, tmp_path)
    np.testing.assert_array_equal(found["net"].parameters, session.net.parameters)


def test_a_script_says_when_settings_have_changed():
    session = session_of()
    session.advance(epochs=3)
    assert session.script().startswith("import numpy")
    session.change(Settings.parse("rate=0.1"))
    assert session.script().startswith("# Settings were changed while the network learned")
    session.restart()
    assert session.script().startswith("import numpy")


# ---- changes ----

def test_rates_change_while_it_learns():
    session, other = session_of("rate=0.01"), session_of("rate=0.01")
    for each in (session, other):
        each.advance(epochs=5)
    before = session.net.parameters.copy()
    session.change(Settings.parse("rate=1e-30"))
    np.testing.assert_array_equal(session.net.parameters, before)
    session.advance(epochs=5)
    np.testing.assert_array_equal(session.net.parameters, before)
    assert session.epoch == 10
    # the optimizer's state stays: back to the old rate is as if nothing had been
    session.change(Settings.parse("rate=0.01"))
    assert session._trainer.step == 200


@pytest.mark.parametrize("query", ["optimizer=sgd", "l2=1", "l1=1", "batch=50",
                                   "schedule=cosine", "horizon=100&schedule=linear"])
def test_weights_stay_where_they_can(query):
    session = session_of()
    session.advance(epochs=5)
    before = session.net.parameters.copy()
    session.change(Settings.parse(query))
    np.testing.assert_array_equal(session.net.parameters, before)
    assert session.epoch == 5
    session.advance(epochs=5)
    assert session.epoch == 10 and (session.net.parameters != before).any()


@pytest.mark.parametrize("query", ["layers=4,3", "layers=", "activation=relu", "loss=hinge",
                                   "seed=1", "draw=1", "features=x1", "data=xor", "noise=0.1",
                                   "test=0.2", "points=100", "dropout=0.1"])
def test_what_begins_anew(query):
    session = session_of()
    session.advance(epochs=5)
    session.change(Settings.parse(query))
    assert session.epoch == 0 and session.exact
    fresh = session_of(query)
    assert session.net.sizes == fresh.net.sizes
    for each in (session, fresh):
        each.advance(epochs=3)
    np.testing.assert_array_equal(session.net.parameters, fresh.net.parameters)


@pytest.mark.parametrize("query", ["rate=0.1", "optimizer=sgd", "layers=3", "data=xor"])
def test_a_change_that_fails_changes_nothing(query, monkeypatch):
    session = session_of()
    session.advance(epochs=3)
    before = session.frame(), session.setup()

    def fail(*args, **settings):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(session, "_set_optimizer", fail)
        for change in (session.change, session.restart):
            with pytest.raises(MemoryError):
                change(Settings.parse(query))
    assert (session.frame(), session.setup()) == before
    assert session.advance(epochs=2) == 2 and session.epoch == 5


def test_a_change_that_fails_keeps_the_lock(monkeypatch):
    """For a moment other threads found a session that has none."""
    session, seen = session_of(), []

    def fail(*args, **settings):
        raise MemoryError

    def trace(frame, event, arg):
        if frame.f_code is Session._changing.__wrapped__.__code__:
            seen.append("lock" in vars(session))
            return trace
        return None

    monkeypatch.setattr(session, "_set_optimizer", fail)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(MemoryError):
            session.change(Settings.parse("rate=0.1"))
    finally:
        sys.settrace(before)
    assert len(seen) > 5 and all(seen)


def test_reset_leads_back_to_the_start():
    session, fresh = session_of(), session_of()
    session.advance(epochs=5)
    session.restart()
    assert session.epoch == 0
    np.testing.assert_array_equal(session.net.parameters, fresh.net.parameters)


def test_schedules_stay_at_their_end():
    session = session_of("schedule=linear&horizon=4&rate=0.1&batch=2000")
    rates = [rate.ravel().tolist() for rate in (session._rates(6),)][0]
    np.testing.assert_allclose(rates, [0.1, 0.075, 0.05, 0.025, 0.025, 0.025])
    session.advance(epochs=3)
    np.testing.assert_allclose(session._rates(3).ravel(), [0.025] * 3)
    constant = session_of("rate=0.5")
    np.testing.assert_array_equal(constant._rates(2), [0.5, 0.5])


# ---- numbers that are not finite ----

def test_divergence_keeps_the_last_finite_weights():
    session = session_of("data=plane&loss=squared_error&optimizer=sgd&rate=100&activation=identity"
                         "&layers=8,8,8")
    done = session.advance(epochs=500)
    assert session.diverged and done < 500
    assert np.isfinite(session.net.parameters).all()
    head, *_ = decode(session.frame(), session.net)
    assert head["diverged"]
    json.loads(json.dumps(head, allow_nan=False))
    assert session.advance(epochs=5) == 0 and session.advance(seconds=1) == 0
    session.change(Settings.parse("data=plane&rate=0.001"))
    assert not session.diverged and session.epoch == 0
    assert session.advance(epochs=5) == 5


# ---- files ----

def test_files_stay_with_the_session():
    session = session_of()
    with pytest.raises(SettingsError, match="no CSV file is loaded; choose one"):
        session.change(Settings.parse("data=csv"))
    assert session.settings.data == "circles"
    session.restart(Settings.parse("data=csv"), Table(CSV.encode()))
    assert session.settings.query() == "data=csv&loss=binary_cross_entropy&x=a&y=b&target=kind"
    session.change(Settings.parse("data=xor"))
    session.change(Settings.parse("data=csv&target=a&x=b&y=b"))
    assert not session.points.classifies and session.settings.loss == "squared_error"
    with pytest.raises(SettingsError, match="no such column"):
        session.change(Settings.parse("data=csv&target=c"))
    assert session.settings.target == "a" and session.advance(epochs=1) == 1


def test_any_number_of_threads_may_ask(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    session = session_of()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(session.advance, 5) for _ in range(10)]
        frames = [pool.submit(session.frame) for _ in range(10)]
    assert [each.result() for each in asked] == [5] * 10 and session.epoch == 50
    for frame in frames:
        decode(frame.result(), session.net)
    fresh = session_of()
    fresh.advance(epochs=50)
    np.testing.assert_array_equal(session.net.parameters, fresh.net.parameters)
    assert isinstance(fresh.net, fastnn.MLP)
