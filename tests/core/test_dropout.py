"""Dropout masks: Philox words of (seed, step, layer, row, column), whoever computes them."""

import numpy as np
import reference
from each import each

from fastnn.core import _kernels, _probes

COUNTER = (3, 1, 0)  # step, layer, first row


def mask(rows, n, rate, key=7, counter=COUNTER, dtype="float64", isa=None):
    return _probes.dropout(np.ones((rows, n), dtype), rate, key, counter, isa)


@each("counter, key, words", [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1))])
def test_the_twins_philox_gives_the_published_words(counter, key, words):
    assert tuple(int(word) for word in reference.philox4x32(counter, key)) == words


@each("rate", [0.1, 0.5, 0.9])
@each("shape", [(1, 1), (3, 63), (2, 64), (5, 65), (33, 200)])
def test_mask_is_the_twins(rate, shape, dtype, isa):
    for key, step, layer, row0 in ((7, 3, 1, 0), (2**63 + 5, 2**33 + 1, 4, 1000)):
        got = mask(*shape, rate, key, (step, layer, row0), dtype, isa)
        wanted = reference.dropout_mask(*shape, rate, key, step, layer, row0)
        np.testing.assert_array_equal(got, wanted.astype(dtype))


def test_mask_does_not_depend_on_how_rows_are_cut(dtype, isa):
    whole = mask(64, 100, 0.3, dtype=dtype, isa=isa)
    for size in (1, 3, 32):
        step, layer, _ = COUNTER
        parts = [mask(min(size, 64 - row), 100, 0.3, counter=(step, layer, row), dtype=dtype,
                      isa=isa) for row in range(0, 64, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_mask_is_the_same_in_every_instruction_set_and_dtype():
    masks = [mask(64, 100, 0.3, dtype=dtype, isa=isa) != 0
             for dtype in ("float32", "float64") for isa in _kernels.available_isas()]
    for other in masks[1:]:
        np.testing.assert_array_equal(other, masks[0])


@each("other", [
    {"key": 8}, {"key": 7 + 2**32}, {"counter": (4, 1, 0)}, {"counter": (3, 2, 0)},
    {"counter": (3, 1, 1)}, {"counter": (3 + 2**32, 1, 0)}])
def test_masks_of_other_seeds_steps_layers_rows_are_independent(other):
    a, b = mask(200, 200, 0.5) != 0, mask(200, 200, 0.5, **other) != 0
    # 40,000 pairs of fair coins: four standard deviations
    assert abs((a == b).mean() - 0.5) < 4 * 0.5 / 200


@each("rate", [0.01, 0.2, 0.5, 0.8, 0.99])
def test_keep_fraction_and_expectation(rate, isa):
    factors = mask(1000, 300, rate, isa=isa)
    kept = factors != 0
    deviation = np.sqrt(rate * (1 - rate) / factors.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation
    assert abs(factors.mean() - 1) < 4 * deviation / (1 - rate)
    np.testing.assert_allclose(factors[kept], 1 / (1 - rate), rtol=1e-15)
    # no row and no column is favoured: 5 standard deviations of the most extreme
    assert abs(kept.mean(axis=0) - (1 - rate)).max() < 5 * np.sqrt(rate * (1 - rate) / 1000)
    assert abs(kept.mean(axis=1) - (1 - rate)).max() < 5.5 * np.sqrt(rate * (1 - rate) / 300)


def test_values_are_scaled(dtype, isa):
    x = np.random.default_rng(0).normal(size=(9, 70)).astype(dtype)
    got = _probes.dropout(x, 0.25, 7, COUNTER, isa)
    factors = mask(9, 70, 0.25, dtype=dtype, isa=isa)
    np.testing.assert_array_equal(got, x * factors)


def test_nan_is_kept_or_dropped_as_any_value(dtype, isa):
    x = np.full((4, 40), np.nan, dtype)
    got = _probes.dropout(x, 0.5, 7, COUNTER, isa)
    np.testing.assert_array_equal(np.isnan(got), mask(4, 40, 0.5) != 0)
    assert (got[~np.isnan(got)] == 0).all()
