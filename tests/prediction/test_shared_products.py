"""Few rows of a wide network, whose products a team shares by columns: the bytes of one thread."""

import numpy as np
import pytest
import reference

import fastnn
from fastnn.prediction import _forward

NETWORKS = {  # at least two wide products each, ragged ones, or of whole panels
    "relu": dict(sizes=(70, 1100, 1030, 3), activation="relu"),
    "tanh": dict(sizes=(1030, 1024, 700), activation="tanh", output="softmax"),
    "one product": dict(sizes=(1500, 1024, 7), activation=("gelu",)),
}
LAYERS = [fastnn.LayerNorm(), fastnn.Dense(1100, "relu"),
          fastnn.Residual([fastnn.Dense(1100), fastnn.LayerNorm(), fastnn.Activation("tanh")]),
          fastnn.PReLU(), fastnn.Dense(1200), fastnn.GLU("silu"), fastnn.BatchNorm(),
          fastnn.Dense(5)]


@pytest.fixture
def asked(monkeypatch):
    """Sizes of the teams that predictions have asked for."""
    sizes, team_size = [], _forward.team_size
    monkeypatch.setattr(_forward, "team_size", lambda n: sizes.append(n) or team_size(n))
    return sizes


def of(name, n_threads, dtype):
    """The network, none of whose biases, gains and slopes are those that it starts with."""
    settings = dict(dtype=dtype, random_state=0, n_threads=n_threads)
    net = (fastnn.MLP.of(LAYERS, n_in=60, **settings) if name == "layers"
           else fastnn.MLP(**NETWORKS[name], **settings))
    parameters = net.parameters
    parameters += np.random.default_rng(1).uniform(0, 0.02, parameters.size).astype(dtype)
    return net


@pytest.mark.parametrize("name", [*NETWORKS, "layers"])
@pytest.mark.parametrize("held", [False, True])
def test_same_bytes_for_any_number_of_threads(name, held, dtype, asked):
    """Also where somebody holds the parameters, so that no panels of W are kept."""
    nets = [of(name, n_threads, dtype) for n_threads in (1, 2, 3, 8)]
    holders = [net.parameters for net in nets] if held else []
    X = np.random.default_rng(0).normal(size=(96, nets[0].spec.n_in)).astype(dtype)
    wanted = nets[0].predict(X)
    found = reference.Twin.of(nets[0]).predict(X[:5])
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(wanted[:5], found, rtol=tolerance, atol=tolerance)
    for net in nets:
        for rows in (96, 95, 61, 40, 1, 7, 96):
            assert net.predict(X[:rows]).tobytes() == wanted[:rows].tobytes(), (name, rows)
    assert {*asked} == {2, 3, 8}
    assert len(holders) == 4 * held


def test_little_work_is_done_by_one_thread(asked):
    net = fastnn.MLP((256, 1024, 1024, 10), n_threads=2)
    for rows in (1, 8, 16):
        net.predict(np.ones((rows, 256), "float32"))
    assert not asked
    net.predict(np.ones((40, 256), "float32"))
    assert asked == [2]
    narrow = fastnn.MLP((1600, 400, 300, 10), n_threads=2)  # much work, and no product to share
    narrow.predict(np.ones((96, 1600), "float32"))
    assert asked == [2]


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_blocks_of_a_team_are_even(n_threads, dtype):
    """A few blocks are cut so that each thread has as many; the bytes of a row are those of one."""
    net = fastnn.MLP((20, 300, 9), dtype=dtype, random_state=0, n_threads=n_threads)
    one = fastnn.MLP((20, 300, 9), dtype=dtype, random_state=0, n_threads=1)
    X = np.random.default_rng(0).normal(size=(2400, 20)).astype(dtype)
    wanted = one.predict(X)
    for rows in (97, 98, 191, 192, 193, 300, 577, 1000, 2400):
        assert net.predict(X[:rows]).tobytes() == wanted[:rows].tobytes()
