"""Single kernels, for every instruction set that runs here. They use one thread by design."""

from __future__ import annotations

import numpy as np

from fastnn.core import _kernels, _probes

from .common import DTYPES, relative_error, share_of_peak

ISAS = list(_kernels.available_isas())
# in L1, in L2, in memory
LENGTHS = [1_000, 30_000, 3_000_000]


def bounded(n: int, dtype: str) -> np.ndarray:
    """Values of the range that pre-activations take."""
    return (4 * np.random.default_rng(0).standard_normal(n)).astype(dtype)


class VectorMath:
    """exp, log, tanh, ... of csrc/vecmath.h."""

    params = [list(_kernels.VECMATH), LENGTHS, DTYPES, ISAS]
    param_names = ["function", "n", "dtype", "isa"]

    def setup(self, name, n, dtype, isa):
        x = bounded(n, dtype)
        # log takes what is positive; log1p is made for exp(-|z|)
        transform = {"log": np.abs, "log1p": lambda x: np.exp(-np.abs(x))}.get(name)
        self.x = transform(x) if transform else x

    def time_vecmath(self, name, n, dtype, isa):
        _probes.vecmath(name, self.x, isa)

    def track_error(self, name, n, dtype, isa):
        """Largest error against extended precision, in units of the last place.

        normcdf in float64 has no truth here (SciPy's is worse in the tail); the tests have one.
        """
        from scipy.special import ndtr

        if name == "normcdf" and dtype == "float64":
            return float("nan")
        x = self.x[:100_000].astype(np.longdouble)
        truth = {
            "exp": lambda: np.exp(x),
            "log": lambda: np.log(x),
            "log1p": lambda: np.log1p(x),
            "tanh": lambda: np.tanh(x),
            "sigmoid": lambda: 1 / (1 + np.exp(-x)),
            "normcdf": lambda: ndtr(x.astype(np.float64)).astype(np.longdouble),
        }[name]()
        value = _probes.vecmath(name, self.x[:100_000], isa)
        return float(np.max(np.abs(value - truth) / np.spacing(np.abs(truth).astype(dtype))))

    track_error.unit = "ulp"


class Activation:
    """f(z) and f'(z) of every row of csrc/activations.def."""

    params = [list(_kernels.ACTIVATIONS), LENGTHS, DTYPES, ISAS]
    param_names = ["activation", "n", "dtype", "isa"]

    def setup(self, name, n, dtype, isa):
        self.z = bounded(n, dtype)

    def time_activate(self, name, n, dtype, isa):
        _probes.activate(name, self.z, isa)

    def time_derivative(self, name, n, dtype, isa):
        _probes.activation_derivative(name, self.z, isa)

    def track_error(self, name, n, dtype, isa):
        """Relative error against the float64 kernel of the baseline."""
        truth = _probes.activate(name, self.z.astype(np.float64), "baseline")
        return relative_error(_probes.activate(name, self.z, isa), truth)

    track_error.unit = "relative error"


class Loss:
    """Value and derivative of every row of csrc/losses.def, 10 outputs a row."""

    params = [list(_kernels.LOSSES), [100, 10_000], DTYPES, ISAS]
    param_names = ["loss", "rows", "dtype", "isa"]

    def setup(self, name, rows, dtype, isa):
        rng = np.random.default_rng(0)
        self.z = rng.standard_normal((rows, 10)).astype(dtype)
        self.y = np.eye(10, dtype=dtype)[rng.integers(10, size=rows)]

    def time_loss(self, name, rows, dtype, isa):
        _probes.loss(name, self.z, self.y, isa=isa)

    def track_error(self, name, rows, dtype, isa):
        """Relative error of the derivative against the float64 kernel of the baseline."""
        _, truth = _probes.loss(
            name, self.z.astype(np.float64), self.y.astype(np.float64), isa="baseline"
        )
        return relative_error(_probes.loss(name, self.z, self.y, isa=isa)[1], truth)

    track_error.unit = "relative error"


class Dense:
    """The native product x w + b: (rows, n_in) by (n_in, n_out)."""

    shapes = {
        "32x4x16": (32, 4, 16),
        "64x64x64": (64, 64, 64),
        "200x64x100": (200, 64, 100),
        "128x784x256": (128, 784, 256),
        "256x512x512": (256, 512, 512),
        "1x784x128": (1, 784, 128),
    }
    params = [list(shapes), DTYPES, ISAS]
    param_names = ["rows x n_in x n_out", "dtype", "isa"]

    def setup(self, shape, dtype, isa):
        rows, n_in, n_out = self.shapes[shape]
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((rows, n_in)).astype(dtype)
        self.w = rng.standard_normal((n_in, n_out)).astype(dtype)
        self.b = rng.standard_normal(n_out).astype(dtype)

    def time_dense(self, shape, dtype, isa):
        _probes.dense(self.x, self.w, self.b, "identity", isa)

    def track_share_of_blas_peak(self, shape, dtype, isa):
        rows, n_in, n_out = self.shapes[shape]
        return share_of_peak(
            lambda: _probes.dense(self.x, self.w, self.b, "identity", isa),
            2 * rows * n_in * n_out,
            dtype,
        )

    track_share_of_blas_peak.unit = "GFLOP/s over BLAS peak"

    def track_error(self, shape, dtype, isa):
        truth = self.x.astype(np.float64) @ self.w.astype(np.float64) + self.b
        return relative_error(_probes.dense(self.x, self.w, self.b, "identity", isa), truth)

    track_error.unit = "relative error"


class Update:
    """One optimizer step of every row of csrc/optimizers.def."""

    params = [list(_kernels.OPTIMIZERS), LENGTHS, DTYPES, ISAS]
    param_names = ["optimizer", "n", "dtype", "isa"]
    # in the order of the Python classes; what a row does not read is ignored
    hyperparameters = {
        "sgd": (0.9, 0, 0),
        "adam": (0.9, 0.999, 1e-8, 0),
        "adamw": (0.9, 0.999, 1e-8, 0.01),
        "rmsprop": (0.9, 1e-8),
        "adagrad": (1e-10,),
    }

    def setup(self, name, n, dtype, isa):
        if name not in self.hyperparameters:
            raise NotImplementedError(f"no hyperparameters of {name} here")
        rng = np.random.default_rng(0)
        self.w, self.g = rng.standard_normal((2, n)).astype(dtype)
        n_state = _kernels.OPTIMIZERS[name].n_state
        self.states = [np.zeros(n, dtype) for _ in range(n_state)]
        self.c = _probes.coefficients(name, 1, 1e-3, self.hyperparameters[name])

    def time_update(self, name, n, dtype, isa):
        _probes.update(name, self.w, self.g, self.states, self.c, isa)

    def track_error(self, name, n, dtype, isa):
        """Relative error of the step against the float64 kernel of the baseline."""
        w, states = self.w.astype(np.float64), [s.astype(np.float64) for s in self.states]
        before = w.copy()
        _probes.update(name, w, self.g.astype(np.float64), states, self.c, "baseline")
        mine = self.w.copy()
        _probes.update(name, mine, self.g, self.states, self.c, isa)
        return relative_error(mine - before, w - before)

    track_error.unit = "relative error"
