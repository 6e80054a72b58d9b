"""Shares of another model in networks: what held-out rows are worth that they are stopped by."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from fastnn.tabular import blending


def test_flattery():
    """The first stops by chance at the last epoch, where the others would not."""
    curves = [[4.0, 3, 2, 1], [2.0, 1, 2, 3], [2.0, 1, 3]]
    nets = [SimpleNamespace(history=SimpleNamespace(val_loss=curve)) for curve in curves]
    # at epochs 1, 2 (of 3 and 1) and 2: 3, 2 and 3 in the place of 1, 1 and 1
    assert blending.flattery(nets) == pytest.approx(8 / 3 - 1)
    assert blending.flattery([*nets, SimpleNamespace(history=None)]) == 0
    assert blending.flattery(nets[:1]) == 0, "there is no other that it could have stopped with"


@pytest.mark.parametrize("kind", ["logit", "softmax"])
@pytest.mark.parametrize("k", [1, 2, 3, 7, 8])
def test_losses_of_classes(kind, k):
    rng = np.random.default_rng(k)
    z = rng.normal(size=(300, k)) * 10.0 ** rng.integers(-3, 4, size=(300, 1))
    y = np.eye(k)[rng.integers(k, size=300)]
    losses, means = blending.losses_of(z, y, kind)
    assert losses.shape == (300,) and means.shape == (300, k)
    if kind == "logit":
        right = (np.logaddexp(0, z) - y * z).sum(axis=1)
        np.testing.assert_allclose(means, special.expit(z), rtol=1e-12)
    else:
        right = special.logsumexp(z, axis=1) - (y * z).sum(axis=1)
        np.testing.assert_allclose(means, special.softmax(z, axis=1), rtol=1e-9)
    np.testing.assert_allclose(losses, right, rtol=1e-12, atol=1e-12 * np.abs(z).max())


def test_each_row_is_held_out_from_the_first_network_that_has_not_learned_from_it():
    class Net:
        def __init__(self, factor):
            self.predict = lambda rows: factor * rows

    rows = np.arange(1.0, 6.0)[:, np.newaxis]
    z, seen = blending.held_out_outputs([Net(1), Net(10)], rows, [np.array([0, 2]),
                                        np.array([2, 3])], "identity", (5, 1))
    np.testing.assert_array_equal(z[:, 0], [1, np.nan, 3, 40, np.nan])
    assert seen.tolist() == [True, False, True, True, False]
