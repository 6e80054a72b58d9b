"""The same as test_failing_malloc.py, for networks of the newer layers."""

import sys

import pytest
from test_failing_malloc import PROGRAM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")

MADE = ('    return fastnn.MLP(sizes, output="softmax", random_state=0, n_threads=n_threads, '
        "gemm=gemm)\n")
STACKS = {
    "layers": """
    from fastnn import GLU, BatchNorm, Dense, Embed, LayerNorm, PReLU, Residual, Scale
    layers = [Embed(3, (32, 20, 12)), BatchNorm(), Dense(12), GLU("silu"), PReLU(),
              Residual([LayerNorm(), Dense(12), GLU()]), Scale(), Dense(10)]
    return fastnn.MLP.of(layers, n_in=64, output="softmax", random_state=0, n_threads=n_threads,
                         gemm=gemm)
""",
    "members": """
    return fastnn.MLP((64, 12, 10), output="softmax", random_state=0, n_threads=n_threads,
                      gemm=gemm, members=3)
""",
}


@pytest.mark.parametrize("where, action, stack, n_threads", [
    ("fastnn", "predict", "layers", 1),
    *(pytest.param("fastnn", *case, marks=pytest.mark.slow)
      for case in (("predict", "members", 2), ("create", "layers", 1), ("create", "members", 1),
                   ("load", "layers", 1), ("many", "layers", 1))),
    # a fit takes all of its memory from NumPy
    *(pytest.param("numpy", action, stack, n_threads, marks=pytest.mark.slow)
      for action, n_threads in (("create", 1), ("fit", 1), ("fit", 2), ("predict", 1), ("load", 1))
      for stack in STACKS),
    pytest.param("numpy", "checkpoint", "layers", 1, marks=pytest.mark.slow)])
def test_each_allocation_fails_once(run_python, faults, where, action, stack, n_threads):
    assert PROGRAM.count(MADE) == 1
    program = PROGRAM.replace(MADE, STACKS[stack])
    done = run_python(program, where, action, n_threads, "auto", **faults, PYTHONMALLOC="malloc",
                      timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    number, errors, grown, live = map(int, done.stdout.split())
    assert number > 0 and errors > 0
    assert live == 0
    assert grown < 30 * number + 8192 + (20_000 if action in ("load", "checkpoint") else 0)
