"""Shares of another model in networks: what held-out rows are worth that they are stopped by."""

from types import SimpleNamespace

import pytest

from fastnn.tabular import blending


def test_flattery():
    """The first stops by chance at the last epoch, where the others would not."""
    curves = [[4.0, 3, 2, 1], [2.0, 1, 2, 3], [2.0, 1, 3]]
    nets = [SimpleNamespace(history=SimpleNamespace(val_loss=curve)) for curve in curves]
    # at epochs 1, 2 (of 3 and 1) and 2: 3, 2 and 3 in the place of 1, 1 and 1
    assert blending.flattery(nets) == pytest.approx(8 / 3 - 1)
    assert blending.flattery([*nets, SimpleNamespace(history=None)]) == 0
