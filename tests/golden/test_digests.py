"""Fits, gradients and predictions give the bytes that digests.json holds; which differ is listed.

Where the bytes depend on other libraries (`golden_cases.needs`), they are compared with the same
versions of those only.
"""

import json

import pytest

pytest.importorskip("sklearn")

from golden_cases import CASES, GROUPS, environment, isa, needs  # noqa: E402
from make_digests import FILE, digest  # noqa: E402

RECORDS = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def record():
    """The record of the instruction set in use."""
    if isa() not in RECORDS:
        pytest.skip(f"no digests are recorded for {isa()}")
    return RECORDS[isa()]


@pytest.mark.parametrize("group", GROUPS)
def test_bytes_are_those_of_the_record(group, record):
    names = [name for name in CASES if name.startswith(f"{group}/")]
    now, was = environment(), record["environment"]
    others = {key for key in was if now[key] != was[key]}
    compared = [name for name in names if not needs(name, isa()) & others]
    if not compared:
        pytest.skip("; ".join(f"recorded with {key} {was[key]}, here is {now[key]}"
                              for key in sorted(others)))
    differ = [name for name in compared if digest(CASES[name]) != record["digests"][name]]
    assert not differ, f"{len(differ)} of {len(compared)} differ:\n" + "\n".join(differ)


@pytest.mark.parametrize("instructions", RECORDS)
def test_every_case_is_recorded(instructions):
    assert RECORDS[instructions]["digests"].keys() == CASES.keys()
