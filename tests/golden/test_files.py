"""Pickles and checkpoints that earlier versions wrote load, predict the same, and train on.

To the bit where instruction set and libraries are those of the record, else closely.
"""

import json
from numbers import Real

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("numpy._core", reason="the pickles were written with NumPy 2")

from golden_cases import environment, isa  # noqa: E402
from make_files import (  # noqa: E402
    CHECKPOINTS,
    EXPECTED,
    FOLDER,
    PICKLES,
    load_pickle,
    resume,
    say,
    start_over,
)

EXPECTATIONS = json.loads(EXPECTED.read_text())
WRITTEN_WITH = EXPECTATIONS.pop("written_with")
KINDS = tuple(dict.fromkeys(name.split("/")[0] for name in PICKLES))


def record(name):
    """The record to compare with, and whether to the bit."""
    if isa() not in EXPECTATIONS:
        return EXPECTATIONS[WRITTEN_WITH], False
    found = EXPECTATIONS[isa()]
    now, was = environment(), found["environment"]
    alone = name.split("/")[0] in ("mlp", "plain") or name in CHECKPOINTS
    keys = {"system"} if alone and "blas" not in name else set(was)
    return found, all(now[key] == was[key] for key in keys)


def difference(was, now, exact):
    """Where two answers differ, "" where they do not; bytes after a fit count where exact."""
    if was.keys() != now.keys():
        return f"{sorted(was)} against {sorted(now)}"
    return ", ".join(key for key in was
                     if (exact or key != "fitted") and not _same(was[key], now[key], exact))


def _same(was, now, exact):
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(_same, was, now, [exact] * len(was)))
    if not exact and isinstance(was, Real) and isinstance(now, Real):
        return bool(np.isclose(was, now, rtol=1e-3, atol=1e-3))
    return was == now


@pytest.mark.parametrize("kind", KINDS)
def test_pickles_load_predict_and_train_on(kind):
    differ = []
    for name in PICKLES:
        if name.startswith(f"{kind}/"):
            found, exact = record(name)
            now = json.loads(json.dumps(say(kind, load_pickle(name))))
            what = difference(found["pickles"][name], now, exact)
            differ += [f"{name}: {what}"] * bool(what)
    assert not differ, "\n".join(differ)


def test_checkpoints_resume_to_the_same_bytes(tmp_path):
    differ = []
    for name in CHECKPOINTS:
        found, exact = record(name)
        what = difference(found["checkpoints"][name], resume(name, tmp_path), exact)
        differ += [f"{name}: {what}"] * bool(what)
    assert not differ, "\n".join(differ)


def test_a_checkpoint_leads_where_the_whole_fit_does(tmp_path):
    if isa() != WRITTEN_WITH:
        pytest.skip(f"the checkpoints were written with {WRITTEN_WITH}")
    differ = []
    for name in CHECKPOINTS:
        if name != "ended" and record(name)[1]:
            what = difference(start_over(name, tmp_path), resume(name, tmp_path), True)
            differ += [f"{name}: {what}"] * bool(what)
    assert not differ, "\n".join(differ)


def test_every_file_is_compared():
    names = {f"{name.replace('/', '_')}.pickle" for name in PICKLES}
    names |= {f"{name}.checkpoint" for name in CHECKPOINTS}
    assert names | {EXPECTED.name} == {path.name for path in FOLDER.iterdir()}
    for found in EXPECTATIONS.values():
        assert found["pickles"].keys() == PICKLES.keys()
        assert found["checkpoints"].keys() == CHECKPOINTS.keys()
