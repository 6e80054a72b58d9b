"""Solvers beyond scikit-learn's, and what goes with them: schedules, penalties, norms, limits."""

import pickle
import time

import numpy as np
import pytest
from each import each
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import scale

import fastnn
from fastnn import schedules

QUICK = {"hidden_layer_sizes": (8, 8), "max_iter": 12, "random_state": 0,
         "learning_rate_init": 0.01}
pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
              pytest.mark.filterwarnings("ignore:lbfgs failed to converge")]
NAMES = ("adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "rprop", "lion", "muon")
OBJECTS = (fastnn.AdamW(0.01), fastnn.EMA(fastnn.Adam(0.01), 0.9), fastnn.Muon(0.02),
           fastnn.SGD(0.02, layers={0: {"learning_rate": 0.005}}),
           fastnn.Adam(schedules.Cosine(0.01)), fastnn.EvolutionStrategy(0.05, 10))
SETTINGS = (
    {"schedule": "cosine"}, {"schedule": schedules.OneCycle()}, {"clip_norm": 0.1}, {"l1": 0.1},
    {"clip_value": 0.01}, {"max_norm": 0.5},
    {"norm": "layer"}, {"residual": True}, {"norm": "layer", "residual": True},
    {"input_dropout": 0.2}, {"input_noise": 0.3}, {"mixup": 0.4},
)


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def model(**more):
    return fastnn.MLPClassifier(**{**QUICK, **more})


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.coefs_, two.coefs_, strict=True))


# ---- what is learned ----


@each("solver", [*NAMES, *OBJECTS])
def test_solvers_learn(solver):
    X, y = cancer()
    rates = {"adadelta": 1.0, "lion": 1e-3, "muon": 0.02}
    rate = rates.get(solver, 0.01) if isinstance(solver, str) else 1e-3
    est = model(solver=solver, learning_rate_init=rate, max_iter=30).fit(X, y)
    assert est.score(X, y) > 0.92
    again = clone(est).fit(X, y)
    assert same(est, again)


def test_names_are_objects_with_the_rate_of_the_estimator():
    X, y = cancer()
    for name, optimizer in (("adamw", fastnn.AdamW(0.01, 0.8, 0.9, 1e-6)),
                            ("rmsprop", fastnn.RMSprop(0.01)), ("muon", fastnn.Muon(0.01))):
        one = model(solver=name, beta_1=0.8, beta_2=0.9, epsilon=1e-6).fit(X, y)
        assert same(one, model(solver=optimizer, learning_rate_init=0.5).fit(X, y))


@each("solver", [*NAMES, "es"])
def test_early_stopping_and_more_fits(solver):
    X, y = cancer()
    est = model(solver=solver, early_stopping=True, n_iter_no_change=3).fit(X, y)
    assert est.best_validation_score_ == max(est.validation_scores_)
    est.set_params(early_stopping=False, warm_start=True, max_iter=2).fit(X, y)
    est.partial_fit(X, y).partial_fit(X, y)


def test_partial_fit_goes_on_with_an_average():
    """The mean is the model, the optimizer goes on from its own weights."""
    X, y = cancer()
    X, y = X[:200], y[:200]
    ema = fastnn.EMA(fastnn.Adam(0.01), 0.95)
    whole = model(solver=ema, max_iter=3, shuffle=False).fit(X, y)
    parts = model(solver=ema, shuffle=False)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, classes=[0, 1])))
    assert same(whole, parts)


# ---- what goes with them ----


@each("settings", SETTINGS)
def test_settings_change_the_fit_and_learn(settings):
    X, y = cancer()
    plain, est = model().fit(X, y), model(**settings).fit(X, y)
    assert est.score(X, y) > 0.93
    assert not same(plain, est)
    est.set_params(warm_start=True).fit(X, y)


@each("settings", SETTINGS)
def test_settings_of_regressors(settings):
    X, y = load_diabetes(return_X_y=True)
    est = fastnn.MLPRegressor(**{**QUICK, "max_iter": 40}, **settings).fit(scale(X), y / 100)
    assert est.score(scale(X), y / 100) > 0.3


