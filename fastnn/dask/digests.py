"""Digests of rows that do not depend on how these are cut into parts: for checkpoints.

Each row has a hash h; those of a part are added up to the sum of h_i r^i modulo 2**64, i from 0 on.
Sums of parts that follow one another make that of all their rows. They tell what was changed by
mistake, not by an adversary.
"""

import math
from hashlib import sha256

import numpy as np

from fastnn.core.arrays import is_sparse

__all__ = ["digest_of", "hashes_of", "joined"]

BASES = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95  # r, odd: one sum each, 128 bits together
FACTOR = np.uint64(0xBF58476D1CE4E5B9)
HALF = np.uint64(32)
MODULUS = 1 << 64


def digest_of(arrays):
    """Return the digest of the rows of a part: (how many, a sum for each base).

    Parameters
    ----------
    arrays : dict
        By their names, arrays or CSR matrices of the rows; None: not there.
    """
    found = None
    for name, array in sorted(arrays.items()):
        if array is not None:
            start = _of_text(name)
            if found is not None:
                start = found * FACTOR + start
            found = _hashes(array, start)
    sums = []
    for base in BASES:
        powers = np.full(len(found), base, np.uint64)
        powers[:1] = 1
        np.multiply.accumulate(powers, out=powers)
        sums.append(int((found * powers).sum(dtype=np.uint64)))
    return len(found), sums


def joined(digests):
    """Return the digest of all rows, in hexadecimal digits, of those of parts in their order."""
    n, whole = 0, [0] * len(BASES)
    for rows, sums in digests:
        whole = [(one + own * pow(base, n, MODULUS)) % MODULUS
                 for base, one, own in zip(BASES, whole, sums, strict=True)]
        n += rows
    return "".join(f"{one:016x}" for one in (n, *whole))


def hashes_of(values):
    """Return a hash, uint64, of each of some values, by what they are as text."""
    return np.array([_of_text(str(value)) for value in values], np.uint64)


def _hashes(array, start):
    """Return a hash of each row, which those of ``start`` go into."""
    if is_sparse(array):
        entries = _mixed(_bits(array.indices), np.uint64(1))
        sums = np.zeros(len(entries) + 1, np.uint64)
        np.cumsum(_mixed(_bits(array.data), entries), out=sums[1:])
        return _mixed(sums[array.indptr[1:]] - sums[array.indptr[:-1]], start)
    columns = array.reshape(len(array), math.prod(array.shape[1:]))
    found = np.full(len(array), start)
    for j in range(columns.shape[1]):
        found = _mixed(_bits(columns[:, j]), found)
    return found


def _mixed(bits, hashes):
    found = (bits ^ hashes) * FACTOR
    found ^= found >> HALF
    found *= FACTOR
    return found ^ (found >> HALF)


def _bits(values):
    """Return numbers or texts (n,) as uint64, different ones for different values of a type."""
    if values.dtype.kind not in "biuf":
        texts, at = np.unique([str(one) for one in values.tolist()], return_inverse=True)
        return hashes_of(texts.tolist())[at]
    if values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    size = values.dtype.itemsize
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(f"<u{size}").astype(
        np.uint64)


def _of_text(text):
    return np.uint64(int.from_bytes(
        sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little"))
