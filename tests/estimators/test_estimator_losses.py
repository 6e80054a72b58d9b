"""Losses of the estimators: quantiles, intervals, focal, hinges; their files; what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from each import each
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import d2_pinball_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastnn
from fastnn import losses

QUICK = {"hidden_layer_sizes": 16, "learning_rate_init": 0.01, "max_iter": 60, "random_state": 0,
         "tol": 0, "n_iter_no_change": 1000}
LEVELS = [0.05, 0.5, 0.95]
pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
              pytest.mark.filterwarnings("ignore:lbfgs failed to converge")]


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y / 100


def regressor(**more):
    return fastnn.MLPRegressor(**{**QUICK, **more})


def classifier(**more):
    return fastnn.MLPClassifier(**{**QUICK, **more})


VALUES = ["absolute_error", "huber", "log_cosh", "gaussian_nll", "gamma", "tweedie",
          losses.Huber(2.0), losses.Tweedie(1.9),
          losses.Custom(lambda y, z: np.abs(z - y), lambda y, z: np.sign(z - y))]


@each("loss", VALUES)
@each("solver", ["adam", "lbfgs"])
def test_values_are_learned(loss, solver):
    X, y = diabetes()
    model = clone(regressor(loss=loss, solver=solver)).fit(X, y)
    assert model.loss == loss
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.45


def test_names_stand_for_objects():
    X, y = diabetes()
    for name, loss in (("huber", losses.Huber()), ("quantile", losses.Quantile()),
                       ("tweedie", losses.Tweedie())):
        one, two = regressor(loss=name).fit(X, y), regressor(loss=loss).fit(X, y)
        np.testing.assert_array_equal(one.predict(X), two.predict(X))


# ---- quantiles ----


def test_quantiles_have_their_share_of_the_rows():
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=LEVELS).fit(X, y)
    found = model.predict(X)
    assert found.shape == (len(X), 3)
    assert (np.diff(found, axis=1) >= 0).all()
    assert np.mean(y[:, None] <= found, axis=0) == pytest.approx(LEVELS, abs=0.06)
    np.testing.assert_array_equal(model.predict_quantiles(X, LEVELS), found)
    np.testing.assert_array_equal(model.predict_quantiles(X, [0.05, 0.95]), found[:, [0, 2]])
    np.testing.assert_array_equal(model.predict_quantiles(X, 0.5), found[:, [1]])
    expected = np.mean([d2_pinball_score(y, found[:, j], alpha=level)
                        for j, level in enumerate(LEVELS)])
    assert model.score(X, y) == pytest.approx(expected)


def test_quantiles_never_cross():
    """Hardly trained networks have outputs in any order."""
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=LEVELS, max_iter=1).fit(X, y)
    outputs = model._current_network().predict(X)
    assert (np.diff(outputs, axis=1) < 0).any()
    assert (np.diff(model.predict(X), axis=1) >= 0).all()
    assert (np.diff(model.predict_quantiles(X, LEVELS), axis=1) >= 0).all()


def test_one_quantile_of_several_targets():
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=0.9).fit(X, np.column_stack([y, -y]))
    assert np.mean([y, -y] <= model.predict(X).T, axis=1) == pytest.approx([0.9, 0.9], abs=0.05)


def test_quantiles_of_the_normal_distribution():
    X, y = diabetes()
    model = regressor(loss="gaussian_nll").fit(X, y)
    found = model.predict_quantiles(X, [0.1, 0.5, 0.8413447460685429])
    np.testing.assert_allclose(found[:, 1], model.predict(X))
    _, log_variance = model._current_network().predict(X).T
    np.testing.assert_allclose(found[:, 2] - found[:, 1], np.exp(log_variance / 2))
    two = regressor(loss="gaussian_nll").fit(X, np.column_stack([y, y + 1]))
    assert two.predict(X).shape == (len(X), 2)
    with pytest.raises(ValueError, match="single target, the model was fitted with 2"):
        two.predict_quantiles(X, [0.5])


@each("loss", ["quantile", "gaussian_nll"])
def test_early_stopping_watches_its_own_score(loss):
    X, y = diabetes()
    model = regressor(loss=loss, quantile=LEVELS if loss == "quantile" else None,
                      early_stopping=True, n_iter_no_change=5).fit(X, y)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_) > 0.1
    warm = regressor(loss=loss, quantile=model.quantile, warm_start=True, max_iter=2).fit(X, y)
    assert warm.fit(X, y).predict(X).shape == model.predict(X).shape
    warm.partial_fit(X[:50], y[:50])


# ---- intervals ----


def test_a_warm_start_takes_the_levels_that_are_set():
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=[0.1, 0.9], warm_start=True, max_iter=2).fit(X, y)
    model.set_params(quantile=[0.2, 0.8]).fit(X, y)
    np.testing.assert_array_equal(model.predict_quantiles(X, [0.2, 0.8]), model.predict(X))
    for more in ({"quantile": [0.2, 0.5, 0.8]}, {"quantile": 0.5},
                 {"quantile": None, "loss": "squared_error"},
                 {"quantile": None, "loss": "gaussian_nll"}):
        with pytest.raises(ValueError, match="needs other outputs"):
            clone_of(model).set_params(**more).fit(X, y)
    one = regressor(loss="quantile", quantile=0.9, warm_start=True, max_iter=2).fit(X, y)
    one.set_params(loss="squared_error", quantile=None).fit(X, y)
    assert not hasattr(one, "predict_quantiles")


def test_a_warm_start_does_not_make_probabilities_of_margins():
    X, y = load_iris(return_X_y=True)
    model = classifier(loss="hinge", warm_start=True, max_iter=2).fit(X, y)
    model.set_params(loss="squared_hinge").fit(X, y)
    with pytest.raises(ValueError, match=r"loss='log_loss' .* margins"):
        model.set_params(loss="log_loss").fit(X, y)


def clone_of(model):
    return pickle.loads(pickle.dumps(model))


def test_calibrating_rows_of_several_targets_are_refused_before_the_fit():
    X, y = diabetes()
    with pytest.raises(ValueError, match="calibration_fraction=0.2 needs a single target"):
        regressor(calibration_fraction=0.2).fit(X, np.column_stack([y, y]))


def line(n, seed):
    """A line with noise that grows along it."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    return X, X[:, 0] + (0.2 + np.abs(X[:, 0])) * rng.normal(size=n)


