"""scikit-learn's machinery around the estimators, and Optuna."""

import joblib
import numpy as np
import pytest
import sklearn
from neighbour_data import VALUES, X, Y, classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore")


def test_metadata_routing():
    weight = np.resize([0.0, 1.0, 2.0], 60)
    with sklearn.config_context(enable_metadata_routing=True):
        est = fastnn.MLPClassifier((5,), max_iter=4, random_state=0)
        est.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_validate(est, X, Y, params={"sample_weight": weight}, cv=3,
                                return_estimator=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, est).fit(X, Y, sample_weight=weight)
    plain = make_pipeline(StandardScaler(), fastnn.MLPClassifier(
        (5,), max_iter=4, random_state=0)).fit(X, Y, mlpclassifier__sample_weight=weight)
    np.testing.assert_array_equal(pipe.predict_proba(X), plain.predict_proba(X))
    assert len(routed["estimator"]) == 3


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(container):
    pytest.importorskip(container)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    pipe = make_pipeline(StandardScaler(), fastnn.MLPClassifier((5,), max_iter=4, random_state=0))
    pipe.set_output(transform=container).fit(frame, Y)
    assert list(pipe[-1].feature_names_in_) == list("abcd")
    plain = make_pipeline(StandardScaler(),
                          fastnn.MLPClassifier((5,), max_iter=4, random_state=0)).fit(X, Y)
    np.testing.assert_allclose(pipe.predict_proba(frame), plain.predict_proba(X), rtol=1e-12)


def test_column_transformer_and_search():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(e=np.resize(["x", "y"], 60))
    columns = ColumnTransformer([("n", StandardScaler(), list("abcd")),
                                 ("c", OneHotEncoder(), ["e"])])
    pipe = make_pipeline(columns, fastnn.MLPClassifier(max_iter=4, random_state=0))
    search = GridSearchCV(pipe, {"mlpclassifier__hidden_layer_sizes": [(3,), (4,)]}, cv=2, n_jobs=2)
    with joblib.parallel_config("threading"):  # in processes: estimators/test_extensions.py
        assert search.fit(frame, Y).predict(frame).shape == (60,)


def test_other_wrappers():
    target = np.stack([Y, Y[::-1]], axis=1)
    several = MultiOutputClassifier(fastnn.MLPClassifier((5,), max_iter=4)).fit(X, target)
    assert several.predict(X).shape == (60, 2)
    scaled = TransformedTargetRegressor(
        fastnn.MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0),
        transformer=StandardScaler()).fit(X, VALUES)
    assert scaled.score(X, VALUES) > 0.9
    assert sklearn.clone(classifier()).get_params() == classifier().get_params()


def test_optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial):
        rate = trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
        est = fastnn.MLPClassifier((5,), learning_rate_init=rate, random_state=0)
        for epoch in range(4):
            est.partial_fit(X, Y, classes=["a", "b", "c"])
            trial.report(est.score(X, Y), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return est.score(X, Y)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0),
                                pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=5)
    assert 0 <= study.best_value <= 1
