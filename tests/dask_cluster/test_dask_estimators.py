"""`fastnn.dask.MLPClassifier` and `MLPRegressor`; searches with joblib's Dask backend."""

import pickle

import numpy as np
import pytest
from cluster_data import rows

import fastnn

da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")
pytest.importorskip("sklearn")
import dask  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import prediction  # noqa: E402

SHORT = dict(hidden_layer_sizes=(8,), max_iter=4, learning_rate_init=0.02, shards=2,
             local_steps=50, random_state=0)


def lazily(X, y, n=90):
    return da.from_array(X, chunks=(n, X.shape[1])), da.from_array(y, chunks=n)


def test_classes_of_arrays(client):
    X, y = rows(200)
    labels = np.array(["a", "b", "rare"])[y]
    labels[3] = "rare"  # which the other shard lacks, and most partitions
    dX, dy = lazily(X, labels)
    model = fastnn.dask.MLPClassifier(**SHORT).fit(dX, dy)
    assert model.classes_.tolist() == ["a", "b", "rare"] and len(model.loss_curve_) == 4
    assert model.coefs_[0].dtype == np.float32 and model.n_features_in_ == 5
    lazy = model.predict(dX)
    assert dask.is_dask_collection(lazy) and lazy.chunks == ((90, 90, 20),)
    local = model.to_local()
    assert type(local) is fastnn.MLPClassifier
    assert (lazy.compute() == local.predict(X)).all() and lazy.dtype == lazy.compute().dtype
    assert model.predict_proba(dX).compute().tobytes() == local.predict_proba(X).tobytes()
    assert model.score(dX, dy) == pytest.approx(local.score(X, labels))
    assert model.score(X, labels) == local.score(X, labels)
    objects = labels.astype(object)
    cut = [dask.delayed((X[a:b], objects[a:b])) for a, b in ((0, 0), (0, 200))]
    same = fastnn.dask.MLPClassifier(**SHORT).fit(cut, None)
    assert same.coefs_[0].tobytes() == model.coefs_[0].tobytes()
    for label in (None, np.nan, 3):
        objects[5] = label
        with pytest.raises((ValueError, TypeError), match="partition 0: y has no label in row 5|"
                                                          "partition 0: y holds strings and other"):
            same.fit([dask.delayed((X, objects))], None)
    parts = model.predict([dask.delayed(X[:30]), dask.delayed(X[:0])])
    assert [len(part.compute()) for part in parts] == [30, 0]


def test_frames_with_a_column_of_labels(client):
    pandas = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    X, y = rows(200)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(label=y)
    data = dd.from_pandas(frame, npartitions=3)
    model = fastnn.dask.MLPClassifier(
        **SHORT, early_stopping=True, validation_fraction=0.2, n_iter_no_change=2,
        class_weight="balanced").fit(data, "label")
    assert model.feature_names_in_.tolist() == list("abcde")
    assert len(model.validation_scores_) == model.n_iter_
    found = model.predict(data).compute()
    assert (found.index == frame.index).all()
    assert (found == model.predict(frame[list("abcde")])).all()
    assert model.predict_proba(data).compute().shape == (200, 2)
    assert model.score(data, "label") == pytest.approx(model.score(frame[list("abcde")], y))
    with pytest.raises(ValueError, match="no column 'c'"):
        model.predict(data.drop(columns="c")).compute()


def test_parquet_files(client, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pytest.importorskip("dask.dataframe")
    X, y = rows(200)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(label=y)
    for i, start in enumerate((0, 130)):
        frame[start:(130, 200)[i]].to_parquet(tmp_path / f"{i}.parquet")
    model = fastnn.dask.MLPClassifier(**SHORT, keep=False).fit(str(tmp_path / "*.parquet"), "label")
    same = fastnn.dask.MLPClassifier(**SHORT).fit(frame[list("abcde")], frame["label"])
    assert model.coefs_[0].tobytes() == same.coefs_[0].tobytes()
    # rows are those of a list in its order, and so go with labels that are cut in that order
    for i, start in enumerate((0, 130)):
        frame[list("abcde")][start:(130, 200)[i]].to_parquet(tmp_path / f"{1 - i}.parquet")
    model.fit([tmp_path / "1.parquet", tmp_path / "0.parquet"],
              [dask.delayed(y[:130]), dask.delayed(y[130:])])
    assert model.coefs_[0].tobytes() == same.coefs_[0].tobytes()
    frame[list("abd")].to_parquet(tmp_path / "2.parquet")
    labels = {"0": dask.delayed(y[130:]), "2": dask.delayed(y)}
    for names in ("02", "20"):
        with pytest.raises(ValueError, match="partition 1.* columns .*c"):
            model.fit([tmp_path / f"{name}.parquet" for name in names],
                      [labels[name] for name in names])


def test_values(client):
    X, _ = rows(200, "float64")
    y = X[:, :2] @ [[1, 2], [0, 1]]
    dX, dy = lazily(X, y)
    model = fastnn.dask.MLPRegressor(**{**SHORT, "solver": "lbfgs", "max_iter": 15}).fit(dX, dy)
    alone = fastnn.MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=15,
                                random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coefs_[0], alone.coefs_[0], rtol=1e-6, atol=1e-8)
    assert model.score(dX, dy) == pytest.approx(alone.score(X, y), rel=1e-6)
    assert model.predict(dX).compute().shape == (200, 2)
    rounds = fastnn.dask.MLPRegressor(**SHORT).fit(dX, dy[:, 0])
    assert rounds.predict(dX).compute().shape == (200,)


