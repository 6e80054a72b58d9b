"""scikit-learn's decorators, as type checkers can follow them: a method keeps its type."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn import base
from sklearn.utils import metaestimators

__all__ = ["F", "available_if", "validated"]

F = TypeVar("F", bound=Callable[..., Any])


def available_if(check: Callable[[Any], bool]) -> Callable[[F], F]:
    """Return a decorator of a method that there is only where a check of the estimator says so."""
    return metaestimators.available_if(check)


def validated(method: F) -> F:
    """Decorate a method that fits: scikit-learn checks the parameters first."""
    return base._fit_context(prefer_skip_nested_validation=True)(method)
