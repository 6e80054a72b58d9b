"""`Scaler`: what comes before the network, each input by itself."""

import numpy as np

from fastnn.core import validation
from fastnn.prediction._forward import scale_rows

__all__ = ["Scaler"]


class Scaler:
    """Each input by itself: (x - mean) / scale, cut off at the limits; in double precision.

    Parameters
    ----------
    mean, scale : array-like (n_in,)
        Finite; no scale is 0.
    limits : (low, high) or None, default=None
        Of the scaled values, for all inputs alike.
    """

    def __init__(self, mean, scale, limits=None):
        self.mean = np.array(mean, np.float64, ndmin=1)
        self.scale = np.array(scale, np.float64, ndmin=1)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise ValueError(f"mean has shape {self.mean.shape}, scale {self.scale.shape}; both "
                             "must be (n_in,)")
        validation.check_finite("mean", self.mean, np.float64)
        validation.check_finite("scale", self.scale, np.float64)
        if not self.scale.all():
            raise ValueError(f"scale[{int(np.argmin(np.abs(self.scale)))}] is 0")
        self.limits = None if limits is None else tuple(map(float, limits))
        if limits is not None and not (len(self.limits) == 2 and self.limits[0] <= self.limits[1]):
            raise ValueError(f"limits={limits} must be (low, high)")

    def __repr__(self):
        limits = "" if self.limits is None else f", limits={self.limits}"
        return f"<Scaler of {len(self.mean)} inputs{limits}>"

    def apply(self, X, dtype):
        """Return the scaled rows, (n_samples, n_in) of the dtype, row-major."""
        return scale_rows(X, self.mean, self.scale, self.limits, np.dtype(dtype) == np.float64)