@each("settings", [{"loss": "quantile", "quantile": [0.05, 0.95]}, {"loss": "gaussian_nll"},
                   {"loss": "squared_error"}, {"loss": "quantile", "quantile": 0.5}])
@each("coverage", [0.5, 0.9])
def test_intervals_cover(settings, coverage):
    X, y = line(2000, 0)
    model = regressor(calibration_fraction=0.5, max_iter=30, **settings).fit(X, y)
    X, y = line(4000, 1)
    low, high = model.predict_interval(X, coverage).T
    assert (low <= high).all()
    # of 1000 calibrating rows the coverage has a deviation of 0.016 at most; three of them
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(coverage, abs=0.05)
    grows = settings["loss"] == "gaussian_nll" or settings.get("quantile") == [0.05, 0.95]
    assert (np.ptp(high - low) > 0.1) == grows


def test_the_interval_by_hand():
    """Split-conformal prediction around quantiles, row by row (Romano et al. 2019, algorithm 1)."""
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=LEVELS).fit(X[:200], y[:200])
    assert model.calibrate(X[200:300], y[200:300]) is model
    low, _, high = model.predict(X[200:300]).T
    scores = sorted(max(a - v, v - b) for a, b, v in zip(low, high, y[200:300], strict=True))
    correction = scores[91 - 1]  # ceil(101 * 0.9) = 91
    found = model.predict_interval(X[300:], coverage=0.9)
    low, _, high = model.predict(X[300:]).T
    np.testing.assert_allclose(found, np.column_stack([low - correction, high + correction]))


def test_held_out_rows_are_not_trained_on():
    X, y = diabetes()
    model = regressor(loss="quantile", quantile=LEVELS, calibration_fraction=0.25)
    model.fit(X, y, sample_weight=np.ones(len(X)))
    assert len(model._calibration) == 111
    assert model.t_ == 331 * model.n_iter_
    assert set(np.round(model._calibration[:, -1], 6)) <= set(np.round(y, 6))
    assert model.fit(X[:300], y[:300]).predict_interval(X).shape == (len(X), 2)
    assert len(model._calibration) == 75
    model.partial_fit(X, y)
    with pytest.raises(ValueError, match="needs held-out rows"):
        model.predict_interval(X)
    model.set_params(loss="squared_error", quantile=None).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.predict_interval(X).shape == (len(X), 2)


