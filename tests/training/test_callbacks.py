"""Callbacks of `MLP.fit`: what they see, how they end a fit, what is wrong with their shape."""

import csv
import math
import pickle
import sys
import time
import types

import numpy as np
import pytest
from each import each
from small_nets import data, make

import fastnn
from fastnn.training.callbacks import _begin_use, _in_use
from fastnn.training.epochs import FitState
from fastnn.training.metrics import falls
from fastnn.training.stopping import Monitor

X, Y = data(90)
TRAIN, HELD_OUT = (X[:60], Y[:60]), (X[60:], Y[60:])


class Watch(fastnn.Callback):
    """Notes what it sees."""

    def __init__(self, at=None, do=None):
        self.seen, self.at, self.do = [], at, do

    def on_fit_begin(self, state):
        self.seen.append(("begin", state.epoch, state.step, len(state.history.loss)))

    def on_epoch_end(self, state):
        self.seen.append((state.epoch, state.step, state.epochs, state.net, state.loss,
                          state.net.parameters.tobytes(), state.parameters.tobytes()))
        if state.epoch == self.at:
            self.do(state)

    def on_fit_end(self, state):
        self.seen.append(("end", state.reason, state.epoch))


class Scripted(fastnn.Callback):
    """Gives a curve the values that a test wants."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, state):
        state.history[self.name][-1] = self.values[state.epoch]


def fit(net=None, epochs=6, **more):
    net = make() if net is None else net
    return net, net.fit(*TRAIN, epochs=epochs, batch_size=20, **more)


def test_what_a_callback_sees():
    watch = Watch()
    net, history = fit(callbacks=[watch])
    assert watch.seen[0] == ("begin", -1, 0, 0) and watch.seen[-1] == ("end", "epochs", 5)
    for epoch, seen in enumerate(watch.seen[1:-1]):
        other, _ = fit(epochs=epoch + 1)
        wanted = other.parameters.tobytes()
        assert seen == (epoch, 3 * (epoch + 1), 6, net, history.loss[epoch], wanted, wanted)
    assert history.stopped == "epochs" and net.history is history


def raise_(error):
    def do(state):
        raise error
    return do


@each("do, reason", [
    (lambda state: state.stop("enough"), "enough"), (lambda state: state.stop(), "stopped"),
    (raise_(fastnn.StopFit), "stopped"), (raise_(fastnn.StopFit("low")), "low")])
def test_a_callback_ends_the_fit(do, reason):
    """All callbacks see the epoch, and the plain function too."""
    first, second, plain = Watch(2, do), Watch(), []
    net, history = fit(callbacks=[first, second], callback=lambda *seen: plain.append(seen[0]))
    assert len(history.loss) == 3 and history.stopped == reason
    assert len(first.seen) == len(second.seen) == 5 and plain == [0, 1, 2]
    assert second.seen[-1] == ("end", reason, 2)


def test_the_first_reason_counts_and_is_a_string():
    calls = [Watch(1, lambda state: state.stop("first")), Watch(1, lambda state: state.stop("two"))]
    assert fit(callbacks=calls)[1].stopped == "first"
    with pytest.raises(TypeError, match="reason=True must be a string"):
        fit(callbacks=[Watch(1, lambda state: state.stop(True))])


def test_a_fit_that_is_ended_before_its_first_epoch():
    class Never(fastnn.Callback):
        def on_fit_begin(self, state):
            state.stop("never")

    net, history = fit(callbacks=[Never()])
    assert history.loss == [] and history.stopped == "never"
    assert net.parameters.tobytes() == make().parameters.tobytes()


@each("error, reason", [(ZeroDivisionError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_errors_leave_the_last_whole_epoch_and_the_history(error, reason):
    net, watch = make(), Watch()
    with pytest.raises(error):
        fit(net, callbacks=[Watch(2, raise_(error)), watch])
    assert net.parameters.tobytes() == fit(epochs=3)[0].parameters.tobytes()
    assert len(net.history.loss) == 3 and net.history.stopped == reason
    assert watch.seen[-1] == ("end", reason, 2)


def test_errors_of_beginning_and_end():
    """Those that have begun are told the end, whatever the others do; the first error counts."""

    class Fails(Watch):
        def __init__(self, where, error):
            super().__init__()
            self.where, self.error = where, error

        def on_fit_begin(self, state):
            super().on_fit_begin(state)
            if self.where == "begin":
                raise self.error

        def on_fit_end(self, state):
            super().on_fit_end(state)
            if self.where == "end":
                raise self.error

    begun, never = Watch(), Watch()
    with pytest.raises(ZeroDivisionError):
        fit(callbacks=[begun, Fails("begin", ZeroDivisionError()), never])
    assert begun.seen[-1][0] == "end" and never.seen == []
    last = Watch()
    with pytest.raises(ZeroDivisionError):
        fit(callbacks=[Fails("end", ZeroDivisionError()), Fails("end", KeyError()), last])
    assert last.seen[-1][0] == "end"
    net = make()
    with pytest.raises(ZeroDivisionError):
        fit(net, callbacks=[Fails("end", ZeroDivisionError())])
    assert net.parameters.tobytes() == fit()[0].parameters.tobytes()
    fit(net)  # nothing is left locked


class Narrow(fastnn.Callback):
    def on_epoch_end(self):
        pass


class Mangled(fastnn.Callback):
    on_fit_begin = 3


@each("arguments, error, words", [
    ({"callbacks": [print]}, TypeError, r"callbacks\[0\]=.* goes into callback="),
    ({"callbacks": [3]}, TypeError, r"callbacks\[0\]=3 must be a fastnn.Callback"),
    ({"callbacks": [fastnn.EarlyStopping]}, TypeError, r"is a class.*EarlyStopping\(\.\.\.\)"),
    ({"callbacks": fastnn.EarlyStopping()}, TypeError, "must be a list of fastnn.Callback"),
    ({"callbacks": [Narrow()]}, TypeError, "on_epoch_end must take one argument, the state"),
    ({"callbacks": [Mangled()]}, TypeError, "on_fit_begin must take one argument"),
    ({"callback": Watch()}, TypeError, r"a fastnn.Callback goes into callbacks=\[...\]"),
    ({"callback": Watch}, TypeError, r"a fastnn.Callback goes into callbacks=\[...\]"),
    ({"callbacks": [fastnn.EarlyStopping()]}, ValueError,
     "monitor='val_loss' is not in the history, which has 'loss'; give validation_data"),
    ({"callbacks": [fastnn.EarlyStopping("val_f1")], "validation_data": HELD_OUT}, ValueError,
     "monitor='val_f1' is not in the history, which has 'loss', 'val_loss'; see metrics="),
    ({"max_time": 0}, ValueError, "max_time=0"), ({"max_time": math.inf}, ValueError, "max_time"),
    ({"max_time": "1"}, TypeError, "max_time='1'"), ({"max_steps": 0}, ValueError, "max_steps=0"),
    ({"max_steps": 1.5}, TypeError, "max_steps=1.5"), ({"progress": 1}, TypeError, "progress=1"),
    ({"metrics": ["accuracy"]}, ValueError, "give validation_data"),
    ({"metrics": 3}, TypeError, "metrics=3 must be a list"),
    ({"metrics": [3]}, TypeError, r"metrics\['3'\]=3 must be"),
    ({"metrics": [lambda y, output: 0]}, ValueError, "has no name: give metrics={'name'"),
    ({"metrics": {"": abs}}, TypeError, "has the name ''"),
    ({"metrics": [abs, abs]}, ValueError, "'abs' twice"),
    ({"metrics": {"loss": abs}}, ValueError, "'loss' twice"),
])
def test_bad_input(arguments, error, words):
    net = make()
    before = net.parameters.tobytes()
    with pytest.raises(error, match=words):
        fit(net, **arguments)
    assert net.parameters.tobytes() == before
    fit(net)


@each("call, words", [
    (lambda: fastnn.EarlyStopping(patience=0), "patience=0"),
    (lambda: fastnn.EarlyStopping(min_delta=-1), "min_delta=-1"),
    (lambda: fastnn.EarlyStopping(mode="up"), "mode='up' must be one of: min, max"),
    (lambda: fastnn.EarlyStopping(3), "monitor=3 must be the name of a curve"),
    (lambda: fastnn.EarlyStopping(restore_best=2), "restore_best=2"),
    (lambda: fastnn.ReduceOnPlateau(factor=1), "factor=1 must be > 0 and < 1"),
    (lambda: fastnn.ReduceOnPlateau(min_lr=-1), "min_lr=-1"),
    (lambda: fastnn.TimeLimit(0), "seconds=0"), (lambda: fastnn.RecordPath(0), "every=0"),
    (lambda: fastnn.CSVLogger("x", ";;"), "separator=';;' must be one character"),
    (lambda: fastnn.OptunaPruning(3), "trial=3 must be a trial of Optuna"),
])
def test_bad_settings(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


# ---- stopping ----


@each("values, settings, stops, best", [
    ([3, 2, 1, 1, 1, 1, 1], {"patience": 2}, 4, 2),
    ([3, 2, 1, 2, 0.5, 2, 2], {"patience": 2}, 6, 4),
    ([3, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4], {"patience": 3, "min_delta": 0.25}, None, 6),
    ([3, 2.9, 2.8, 2.79, 2.78, 2.77, 2.76], {"patience": 3, "min_delta": 0.25}, 3, 0),
    ([0, 1, 2, 3, 4, 5, 6], {"patience": 1, "mode": "max"}, None, 6),
    ([0, 1, 2, 3, 4, 5, 6], {"patience": 1}, 1, 0),
    ([0, 3, 2, 1, 4, 5, 6], {"patience": 2, "start_from": 1}, 5, 3),
    ([math.nan, 3, math.nan, 4, 1, 1, 1], {"patience": 2}, 3, 1),
    ([math.inf, math.inf, 1, 1, 1, 1, 1], {"patience": 2}, 4, 2),
])
def test_early_stopping(values, settings, stops, best):
    stopping = fastnn.EarlyStopping(**settings)
    net, history = fit(epochs=7, validation_data=HELD_OUT,
                       callbacks=[Scripted(values), stopping])
    assert len(history.loss) == (7 if stops is None else stops + 1)
    assert stopping.best_epoch == best and stopping.best == values[best]
    assert net.parameters.tobytes() == fit(epochs=best + 1)[0].parameters.tobytes()
    if stops is None:
        assert history.stopped == "epochs"
    else:
        assert history.stopped.startswith("val_loss has not improved for")
        assert f"the best was {values[best]:.6g} in epoch {best}" in history.stopped


def test_early_stopping_without_restoring():
    stopping = fastnn.EarlyStopping(patience=2, restore_best=False)
    net, _ = fit(validation_data=HELD_OUT, callbacks=[Scripted([1, 2, 3, 4, 5, 6]), stopping])
    assert net.parameters.tobytes() == fit(epochs=3)[0].parameters.tobytes()


def test_an_object_serves_several_fits():
    stopping = fastnn.EarlyStopping(patience=2)
    for _ in range(2):
        _, history = fit(validation_data=HELD_OUT,
                         callbacks=[Scripted([1, 2, 3, 4, 5, 6]), stopping])
        assert len(history.loss) == 3


@each("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_breaks_off_keeps_the_last_epoch_though_another_one_was_better(error):
    net = make()
    with pytest.raises(error):
        fit(net, validation_data=HELD_OUT, callbacks=[
            Scripted([1, 2, 3, 4]), fastnn.EarlyStopping(), Watch(2, raise_(error))])
    assert net.parameters.tobytes() == fit(epochs=3)[0].parameters.tobytes()


def test_directions():
    down = ["loss", "val_loss", "val_mse", "val_mean_error", "val_hinge_loss", "val_pinball_loss",
            "val_logloss"]
    up = ["val_accuracy", "val_f1", "val_r2", "val_neg_mean_squared_error", "val_closeness"]
    assert [falls(name) for name in down] == [True] * len(down)
    assert [falls(name) for name in up] == [False] * len(up)
    assert not falls("val_max_error", scores=("val_max_error",))
    history = fastnn.History(True, ["val_max_error"], ["val_max_error"])
    for name, mode, wanted in (("val_max_error", None, False), ("val_max_error", "min", True),
                               ("val_loss", None, True), ("val_loss", "max", False)):
        monitor = Monitor(name, mode)
        monitor.begin(history)
        assert monitor.falls is wanted


def test_reduce_on_plateau_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).integers(0, 6, 60).astype(float).tolist()
    for settings in ({"patience": 2}, {"patience": 0, "cooldown": 3},
                     {"patience": 1, "factor": 0.5, "min_lr": 0.003, "mode": "max"}):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, threshold=0, threshold_mode="abs", **settings)
        wanted = []
        for value in values:
            wanted.append(optimizer.param_groups[0]["lr"])
            scheduler.step(value)
        found = []

        class Rates(fastnn.Callback):
            def on_epoch_end(self, state, found=found):
                found.append(state.learning_rate)

        fit(epochs=60, validation_data=HELD_OUT, optimizer=fastnn.SGD(0.1, 0.0), callbacks=[
            Scripted(values), Rates(), fastnn.ReduceOnPlateau(**settings)])
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=str(settings))
        assert len(set(found)) > 2


def test_a_plateau_lowers_a_schedule_too():
    rates = []

    class Rates(fastnn.Callback):
        def on_epoch_end(self, state):
            rates.append(state.learning_rate)

    fit(epochs=4, validation_data=HELD_OUT, callbacks=[
        Scripted([1, 2, 3, 4]), Rates(), fastnn.ReduceOnPlateau(patience=0, factor=0.5)],
        optimizer=fastnn.SGD(fastnn.schedules.ByEpoch(lambda epoch: 1.0 - epoch / 10)))
    assert rates == pytest.approx([1.0, 0.9, 0.8 / 2, 0.7 / 4])


@pytest.mark.parametrize("how", [lambda limit: {"max_time": limit},
                                 lambda limit: {"callbacks": [fastnn.TimeLimit(limit)]}])
def test_time_limits(how, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def tick(*_):
        clock[0] += 1

    _, history = fit(epochs=20, callback=tick, **how(2.5))
    assert len(history.loss) in (3, 4) and history.stopped == "time"


@each("shuffle", [True, False])
def test_max_steps(shuffle):
    """Three of them are an epoch; a part of one has the rows of its beginning."""
    for n_steps in (1, 3, 7, 18, 100):
        watch = Watch()
        net, history = fit(max_steps=n_steps, shuffle=shuffle, callbacks=[watch])
        assert history.stopped == ("epochs" if n_steps >= 18 else "steps")
        assert watch.seen[-2][1] == min(n_steps, 18) and len(history.loss) == -(
            -min(n_steps, 18) // 3)
        whole, _ = fit(epochs=min(6, -(-n_steps // 3)), shuffle=shuffle)
        assert (net.parameters.tobytes() == whole.parameters.tobytes()) == (
            n_steps % 3 == 0 or n_steps > 18)


# ---- metrics and history ----


def hits(y, output):
    return (output.argmax(axis=1) == y).mean()


def test_metrics():
    from sklearn.metrics import accuracy_score, log_loss

    seen = []
    net, history = fit(
        validation_data=HELD_OUT, metrics=["accuracy", "neg_log_loss", hits],
        callback=lambda epoch, net, history: seen.append(net.predict(HELD_OUT[0])))
    assert history.names == ["loss", "val_loss", "val_accuracy", "val_neg_log_loss", "val_hits"]
    for epoch, output in enumerate(seen):
        accuracy = accuracy_score(HELD_OUT[1], output.argmax(axis=1))
        assert history["val_accuracy"][epoch] == history.val_hits[epoch] == accuracy
        assert history["val_neg_log_loss"][epoch] == pytest.approx(-log_loss(HELD_OUT[1], output))
    assert all(type(value) is float for value in history.val_hits)
    plain, _ = fit()
    assert net.parameters.tobytes() == plain.parameters.tobytes()


@each("name", ["epoch", "epochs", "history", "trainer", "reason", "loss", "ended", "model"])
def test_what_the_fit_counts_on_cannot_be_set(name):
    with pytest.raises(AttributeError, match=f"state.{name} cannot be set.* state.stop"):
        fit(callbacks=[Watch(1, lambda state: setattr(state, name, None))])
    kept = []

    def own(state):
        state.own_note, state.learning_rate_scale = 3, 0.5
        kept.append(state)

    fit(callbacks=[Watch(1, own)])
    assert (kept[0].own_note, kept[0].learning_rate_scale, kept[0].epoch) == (3, 0.5, 5)


@each("change, name", [
    (lambda history: setattr(history, "loss", None), "loss"),
    (lambda history: setattr(history, "loss", np.zeros(2)), "loss"),
    (lambda history: setattr(history, "val_loss", None), "val_loss"),
    (lambda history: delattr(history, "val_loss"), "val_loss"),
    (lambda history: history.metrics.clear(), "val_accuracy"),
    (lambda history: setattr(history, "metrics", None), "val_accuracy")])
def test_a_curve_stays_a_list(change, name):
    with pytest.raises(TypeError, match=rf"a callback \(Watch\) has set history.{name} to"):
        fit(callbacks=[Watch(1, lambda state: change(state.history))], validation_data=HELD_OUT,
            metrics=["accuracy"])


def test_metrics_of_other_outputs():
    y = (X[:, :2] > 0).astype(float)
    for output, targets, scorer in (
            ("sigmoid", y[:, 0], "roc_auc"), ("sigmoid", y, "f1_micro"),
            ("identity", X[:, :1], "r2"), ("identity", X[:, :2], "neg_root_mean_squared_error"),
            ("softmax", y[:, 0].astype(int), "average_precision"),
            ("softmax", np.eye(2)[y[:, 0].astype(int)], "balanced_accuracy")):
        n_out = 2 if output == "softmax" or targets.ndim == 2 and targets.shape[1] == 2 else 1
        net = make((7, 4, n_out), output=output)
        history = net.fit(X, targets, epochs=2, validation_data=(X, targets), metrics=scorer)
        assert len(history[f"val_{scorer}"]) == 2 and np.isfinite(history[f"val_{scorer}"]).all()


def test_a_metric_beyond_any_float():
    with pytest.raises(ValueError, match="metric 'most' returned 1000.* in epoch 0, must be"):
        fit(validation_data=HELD_OUT, metrics={"most": lambda y, output: 10**400})


def test_metrics_that_fail():
    def breaks(y, output):
        if len(seen) == 2:
            raise ZeroDivisionError("nothing there")
        seen.append(1)
        return 1

    seen = []
    net = make()
    with pytest.raises(ValueError, match="metric 'breaks' failed in epoch 2: ZeroDivisionError: "
                                         "nothing there"):
        fit(net, validation_data=HELD_OUT, metrics=[breaks])
    assert net.parameters.tobytes() == fit(epochs=3)[0].parameters.tobytes()
    assert net.history.val_breaks == [1.0, 1.0]
    for value in ("good", None, np.ones(2), 1j):
        with pytest.raises(TypeError, match="metric 'odd' returned .* in epoch 0"):
            fit(validation_data=HELD_OUT, metrics={"odd": lambda y, output, value=value: value})
    with pytest.raises(ValueError, match="'acuracy' is no scorer of scikit-learn.*accuracy"):
        fit(validation_data=HELD_OUT, metrics=["acuracy"])


def test_a_metric_cannot_change_what_is_measured():
    def spoils(y, output):
        y[:], output[:] = 0, 0
        return 0

    _, history = fit(validation_data=HELD_OUT, metrics=[spoils, hits])
    _, wanted = fit(validation_data=HELD_OUT, metrics=[hits])
    assert history.val_hits == wanted.val_hits and history.val_loss == wanted.val_loss


def test_history_is_a_table():
    pandas = pytest.importorskip("pandas")
    _, history = fit(validation_data=HELD_OUT, metrics=[hits])
    table = history.to_frame()
    assert isinstance(table, pandas.DataFrame) and table.index.name == "epoch"
    assert list(table) == ["loss", "val_loss", "val_hits"] and len(table) == 6
    assert table["val_hits"].tolist() == history["val_hits"]
    history.loss.append(1.0)  # an epoch whose metrics failed
    assert math.isnan(history.to_frame()["val_loss"].iloc[-1])
    with pytest.raises(KeyError, match="'val_f1' is not in the history, which has loss, val_loss"):
        history["val_f1"]
    with pytest.raises(AttributeError, match="val_f1"):
        getattr(history, "val_f1")  # noqa: B009
    assert fastnn.History().to_frame().shape == (0, 1)


def test_an_epoch_that_diverges_has_nan_in_every_curve():
    with pytest.warns(fastnn.DivergenceWarning):
        _, history = fit(make(activation="relu"), validation_data=HELD_OUT, metrics=[hits],
                         optimizer=fastnn.SGD(lambda epoch: 1e-3 if epoch < 2 else 1e300))
    assert history.stopped == "diverged" and len(history.val_hits) == 3
    assert math.isnan(history.val_hits[-1]) and math.isnan(history.val_loss[-1])


# ---- files and loggers ----


def test_csv_logger(tmp_path):
    path = tmp_path / "fit.csv"
    _, history = fit(validation_data=HELD_OUT, metrics=[hits],
                     callbacks=[fastnn.CSVLogger(path)])
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", *history.names] and len(rows) == 7
    for epoch, row in enumerate(rows[1:]):
        assert row[0] == str(epoch)
        assert [float(value) for value in row[1:]] == [
            history[name][epoch] for name in history.names]


def test_snapshots(tmp_path):
    folder = tmp_path / "deep" / "snapshots"
    keep = fastnn.Snapshots(folder)
    net, _ = fit(validation_data=HELD_OUT, callbacks=[Scripted([3, 2, 1, 2, 3, 4]), keep])
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors", "last.safetensors"]
    best, last = fastnn.load(keep.best_path), fastnn.load(keep.last_path)
    assert last.parameters.tobytes() == net.parameters.tobytes()
    assert best.parameters.tobytes() == fit(epochs=3)[0].parameters.tobytes()
    fit(callbacks=[fastnn.Snapshots(tmp_path / "last", monitor=None)])
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["last.safetensors"]


def test_record_path():
    record = fastnn.RecordPath()
    net, _ = fit(callbacks=[record])
    assert record.epochs == [-1, 0, 1, 2, 3, 4, 5]
    assert record.path.shape == (7, net.parameters.size)
    assert record.path[0].tobytes() == make().parameters.tobytes()
    for epochs in (1, 6):
        assert record.path[epochs].tobytes() == fit(epochs=epochs)[0].parameters.tobytes()
    record = fastnn.RecordPath(every=4)
    fit(callbacks=[record])
    assert record.epochs == [-1, 3]


def test_optuna_prunes():
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=2.5))
    trial = study.ask()
    net = make()
    with pytest.raises(optuna.TrialPruned, match="val_loss=3 after epoch 2"):
        fit(net, validation_data=HELD_OUT,
            callbacks=[Scripted([1, 2, 3, 4]), fastnn.OptunaPruning(trial)])
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert study.trials[0].intermediate_values == {0: 1.0, 1: 2.0, 2: 3.0}
    assert net._epochs_done == 3
    with pytest.raises(ValueError, match="monitor='val_loss' is not in the history"):
        fit(callbacks=[fastnn.OptunaPruning(study.ask())])


class Recorder(types.ModuleType):
    """In the place of MLflow."""

    def __init__(self, active):
        super().__init__("mlflow")
        self.active, self.logged, self.ended = active, [], None

    def active_run(self):
        return self.active

    def start_run(self):
        self.active = "new"

    def log_metrics(self, values, step):
        self.logged.append((step, values))

    def end_run(self, status):
        self.ended = status


@each("active, error, ended", [
    (None, None, "FINISHED"), (None, KeyboardInterrupt, "KILLED"), ("theirs", None, None)])
def test_mlflow_logger(active, error, ended):
    recorder = Recorder(active)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", recorder)
        logger = fastnn.MLflowLogger(prefix="net_")
    callbacks = [logger, *([Watch(1, raise_(error))] if error else [])]
    net = make()
    if error:
        with pytest.raises(error):
            fit(net, callbacks=callbacks)
    else:
        fit(net, callbacks=callbacks)
    assert [step for step, _ in recorder.logged] == list(range(len(net.history.loss)))
    assert recorder.logged[-1][1] == {"net_loss": net.history.loss[-1],
                                      "net_learning_rate": 1e-3}
    assert recorder.ended == ended


def test_tensorboard(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "torch.utils", types.ModuleType("utils"))
    _, history = fit(epochs=2, callbacks=[fastnn.TensorBoard(tmp_path)])
    assert written == [str(tmp_path), ("loss", history.loss[0], 0), ("learning_rate", 1e-3, 0),
                       ("loss", history.loss[1], 1), ("learning_rate", 1e-3, 1), "closed"]


def test_what_is_not_installed(monkeypatch):
    for name in ("mlflow", "torch.utils.tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install mlflow"):
        fastnn.MLflowLogger()
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        fastnn.TensorBoard("runs")


# ---- the range test ----


def test_find_learning_rate():
    net = make()
    before, history = net.parameters.tobytes(), net.history
    curve = fastnn.find_learning_rate(net, X, Y, batch_size=10)
    assert net.parameters.tobytes() == before and net.history is history
    assert net._epochs_done == 0
    n = len(curve.losses)
    assert curve.learning_rates.shape == curve.losses.shape == (n,) and n > 30
    assert curve.learning_rates[0] == pytest.approx(1e-7)
    assert 1e-4 < curve.suggestion < 1 and curve.suggestion in curve.learning_rates
    again = fastnn.find_learning_rate(make(n_threads=3), X, Y, batch_size=10)
    assert again.losses.tobytes() == curve.losses.tobytes()
    with pytest.raises(ValueError, match="highest=1e-09 must be > lowest=1e-07"):
        fastnn.find_learning_rate(net, X, Y, highest=1e-9)
    with pytest.raises(ValueError, match="n_steps=3"):
        fastnn.find_learning_rate(net, X, Y, n_steps=3)
    with pytest.raises(TypeError, match="must be a fastnn.MLP"):
        fastnn.find_learning_rate(3, X, Y)


def test_find_learning_rate_ends_where_the_loss_leaves():
    net = make((7, 16, 1), output="identity")
    curve = fastnn.find_learning_rate(net, X, X[:, :1], optimizer=fastnn.SGD(), highest=1e6)
    assert len(curve.losses) < 100 and np.isfinite(curve.losses).all()
    assert net.loss(X, X[:, :1]) > make_trained(curve.suggestion).loss(X, X[:, :1])


def make_trained(rate):
    net = make((7, 16, 1), output="identity")
    net.fit(X, X[:, :1], optimizer=fastnn.SGD(rate), epochs=20)
    return net


def test_two_users_of_one_file(tmp_path):
    path, link = tmp_path / "fit", tmp_path / "link"
    link.symlink_to(path)
    logger = fastnn.CSVLogger(path)
    words = "a CSVLogger of '.*fit', which is the file of the checkpoint, too: each needs one"
    with pytest.raises(ValueError, match=words):
        fit(callbacks=[logger], checkpoint=link)
    with pytest.raises(ValueError, match=words):
        make().fit_batches([TRAIN], callbacks=[logger], checkpoint=path)
    with pytest.raises(ValueError, match=words):
        fastnn.fit_many([make()], *TRAIN, epochs=1, callbacks=[[logger]], checkpoint=path)
    est = fastnn.MLPRegressor(hidden_layer_sizes=3, callbacks=[logger], max_iter=1)
    with pytest.raises(ValueError, match=words):
        est.fit(*TRAIN, checkpoint=path)
    with pytest.raises(ValueError, match="the file of another CSVLogger"):
        fit(callbacks=[logger, fastnn.CSVLogger(path)])
    with pytest.raises(ValueError, match="the file of another CSVLogger"):
        fastnn.fit_many([make(), make()], *TRAIN, callbacks=[[logger], [fastnn.CSVLogger(link)]])
    with pytest.raises(ValueError, match="the file of another Snapshots"):
        fit(callbacks=[fastnn.Snapshots(tmp_path, None) for _ in range(2)])
    with pytest.raises(ValueError, match=r"a Snapshots of '.*last.safe.*', .* of the checkpoint"):
        fit(callbacks=[fastnn.Snapshots(tmp_path, None)], checkpoint=tmp_path / "last.safetensors")
    assert not path.exists()
    fit(callbacks=[logger, fastnn.Snapshots(tmp_path, None)], checkpoint=tmp_path / "other")


def test_an_object_stands_in_a_list_once():
    for one in (fastnn.EarlyStopping("loss"), Watch()):
        with pytest.raises(ValueError, match=r"callbacks\[2\]=.* is callbacks\[0\]: it would see"):
            fit(callbacks=[one, fastnn.Callback(), one])
        with pytest.raises(ValueError, match=r"callbacks\[1\]=.* is callbacks\[0\]: it would see"):
            fastnn.MLPRegressor(hidden_layer_sizes=3, callbacks=[one, one]).fit(*TRAIN)


@each("fails", [False, True])
def test_an_object_with_a_state_serves_one_fit_at_a_time(fails):
    stopping, plain = fastnn.EarlyStopping("loss"), Watch()

    def within(epoch, net, history):
        fit(callbacks=[plain])
        with pytest.raises(RuntimeError, match="this EarlyStopping is a callback of another fit"):
            fit(callbacks=[stopping])
        if fails:
            raise ZeroDivisionError

    fit(callbacks=[stopping])
    for _ in range(2):
        try:
            fit(epochs=2, callbacks=[stopping, plain], callback=within)
        except ZeroDivisionError:
            assert fails
    fit(callbacks=[stopping])
    assert len(plain.seen) > 0


def test_settings_that_are_set_later_count():
    late = fastnn.EarlyStopping("val_loss", patience=5)
    late.monitor, late.mode, late.min_delta, late.patience = "loss", "max", 0.5, 2
    now = fastnn.EarlyStopping("loss", 2, 0.5, mode="max")
    assert late.describe() == now.describe()
    values = [1, 0.9, 1.6, 2, 2.1, 2.2, 3]
    found = []
    for one in (late, now):
        _, history = fit(epochs=7, callbacks=[Scripted(values, "loss"), one])
        found.append((history.stopped, one.best, one.best_epoch))
    assert found[0] == found[1] and found[0][1:] == (1.6, 2)

    late = fastnn.ReduceOnPlateau("val_loss", patience=5)
    late.monitor, late.mode, late.min_delta, late.patience = "loss", "max", 0.5, 0
    late.factor, late.cooldown, late.min_lr = 0.5, 1, 1e-9
    now, found = fastnn.ReduceOnPlateau("loss", 0.5, 0, 0.5, 1, 1e-9, mode="max"), []
    assert late.describe() == now.describe()
    for one in (late, now):
        found.append([])
        fit(epochs=7, callbacks=[Scripted(values, "loss"), one, Watch()],
            callback=lambda epoch, net, history: found[-1].append(net.parameters.tobytes()))
    assert found[0] == found[1]


def test_snapshots_of_a_monitor_that_is_set_later(tmp_path):
    snapshots = fastnn.Snapshots(tmp_path, None)
    snapshots.monitor = "loss"
    fit(callbacks=[snapshots])
    assert (tmp_path / "best.safetensors").exists()
    snapshots.monitor = "val_loss"
    with pytest.raises(ValueError, match="monitor='val_loss' is not in the history"):
        fit(callbacks=[snapshots])


@each("make_one, name, value", [
    *((lambda: fastnn.EarlyStopping(), name, value) for name, value in [
        ("monitor", 3), ("mode", "up"), ("min_delta", "a"), ("patience", "a"), ("patience", 0),
        ("restore_best", 3), ("start_from", -1), ("start_from", "a")]),
    *((lambda: fastnn.ReduceOnPlateau(), name, value) for name, value in [
        ("monitor", None), ("mode", 3), ("min_delta", -1), ("patience", "a"), ("factor", 1),
        ("factor", "a"), ("cooldown", 1.5), ("min_lr", math.nan)]),
    (lambda: fastnn.TimeLimit(3), "seconds", "a"), (lambda: fastnn.TimeLimit(3), "seconds", 0),
    (lambda: fastnn.Snapshots("x"), "monitor", 3), (lambda: fastnn.Snapshots("x"), "mode", "up"),
    (lambda: fastnn.RecordPath(), "every", 0)])
def test_settings_are_checked_when_they_are_set(make_one, name, value):
    one = make_one()
    before = getattr(one, name)
    with pytest.raises((TypeError, ValueError), match=f"{name}="):
        setattr(one, name, value)
    assert getattr(one, name) == before
    twin = pickle.loads(pickle.dumps(one))
    assert getattr(twin, name) == before and vars(twin)[name] == before


def test_files_of_users_callbacks_are_their_own():
    class Log(fastnn.Callback):
        _files = None

    X = np.zeros((20, 3), "f")
    assert len(fastnn.MLP((3, 1)).fit(X, X[:, :1], epochs=2, callbacks=[Log()]).loss) == 2


def test_two_snapshots_of_which_one_has_no_best(tmp_path):
    one, other = fastnn.Snapshots(tmp_path), fastnn.Snapshots(tmp_path, monitor=None)
    assert set(one._written_files) & set(other._written_files) == {one.last_path}


def test_a_fit_that_ended_without_a_word_gives_its_callbacks_back():
    callback = fastnn.EarlyStopping()
    first, second = (FitState(None, None) for _ in range(2))
    _begin_use(callback, first)
    with pytest.raises(RuntimeError, match="is a callback of another fit"):
        _begin_use(callback, second)
    first.history.stopped = "failed"
    _begin_use(callback, second)
    _in_use.pop(id(callback))
