"""benchmarks/: scripts say which of their arguments is wrong, before they measure anything."""

import pytest
from wrong_arguments import BENCHMARKS, check_wrong_arguments

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="not in a source tree")
NUMBER = "must be a number above 0"
# script -> what it imports, wrong arguments and what is said of them
SCRIPTS = {
    "compare.py": ((), {"--json no/x.json": "'no/x.json' must be a file in a folder that is there",
                        "--seconds nan": NUMBER, "--seconds inf": NUMBER}),
    "jacobian.py": ((), {"--sizes 5": "at least inputs and outputs", "--sizes 0-1": NUMBER,
                         "--seconds nan": NUMBER, "--rounds 0": NUMBER}),
    "steps.py": ((), {"--sizes x": NUMBER, "--seconds 0": NUMBER, "--rounds -1": NUMBER}),
    "products.py": ((), {"--seconds 0": NUMBER, "--rounds 0": NUMBER}),
    "settings_search.py": ((), {"--folds 1": "must be a number from 2", "--epochs 0": NUMBER,
                                "--threads 0": NUMBER, "--settings 0": NUMBER}),
    "sparse.py": (("sklearn",), {"--threads 0": NUMBER, "--in-a-row 0": NUMBER,
                                 "--only nope": "'nope' is in none of predict, "}),
    "table_row.py": ((), {"--preset nope": "invalid choice: 'nope'", "--steps -1": "from 0",
                          "--rows 0": "must be a number from 100"}),
    "two_threads.py": (("pandas",), {"--rounds 0": NUMBER}),
    "tabular.py": ((), {"no": "there is no folder 'no'", ". --splits a": "a number from 0",
                        ". --threads 0": NUMBER}),
    "ablation.py": (("sklearn",), {"no": "there is no folder 'no'", ". --splits -1": "from 0"}),
    "service_load.py": ((), {"--sizes x": NUMBER, "--rows 1,0": NUMBER, "--connections 0": NUMBER,
                             "--workers 0": NUMBER, "--seconds nan": NUMBER}),
    "dask_simulation.py": (("distributed",), {"--workers 0": NUMBER, "--latency -1": "from 0",
                                              "--bandwidth 0": NUMBER}),
    "dask_workers.py": (("distributed",), {"--repeats 0": NUMBER, "--steps 0": NUMBER}),
    "dask_kills.py": (("distributed",), {"nope": "unknown fit 'nope'", "--wait nan": NUMBER}),
    "dask_rounds.py": (("distributed",), {"large --rows 0": NUMBER}),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_arguments_are_explained(run_python, script):
    needed, messages = SCRIPTS[script]
    for name in needed:
        pytest.importorskip(name)
    check_wrong_arguments(run_python, script, messages)


def test_slices_that_are_too_short_for_a_call(run_python):
    """They were divided by 0 calls, or no number."""
    done = run_python(
        "import sys; sys.path.insert(0, sys.argv[1]); import jacobian, numpy, products, steps\n"
        "X = numpy.zeros((3, 2), 'f')\n"
        "found = [jacobian.seconds_of(len, X, 1e-12), products.best_seconds(list, 1e-12),\n"
        "         steps.seconds_of(lambda x, y: None, [(X, X)], 1e-12),\n"
        "         *products.measure_steps((3, 4, 2), 16, 'float32', 1e-12, 1)]\n"
        "assert numpy.isfinite(found).all(), found", BENCHMARKS)
    assert done.returncode == 0, done.stderr