@each("coverage, kind, message", [
    (0, ValueError, r"coverage=0.0 must be in \(0, 1\)"), (1.0, ValueError, "coverage=1.0"),
    ("0.9", TypeError, "coverage='0.9'"),
    (0.999, ValueError, "coverage=0.999 needs at least 999 calibrating rows, there are 30")])
def test_bad_coverage(coverage, kind, message):
    X, y = diabetes()
    model = regressor(max_iter=1).fit(X, y).calibrate(X[:30], y[:30])
    with pytest.raises(kind, match=message):
        model.predict_interval(X, coverage)
    assert model.predict_interval(X, 30 / 31).shape == (len(X), 2)


# ---- classes ----


@each("load", [load_iris, load_breast_cancer])
@each("loss", ["log_loss", "focal", "hinge", "squared_hinge", losses.Focal(1.0),
               losses.CrossEntropy(label_smoothing=0.1), losses.SquaredHinge()])
def test_classes_are_learned(load, loss):
    X, y = load(return_X_y=True)
    X, y = scale(X), np.array(["no", "some", "many"])[y]
    model = clone(classifier(loss=loss, early_stopping=True)).fit(X, y)
    assert model.score(X, y) > 0.8  # of iris the held-out rows are so few that it stops early
    margins = "hinge" in str(loss).lower()
    assert hasattr(model, "decision_function") == margins
    assert hasattr(model, "predict_proba") == hasattr(model, "predict_log_proba") == (not margins)
    if not margins:
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
        return
    found = model.decision_function(X)
    several = len(model.classes_) > 2
    assert found.shape == ((len(X), 3) if several else (len(X),))
    numbers = found.argmax(axis=1) if several else (found > 0).astype(int)
    np.testing.assert_array_equal(model.classes_[numbers], model.predict(X))
    with pytest.raises(AttributeError) as raised:
        model.predict_proba(X)
    assert "decision_function gives" in str(raised.value.__cause__)


def test_log_loss_is_what_it_was():
    X, y = load_iris(return_X_y=True)
    models = [classifier(**more).fit(X, y) for more in (
        {}, {"loss": "log_loss"}, {"loss": losses.CrossEntropy()})]
    for model in models[1:]:
        assert model.coefs_[0].tobytes() == models[0].coefs_[0].tobytes()
        assert model.loss_curve_ == models[0].loss_curve_


def test_label_smoothing_keeps_probabilities_from_the_ends():
    for load in (load_iris, load_breast_cancer):
        X, y = load(return_X_y=True)
        found = [classifier(loss=loss, max_iter=200).fit(scale(X), y).predict_proba(scale(X)).max()
                 for loss in ("log_loss", losses.CrossEntropy(0.2))]
        assert found[0] > 0.999
        assert found[1] < 0.99


def test_class_weight_and_focal_go_together():
    X, y = load_breast_cancer(return_X_y=True)
    keep = (y == 1) | (np.arange(len(y)) % 12 == 0)
    X, y = scale(X[keep])[:, 4:6], y[keep]
    recalls = [recall_score(y, classifier(loss="focal", class_weight=weight, max_iter=30).fit(
        X, y).predict(X), pos_label=0) for weight in (None, "balanced")]
    assert recalls[1] >= recalls[0] + 0.15


# ---- files ----

SAVED = [regressor(loss=losses.Huber(2.0)), regressor(loss="tweedie"),
         regressor(loss="quantile", quantile=0.9, calibration_fraction=0.2),
         regressor(loss="quantile", quantile=LEVELS, calibration_fraction=0.2),
         regressor(loss=losses.Quantile(LEVELS)), regressor(loss="gaussian_nll"),
         classifier(loss=losses.Focal(1.0)), classifier(loss="hinge"),
         classifier(loss=losses.CrossEntropy(0.1))]


