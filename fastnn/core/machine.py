"""What this installation consists of."""

import platform

import numpy

from fastnn.core import _kernels
from fastnn.core.threads import _scipy_blas, default_threads
from fastnn.core.version import __version__


def configuration():
    """Return versions, instruction set, threads and BLAS as a dictionary of strings."""
    import scipy

    blas = ", ".join(
        f"{info['internal_api']} {info['version']}" for info in _scipy_blas().info()) or "unknown"
    return {
        "fastnn": __version__,
        "Python": platform.python_version(),
        "NumPy": numpy.__version__,
        "SciPy": scipy.__version__,
        "BLAS": blas,
        "ISA": f"{_kernels.isa()} (available: {', '.join(_kernels.available_isas())})",
        "OpenMP": "yes" if _kernels.HAS_OPENMP else "no (one thread)",
        "threads": str(default_threads()),
    }
