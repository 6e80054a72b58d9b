"""Libraries that take seconds to import: not when tests are collected, which each worker does."""

from importlib import import_module
from importlib.util import find_spec

import pytest


class Later:
    """Stands for a module, which the first use of one of its names imports."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("_"):  # what pytest asks of everything in a module of tests
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


def importorskip_later(name):
    """As ``pytest.importorskip``, but what the module holds is imported when it is first used."""
    if find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"no {name}", allow_module_level=True)
    return Later(name)
