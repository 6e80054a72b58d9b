"""The ways a training step can take: its layout and who computes the products."""

import pytest

from fastnn import plan

PATHS = {  # up to which width our own products are chosen, and feature-major
    "feature-major": (10**9, 10**9),
    "row-major": (10**9, 0),
    "blas": (0, 0),
}


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each way, forced, whatever the plan would choose. (Dropout goes row-major all the same.)"""
    native, columns = PATHS[request.param]
    monkeypatch.setattr(plan, "NATIVE_WIDTH", dict.fromkeys(plan.NATIVE_WIDTH, native))
    monkeypatch.setattr(plan, "WIDEST_COLUMNS", columns)
    return request.param