def test_max_norm_and_clip_value_bound_columns_and_elements():
    X, y = cancer()
    est = model(max_norm=0.5).fit(X, y)
    lengths = np.concatenate([np.linalg.norm(w, axis=0) for w in est.coefs_])
    assert lengths.max() <= 0.5 * (1 + 1e-12)
    assert (lengths > 0.4999).any()
    steps = {}
    for limit in (None, 1e-3):
        one, no = (model(solver="sgd", momentum=0, learning_rate_init=rate, alpha=0, max_iter=1,
                         batch_size=len(X), clip_value=limit).fit(X, y) for rate in (1.0, 1e-300))
        steps[limit] = (no.coefs_[0] - one.coefs_[0]).ravel()
    assert np.abs(steps[None]).max() > 0.01
    np.testing.assert_allclose(steps[1e-3], np.clip(steps[None], -1e-3, 1e-3), atol=1e-15)


def test_a_constant_schedule_is_none():
    X, y = cancer()
    plain = model().fit(X, y)
    for schedule in ("constant", schedules.Constant(), lambda epoch: 0.01):
        assert same(plain, model(schedule=schedule).fit(X, y))
    assert same(model(learning_rate_init=0.02).fit(X, y),
                model(schedule=schedules.Constant(0.02)).fit(X, y))


def test_a_schedule_of_steps():
    """One epoch at a rate, the next ones at hardly any."""
    X, y = cancer()
    falls = schedules.Step(step_size=1, gamma=1e-12)
    one = model(max_iter=1).fit(X, y)
    three = model(max_iter=3, schedule=falls, momentum=0).fit(X, y)
    np.testing.assert_allclose(one.coefs_[0], three.coefs_[0], atol=1e-9)
    averaged = model(solver=fastnn.EMA(fastnn.SGD(0.01), 0.0), schedule=falls).fit(X, y)
    own = model(solver=fastnn.SGD(0.01), schedule=falls).fit(X, y)
    np.testing.assert_allclose(averaged.coefs_[0], own.coefs_[0], atol=1e-12)


@each("solver", ["adam", "lbfgs", "es"])
@each("settings", [{"norm": "layer"}, {"residual": True}])
def test_norm_and_residual_with_all_solvers(solver, settings):
    X, y = cancer()
    est = model(solver=solver, learning_rate_init=0.03, **settings).fit(X, y)
    assert est.score(X, y) > 0.85
    assert len(est.coefs_) == len(est.intercepts_) == 3
    net = est._predictor().net
    np.testing.assert_array_equal(net.predict(X)[:, 0], est.predict_proba(X)[:, 1])


def test_gains_belong_to_the_model():
    X, y = cancer()
    est = model(norm="layer").fit(X, y)
    before = est.predict_proba(X)
    assert [array.shape for array in est.norm_parameters_] == [(8,)] * 4
    est.norm_parameters_[0][:] *= 2
    changed = est.predict_proba(X)
    assert not np.array_equal(before, changed)
    est.norm_parameters_ = [array.copy() for array in est.norm_parameters_]
    np.testing.assert_array_equal(est.predict_proba(X), changed)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(est)).predict_proba(X), changed)
    est.set_params(norm=None).fit(X, y)
    assert est.norm_parameters_ is None
    est.predict(X)
    with pytest.raises(ValueError, match="norm='layer' needs 4 arrays .* there are 0: fit again"):
        est.set_params(norm="layer").predict(X)


# ---- limits and callbacks ----


class Recorder(fastnn.Callback):
    def __init__(self, last=None):
        self.last, self.scores, self.names = last, [], None

    def on_epoch_end(self, state):
        self.names = state.history.names
        self.scores.append(state.net.score(*cancer()))
        if state.epoch == self.last:
            state.stop("seen enough")


@each("solver", ["adam", "lbfgs", "es"])
def test_callbacks_see_the_model(solver):
    X, y = cancer()
    recorder = Recorder(last=4)
    est = model(solver=solver, callbacks=[recorder]).fit(X, y)
    assert est.n_iter_ == len(recorder.scores) == 5
    assert recorder.scores[-1] == est.score(X, y)
    assert recorder.names == ["loss"]


def test_callbacks_of_the_library():
    X, y = cancer()
    stop = fastnn.EarlyStopping("val_loss", patience=2)
    est = model(callbacks=[stop], max_iter=200, learning_rate_init=0.05)
    est.fit(X[100:], y[100:], X_val=X[:100], y_val=y[:100])
    curve = est.validation_loss_curve_
    assert len(curve) < 200
    assert stop.best == min(curve)
    assert curve[stop.best_epoch] == min(curve)
    recorder = Recorder()
    model(callbacks=[recorder], early_stopping=True).fit(X, y)
    assert recorder.names == ["loss", "val_loss", "val_score"]


