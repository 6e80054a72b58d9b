"""The decorator that runs many cases in one test."""

import pytest
from each import each


@pytest.fixture
def seen():
    return []


@each("a", (1, 2))
@each("b, c", [(3, 4), (5, 6)])
def check(seen, a, b, c):
    seen.append((a, b, c))
    assert (a, b) != (1, 5) and b < 6, "too much"


def test_all_cases_run_and_those_that_failed_are_named(seen):
    with pytest.raises(AssertionError, match="1 of 4 cases failed\na=1, b=5, c=6: .*too much") as e:
        check(seen=seen)
    assert "too much" in str(e.value.__cause__)
    assert seen == [(1, 3, 4), (1, 5, 6), (2, 3, 4), (2, 5, 6)]


@each("error", (ValueError, KeyError))
def check_errors(error):
    with pytest.raises(error):
        raise ValueError("not a key")


def test_an_error_that_does_not_come_is_a_failure_too():
    with pytest.raises(AssertionError, match="1 of 2 cases failed\\nerror=KeyError: ValueError"):
        check_errors()


@each("expected", [ValueError])
def check_silence(expected):
    with pytest.raises(expected):
        pass


def test_silence_is_a_failure():
    with pytest.raises(AssertionError, match="1 of 1 cases failed\\nexpected=ValueError: Failed"):
        check_silence()


@each("more", ("x", "y"))
@pytest.mark.parametrize("number", [1, 2])
def test_beside_fixtures_and_parameters(seen, number, more):
    seen.append(more)
    assert seen == ["x", "y"][:len(seen)]
    assert number in (1, 2)


def test_no_cases_are_a_mistake():
    with pytest.raises(AssertionError, match="no case"):
        each("a", [])
