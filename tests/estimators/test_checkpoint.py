"""Fits of estimators that were killed go on from their file, to the same bytes."""

import os
import pickle
import signal
import time
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import get_routing_for_object

import fastnn
from fastnn import MLPClassifier, MLPRegressor, ModelFormatError
from fastnn.estimators import rules
from fastnn.files import container

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 12))
y = rng.integers(0, 3, 600)
values = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
weight = rng.uniform(0.5, 2, 600)

# (estimator, its parameters, arguments of fit)
CASES = {
    "adam": (MLPClassifier, {}, {}),
    "early stopping": (MLPClassifier, {"early_stopping": True, "n_iter_no_change": 25}, {}),
    "adaptive": (MLPClassifier, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2,
                                 "learning_rate_init": 0.05, "n_iter_no_change": 2}, {}),
    "invscaling": (MLPRegressor, {"solver": "sgd", "learning_rate": "invscaling",
                                  "early_stopping": True, "n_iter_no_change": 40}, {}),
    "poisson": (MLPRegressor, {"loss": "poisson"}, {"y": np.abs(values)}),
    "dropout and weights": (MLPClassifier, {"dropout": 0.3, "class_weight": {0: 2, 1: 1, 2: 1}},
                            {"sample_weight": weight}),
    "validation": (MLPRegressor, {"dtype": "float32", "shuffle": False},
                   {"validation_data": (X[:90], values[:90])}),
    "sparse": (MLPClassifier, {}, {"X": scipy.sparse.csr_array(np.where(X > 1, X, 0))}),
    "labels": (MLPClassifier, {"early_stopping": True, "n_iter_no_change": 40},
               {"y": (values > 0).astype(int)}),
    "evolution": (MLPClassifier, {"solver": "es", "learning_rate_init": 0.05, "max_iter": 15,
                                  "batch_size": 600}, {}),
    "lbfgs": (MLPClassifier, {"solver": "lbfgs"}, {"validation_data": (X[:90], y[:90])}),
    "random state": (MLPClassifier, {"random_state": np.random.RandomState(5)}, {}),
}
EPOCHS = 40


def made(name, **settings):
    kind, parameters, _ = CASES[name]
    return clone(kind(**{"hidden_layer_sizes": (15, 8), "max_iter": EPOCHS, "random_state": 1,
                         "n_threads": 1, **parameters, **settings}))


def fit(model, name, **settings):
    kind, _, arguments = CASES[name]
    arguments = {"X": X, "y": y if kind is MLPClassifier else values, **arguments, **settings}
    return model.fit(**arguments)


