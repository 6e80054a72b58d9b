"""What this installation consists of, for bug reports and benchmark headers."""

import platform


def show_config():
    """Print versions, instruction set, threads and BLAS.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.show_config()  # doctest: +SKIP
    fastnn        0.1.0
    ...
    """
    for name, value in configuration().items():
        print(f"{name:14}{value}")


def configuration():
    """Return the same as a dictionary of strings."""
    import numpy
    import scipy

    from fastnn.core import _kernels
    from fastnn.core.threads import _scipy_blas, default_threads
    from fastnn.core.version import __version__
    from fastnn.training import _loop

    blas = ", ".join(
        f"{info['internal_api']} {info['version']}" for info in _scipy_blas().info()) or "unknown"
    return {
        "fastnn": __version__,
        "Python": platform.python_version(),
        "NumPy": numpy.__version__,
        "SciPy": scipy.__version__,
        "BLAS": blas,
        "ISA": f"{_kernels.isa()} (available: {', '.join(_kernels.available_isas())})",
        "OpenMP": "yes" if _loop.HAS_OPENMP else "no (one thread)",
        "threads": str(default_threads()),
    }
