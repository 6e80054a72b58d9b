"""The same as test_failing_malloc.py, for trees of tables, rows of their networks, and sums."""

import sys

import pytest
from test_failing_malloc import PROGRAM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")

OURS = 'OURS = "'
CHOSEN = "prepare, act, check = ACTIONS[action]\n"
ACTIONS = """
sys.path.insert(0, os.path.join(os.getcwd(), "tabular"))
from test_forest import SIZES, arrays, encoding_with, rows
from fastnn.core._sums import add_up
from fastnn.prediction._outputs import RowOutputs
from fastnn.tables.schema import Inputs
from fastnn.tabular._trees import grow
from fastnn.tabular.forest import Forest

own, (numbers, codes) = arrays(0, most=9), rows(0)
forest = Forest(5, SIZES, **own)
encoding, row = encoding_with(forest), Inputs(numbers[5:6], codes[5:6])
nets = [fastnn.MLP((encoding.n_inputs, 12, 2), random_state=i) for i in range(3)]
two, shares = [numbers[:, 3].copy(), numbers[:, 4].copy()], [0.3, None]
few, starts = rng.integers(0, 9, (150, 4)).astype(np.uint8), np.arange(0, 40, 9, dtype=np.int32)
slopes = np.abs(rng.normal(size=(150, 4)))


def do_rows(_):
    found = np.zeros((1, 2))
    RowOutputs(nets, np.ones(3), encoding.adds).add(*encoding.entries(row), found)
    return found.tobytes()


def do_sums(_):
    out = np.empty(len(numbers))
    add_up(out, shares, two)
    return out.tobytes()


def do_grow(_):
    return b"".join(one.tobytes() for one in grow(
        few, starts, slopes, np.arange(0, 150, 2, dtype=np.int32), 12, 1.0, 5.0, 1e-9))


DONE = {
    "forest": lambda _: Forest(5, SIZES, **own).transform(numbers, codes).tobytes(),
    "score": lambda _: forest.transform(numbers, codes).tobytes(),
    "encode": lambda _: b"".join(one.tobytes() for one in encoding.entries(row)),
    "rows": do_rows, "sums": do_sums, "grow": do_grow}
WANTED = {name: do(None) for name, do in DONE.items()}
ACTIONS |= {name: (lambda: None, do, lambda _, result, name=name: result in (None, WANTED[name]))
            for name, do in DONE.items()}
"""


@pytest.mark.parametrize("where, action", [
    *(("fastnn", action) for action in ("forest", "score", "sums", "grow")),
    *(pytest.param("fastnn", action, marks=pytest.mark.slow) for action in ("encode", "rows")),
    *(pytest.param("numpy", action, marks=pytest.mark.slow)
      for action in ("forest", "score", "encode", "rows", "sums", "grow"))])
def test_each_allocation_fails_once(run_python, faults, where, action):
    assert PROGRAM.count(OURS) == PROGRAM.count(CHOSEN) == 1
    program = PROGRAM.replace(OURS, OURS + "fastnn/tabular/_:").replace(CHOSEN, ACTIONS + CHOSEN)
    done = run_python(program, where, action, 1, "auto", **faults, PYTHONMALLOC="malloc",
                      timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    number, errors, grown, live = map(int, done.stdout.split())
    assert number > 0 and errors > 0
    assert live == 0
    assert grown < 30 * number + 8192