def test_what_estimators_can_do_else(client, tmp_path):
    X, y = rows(200)
    model = fastnn.dask.MLPClassifier(**SHORT).fit(X, y, validation_data=(X[:50], y[:50]))
    assert len(model.validation_loss_curve_) == 4
    again = clone(model)
    again.client = client
    assert again.get_params() == model.get_params() and not hasattr(again, "coefs_")
    assert again.fit(X, y).coefs_[0].tobytes() == model.coefs_[0].tobytes()
    kept = pickle.loads(pickle.dumps(again))
    assert kept.client is None and (kept.predict(X) == model.predict(X)).all()
    model.save(tmp_path / "model.safetensors")
    assert type(fastnn.load(tmp_path / "model.safetensors")) is fastnn.MLPClassifier
    before = model.loss_
    assert model.set_params(warm_start=True).fit(X, y).loss_ < before
    path = tmp_path / "fit.safetensors"
    first = clone(again).set_params(max_iter=2).fit(X, y, checkpoint=path)
    assert first.n_iter_ == 2
    longer = clone(again).fit(X, y, checkpoint=path)
    assert longer.coefs_[0].tobytes() == kept.coefs_[0].tobytes()
    assert model.partial_fit(X, y).n_iter_ == 1, "of this process"


def test_solver_lbfgs_keeps_a_checkpoint(client, tmp_path):
    """It took the path and wrote nothing."""
    X, y = rows(200)
    settings, path = {**SHORT, "solver": "lbfgs"}, tmp_path / "fit.safetensors"
    first = fastnn.dask.MLPClassifier(**{**settings, "max_iter": 3}).fit(X, y, checkpoint=path)
    assert first.n_iter_ == 3 and path.exists()
    longer = fastnn.dask.MLPClassifier(**{**settings, "max_iter": 8}).fit(X, y, checkpoint=path)
    whole = fastnn.dask.MLPClassifier(**{**settings, "max_iter": 8}).fit(X, y)
    assert longer.coefs_[0].tobytes() == whole.coefs_[0].tobytes()
    assert longer.loss_curve_ == whole.loss_curve_


def test_what_is_not_scored(client):
    X, y = rows(60)
    model = fastnn.dask.MLPClassifier(**SHORT).fit(X, y)
    labels, weight = y.astype(object), np.ones(60)
    labels[3], weight[4] = None, np.nan
    for part, message in (((X, labels), "partition 1: y has no label in row 3"),
                          ((X, y[:5]), "partition 1: y has 5 rows, X has 60"),
                          (X, "partition 1: y is missing: give y, parts"),
                          ((X, y, weight), "partition 1: sample_weight contains NaN in row 4")):
        with pytest.raises(ValueError, match=message):
            model.score([dask.delayed((X, y)), dask.delayed(part)], None)
    values = X[:, 0].astype(float)
    values[7] = np.inf
    model = fastnn.dask.MLPRegressor(**{**SHORT, "max_iter": 1}).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="partition 0: y contains inf"):
        model.score([dask.delayed((X, values))], None)


def test_predictions_by_another_version(client, monkeypatch):
    X, y = rows(40)
    data, labels = da.from_array(X, chunks=(20, 5)), da.from_array(y, chunks=20)
    model = fastnn.dask.MLPClassifier(**{**SHORT, "max_iter": 1}).fit(data, labels)
    monkeypatch.setattr(prediction, "__version__", "0.0.1")
    for call in (lambda: model.score(data, labels), lambda: model.predict(data).compute(),
                 lambda: dask.compute(model.predict(list(data.to_delayed().reshape(-1))))):
        with pytest.raises(RuntimeError, match=r"the driver has fastnn 0\.0\.1, this worker has"):
            call()


def test_what_estimators_refuse(client):
    X, y = rows(100)
    for settings, message in (
            (dict(learning_rate="adaptive"), "learning_rate='adaptive' must be 'constant'"),
            (dict(scoring="accuracy", early_stopping=True), "scoring='accuracy' must be 'loss'"),
            (dict(shards=0), "shards"), (dict(local_steps="x"), "local_steps")):
        with pytest.raises(ValueError, match=message):
            fastnn.dask.MLPClassifier(**{**SHORT, **settings}).fit(X, y)
    with pytest.raises(ValueError, match="y has the class 2, which no row of the training has: "):
        fastnn.dask.MLPClassifier(**SHORT).fit(X, y, validation_data=(X, y + 1))
    bad = X.copy()
    bad[7, 3] = np.nan
    for held, message in (((X, y + 1), "^in the validation rows: y has the class 2"),
                          ((bad, y), "^in the validation rows: partition 0: X contains nan"),
                          ((X[:, :4], y), "^in the validation rows: shard .: X has 4 columns")):
        with pytest.raises(ValueError, match=message):
            fastnn.dask.MLPClassifier(**SHORT).fit(X, y, X_val=held[0], y_val=held[1])
    for call in (lambda model: model.to_local(), lambda model: model.predict(X)):
        with pytest.raises(NotFittedError, match="MLPClassifier instance is not fitted yet"):
            call(fastnn.dask.MLPClassifier())
    with pytest.raises(ValueError, match="one label per row"):
        fastnn.dask.MLPClassifier(**SHORT).fit(X, np.stack([y, y, y + 1], axis=1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'|depth"):
        fastnn.dask.MLPClassifier(depth=3)


def test_searches_with_joblibs_dask_backend(client):
    joblib = pytest.importorskip("joblib")
    from sklearn.model_selection import GridSearchCV

    X, y = rows(120)
    search = GridSearchCV(fastnn.MLPClassifier((6,), solver="lbfgs", max_iter=10, random_state=0),
                          {"alpha": [1e-4, 1.0]}, cv=2)
    alone = clone(search).fit(X, y)
    with joblib.parallel_config("dask"):
        search.fit(X, y)
    assert (search.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.coefs_[0].tobytes() == (
        alone.best_estimator_.coefs_[0].tobytes())
