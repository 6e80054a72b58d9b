"""Importances, explanations and intervals of fitted models."""

import numpy as np
import pytest
from tabular_data import COUNT, TABLE, THREE, TWO, VALUE, N, rows

pytest.importorskip("sklearn")

import fastnn
from fastnn.tabular import explain as explaining

FIRST = 180


def fitted(y, make=fastnn.TabularRegressor, stop=None, **settings):
    return make(random_state=0, **settings).fit(rows(0, stop), y[:stop])


# ---- importances ----

@pytest.mark.parametrize("y", [TWO, THREE, VALUE], ids=["two", "three", "value"])
def test_importances_name_the_columns_that_matter(y):
    make = fastnn.TabularRegressor if y is VALUE else fastnn.TabularClassifier
    model = fitted(y, make)
    found, errors = model.feature_importances_, model.feature_importances_error_
    assert found.shape == errors.shape == (3,)
    assert found[0] > found[2] > 0 and found[0] > 5 * errors[0] > 0
    assert abs(found[1]) < 0.2 * found[0]
    np.testing.assert_array_equal(found, model.feature_importances_)


def test_importances_use_networks_that_have_not_seen_the_row():
    """Of noise nothing generalises, though each network has learned its rows by heart."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 2))
    model = fastnn.TabularRegressor(random_state=0).fit(X, rng.normal(size=60))
    reference = model.model_.reference
    networks = model.model_.ensemble.networks
    for kept, ensemble in reference.ensembles(model.model_.ensemble):
        (net,), = (part.networks for part in ensemble.parts)
        assert any(net is one for one in networks)
        inputs = model.model_.schema.apply(X)
        own = {row.tobytes() for row in reference.inputs.numbers[kept]}
        assert len(kept) == 20 and own <= {row.tobytes() for row in inputs.numbers}
    assert (model.feature_importances_ < 3 * model.feature_importances_error_).all()


def test_importances_by_rows_of_validation():
    model = fastnn.TabularRegressor(random_state=0).fit(
        rows(0, FIRST), VALUE[:FIRST], X_val=rows(FIRST), y_val=VALUE[FIRST:])
    assert len(model.model_.reference) == N - FIRST
    assert model.feature_importances_[0] > model.feature_importances_[1]


def test_constant_models_are_sure_and_say_that_no_column_matters(tmp_path):
    for model, shape in ((fastnn.TabularRegressor().fit(TABLE, np.full(N, 7.0)), (N, 2)),
                         (fastnn.TabularRegressor().fit(TABLE, np.full((N, 2), 7.0)), (N, 2, 2)),
                         (fastnn.TabularRegressor(loss="quantile", quantile=[0.1, 0.9]).fit(
                             TABLE, np.full(N, 7.0)), (N, 2))):
        model.save(tmp_path / "m.safetensors")
        for one in (model, fastnn.load(tmp_path / "m.safetensors")):
            interval = one.predict_interval(TABLE)
            assert interval.shape == shape
            np.testing.assert_allclose(interval, 7)
            explained = one.explain(TABLE)
            assert (explained.values == 0).all() and (explained.errors == 0).all()
            np.testing.assert_allclose(explained.base_values, 7)
            importances, errors = one.importances() if hasattr(one, "importances") else (
                one.feature_importances_, one.feature_importances_error_)
            assert importances.tolist() == errors.tolist() == [0] * len(TABLE)
    explained = fastnn.TabularClassifier().fit(TABLE, ["one"] * N).explain(TABLE)
    assert explained.values.shape[0] == N and (explained.values == 0).all()
    assert np.all(explained.base_values == 1)


# ---- explanations ----

def exact(model, table, outputs=None):
    """Shapley values by all 2^3 sets of columns."""
    inner = model.model_
    inputs = inner.schema.apply(table)
    m = len(inner.reference)
    background = inner.reference.inputs[np.sort(np.random.default_rng(0).permutation(m)[:64])]

    def value(known, row):
        numbers, codes = background.numbers.copy(), background.codes.copy()
        for j, group in enumerate(inner.groups):
            if known >> j & 1:
                numbers[:, group.numbers] = inputs.numbers[row, group.numbers]
                codes[:, group.codes] = inputs.codes[row, group.codes]
        mixed = type(inputs)(numbers, codes)
        return inner.numbers(inner.ensemble.outputs(mixed)).mean(axis=0)

    found = []
    for row in range(len(inputs)):
        v = [value(known, row) for known in range(8)]
        own = []
        for j in range(3):
            total = 0
            for known in range(8):
                if not known >> j & 1:
                    size = bin(known).count("1")
                    share = (1 / 3, 1 / 6, 1 / 3)[size]
                    total = total + share * (v[known | 1 << j] - v[known])
            own.append(total)
        found.append(own)
    return np.array(found)


@pytest.mark.parametrize("y", [TWO, VALUE], ids=["two", "value"])
def test_explanations_are_shapley_values_within_their_errors(y):
    make = fastnn.TabularRegressor if y is VALUE else fastnn.TabularClassifier
    model = fitted(y, make)
    some = rows(0, 6)
    found = model.explain(some)
    expected = exact(model, some)
    values, errors = found.values, found.errors
    if y is VALUE:
        values, errors = values[..., np.newaxis], errors[..., np.newaxis]
    assert (np.abs(values - expected) < 4.5 * errors + 1e-9).all()
    assert (errors < 0.05 * np.abs(expected).max()).all()
    said = model.predict(some) if y is VALUE else model.predict_proba(some)
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), said, rtol=1e-9)
    assert found.feature_names == ("a", "b", "c")


def test_explanations_are_summed_as_they_come(monkeypatch):
    """A few passes at a time, or all at once: the same values and errors."""
    model = fitted(VALUE)
    whole = model.explain(rows(0, 2), samples=640, background=16)
    monkeypatch.setattr(explaining, "CHUNK", 2 * 16 * 7)
    parts = model.explain(rows(0, 2), samples=640, background=16)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.errors, whole.errors, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("samples", [0, -1, 2.5, True, 2**20 + 1, 10**12])
def test_samples_of_explanations_are_a_sane_number(samples):
    with pytest.raises((TypeError, ValueError), match="samples"):
        fitted(VALUE).explain(rows(0, 1), samples=samples)


@pytest.mark.parametrize("name", ["random_state", "background"])
@pytest.mark.parametrize("value", [None, -1, 2.5, "1"])
def test_other_settings_of_explanations_are_named(name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name}="):
        fitted(VALUE).explain(rows(0, 1), samples=2, **{name: value})


def test_errors_of_explanations_fall_with_their_samples():
    model = fitted(VALUE)
    few, many = (model.explain(rows(0, 4), samples=n) for n in (128, 2048))
    assert 0.15 < np.median(many.errors / few.errors) < 0.4
    again = model.explain(rows(0, 4), samples=128)
    np.testing.assert_array_equal(again.values, few.values)
    alone = model.explain(rows(0, 1), samples=128)
    np.testing.assert_array_equal(alone.values, few.values[:1])


def test_explanations_equal_those_of_shap():
    """Its permutation explainer, with the same background rows."""
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2])
    model = fastnn.TabularRegressor(random_state=0).fit(X, y)
    reference = model.model_.reference
    chosen = np.sort(np.random.default_rng(0).permutation(len(reference))[:64])
    background = reference.inputs.numbers[chosen]
    theirs = shap.PermutationExplainer(
        model.predict, shap.maskers.Independent(background, max_samples=64), seed=0)(
            X[:5], max_evals=2000, silent=True)
    ours = model.explain(X[:5], samples=1024)
    np.testing.assert_allclose(ours.base_values, theirs.base_values, rtol=1e-6)
    # 3 columns: its orders are nearly all there are
    assert (np.abs(ours.values - theirs.values) < 5 * ours.errors + 1e-3).all()


# ---- intervals ----

@pytest.mark.parametrize("coverage", [0.5, 0.8])
@pytest.mark.parametrize("settings", [
    {}, {"loss": "absolute_error"}, {"loss": "quantile", "quantile": [0.1, 0.25, 0.75, 0.9]}])
def test_intervals_cover(settings, coverage):
    model = fitted(VALUE, stop=120, **settings)
    ends = model.predict_interval(rows(120), coverage)
    assert (ends[:, 0] <= ends[:, 1]).all()
    share = ((VALUE[120:] >= ends[:, 0]) & (VALUE[120:] <= ends[:, 1])).mean()
    # the mean of networks is better than those by which the width is found: rather too wide
    assert coverage - 0.1 < share < min(coverage + 0.3, 0.99)


def test_intervals_of_counts_grow_and_are_not_negative():
    model = fitted(COUNT, loss="poisson")
    ends, means = model.predict_interval(TABLE, 0.8), model.predict(TABLE)
    assert (ends[:, 0] >= 0).all()
    width = ends[:, 1] - means
    np.testing.assert_allclose(width / np.sqrt(means), (width / np.sqrt(means))[0], rtol=1e-6)


def test_intervals_of_several_targets():
    both = np.stack([VALUE, -10 * VALUE], axis=1)
    ends = fitted(both).predict_interval(rows(0, 5))
    assert ends.shape == (5, 2, 2) and (ends[..., 0] < ends[..., 1]).all()


def test_intervals_that_cannot_be():
    model = fitted(VALUE, stop=30)
    with pytest.raises(ValueError, match="at least 99 rows"):
        model.predict_interval(TABLE, 0.99)
    for coverage in (0, 1.0):
        with pytest.raises(ValueError, match=r"^coverage=[01].0 must be in \(0, 1\)$"):
            model.predict_interval(TABLE, coverage)
    with pytest.raises(ValueError, match="two levels"):
        fitted(VALUE, loss="quantile", quantile=[0.1, 0.2]).predict_interval(TABLE, 0.3)
