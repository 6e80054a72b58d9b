"""The ways a training step can take: its layout and who computes the products."""

import pytest

from fastnn import plan

PATHS = {  # who computes products, and up to which width feature-major is chosen
    "feature-major": ("native", 10**9),
    "row-major": ("native", 0),
    "blas": ("blas", 0),
}


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each way, forced, whatever the plan would choose. (Dropout goes row-major all the same.)"""
    products, widest = PATHS[request.param]
    monkeypatch.setattr(plan, "PRODUCTS", dict.fromkeys(plan.PRODUCTS, products))
    monkeypatch.setattr(plan, "WIDEST_COLUMNS", widest)
    return request.param
