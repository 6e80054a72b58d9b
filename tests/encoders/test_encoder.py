"""Bins, categories, and the encodings of both."""

import numpy as np
import pytest
from each import each

from fastnn.encoders import Categories, Encoder, Numbers, greedy_edges


def piecewise_linear(x, edges):
    """Gorishniy et al. 2022, equation 1, cut off at the outer edges: (n, bins)."""
    width = np.diff(edges)
    return np.clip((np.asarray(x)[:, None] - edges[:-1]) / width, 0, 1)


@each("bins", [1, 2, 7, 64])
def test_numbers_are_piecewise_linear(bins):
    x = np.random.default_rng(0).normal(size=500)
    encoder = Encoder(Numbers(bins)).fit([x])
    edges = encoder.edges(0)
    assert len(edges) == bins + 1 and encoder.n_inputs == bins + 1
    new = np.r_[np.linspace(-9, 9, 200), edges, np.inf, -np.inf]
    found = encoder.to_dense([new])
    np.testing.assert_allclose(found[:, :-1], piecewise_linear(new, edges), atol=1e-12)
    assert not found[:, -1].any()
    missing = encoder.to_dense([np.array([np.nan])])
    assert missing.tolist() == [[0] * bins + [1]]


def test_bins_hold_equal_counts():
    x = np.random.default_rng(0).normal(size=6400)
    counts = np.histogram(x, greedy_edges(x, 64))[0]
    assert counts.sum() == 6400 and counts.min() >= 98 and counts.max() <= 102


def test_a_heavy_value_has_a_bin_of_its_own_and_the_others_are_cut_anew():
    """Adult's capital-gain: quantiles would leave three or four bins."""
    rng = np.random.default_rng(0)
    for heavy in (0.0, 5.0, 100.0):
        x = np.where(rng.random(10_000) < 0.9, heavy, rng.exponential(10, size=10_000))
        edges = greedy_edges(x, 32)
        assert 31 <= len(edges) <= 33
        place = np.clip(np.searchsorted(edges, heavy, "right") - 1, 0, len(edges) - 2)
        inside = x[(x >= edges[place]) & (x <= edges[place + 1])]
        assert set(inside) == {heavy}
        others = np.histogram(x[x != heavy], edges)[0]
        assert np.sort(others)[2:].min() > 15


def test_few_values_are_the_edges():
    assert greedy_edges(np.array([3.0, 1, 1, 2, 3, 3]), 2).tolist() == [1, 2, 3]
    assert greedy_edges(np.array([1.0, 2.0]), 64).tolist() == [1, 2]


@each("bins", range(1, 12))
def test_never_more_bins_than_asked_for(bins):
    rng = np.random.default_rng(bins)
    for _ in range(30):
        x = rng.choice(rng.normal(size=40), p=rng.dirichlet(np.full(40, 0.2)), size=500)
        edges = greedy_edges(x, bins)
        assert len(edges) <= bins + 1 and (np.diff(edges) > 0).all() if len(set(x)) > 1 else True
        assert edges[0] == x.min() and edges[-1] == x.max()


def test_categories():
    encoder = Encoder(Categories()).fit([np.array(["b", "a", None, "a"], object)])
    found = encoder.to_dense([np.array(["a", "b", "c", None, np.nan], object)])
    assert found.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    encoder = Encoder(Categories(most=1)).fit([np.array([7, 3, 3])])
    assert encoder.to_dense([np.array([3, 7, 1])]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_kinds_of_data():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "word": ["a", "b", "a"], "n": [1, 2, 2]})
    encoder = Encoder().fit(frame)
    assert encoder.names == ["x", "word", "n"]
    dense = encoder.to_dense(frame)
    assert dense.tobytes() == encoder.to_dense(frame[["n", "word", "x"]]).tobytes()
    parts = [frame[name].to_numpy() for name in frame]
    assert dense.tobytes() == encoder.to_dense(parts).tobytes()
    X = np.random.default_rng(0).normal(size=(20, 2))
    assert Encoder(Numbers(3)).fit_transform(X).toarray().shape == (20, 8)
    with pytest.raises(ValueError, match="X has no column 'x'"):
        encoder.transform(frame[["n"]])


