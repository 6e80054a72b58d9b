"""Aligned memory for what the compiled loops work on."""

import numpy as np

from fastnn.core import _kernels

ALIGNMENT = 64  # bytes: a cache line, and an AVX-512 vector


def aligned_empty(size, dtype):
    """Return a vector whose first element lies on a cache line.

    NumPy asks the system for huge pages here, and not in `numpy.zeros`: with that the first epoch
    of a network of 4 million weights spent 0.1 s on page faults.
    """
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
    # raw.ctypes tells a lack of memory by a SystemError, __array_interface__ by a crash
    start = -_kernels.address(raw) % ALIGNMENT
    return raw[start:start + size * dtype.itemsize].view(dtype)


def aligned_zeros(size, dtype):
    """Return the same, zeroed."""
    vector = aligned_empty(size, dtype)
    vector[:] = 0
    return vector
