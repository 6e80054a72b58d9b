"""`Scaler`: what comes before the network, each input by itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core._arrays import is_ready
from fastnn.core.arrays import check_finite, dense_rows, require
from fastnn.core.notices import suggests
from fastnn.core.rows import check_rows
from fastnn.prediction._scaling import scale_rows

if TYPE_CHECKING:
    from fastnn.core.types import Array, ArrayLike, DType, Rows

__all__ = ["Scaler"]


@suggests
class Scaler:
    """Each input by itself: (x - mean) / scale, cut off at the limits; in double precision.

    Parameters
    ----------
    mean, scale : array-like (n_in,)
        Finite; no scale is 0.
    limits : (low, high) or None, default=None
        Of the scaled values, for all inputs alike; None or infinity on one side: no limit there.

    Notes
    -----
    All three can be set later, too, for the same number of inputs. ``mean`` and ``scale`` are
    read-only arrays.
    """

    def __init__(self, mean: ArrayLike, scale: ArrayLike,
                 limits: tuple[float | None, float | None] | None = None) -> None:
        own, divisor = _vector("mean", mean), _vector("scale", scale)
        if own.shape != divisor.shape:
            raise ValueError(f"mean has shape {own.shape}, scale {divisor.shape}; both must be "
                             "(n_in,)")
        self._mean, self._scale = own, _checked_scale(divisor)
        self.limits = limits

    def __repr__(self):
        limits = "" if self.limits is None else f", limits={self.limits}"
        return f"<Scaler of {len(self.mean)} inputs{limits}>"

    def __getstate__(self):
        return {"mean": self.mean, "scale": self.scale, "limits": self.limits}

    def __setstate__(self, state):
        if state.keys() != {"mean", "scale", "limits"}:
            raise ValueError(f"the state of a Scaler holds {sorted(map(str, state))}")
        self.__init__(**state)

    @property
    def mean(self) -> Array:
        """What is subtracted, float64 (n_in,)."""
        return self._mean

    @mean.setter
    def mean(self, value):
        self._mean = self._as_wide("mean", _vector("mean", value))

    @property
    def scale(self) -> Array:
        """What is divided by, float64 (n_in,)."""
        return self._scale

    @scale.setter
    def scale(self, value):
        self._scale = self._as_wide("scale", _checked_scale(_vector("scale", value)))

    @property
    def limits(self) -> tuple[float, float] | None:
        """(low, high), infinite where there is no limit on that side; or None."""
        return self._limits

    @limits.setter
    def limits(self, value):
        self._limits = None if value is None else _checked_limits(value)

    def _as_wide(self, name, vector):
        if vector.shape != self._mean.shape:
            raise ValueError(f"{name} has shape {vector.shape}, must be {self._mean.shape}")
        return vector

    def apply(self, X: Rows, dtype: DType) -> Array:
        """Return the scaled rows, row-major.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Values are not checked: NaN stays NaN.
        dtype : {"float32", "float64"}
            Of the result.

        Returns
        -------
        array (n_samples, n_in)
            A new array.
        """
        dtype = validation.check_dtype(dtype)
        n_in = len(self._mean)
        if not is_ready(X, n_in):
            # rounded once, after it has been scaled; a float32 X stays as it is
            wide = np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64
            X = check_rows("X", X, n_in, wide, finite=False)
            X = dense_rows(X)
        return self._scaled(X, dtype)

    def _scaled(self, X, dtype):
        """Return the same of rows as compiled loops read them."""
        return scale_rows(X, self._mean, self._scale, self._limits, dtype == np.float64)


def _vector(name, values):
    """Return a read-only copy of finite numbers, as the compiled loop reads them."""
    vector = np.array(require(name, values, np.float64), ndmin=1)
    if vector.ndim != 1:
        raise ValueError(f"{name} has shape {vector.shape}, must be (n_in,)")
    check_finite(name, vector, np.float64)
    vector.flags.writeable = False
    return vector


def _checked_scale(scale):
    if not scale.all():
        raise ValueError(f"scale[{int(np.argmin(np.abs(scale)))}] is 0, must be another number")
    return scale


def _checked_limits(limits):
    try:
        low, high = limits
    except (TypeError, ValueError):
        raise ValueError(f"limits={limits!r} must be (low, high)") from None
    low = -math.inf if low is None else validation.check_real("limits[0]", low)
    high = math.inf if high is None else validation.check_real("limits[1]", high)
    if not low <= high or low == math.inf or high == -math.inf:
        raise ValueError(f"limits={limits!r} must be (low, high)")
    return low, high