@each("model", SAVED)
@each("n_classes", [2, 3])
def test_files_and_pickles_predict_the_same(model, n_classes, tmp_path):
    X, y = diabetes()
    if isinstance(model, fastnn.MLPClassifier):
        y = np.array(["low", "high", "top"])[np.digitize(y, [1.5, 2.5]) % n_classes]
    elif n_classes == 2:
        return
    model = clone(model).set_params(max_iter=2).fit(X, y)
    path = tmp_path / "model.fnn"
    model.save(path)
    loaded = fastnn.load(path)
    wanted = model.predict(X)
    for other in (loaded, fastnn.load(path, predictor=True), pickle.loads(pickle.dumps(model)),
                  pickle.loads(pickle.dumps(fastnn.load(path, predictor=True)))):
        np.testing.assert_array_equal(other.predict(X), wanted)
    assert loaded.get_params()["loss"] == model.loss
    if vars(model).get("_calibration") is not None:
        np.testing.assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))
    if vars(model).get("_levels"):
        np.testing.assert_array_equal(loaded.predict_quantiles(X, model._levels),
                                      model.predict_quantiles(X, model._levels))
    loaded.fit(X, y)
    np.testing.assert_array_equal(loaded.predict(X), wanted)


def test_a_pipeline_predicts_sorted_quantiles(tmp_path):
    X, y = diabetes()
    pipeline = make_pipeline(StandardScaler(), regressor(
        loss="quantile", quantile=LEVELS, max_iter=1)).fit(X, y)
    pipeline[-1].save(tmp_path / "model.fnn", pipeline)
    loaded = fastnn.load(tmp_path / "model.fnn")
    np.testing.assert_allclose(loaded.predict(X), pipeline.predict(X))
    out = np.empty((len(X), 3))
    assert loaded.predict(X, out=out) is out
    np.testing.assert_array_equal(out, loaded.predict(X))


def test_files_of_defaults_say_nothing_new(tmp_path):
    """Versions that do not know of these losses can read them."""
    X, y = diabetes()
    for model in (regressor(max_iter=1).fit(X, y), classifier(max_iter=1).fit(X, y > 1)):
        model.save(tmp_path / "model.fnn")
        header = (tmp_path / "model.fnn").read_bytes()[:20_000]
        for word in (b"quantile", b"calibration", b"log_loss", b"_levels", b"_normal"):
            assert word not in header


def test_what_no_file_holds(tmp_path):
    X, y = diabetes()
    custom = regressor(loss=VALUES[-1], max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="made of Python functions"):
        custom.save(tmp_path / "model.fnn")
    refused = [regressor(loss="quantile", quantile=LEVELS), regressor(loss="gaussian_nll"),
               classifier(loss="hinge")]
    for model in refused:
        model.set_params(max_iter=1).fit(X, y if "Regressor" in str(model) else y > 1)
        with pytest.raises(ValueError, match="cannot hold a model that predicts .*export its net"):
            fastnn.export.c_header(model, tmp_path / "model.h")
        with pytest.raises(ValueError, match="an estimator of scikit-learn cannot hold"):
            fastnn.to_sklearn(model)
    single = regressor(loss="huber", max_iter=1).fit(X, y)
    fastnn.export.c_header(single, tmp_path / "model.h")
    theirs = fastnn.to_sklearn(single)
    np.testing.assert_allclose(theirs.predict(X), single.predict(X))
    assert theirs.loss == "squared_error"


# ---- bad input ----


@each("settings, message", [
    ({"loss": "focal"}, "'loss' parameter of MLPRegressor .*Got 'focal'"),
    ({"loss": losses.Focal()}, "is for classes: MLPRegressor takes one of squared_error"),
    ({"loss": losses.CrossEntropy()}, "is for classes"),
    ({"loss": losses.Hinge()}, "is for classes"),
    ({"quantile": 0.9}, "quantile=0.9 needs loss='quantile', not 'squared_error'"),
    ({"loss": losses.Quantile(0.5), "quantile": 0.9}, "needs loss='quantile'"),
    ({"loss": "quantile", "quantile": 1.5}, r"level=1.5 of Quantile must be in \(0, 1\)"),
    ({"loss": "quantile", "quantile": [0.9, 0.1]}, r"must rise: give the levels as \[0.1, 0.9\]"),
    ({"loss": "quantile", "quantile": "0.5"}, "'quantile' parameter"),
    ({"calibration_fraction": 0}, "'calibration_fraction' parameter"),
    ({"calibration_fraction": 1.0}, "'calibration_fraction' parameter"),
])
def test_bad_settings_of_the_regressor(settings, message):
    with pytest.raises(ValueError, match=message):
        regressor(**settings).fit(*diabetes())


@each("loss", ["gamma", "tweedie", losses.Tweedie(2)])
def test_negative_targets(loss):
    X, y = diabetes()
    with pytest.raises(ValueError, match=r"y must be >=? 0 with loss=.*its least value is -"):
        regressor(loss=loss).fit(X, y - 1)


