"""The ways a training step can take: its layout and who computes the products."""

import pytest
from gradient_cases import PATHS, take


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each way, forced, whatever the plan would choose."""
    take(request.param, monkeypatch.setattr)
    return request.param
