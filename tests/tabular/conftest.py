"""Small recipes for all tests of this folder but those that ask for the real one."""

import pytest
import quick_recipe


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Fit small networks, unless a test has the mark ``real_recipe``."""
    if "real_recipe" not in request.keywords:
        quick_recipe.use(monkeypatch)
