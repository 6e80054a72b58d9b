"""Schedules, callbacks and metrics in checkpoints: the same bytes, and what differs is named."""

import functools
import json

import numpy as np
import pytest
from small_nets import data, make

import fastnn
from fastnn import ModelFormatError, schedules
from fastnn.files import container

X, Y = data(90)
TRAIN, HELD_OUT = (X[:60], Y[:60]), (X[60:], Y[60:])
EPOCHS = 12


class Halved(fastnn.Callback):
    """Halves the rate in every third epoch; counts in its state."""

    def __init__(self):
        self.count, self.seen = 0, np.zeros((0, 2))

    def on_fit_begin(self, state):
        self.__init__()

    def on_epoch_end(self, state):
        self.count += 1
        self.seen = np.vstack([self.seen, [state.epoch, state.learning_rate]])
        if self.count % 3 == 0:
            state.learning_rate_scale *= 0.5

    def get_state(self):
        return {"count": self.count, "seen": self.seen}

    def set_state(self, state):
        self.count, self.seen = state["count"], state["seen"]


def early(**more):
    return fastnn.EarlyStopping(**{"patience": 20, **more})


CASES = {
    "cosine": lambda: {"optimizer": fastnn.Adam(schedules.Cosine(0.03, warmup=0.2, restarts=1))},
    "one cycle": lambda: {"optimizer": fastnn.SGD(schedules.OneCycle(0.1))},
    "by step": lambda: {"optimizer": fastnn.SGD(schedules.ByStep(lambda step: 0.1 / (1 + step)))},
    "early stopping": lambda: {"callbacks": [early()]},
    "stops early": lambda: {"callbacks": [early(patience=1, min_delta=0.05)]},
    "plateau": lambda: {"callbacks": [fastnn.ReduceOnPlateau(patience=0, min_delta=0.05)]},
    "metrics": lambda: {"metrics": ["accuracy", "neg_log_loss"]},
    "path": lambda: {"callbacks": [fastnn.RecordPath(2), early()]},
    "own": lambda: {"callbacks": [Halved()]},
    "all": lambda: {
        "optimizer": fastnn.Adam(schedules.Polynomial(0.05)), "metrics": ["accuracy"],
        "callbacks": [Halved(), early(monitor="val_accuracy"),
                      fastnn.ReduceOnPlateau(patience=1, factor=0.3)]},
}


def fit(net, epochs=EPOCHS, **more):
    return net.fit(*TRAIN, epochs=epochs, batch_size=8, validation_data=HELD_OUT, **more)


def result(net, history):
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped)


class Killed(BaseException):
    pass


def kill(epoch):
    def callback(now, *_):
        if now == epoch:
            raise Killed
    return callback


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.mark.parametrize("name", CASES)
def test_a_fit_goes_on(name, path):
    """From whatever epoch, again and again; and a fit that has ended is not run again."""
    case = CASES[name]
    net = make()
    settings = case()
    wanted = result(net, fit(net, **settings))
    states = [callback.get_state() for callback in settings.get("callbacks", ())]
    for epoch in (0, 3, 4, 9):
        with pytest.raises(Killed):
            if epoch >= len(wanted[2]):
                raise Killed
            fit(make(), checkpoint=path, checkpoint_seconds=0, callback=kill(epoch), **case())
    for _ in range(2):
        net, settings = make(), case()
        assert result(net, fit(net, checkpoint=path, **settings)) == wanted
        found = [callback.get_state() for callback in settings.get("callbacks", ())]
        assert repr(found) == repr(states)


def test_early_stopping_has_ended(path):
    """Though there may be more epochs now, it stays with the best ones."""
    case = CASES["stops early"]
    net = make()
    wanted = result(net, fit(net, checkpoint=path, **case()))
    assert len(wanted[2]) < EPOCHS and "has not improved" in wanted[-1]
    net = make()
    history = fit(net, checkpoint=path, epochs=100, **case(),
                  callback=lambda *_: pytest.fail("an epoch was run"))
    assert result(net, history) == wanted


def test_more_epochs_go_on_from_the_last_one_not_from_the_best(path):
    net = make()
    wanted = result(net, fit(net, callbacks=[early()]))
    fit(make(), epochs=5, checkpoint=path, callbacks=[early()])
    net = make()
    assert result(net, fit(net, checkpoint=path, callbacks=[early()])) == wanted


@pytest.mark.parametrize("steps", [3, 8, 20, 24])
def test_more_steps(steps, path):
    """Eight are an epoch; what was a part of one is done whole."""
    net = make()
    wanted = result(net, fit(net))
    for _ in range(2):
        net, straight = make(), make()
        found = result(net, fit(net, max_steps=steps, checkpoint=path))
        assert found == result(straight, fit(straight, max_steps=steps))
    net = make()
    assert result(net, fit(net, checkpoint=path)) == wanted


def test_more_time(path):
    net = make()
    wanted = result(net, fit(net))
    for _ in range(3):
        history = fit(make(), max_time=1e-9, checkpoint=path)
        assert history.stopped == "time"
    assert len(history.loss) == 3
    net = make()
    assert result(net, fit(net, checkpoint=path)) == wanted


