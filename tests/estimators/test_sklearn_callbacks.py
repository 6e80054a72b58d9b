"""scikit-learn's own callbacks (version 1.9): alone, in `Pipeline` and in `GridSearchCV`."""

import numpy as np
import pandas as pd
import pytest
from each import each
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastnn

callback = pytest.importorskip("sklearn.callback")
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0, "learning_rate_init": 0.01}
pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
              pytest.mark.filterwarnings("ignore:lbfgs failed to converge")]


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), np.array(["bad", "good"])[y]


def model(**more):
    return fastnn.MLPClassifier(**{**QUICK, **more})


class Recorder:
    """Notes what it is called with; ends the fit after some epochs."""

    def __init__(self, last=1000):
        self.calls, self.models, self.last = [], [], last

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(f"end {context.task_name} {context.task_id}")
        self.models.append((estimator, X, y, metadata, fitted_estimator))
        return context.task_name == "epoch" and context.task_id + 1 >= self.last


def expected_calls(epochs):
    found = ["setup", "begin fit 0"]
    for epoch in range(epochs):
        found += [f"begin epoch {epoch}", f"end epoch {epoch}"]
    return [*found, "end fit 0", "teardown"]


@each("solver", ["adam", "sgd", "lbfgs", "es"])
def test_epochs_are_tasks(solver):
    X, y = cancer()
    recorder = Recorder()
    plain = model(solver=solver).fit(X, y)
    est = model(solver=solver).set_callbacks(recorder).fit(X, y)
    assert recorder.calls == expected_calls(6)
    np.testing.assert_array_equal(est.coefs_[0], plain.coefs_[0])
    accuracies = [fitted.score(X, y) for *_, fitted in recorder.models]
    assert len(set(accuracies)) > 1  # each is that of its epoch
    assert accuracies[-1] == accuracies[-2] == est.score(X, y)
    assert all(est is known for known, *_ in recorder.models)
    assert "_callback_fit_ctx" not in vars(est)


@each("solver", ["adam", "lbfgs"])
def test_ends_the_fit(solver):
    X, y = cancer()
    recorder = Recorder(last=3)
    est = model(solver=solver).set_callbacks(recorder).fit(X, y)
    assert est.n_iter_ == 3
    assert recorder.calls == expected_calls(3)


def test_patience_leaves_no_task_open():
    X, y = cancer()
    recorder = Recorder()
    est = model(tol=10, n_iter_no_change=2).set_callbacks(recorder).fit(X, y)
    assert est.n_iter_ == 4
    assert recorder.calls == expected_calls(4)


def test_rows_are_those_that_train():
    X, y = cancer()
    names = [f"c{j}" for j in range(X.shape[1])]
    recorder, weight = Recorder(), np.linspace(0.1, 1, len(X))
    est = model(early_stopping=True).set_callbacks(recorder)
    est.fit(pd.DataFrame(X, columns=names), y, weight)
    _, rows, labels, metadata, _ = recorder.models[0]
    assert list(rows.columns) == names
    assert len(rows) == len(labels) == len(metadata["sample_weight"]) == 512
    assert set(labels) == {"bad", "good"}
    np.testing.assert_array_equal(weight[rows.index], metadata["sample_weight"])


def test_scoring_monitor():
    X, y = cancer()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    est = model().set_callbacks(monitor).fit(X, y)
    log = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(log) == 6
    assert log[-1] == accuracy_score(y, est.predict(X))


def test_scoring_monitor_inside_of_others():
    X, y = cancer()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    pipe = Pipeline([("scale", StandardScaler()), ("mlp", model().set_callbacks(monitor))])
    GridSearchCV(pipe, {"mlp__alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    log = [row for row in monitor.get_logs(select="all")[-1].data if row["task_name"] == "epoch"]
    assert len(log) == 6 * (2 * 2 + 1)
    assert all(0.3 < row["accuracy"] <= 1 for row in log)


def test_progress_bar(capsys):
    pytest.importorskip("rich")
    X, y = cancer()
    model().set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out
    pipe = Pipeline([("scale", StandardScaler()), ("mlp", model())])
    pipe.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out
    search = GridSearchCV(model(), {"alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out


def test_an_error_leaves_the_model():
    class Fails(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no luck")

    X, y = cancer()
    recorder = Fails()
    est = model().set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="no luck"):
        est.fit(X, y)
    assert recorder.calls == ["setup", "begin fit 0", "begin epoch 0", "teardown"]
    assert not hasattr(est, "coefs_")
    assert hasattr(clone(est), "_skl_callbacks")
    est.set_callbacks().fit(X, y)


def test_is_refused():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        model().set_callbacks(fastnn.EarlyStopping())