def test_the_time_is_up():
    X, y = cancer()

    class Waits(fastnn.Callback):
        def on_epoch_end(self, state):
            time.sleep(0.05)

    est = model(callbacks=[Waits()], max_time=0.04).fit(X, y)
    assert est.n_iter_ == 1


def test_progress_is_shown_where_wanted(capsys):
    X, y = cancer()
    model().fit(X, y)
    assert capsys.readouterr().err == ""
    model(progress=True, max_iter=3).fit(X, y)
    assert "3/3 epochs" in capsys.readouterr().err


# ---- files ----


@each("settings", [
    {"solver": "muon", "learning_rate_init": 0.02}, {"solver": fastnn.AdamW(0.02)},
    {"solver": fastnn.EMA(fastnn.Muon(0.02, adam=fastnn.AdamW(0.01)), 0.9)},
    {"solver": fastnn.SGD(schedules.Cosine(0.02), layers={0: {"weight_decay": 0.1}})}, *SETTINGS,
    {"scoring": "roc_auc", "early_stopping": True}, {"max_time": 60, "progress": None},
])
def test_files_and_pickles(settings, tmp_path):
    X, y = cancer()
    est = model(**settings).fit(X, y)
    est.save(tmp_path / "model.safetensors")
    read = fastnn.load(tmp_path / "model.safetensors")
    copied = pickle.loads(pickle.dumps(est))
    for other in (read, copied):
        np.testing.assert_array_equal(other.predict_proba(X), est.predict_proba(X))
        for name, value in est.get_params().items():
            assert getattr(other, name) == value, name
    read.fit(X, y)
    assert same(read, est.fit(X, y))


def test_what_files_leave_out(tmp_path):
    X, y = cancer()
    path = tmp_path / "model.safetensors"
    model(callbacks=[Recorder()], scoring=lambda est, X, y: 0.0).fit(X, y).save(path)
    read = fastnn.load(path)
    assert read.callbacks is None
    assert read.scoring is None
    for settings in ({"schedule": lambda epoch: 0.01}, {"schedule": schedules.ByStep(float)},
                     {"solver": fastnn.Adam(lambda epoch: 0.01)}):
        with pytest.raises(ValueError, match="cannot be saved: it holds a function"):
            model(**settings, max_iter=1).fit(X, y).save(path)


@each("settings", [
    {"solver": fastnn.EMA(fastnn.Adam(0.01), 0.9)}, {"solver": "muon"}, {"schedule": "cosine"},
    {"solver": fastnn.Adam(schedules.Cosine(0.01))}, {"norm": "layer"}, {"mixup": 0.4},
    {"clip_norm": 0.1, "clip_value": 0.02, "max_norm": 0.7, "l1": 0.01},
    {"scoring": "neg_log_loss", "early_stopping": True},
])
def test_checkpoints(settings, tmp_path):
    X, y = cancer()
    X, y = X[:150], y[:150]
    path = tmp_path / "fit"
    path.unlink(missing_ok=True)  # of the case before

    class Ends(fastnn.Callback):
        def on_epoch_end(self, state):
            if state.epoch == 2:
                state.stop("later", ended=False)
                raise KeyboardInterrupt

    whole = model(**settings, max_iter=6).fit(X, y)
    stopped = model(**settings, max_iter=6)
    with pytest.warns(UserWarning, match="interrupted"):
        clone(stopped).set_params(callbacks=[Ends()]).fit(X, y, checkpoint=path,
                                                          checkpoint_seconds=0)
    stopped.fit(X, y, checkpoint=path, checkpoint_seconds=0)
    assert stopped.n_iter_ == 6
    assert stopped.loss_curve_ == whole.loss_curve_
    assert same(whole, stopped)
    with pytest.raises(fastnn.ModelFormatError, match="another fit"):
        model(**{**settings, "solver": fastnn.Lion()}, max_iter=6).fit(X, y, checkpoint=path)


