"""Checks of arrays in front of the compiled loops."""

import numpy as np
import pytest

from fastnn.core._arrays import all_finite, is_finite_vector, ready_starts


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


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)
    found = raw[1:].view(x.dtype)
    found[:] = x
    return found


def vectors_that_loops_cannot_read(x):
    return [x.tolist(), x.view(np.recarray), x[:, None], misaligned(x), np.repeat(x, 2)[::2],
            x.astype(x.dtype.newbyteorder()), x.astype(f"{x.dtype.kind}2")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_vector_that_loops_can_read(dtype):
    x, dtype = np.arange(5, dtype=dtype), np.dtype(dtype)
    assert is_finite_vector(x, dtype)
    assert is_finite_vector(x[:0], dtype)
    for other in [*vectors_that_loops_cannot_read(x), np.array([1, np.nan], dtype)]:
        assert not is_finite_vector(other, dtype)
    assert not is_finite_vector(x, np.dtype("float64" if dtype == "float32" else "float32"))


@pytest.mark.parametrize("integer", ["int32", "int64"])
def test_where_rows_begin_is_a_sound_copy_or_none(integer):
    start = np.array([0, 2, 2, 5], integer)
    column, value, dtype = np.arange(5, dtype=np.int32), np.ones(6, "float32"), np.dtype("float32")
    found = ready_starts(start, column, value, 3, dtype)
    assert found.dtype == np.int64
    assert found.tolist() == start.tolist()
    assert not np.shares_memory(found, start)
    assert ready_starts(start[:1], column, value, 0, dtype).tolist() == [0]
    for rows in (-1, 0, 2, 4):
        assert ready_starts(start, column, value, rows, dtype) is None
    for wrong in ([1, 2, 2, 5], [-1, 2, 2, 5], [0, 3, 2, 5], [0, 2, 2, 6], [0, 2, 2, -1],
                  [0, 6, 6, 5]):
        assert ready_starts(np.array(wrong, integer), column, value, 3, dtype) is None, wrong
    assert ready_starts(start, column[:4], value, 3, dtype) is None
    assert ready_starts(start, column, value[:4], 3, dtype) is None
    for other in vectors_that_loops_cannot_read(start):
        assert ready_starts(other, column, value, 3, dtype) is None
    for other in [*vectors_that_loops_cannot_read(column), column.astype(np.int64)]:
        assert ready_starts(start, other, value, 3, dtype) is None
    for other in [*vectors_that_loops_cannot_read(value), value.astype("float64")]:
        assert ready_starts(start, column, other, 3, dtype) is None
