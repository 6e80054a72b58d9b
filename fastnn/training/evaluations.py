"""`Evaluations`: what a minimiser has asked for, so that it can be told again.

The state of SciPy's L-BFGS-B lies in its own loop. But what it does follows from what it is told:
begun at the same place and given the same losses and gradients, it comes to the same place, to the
bit, in the time of its own arithmetic. A checkpoint holds those.
"""

from hashlib import sha256

import numpy as np

from fastnn.core import validation
from fastnn.files import container

__all__ = ["Evaluations"]

MOST_BYTES = 1 << 28  # of gradients in a file; those beyond are computed again
PREFIX = "evaluations."


class Evaluations:
    """The first losses and gradients of a fit, in their order.

    Parameters
    ----------
    layout : ParameterLayout
        Of the gradients.

    Attributes
    ----------
    start : flat array or None
        Where the minimiser began; None: it has not.
    """

    def __init__(self, layout):
        self.layout, self.start = layout, None
        self.points, self.losses = [], []
        self.gradients = np.empty((0, layout.size), layout.dtype)
        self.most = MOST_BYTES // (layout.size * layout.dtype.itemsize)
        self.asked = 0  # by the minimiser of this process

    def next(self, point):
        """Return loss and gradient at the point that the minimiser asks for next; None where they
        must be computed.

        Raises
        ------
        ModelFormatError
            When it asked for another one the last time.
        """
        i = self.asked
        if i >= len(self.losses):
            return None
        if _number_of(point) != self.points[i]:
            self.refuse()
        self.asked += 1
        return self.losses[i], self.gradients[i]

    def add(self, point, loss, gradient):
        """Keep what was computed, where there is room for it."""
        if self.asked == len(self.losses) and self.asked < self.most:
            if self.asked == len(self.gradients):
                more = min(self.most, max(16, 2 * self.asked))
                grown = np.empty((more, self.layout.size), self.layout.dtype)
                grown[:self.asked] = self.gradients[:self.asked]
                self.gradients = grown
            self.points.append(_number_of(point))
            self.losses.append(float(loss))
            self.gradients[self.asked] = gradient
        self.asked += 1

    @staticmethod
    def refuse():
        """Raise: with what the file holds the minimiser takes another way."""
        raise container.ModelFormatError(
            "the checkpoint cannot be gone on with here: L-BFGS takes other steps than where it "
            "was written, as with another version of SciPy or on another processor. Delete the "
            "file to start anew")

    # ---- files ----

    def expected(self, count):
        """Return the arrays of a file of so many evaluations, by name, with dtype and shape."""
        if validation.check_count("evaluations", count, minimum=0) > self.most:
            raise ValueError(f"evaluations={count} must be <= {self.most}")
        dtype, size = self.layout.dtype.name, self.layout.size
        return {PREFIX + "start": (dtype, (size,)), PREFIX + "points": ("float64", (count,)),
                PREFIX + "losses": ("float64", (count,)),
                PREFIX + "gradients": (dtype, (count, size))}

    def arrays(self):
        """Return the arrays of a file, by name."""
        count = len(self.losses)
        return {PREFIX + "start": self.start, PREFIX + "points": np.array(self.points, float),
                PREFIX + "losses": np.array(self.losses, float),
                PREFIX + "gradients": self.gradients[:count]}

    def take(self, arrays):
        """Go on from the arrays of a file."""
        if PREFIX + "start" not in arrays:
            return  # of a fit that has not begun
        self.start = np.array(arrays[PREFIX + "start"])
        self.points = arrays[PREFIX + "points"].tolist()
        self.losses = arrays[PREFIX + "losses"].tolist()
        self.gradients = np.array(arrays[PREFIX + "gradients"])


def _number_of(point):
    """Return a number that another point has hardly ever, which a float64 holds."""
    point = np.ascontiguousarray(point, "<f8")
    return float(int.from_bytes(sha256(point.view(np.uint8)).digest()[:6], "little"))
