"""The public names of `fastnn.loading`, as they have always been called."""

from fastnn.loading import describe, load

__all__ = ["describe", "load"]
