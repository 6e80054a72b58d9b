"""The public names of `fastnn.files.container`, as they have always been called."""

from fastnn.files.container import ModelFormatError

__all__ = ["ModelFormatError"]
