"""The mean output of networks for one row of codes, in one call: the bytes of `add_outputs`."""

import numpy as np
import pytest

from fastnn.core.codes import Codes
from fastnn.mlp import MLP
from fastnn.network.spec import Dense, LayerNorm
from fastnn.prediction._forward import Snapshot
from fastnn.prediction._outputs import RowOutputs, add_outputs, blocks_of

N_IN = 11
ADDS = np.array([0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0], np.uint8)


def networks(widths, n_out, output, hidden="silu", dtype="float32", zeros=0):
    nets = []
    for i, own in enumerate(widths):
        net = MLP.of([*(Dense(n, hidden) for n in own), Dense(n_out)], n_in=N_IN, output=output,
                     dtype=dtype, random_state=i)
        rng = np.random.default_rng(i)
        weights = [W + 0.1 * rng.normal(size=W.shape) for W in net.get_weights()]
        if zeros:
            weights[2][:-zeros, -2:] = 0
            weights[2][-zeros:, :-2] = 0
        net.set_weights(weights)
        nets.append(net)
    return nets


def outputs(nets, weights, column, value):
    """Return them by both ways."""
    snapshots = []
    for net in nets:
        one = Snapshot(net._layout, net._layout.copy(net.parameters))
        one.keep_table(ADDS)
        snapshots.append(one)
    codes = Codes(value, column, np.array([0, len(column)]), ADDS)
    right, found = np.zeros((2, 1, nets[0].sizes[-1]))
    add_outputs(tuple(snapshots), weights, codes, right, 1)
    RowOutputs(nets, weights, ADDS).add(column, value, found)
    return right, found


@pytest.mark.parametrize("widths, n_out, output, hidden, zeros", [
    ([(64, 64)] * 8, 1, "sigmoid", "silu", 0),
    ([(40, 12), (33, 9), (15, 8)], 3, "softmax", "silu", 9),
    ([(96, 66), (72, 66)], 1, "identity", "silu", 32), ([(5,), (3,)], 1, "exp", "relu", 0),
    ([(17, 9, 6)] * 2, 2, "sigmoid", "tanh", 5), ([(1, 3)], 1, "identity", "identity", 0)])
def test_same_bytes_as_one_after_another(widths, n_out, output, hidden, zeros):
    rng = np.random.default_rng(0)
    nets = networks(widths, n_out, output, hidden, zeros=zeros)
    assert RowOutputs.takes(nets)
    if zeros:
        assert [len(blocks_of(net.get_weights()[2])) for net in nets] == [2] * len(nets)
    weights = rng.uniform(0.1, 1, len(nets))
    for n in (0, 1, 6):
        right, found = outputs(nets, weights, rng.integers(0, N_IN, n).astype(np.int32),
                               rng.normal(size=n).astype(np.float32))
        assert right.any() and found.tobytes() == right.tobytes()


def test_what_it_does_not_take():
    nets = networks([(4, 4)], 1, "identity")
    assert not RowOutputs.takes(networks([(4, 4)], 1, "identity", dtype="float64"))
    assert not RowOutputs.takes([*nets, *networks([(4,)], 1, "identity")])
    assert not RowOutputs.takes([*nets, *networks([(4, 4)], 1, "identity", "relu")])
    assert not RowOutputs.takes([MLP.of([Dense(4), LayerNorm(), Dense(1)], n_in=N_IN)])
    with pytest.raises(ValueError, match="adds must have one entry for each input"):
        RowOutputs(nets, np.ones(1), ADDS[1:])
    row, value, found = RowOutputs(nets, np.ones(1), ADDS), np.ones(1, np.float32), np.zeros((1, 1))
    for column in (N_IN, -1):
        with pytest.raises(ValueError, match=r"column must hold values in 0\.\.10"):
            row.add(np.array([column], np.int32), value, found)
    for bad in ((np.zeros(2, np.int32), value, found), (np.zeros(1, np.int64), value, found),
                (np.zeros(1, np.int32), value, np.zeros((1, 2))),
                (np.zeros(1, np.int32), value.astype(float), found)):
        with pytest.raises(ValueError, match="these are not the entries of a row"):
            row.add(*bad)
    assert not found.any()


@pytest.mark.parametrize("zero", [np.s_[:0], np.s_[3:, :6], np.s_[:, 2], np.s_[:]])
def test_blocks_hold_all_that_is_not_zero(zero):
    W = np.random.default_rng(0).normal(size=(9, 8))
    W[zero] = 0
    W[:3, 6:] = 0 if zero == np.s_[3:, :6] else W[:3, 6:]
    found = np.zeros_like(W)
    blocks = blocks_of(W)
    for first, last, left, right in blocks:
        found[first:last, left:right] = W[first:last, left:right]
    np.testing.assert_array_equal(found, W)
    assert len(blocks) == (2 if zero == np.s_[3:, :6] else 1)
    assert sum(right - left for _, _, left, right in blocks) == 8