def test_checkpoint_of_a_fit_whose_time_was_up(tmp_path):
    X, y = cancer()
    est = model(max_iter=4, max_time=1e-9, solver="sgd", learning_rate="adaptive", tol=1,
                n_iter_no_change=1)
    for epoch in range(1, 5):
        est.fit(X, y, checkpoint=tmp_path / "fit")
        assert est.n_iter_ == epoch
    assert same(est, clone(est).set_params(max_time=None).fit(X, y))


def test_to_sklearn():
    X, y = cancer()
    assert fastnn.to_sklearn(model(solver=fastnn.AdamW()).fit(X, y)).solver == "adam"
    with pytest.raises(ValueError, match="norm='layer', residual=False; scikit-learn has neither"):
        fastnn.to_sklearn(model(norm="layer").fit(X, y))


# ---- bad input ----


@each("settings, error, message", [
    ({"solver": "adamm"}, ValueError, "'solver' parameter .*muon.*Got 'adamm'"),
    ({"solver": fastnn.LBFGS()}, ValueError, "'solver' parameter"),
    ({"solver": fastnn.Adam}, ValueError, "'solver' parameter"),
    ({"schedule": "cos"}, ValueError, "'schedule' parameter .*one_cycle"),
    ({"schedule": schedules.Cosine}, TypeError, r"is a class.*fastnn.schedules.Cosine\(\)"),
    ({"schedule": "cosine", "solver": "lbfgs"}, ValueError, "must be None with solver='lbfgs'"),
    ({"schedule": "cosine", "solver": "sgd", "learning_rate": "adaptive"}, ValueError,
     "needs learning_rate='constant'"),
    ({"schedule": "cosine", "solver": fastnn.Adam(schedules.Cosine(1.0))}, ValueError,
     "where the solver has a schedule of its own"),
    ({"schedule": lambda epoch: -1.0}, ValueError, r"learning_rate\(0\) = -1.0 must be"),
    ({"clip_norm": 0.0}, ValueError, "'clip_norm' parameter"),
    ({"clip_norm": 1.0, "solver": "lbfgs"}, ValueError, "clip_norm=1.0 cannot be had with solver"),
    ({"clip_value": -1.0}, ValueError, "'clip_value' parameter"),
    ({"clip_value": 1.0, "solver": "es"}, ValueError, "clip_value=1.0 cannot be had with solver"),
    ({"max_norm": 0}, ValueError, "'max_norm' parameter"),
    ({"max_norm": 2.0, "solver": "lbfgs"}, ValueError, "max_norm=2.0 cannot be had with solver"),
    ({"l1": -1.0}, ValueError, "'l1' parameter"),
    ({"l1": 1.0, "solver": "es"}, ValueError, "l1=1.0 cannot be had with solver='es'"),
    ({"mixup": 0.2, "solver": "lbfgs"}, ValueError, "mixup=0.2 cannot be had with solver='lbfgs'"),
    ({"norm": "group"}, ValueError, "'norm' parameter"),
    ({"residual": 1}, ValueError, "'residual' parameter"),
    ({"input_dropout": 1.0}, ValueError, "'input_dropout' parameter"),
    ({"input_noise": -0.1}, ValueError, "'input_noise' parameter"),
    ({"mixup": -0.1}, ValueError, "'mixup' parameter"),
    ({"max_time": 0}, ValueError, "'max_time' parameter"),
    ({"progress": "yes"}, ValueError, "'progress' parameter"),
    ({"callbacks": fastnn.EarlyStopping()}, ValueError, "'callbacks' parameter"),
    ({"callbacks": [print]}, TypeError, r"callbacks\[0\]=.*must be a fastnn.Callback"),
    ({"callbacks": [fastnn.EarlyStopping("val_loss")]}, ValueError, "is not in the history"),
])
def test_is_refused(settings, error, message):
    X, y = cancer()
    est = model(**settings)
    with pytest.raises(error, match=message):
        est.fit(X, y)
    assert not hasattr(est, "coefs_")


def test_partial_fit_has_no_schedule(tmp_path):
    X, y = cancer()
    for settings in ({"schedule": "cosine"}, {"solver": fastnn.Adam(lambda epoch: 0.01)}):
        with pytest.raises(ValueError, match="partial_fit and fit_batches do not know how many"):
            model(**settings).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="EarlyStopping, whose state the checkpoint"):
        model(callbacks=[fastnn.EarlyStopping()]).fit(X, y, checkpoint=tmp_path / "fit",
                                                      X_val=X, y_val=y)