def result(model):
    """All that a fit leaves behind."""
    found = {key: value for key, value in vars(model).items()
             if key.endswith("_") or key in ("_no_improvement_count", "_optimizer_state")}
    if isinstance(model.random_state, np.random.RandomState):
        found["random"] = model.random_state.uniform()
    return repr({key: [np.asarray(a).tobytes() for a in value] if key in ("coefs_", "intercepts_")
                 else {**value, "moments": [a.tobytes() for a in value["moments"]]}
                 if key == "_optimizer_state" else value for key, value in sorted(found.items())})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def version(path):
    """Another one for each file that has been at a place."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def killed(pid, path, writes, seconds):
    """Kill a process some seconds after it has written the file so many times."""
    before = version(path)
    while True:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        now = version(path)
        writes, before = writes - (now != before), now
        if writes <= 0:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.0002)


def kill_and_go_on(name, kills, path):
    wanted = result(fit(made(name), name))
    versions, random = [version(path)], np.random.default_rng(kills)
    for i in range(kills):
        model = made(name, n_threads=1 + i % 2)
        pid = os.fork()
        if pid == 0:
            try:
                fit(model, name, checkpoint=path, checkpoint_seconds=0)
            finally:
                os._exit(0)
        killed(pid, path, random.integers(0, EPOCHS // kills + 1), random.uniform(0, 0.005))
        versions.append(version(path))
    assert result(fit(made(name), name, checkpoint=path)) == wanted
    assert len(set(versions)) > min(2, kills), "the kills do fall into the work"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name", ["early stopping", "adaptive"])
def test_killed_fits_go_on(name, path):
    kill_and_go_on(name, 3, path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name", CASES)
def test_killed_fits_of_many_kinds_go_on(name, path):
    kill_and_go_on(name, 10, path)


class Ends(BaseException):
    """As if the process ended there."""


def end_after(epochs, monkeypatch):
    """The next fit ends after so many epochs of it."""
    record = rules.Record.on_epoch_end
    seen = []

    def on_epoch_end(self, state):
        if len(seen) == epochs:
            raise Ends
        seen.append(state.epoch)
        record(self, state)

    monkeypatch.setattr(rules.Record, "on_epoch_end", on_epoch_end)


@pytest.mark.parametrize("name", CASES)
def test_fits_that_were_cut_off_go_on(name, path, monkeypatch):
    """Before the first epoch, in the midst, after some more; with other threads, too."""
    wanted = fit(made(name), name)
    for epochs in (0, 4, 9):
        with monkeypatch.context() as patch:
            end_after(epochs, patch)
            with pytest.raises(Ends):
                fit(made(name), name, checkpoint=path, checkpoint_seconds=0)
    again = fit(made(name, n_threads=2), name, checkpoint=path)
    assert result(again) == result(wanted)
    assert again.n_iter_ > 13 or wanted.n_iter_ <= 13


def test_the_file_changes_nothing(path):
    for name in ("adam", "early stopping"):
        path.unlink(missing_ok=True)
        assert result(fit(made(name), name, checkpoint=path, checkpoint_seconds=0)) == result(
            fit(made(name), name))


def test_a_fit_that_has_ended_is_not_run_again(path, monkeypatch):
    for name, warns in (("adaptive", False), ("adam", True)):
        path.unlink(missing_ok=True)
        parameters = {"max_iter": 400} if name == "adaptive" else {}
        wanted = fit(made(name, **parameters), name, checkpoint=path)
        assert (wanted.n_iter_ < 400) and (name == "adam" or wanted.n_iter_ > 5)
        with monkeypatch.context() as patch:
            end_after(0, patch)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                again = fit(made(name, **parameters), name, checkpoint=path)
        assert result(again) == result(wanted)
        assert [w.category for w in caught] == [ConvergenceWarning] * warns


def test_lbfgs_that_has_converged(path, monkeypatch):
    """SciPy does nothing again; callbacks see the whole curve."""
    seen = []

    class See(fastnn.Callback):
        def on_fit_end(self, state):
            seen.append((list(state.history.loss), list(state.history.val_loss)))

    settings = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 300, "tol": 1e-2,
                "callbacks": [See()]}
    data = {"validation_data": (X[:90], y[:90])}
    wanted = fit(made("adam", **settings), "adam", **data)
    assert 5 < wanted.n_iter_ < 300
    for moment in (4, None, 0):
        with monkeypatch.context() as patch:
            if moment is not None:
                end_after(moment, patch)
            try:
                again = fit(made("adam", **settings), "adam", checkpoint=path,
                            checkpoint_seconds=1e9 if moment is None else 0, **data)
                assert result(again) == result(wanted)
            except Ends:
                assert moment == 4
    assert seen == [seen[0], seen[1], seen[0], seen[0]] and len(seen[1][0]) < len(seen[0][0])


def test_more_epochs(path):
    fit(made("adam", max_iter=10), "adam", checkpoint=path)
    longer = fit(made("adam"), "adam", checkpoint=path)
    assert result(longer) == result(fit(made("adam"), "adam"))
    with pytest.raises(ModelFormatError, match="of 40 epochs, this fit has max_iter=39"):
        fit(made("adam", max_iter=39), "adam", checkpoint=path)


def test_without_a_seed_the_file_decides(path, monkeypatch):
    with monkeypatch.context() as patch:
        end_after(5, patch)
        with pytest.raises(Ends):
            fit(made("adam", random_state=None), "adam", checkpoint=path, checkpoint_seconds=0)
    first = result(fit(made("adam", random_state=None), "adam", checkpoint=path))
    assert first == result(fit(made("adam", random_state=None), "adam", checkpoint=path))
    shared = check_random_state(None)  # NumPy's own, of everybody
    shared.seed(0)
    before = shared.get_state()[1].copy()
    fit(made("adam", random_state=None), "adam", checkpoint=path)
    assert (shared.get_state()[1] == before).all()


def test_warm_starts(path, monkeypatch):
    """The history of before is part of the file; another start is another fit."""
    settings = {"warm_start": True, "max_iter": 20, "early_stopping": True, "n_iter_no_change": 50}
    first = fit(made("adam", **settings), "adam")
    wanted = fit(pickle.loads(pickle.dumps(first)), "adam")
    assert len(wanted.loss_curve_) == 40
    with monkeypatch.context() as patch:
        end_after(7, patch)
        with pytest.raises(Ends):
            fit(pickle.loads(pickle.dumps(first)), "adam", checkpoint=path, checkpoint_seconds=0)
    again = fit(pickle.loads(pickle.dumps(first)), "adam", checkpoint=path)
    assert result(again) == result(wanted)
    with pytest.raises(ModelFormatError, match="the model at the start was another one"):
        fit(again, "adam", checkpoint=path)


@pytest.mark.parametrize("warm", [False, True])
def test_after_ctrl_c_the_same_call_goes_on(warm, path, monkeypatch):
    """The cell of a notebook, run again: the model has been trained meanwhile."""
    settings = {"warm_start": warm, "max_iter": 20, "n_iter_no_change": 50}
    wanted = fit(made("adam", **settings), "adam")
    model = made("adam", **settings)
    for starts in range(1 + warm):  # a fresh start, then a warm one
        record, seen = rules.Record.on_epoch_end, []

        def interrupted(self, state, record=record, seen=seen):
            seen.append(state.epoch)
            if len(seen) == 8:
                raise KeyboardInterrupt
            record(self, state)

        with monkeypatch.context() as patch, pytest.warns(match="interrupted by user"):
            patch.setattr(rules.Record, "on_epoch_end", interrupted)
            fit(model, "adam", checkpoint=path, checkpoint_seconds=0)
        assert model.n_iter_ == 7
        fit(model, "adam", checkpoint=path)
        assert result(model) == result(wanted)
        if starts < warm:
            path.unlink()
            fit(wanted, "adam")


@pytest.mark.parametrize("change, message", [
    ({"alpha": 0.5}, "alpha was 0.0001, is 0.5 now"),
    ({"hidden_layer_sizes": (9,)}, r"hidden_layer_sizes was \[15, 8\], is \[9\] now"),
    ({"random_state": 2}, "random_state was 1, is 2 now"),
    ({"random_state": None}, "random_state was 1, is None now"),
    ({"solver": "sgd"}, "solver was 'adam', is 'sgd' now"),
    ({"activation": "tanh"}, "activation was 'relu'")])
def test_checkpoints_of_another_fit(change, message, path):
    fit(made("adam", max_iter=2), "adam", checkpoint=path)
    with pytest.raises(ModelFormatError, match=f"another fit: {message}.* Delete the file"):
        fit(made("adam", **change), "adam", checkpoint=path)


@pytest.mark.parametrize("make", [
    MLPClassifier, MLPRegressor, lambda: fastnn.TabularClassifier("fast"),
    lambda: fastnn.TabularRegressor("fast")])
def test_the_time_between_writes_is_looked_at_without_a_file_too(make):
    for seconds, error in (("soon", TypeError), (-1, ValueError), (float("nan"), ValueError)):
        with pytest.raises(error, match=f"checkpoint_seconds={seconds!r}|checkpoint_seconds=-1.0"):
            make().fit(X, y, checkpoint_seconds=seconds)


def test_other_data(path):
    fit(made("adam", max_iter=2), "adam", checkpoint=path)
    for settings in ({"X": X + 1}, {"y": np.roll(y, 1)}, {"sample_weight": weight}):
        with pytest.raises(ModelFormatError, match="X, y or sample_weight was another one"):
            fit(made("adam"), "adam", checkpoint=path, **settings)
    with pytest.raises(ModelFormatError, match="validation_data was not given"):
        fit(made("adam"), "adam", checkpoint=path, validation_data=(X, y))
    with pytest.raises(ModelFormatError, match="another fit: estimator"):
        MLPRegressor(random_state=1).fit(X, y, checkpoint=path)


def test_bad_files_and_arguments(path, tmp_path):
    with pytest.raises(ValueError, match="checkpoint_seconds=-1"):
        fit(made("adam"), "adam", checkpoint=path, checkpoint_seconds=-1)
    with pytest.raises(FileNotFoundError):
        fit(made("adam"), "adam", checkpoint=tmp_path / "no" / "such")
    odd = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(ValueError, match="random_state=PCG64 must be a number"):
        MLPClassifier(random_state=odd).fit(X, y, checkpoint=path)
    fastnn.MLP((2, 1)).save(path)
    with pytest.raises(ModelFormatError, match="is a model, not a checkpoint"):
        fit(made("adam"), "adam", checkpoint=path)
    path.write_bytes(b"something else, and not short")
    with pytest.raises(ModelFormatError):
        fit(made("adam"), "adam", checkpoint=path)


def test_damaged_files(path):
    """Whatever is changed, and the checksum made right again: refused, or the same fit."""
    fit(made("random state", max_iter=3), "random state", checkpoint=path)
    kept = {}

    def expected(settings):
        kept.update(settings)
        return {}

    with pytest.raises(ModelFormatError):
        container.read(path, expected)
    progress = dict(kept["progress"]["dict"])
    assert progress["epochs"] == 3
    wrong = [("epochs", -1), ("epochs", 2**60), ("step", "x"), ("ended", "maybe"), ("t_", None),
             ("rate", "much"), ("loss_curve_", 2), ("random", None), ("random", [1, 2])]
    original = path.read_bytes()
    for name, value in wrong:
        path.write_bytes(original)
        changed = {"fit": kept["fit"], "progress": {"dict": [
            [key, value if key == name else old] for key, old in progress.items()]}}
        container.write(path, arrays_of(path), changed)
        with pytest.raises(ModelFormatError):
            fit(made("random state", max_iter=50), "random state", checkpoint=path)
    for name, at in (("parameters", np.nan), ("random", 0.5), ("optimizer.1", -1.0)):
        path.write_bytes(original)
        arrays = arrays_of(path)
        arrays[name] = arrays[name].copy()
        arrays[name][0] = at
        container.write(path, arrays, kept)
        with pytest.raises(ModelFormatError, match="cannot be gone on with"):
            fit(made("random state", max_iter=50), "random state", checkpoint=path)


def arrays_of(path):
    """Return the arrays of a file, without a check of it."""
    return dict(pytest.importorskip("safetensors.numpy").load_file(path))


def test_a_checkpoint_is_no_metadata():
    routing = str(get_routing_for_object(MLPClassifier()))
    assert "sample_weight" in routing and "checkpoint" not in routing
