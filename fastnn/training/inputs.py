"""What training does to the rows of a batch before the network sees them: mixup, noise, dropout."""

from dataclasses import dataclass

import numpy as np

from fastnn.core import validation
from fastnn.core.imports import imported

# What stands in the place of an operation's number in the counters of Philox (csrc/random.h).
# No network has so many operations.
DROPOUT, NOISE, SHARES, PARTNERS = 0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC


@dataclass(frozen=True)
class InputChanges:
    """Changes of the inputs in training, in this order: mixup, noise, dropout.

    Random numbers are keyed by (seed of the fit, step, what for), the row in the batch and the
    column, so they depend neither on threads nor on where a fit was interrupted.

    Parameters
    ----------
    dropout : float, default=0.0
        Rate in [0, 1) at which inputs are set to 0; the rest is divided by 1 - rate (Srivastava
        et al. 2014).
    noise : float, default=0.0
        Standard deviation of the Gaussian noise that is added to each input (Bishop 1995).
    mixup : float, default=0.0
        Alpha of Beta(alpha, alpha), from which the share s of a step is drawn (Zhang et al. 2018);
        0: no mixup. The batch is mixed with a permutation of itself: s x + (1 - s) x', and targets
        and sample weights in the same way. Labels become probabilities.
    """

    dropout: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0

    @property
    def any(self):
        """Whether anything is changed."""
        return self.dropout > 0 or self.noise > 0 or self.mixup > 0

    def plain(self):
        """Return the settings that are not their defaults, under their names in `MLP.fit`."""
        found = {"input_dropout": self.dropout, "input_noise": self.noise, "mixup": self.mixup}
        return {name: value for name, value in found.items() if value}


def check_inputs(input_dropout, input_noise, mixup):
    """Return the `InputChanges` of these arguments of `MLP.fit`."""
    return InputChanges(validation.check_fraction("input_dropout", input_dropout),
                        validation.check_nonnegative("input_noise", input_noise),
                        validation.check_nonnegative("mixup", mixup))


def mixing_shares(alpha, seed, first_step, n_steps):
    """Return the share of a row's own in its mixture, for some steps: float64 (n_steps,).

    The quantiles of Beta(alpha, alpha) at uniform numbers of NumPy's Philox, which is the same in
    all its versions.
    """
    imported("numpy.random")
    philox = np.random.Philox(key=np.array([seed, SHARES], np.uint64), counter=first_step)
    words = philox.random_raw(4 * n_steps)[::4]  # of each counter the first
    uniform = ((words >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53
    shares = imported("scipy.special").betaincinv(alpha, alpha, uniform)
    return np.ascontiguousarray(np.clip(shares, 0, 1))
