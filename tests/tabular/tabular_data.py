"""A small table of numbers and categories, with targets of every kind."""

import numpy as np

RNG = np.random.default_rng(0)
N = 240
TABLE = {
    "a": RNG.normal(size=N),
    "b": RNG.normal(size=N),
    "c": RNG.choice(np.array(["x", "y", "z"], object), N),
}
SIGNAL = 2 * TABLE["a"] + 1.5 * (TABLE["c"] == "x") + 0.1 * RNG.normal(size=N)
TWO = np.where(SIGNAL > 0.5, "yes", "no")
THREE = np.digitize(SIGNAL, [-1, 1])
LABELS = np.stack([SIGNAL > 0, TABLE["b"] > 0], axis=1).astype(int)
VALUE = 10 + 3 * SIGNAL
COUNT = np.floor(np.exp(SIGNAL / 2))


def rows(start, stop=None):
    """Some rows of the table."""
    return {name: column[start:stop] for name, column in TABLE.items()}