def test_bad_input():
    one = np.full(5, 2.0)
    with pytest.raises(ValueError, match=r"column 1 holds one value, 2.*Categories"):
        Encoder(Numbers()).fit([np.arange(5.0), one])
    with pytest.raises(ValueError, match="no finite value"):
        Encoder(Numbers()).fit([np.full(3, np.nan)])
    assert Encoder(Categories()).fit([one]).n_inputs == 3
    with pytest.raises(TypeError, match="must be numbers"):
        Encoder(Numbers()).fit([np.array(["a", "b"])])
    with pytest.raises(TypeError, match="Numbers"):
        Encoder(["numbers"])
    with pytest.raises(ValueError, match="bins=0"):
        Numbers(0)
    with pytest.raises(ValueError, match="most=0"):
        Categories(0)
    with pytest.raises(ValueError, match="not fitted"):
        Encoder().transform([one])
    encoder = Encoder(Numbers(4)).fit([np.arange(9.0), np.arange(9.0)])
    with pytest.raises(ValueError, match="X has 1 columns, must have 2"):
        encoder.transform([np.arange(9.0)])
    with pytest.raises(ValueError, match="one length"):
        encoder.transform([np.arange(9.0), np.arange(8.0)])
    with pytest.raises(ValueError, match="2 columns, columns has 1"):
        Encoder([Numbers()]).fit([one, one])
    with pytest.raises(ValueError, match="at least one"):
        Encoder().fit([])
    with pytest.raises(ValueError, match="dtype"):
        encoder.transform([np.arange(9.0), np.arange(9.0)], "int32")


@pytest.mark.parametrize("counts, bins, edges", [
    # 12 rows in 4 bins of 3: a value goes where its middle falls; what is left is dealt out anew
    ([2] * 6, 4, [0, 1.5, 2.5, 4.5, 5]),
    # 60 rows in 4 bins: the 20 of value 5 outweigh one, and 40 are left for three
    ([4] * 5 + [20] + [4] * 5, 4, [0, 2.5, 4.5, 5.5, 10]),
])
def test_bins_that_were_cut_by_hand(counts, bins, edges):
    x = np.repeat(np.arange(len(counts), dtype=float), counts)
    assert greedy_edges(x, bins).tolist() == edges


def test_a_fit_that_fails_changes_nothing():
    """Names of one fit stood beside the columns of another one."""
    X, constant = {"a": np.arange(10.), "b": np.arange(10.) % 3}, {"c": [1.0] * 10}
    encoder = Encoder(Numbers(4)).fit(X)
    wanted = encoder.settings(), encoder.transform(X).toarray().tobytes()
    with pytest.raises(ValueError, match="column 'c' holds one value"):
        encoder.fit(constant)
    assert (encoder.settings(), encoder.transform(X).toarray().tobytes()) == wanted
    with pytest.raises(ValueError, match="the encoder is not fitted"):
        Encoder().transform(X)


@each("name", ["columns", "names", "counts", "n_inputs"])
def test_what_an_encoder_has_learned_stays(name):
    """What was put in its place was found out by whatever read it."""
    encoder = Encoder(Numbers(4)).fit({"a": np.arange(10.)})
    with pytest.raises(AttributeError, match=name):
        setattr(encoder, name, None)
    with pytest.raises(AttributeError, match=name):
        delattr(encoder, name)
    encoder.names.append("b")
    assert encoder.names == ["a"] and encoder.counts == (encoder.n_inputs,)
    if name != "columns":
        with pytest.raises(AttributeError, match=f"the encoder has no {name} yet"):
            getattr(Encoder(), name)


def test_pickles_of_before():
    new = Encoder(Numbers(4)).fit({"a": np.arange(10.)})
    old, unfitted = Encoder.__new__(Encoder), Encoder.__new__(Encoder)
    old.__setstate__({"columns": new.columns, "names": ["a"], "_fitted": new._learned.columns,
                      "counts": new.counts, "n_inputs": new.n_inputs, "_adds": None})
    assert old.settings() == new.settings() and old.n_inputs == new.n_inputs
    unfitted.__setstate__({"columns": new.columns})
    assert unfitted.fit({"a": np.arange(10.)}).settings() == new.settings()
