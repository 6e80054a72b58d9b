"""The version of fastnn, here for those who write it into files."""

__version__ = "0.1.0"
