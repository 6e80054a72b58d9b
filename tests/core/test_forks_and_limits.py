"""Forks: the child finds its own number of threads, and BLAS waits for a second fork as well."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def test_a_child_reads_its_own_limits(run_python):
    """Each process asks once how many threads it may have, and its children ask again."""
    done = run_python("""
import os
import fastnn

def threads():
    return fastnn.MLP((64, 100, 10)).plan(10_000).threads_wanted

free = threads()
os.environ["OMP_NUM_THREADS"] = "1"
assert threads() == free  # read once
child = os.fork()
if child == 0:
    good = threads() == 1
    os.environ["OMP_NUM_THREADS"] = str(free)
    good = good and threads() == 1
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if threads() == free else 1)
    _, status = os.waitpid(grandchild, 0)
    os._exit(0 if good and status == 0 else 1)
_, status = os.waitpid(child, 0)
assert status == 0
assert threads() == free
print("done", free)
""", OMP_NUM_THREADS="")
    assert done.stdout.startswith("done"), done.stderr
    if done.stdout.split() == ["done", "1"]:
        pytest.skip("one thread is allowed here: nothing to tell apart")


def test_a_child_knows_nothing_of_pools_of_other_threads(run_python):
    """A thread of the child may get the number of one that waited for a pool in its parent: its fit
    would have no share."""
    done = run_python("""
import os, threading
from fastnn.core import threads

begun, over = threading.Event(), threading.Event()

def lend():
    with threads.lending_threads():
        begun.set()
        over.wait()

lender = threading.Thread(target=lend)
lender.start()
begun.wait()
with threads.lending_threads():
    child = os.fork()
    if child == 0:
        os._exit(0 if list(threads._lending.values()) == [threading.get_ident()] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(threads._lending) == 2
over.set()
lender.join()
assert not threads._lending
print("done")
""")
    assert done.stdout.strip() == "done", done.stderr


# blas_gate.c with its waiting replaced: each look at a counter, and each nap, is a moment at which
# another thread may fork. The program plays these other threads.
SECOND_FORK = """
#include <stdio.h>
#include <time.h>
static long look(const long *counter);
static int take_a_nap(void);
#define __atomic_load_n(counter, order) look(counter)
#define nanosleep(some, rest) take_a_nap()
#include "blas_gate.c"
#undef __atomic_load_n

static int forks_to_come; /* each begins as soon as the one before is seen to have ended */
static int naps, wrong;

static long look(const long *counter) {
    long found = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
    if (counter == &forking && found == 0 && inside == 0 && forks_to_come > 0) {
        forks_to_come--; /* this one sees nobody inside, and goes on */
        forking = 1;
    }
    return found;
}

static int take_a_nap(void) {
    wrong += inside != 0; /* who waits is not inside */
    naps++;
    forking = 0;
    return 0;
}

int main(void) {
    for (int n = 0; n < 5; n++) {
        forks_to_come = n;
        forking = 1;
        naps = 0;
        fnn_enter_blas();
        if (forking != 0 || inside != 1 || forks_to_come != 0 || naps != n + 1 || wrong) {
            printf("%d more forks: %ld fork while %ld are inside, %d naps\\n", n, forking, inside,
                   naps);
            return 1;
        }
        fnn_leave_blas();
        if (inside != 0) return 2;
    }
    return 0;
}
"""


def test_who_enters_blas_waits_for_a_second_fork_too(tmp_path):
    """One that begins after the first has ended, before the one who waits has gone in."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not CSRC.is_dir():
        pytest.skip("no C compiler, or no sources beside the tests")
    (tmp_path / "second_fork.c").write_text(SECOND_FORK)
    subprocess.run([compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", f"-I{CSRC}", "second_fork.c",
                    "-o", "second_fork", "-lpthread"], cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run([tmp_path / "second_fork"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
