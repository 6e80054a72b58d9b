"""What this installation consists of, for bug reports and benchmark headers."""

from fastnn.core.machine import configuration

__all__ = ["configuration", "show_config"]


def show_config() -> None:
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
