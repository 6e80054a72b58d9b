"""Checks of arrays in front of the compiled loops."""

import numpy as np
import pytest

from fastnn.core._arrays import all_finite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_place_of_what_is_not_finite_is_seen(dtype):
    info = np.finfo(dtype)
    for size in [*range(40), 257, 2**14 + 3]:
        x = np.resize(np.array([info.max, -info.max, info.smallest_subnormal, 0, 1], dtype), size)
        assert all_finite(x)
        for place in range(size) if size < 300 else (0, size // 2, size - 4, size - 1):
            for value in (np.nan, np.inf, -np.inf):
                kept, x[place] = x[place], value
                assert not all_finite(x), (size, place, value)
                x[place] = kept