def test_quantiles_that_were_not_fitted():
    X, y = diabetes()
    with pytest.raises(ValueError, match="3 quantiles need a single target, y has 2"):
        regressor(loss="quantile", quantile=LEVELS).fit(X, np.column_stack([y, y]))
    model = regressor(loss="quantile", quantile=LEVELS, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match=r"must be among the levels of the fit, \[0.05, 0.5, 0.95"):
        model.predict_quantiles(X, [0.1, 0.5])
    with pytest.raises(ValueError, match=r"must rise: q=\[0.05, 0.95\]"):
        model.predict_quantiles(X, [0.95, 0.05])
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        model.predict_quantiles(X, 1.5)
    with pytest.raises(AttributeError):
        regressor(max_iter=1).fit(X, y).predict_quantiles(X, 0.5)
    with pytest.raises(ValueError, match="y has 2 output"):
        model.set_params(warm_start=True).fit(X, np.column_stack([y, y]))


@each("loss, message", [
    ("huber", "'loss' parameter of MLPClassifier"),
    (losses.Huber(), "must be CrossEntropy, Focal, Hinge or SquaredHinge"),
    (losses.Quantile(0.9), "MLPRegressor takes others"),
])
def test_bad_losses_of_the_classifier(loss, message):
    X, y = diabetes()
    with pytest.raises(ValueError, match=message):
        classifier(loss=loss).fit(X, y > 1)


def test_hinge_takes_one_label_per_row():
    X, y = diabetes()
    with pytest.raises(ValueError, match="loss='hinge' takes one label per row"):
        classifier(loss="hinge").fit(X, np.column_stack([y > 1, y > 2]).astype(int))


# ---- real data ----


@pytest.mark.slow
def test_intervals_of_houses_cover(shared_data):
    """Mean coverage of predict_interval(coverage=0.9) over 20 splits; quantiles never cross."""
    found, crossed = [], 0
    X, y = shared_data("housing.csv.gz", "median_house_value")
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[:5000], order[5000:8000]
        model = make_pipeline(StandardScaler(), fastnn.MLPRegressor(
            loss="quantile", quantile=LEVELS, calibration_fraction=0.25, hidden_layer_sizes=(64,),
            learning_rate_init=3e-3, max_iter=30, random_state=seed)).fit(X[train], y[train])
        rows = model[0].transform(X[test])
        low, high = model[-1].predict_interval(rows, coverage=0.9).T
        found.append(np.mean((low <= y[test]) & (y[test] <= high)))
        crossed += (np.diff(model.predict(X[test]), axis=1) < 0).sum() + (low > high).sum()
    print(f"coverage {np.mean(found):.4f}, of single splits {min(found):.3f} to {max(found):.3f}")
    assert crossed == 0
    assert 0.885 <= np.mean(found) <= 0.915


@pytest.mark.slow
def test_balanced_weights_find_the_minority_of_adult(shared_data):
    X, y = shared_data("adult.csv.gz", "income")
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:12000], order[12000:20000]
    scaler = StandardScaler().fit(X[train])
    recalls = []
    for weight in (None, "balanced"):
        model = fastnn.MLPClassifier((32,), class_weight=weight, max_iter=20, random_state=0,
                                     alpha=1e-2).fit(scaler.transform(X[train]), y[train])
        recalls.append(recall_score(y[test], model.predict(scaler.transform(X[test]))))
    print(f"recall {recalls[0]:.3f}, with balanced weights {recalls[1]:.3f}")
    assert recalls[1] >= recalls[0] + 0.15


@pytest.fixture
def shared_data():
    """A function from file and target to X and y: numbers as they are, words as columns of 0 and
    1, missing numbers as their median."""
    import os

    pd = pytest.importorskip("pandas")
    folder = Path(os.environ.get("FASTNN_DATA", Path(__file__).parents[3] / "shared" / "data"))

    def read(name, target):
        if not (folder / name).exists():
            pytest.skip(f"no {name} in {folder}")
        table = pd.read_csv(folder / name)
        y = table.pop(target)
        y = y.to_numpy(float) / 1e5 if y.dtype.kind in "if" else (
            y.str.strip().str.startswith(">50K").to_numpy(int))
        X = pd.get_dummies(table).astype(float)
        return X.fillna(X.median()).to_numpy(), y

    return read