def test_csv_of_a_fit_that_goes_on(path, tmp_path):
    table, whole = tmp_path / "a.csv", tmp_path / "b.csv"
    fit(make(), callbacks=[fastnn.CSVLogger(whole)])
    fit(make(), epochs=5, checkpoint=path, callbacks=[fastnn.CSVLogger(table)])
    fit(make(), checkpoint=path, callbacks=[fastnn.CSVLogger(table)])
    assert table.read_text() == whole.read_text()


@pytest.mark.parametrize("change, message", [
    ({"callbacks": [early(patience=21)]}, "EarlyStopping.patience was 20, is 21 now"),
    ({"callbacks": [early(monitor="loss")]}, "EarlyStopping.monitor was 'val_loss', is 'loss'"),
    ({"callbacks": []}, "EarlyStopping was 'there', is None now"),
    ({"callbacks": [early(), early()]}, "EarlyStopping 2 was None, is 'there' now"),
    ({"callbacks": [early(), Halved()]}, "Halved was None, is 'there' now"),
    ({"metrics": ["accuracy"]}, r"metrics was \['f1_micro'\], is \['accuracy'\] now"),
    ({"metrics": None}, "metrics was .*, is None now"),
    ({"optimizer": fastnn.Adam(schedules.Cosine(0.02))},
     r"optimizer.learning_rate was 'Cosine\(learning_rate=0.01, .*, is 'Cosine\("),
    ({"optimizer": fastnn.Adam(0.01)}, "learning_rate was 'Cosine.*, is 0.01 now"),
    ({"epochs": 13}, "steps of the schedule was 96, is 104 now"),
    ({"max_steps": 90}, "steps of the schedule was 96, is 90 now"),
])
def test_what_differs_is_named(change, message, path):
    settings = {"callbacks": [early()], "metrics": ["f1_micro"],
                "optimizer": fastnn.Adam(schedules.Cosine(0.01))}
    with pytest.raises(Killed):
        fit(make(), checkpoint=path, checkpoint_seconds=0, callback=kill(3), **settings)
    net = make()
    with pytest.raises(ModelFormatError, match=message):
        fit(net, checkpoint=path, **{**settings, **change})
    assert net._epochs_done == 0
    with pytest.raises(ModelFormatError, match="sizes was"):
        fit(make((7, 12, 6, 3)), checkpoint=path, **settings)


def test_what_has_no_state_may_differ(path, tmp_path):
    fit(make(), epochs=3, checkpoint=path)
    fit(make(), epochs=5, checkpoint=path, max_time=60, callback=lambda *_: None, callbacks=[
        fastnn.CSVLogger(tmp_path / "x.csv"), fastnn.TimeLimit(60)])
    assert len(fit(make(), checkpoint=path).loss) == EPOCHS


def test_a_file_of_a_plain_fit_is_as_before(path):
    """No trace of what is not used."""
    make().fit(*TRAIN, epochs=2, checkpoint=path)
    data = path.read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    settings = json.loads(header["__metadata__"]["fastnn"])
    assert settings.keys() <= {"fit", "progress", "needs"}
    assert not {"metrics", "callbacks", "steps of the schedule"} & settings["fit"].keys()


@pytest.mark.parametrize("state, message", [
    (3, r"Bad.get_state\(\) returned 3, must be a dict"),
    ({"x": np.arange(3)}, "is an array of int64, must be float32 or float64"),
    ({"x": object()}, "cannot be saved"),
])
def test_states_that_no_file_holds(state, message, path):
    class Bad(fastnn.Callback):
        def get_state(self):
            return state

    with pytest.raises(TypeError, match=message):
        fit(make(), checkpoint=path, checkpoint_seconds=0, callbacks=[Bad()])
    assert not path.exists()
    fit(make(), callbacks=[Bad()])


class Holds(fastnn.Callback):
    """Has a state, and takes it back."""

    def __init__(self, state, **described):
        self.state, self.described, self.back = state, described, None

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.back = state

    def describe(self):
        return self.described


@pytest.mark.parametrize("state", [
    {"confusion": np.zeros((1100, 1000))}, {"all": np.arange(5e6)}, {"none": np.zeros((0, 3))},
    {"x": {1: [2.0, None], None: "a", False: -1, 2.5: {}}}, {3: 4}, {"deep": [[[[{"a": [1]}]]]]}])
def test_what_is_written_comes_back(state, path):
    fit(make(), epochs=2, checkpoint=path, callbacks=[Holds(state)])
    last = Holds({})
    fit(make(), epochs=2, checkpoint=path, callbacks=[last])
    assert last.back.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_equal(last.back[key], value)


CIRCLE = []
CIRCLE.append({"again": CIRCLE})
DEEP = functools.reduce(lambda deep, _: [deep], range(3000), 0)


