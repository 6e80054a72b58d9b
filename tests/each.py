"""Many cases in one test: for sweeps over shapes, where an item for each would only cost time."""

import functools
import inspect

import pytest

FEW = 20  # failures that are told in full


def each(names, cases):
    """Run a test for each of the cases, as ``pytest.mark.parametrize`` would, in one item.

    All cases run; those that failed are named together, and the traceback is that of the first.
    Stacked, it runs every combination. Fixtures are made once and serve all cases.

    Parameters
    ----------
    names : str
        One argument of the test, or several with commas between them.
    cases : iterable
        Values of the argument; tuples where there are several.
    """
    names = [name.strip() for name in names.split(",")]
    cases = [case if len(names) > 1 else (case,) for case in cases]
    assert cases, "no case to run"

    def decorate(test):
        inner = getattr(test, "combinations", [{}])
        combinations = [{**dict(zip(names, case, strict=True)), **more}
                        for case in cases for more in inner]
        body = getattr(test, "body", test)

        @functools.wraps(test)
        def run(**fixtures):
            failures = []
            for case in combinations:
                try:
                    body(**fixtures, **case)
                except (Exception, pytest.fail.Exception) as error:
                    failures.append((case, error))
            if failures:
                lines = [f"{_text(case)}: {type(error).__name__}: {error}"
                         for case, error in failures[:FEW]]
                lines += [_text(case) for case, _ in failures[FEW:]]
                raise AssertionError("\n".join(
                    [f"{len(failures)} of {len(combinations)} cases failed", *lines]
                )) from failures[0][1]

        signature = inspect.signature(test)
        for name in names:
            assert name in signature.parameters, name
        run.__signature__ = signature.replace(parameters=[
            parameter for name, parameter in signature.parameters.items() if name not in names])
        run.combinations, run.body = combinations, body
        return run

    return decorate


def _text(case):
    """The arguments of a case in one line."""
    parts = (f"{name}={getattr(value, '__name__', None) or repr(value)}"
             for name, value in case.items())
    return ", ".join(part if len(part) < 200 else part[:197] + "..." for part in parts)