@pytest.mark.parametrize("state, described, words", [
    ({(1, 2): 3}, {}, r"Holds.get_state\(\): a key \(1, 2\) cannot be saved"),
    ({"x": {"y": [{(1,): 2}]}}, {}, r"a key \(1,\) cannot be saved"),
    ({float("nan"): 1}, {}, "a key nan cannot be saved"),
    ({"x": {np.inf: 1}}, {}, "a key inf cannot be saved"),
    ({None: np.zeros(3)}, {}, r"Holds.get_state\(\)\[None\] is an array, its key must be a string"),
    ({3: np.zeros(3)}, {}, r"Holds.get_state\(\)\[3\] is an array, its key must be a string"),
    ({"m": np.ma.array([1.0, 2.0], mask=[0, 1])}, {}, r"\['m'\] is a masked array"),
    ({"x": [np.ma.array([1.0, 2.0], mask=[0, 1])]}, {}, "an array is a masked array"),
    ({"x": CIRCLE}, {}, "nest more than 100 deep, or hold themselves"),
    ({"x": DEEP}, {}, "nest more than 100 deep, or hold themselves"),
    ({}, {"name": 3}, r"Holds.describe\(\)\['name'\] is 3, must be a string"),
    ({}, {"x": np.zeros(2)}, r"Holds.describe\(\) must be a dict of numbers"),
    ({}, {"x": float("nan")}, r"Holds.describe\(\) must be a dict of numbers"),
    ({}, {"x": CIRCLE}, r"Holds.describe\(\) must be a dict of numbers"),
    ({}, {"x": DEEP}, r"Holds.describe\(\) must be a dict of numbers"),
])
def test_what_could_not_be_read_is_not_written(state, described, words, path):
    with pytest.raises((TypeError, ValueError), match=words):
        fit(make(), epochs=2, checkpoint=path, callbacks=[Holds(state, **described)])
    assert not path.exists()


@pytest.mark.parametrize("change", [
    {"control": None}, {"control": {}}, {"control": 3}, {"scale": -1}, {"scale": "x"},
    {"stopped": 3}, {"callbacks": []}, {"callbacks": [None]}, {"callbacks": 3},
    {"callbacks": [{"values": {}, "arrays": {"parameters": ["float64", [1 << 60]]}}]},
    {"callbacks": [{"values": {}, "arrays": {"parameters": ["int8", [3]]}}]},
    {"callbacks": [{"values": {}, "arrays": {"parameters": ["float64", [-3, -3]]}}]},
    {"callbacks": [{"values": {}, "arrays": {"parameters": 3}}]},
    {"callbacks": [{"values": {"float": "x"}, "arrays": {}}]},
    {"fit": {"callbacks": 3}}, {"fit": {"callbacks": [3]}}, {"fit": {"callbacks": [{}]}},
])
def test_settings_that_mean_nothing(change, path, monkeypatch):
    """Under a right checksum."""
    write = container.write

    def changed(path, arrays, settings, **more):
        change_of = dict(change)
        if "control" in change_of:
            settings["control"] = change_of["control"]
        elif "fit" in change_of:
            settings["fit"] = {**settings["fit"], **change_of["fit"]}
        else:
            names = {"scale": "learning_rate_scale"}
            settings["control"].update({names.get(k, k): v for k, v in change_of.items()})
        write(path, arrays, settings, **more)

    with monkeypatch.context() as patch:
        patch.setattr(container, "write", changed)
        fit(make(), epochs=2, checkpoint=path, callbacks=[early()])
    with pytest.raises(ModelFormatError, match="is not a checkpoint of fastnn"):
        fit(make(), checkpoint=path, callbacks=[early()])


def test_a_path_of_more_epochs_than_a_header_has_room_for(path, monkeypatch):
    monkeypatch.setattr(container, "SMALL_HEADER_BYTES", 64)
    monkeypatch.setattr(container, "MAX_VALUES", 100)
    record = fastnn.RecordPath()
    fit(make(), epochs=100, checkpoint=path, callbacks=[record])
    again = fastnn.RecordPath()
    fit(make(), epochs=102, checkpoint=path, callbacks=[again])
    assert record.epochs == list(range(-1, 100)) and again.epochs == list(range(-1, 102))
    assert {type(epoch) for epoch in again.epochs} == {int}
    assert again.path[:101].tobytes() == record.path.tobytes()


@pytest.mark.parametrize("epochs, fits", [
    ([-1, 0], True), (np.array([-1.0, 0.0]), True), (np.array([-1, 0.5]), False),
    (np.array([-1, np.nan]), False), (np.array([-1, np.inf]), False), (np.array([-2.0, 0]), False),
    (np.zeros((2, 1)), False), ([-1.0, 0.0], False), (3, False)])
def test_which_epochs_a_path_goes_on_from(epochs, fits):
    """Those of files of before are lists."""
    record, net = fastnn.RecordPath(), make()
    fit(net, epochs=1, callbacks=[record])
    state = {"epochs": epochs, "path": record.path}
    if fits:
        record.set_state(state)
        assert record.epochs == [-1, 0]
    else:
        with pytest.raises(ModelFormatError, match="a state of a callback that nothing can go on"):
            record.set_state(state)
