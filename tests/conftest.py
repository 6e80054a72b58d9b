"""Shared by all tests: what runs on this machine, fresh interpreters, the folder of the slow twin.

pytest puts the folder of this file on the path, so that any test can say ``import reference``.
"""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from planning import use_rules

import fastnn
from fastnn.core import _kernels
from fastnn.training import plan

TESTS = Path(__file__).parent

# A job in the background of a shell ignores Ctrl-C, and so would all interpreters that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_kernels.available_isas())
def isa(request):
    """Each instruction set that runs here."""
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each dtype of the kernels."""
    return request.param


@pytest.fixture
def run_python():
    """Run code in a fresh interpreter: ``run_python(code, *arguments, **environment)``.

    It has the folders of the tests on its path. Past ``timeout`` seconds it ends with all its
    children.
    """

    def run(code, *arguments, timeout=120, **environment):
        path = [Path(fastnn.__file__).parents[1], TESTS, TESTS / "training",
                TESTS / "reliability"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)),
               **{name: str(value) for name, value in environment.items()}}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        with subprocess.Popen(command, env=env, cwd=TESTS, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises: by Python's own handler, whatever pytest or its plugins have put in its place,
    and not in a callback of the garbage collector (hypothesis has one), where it would be lost."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    callbacks, gc.callbacks[:] = gc.callbacks[:], []
    try:
        yield
    finally:
        gc.callbacks[:] = callbacks
        signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch):
    """Files are not forced to the disk, which takes milliseconds each, and on a busy one seconds.
    No test can see whether they are; that it is asked for, and when, tests/files look at."""
    monkeypatch.setattr(os, "fsync", os.fstat)  # refuses what is no open file, too


@pytest.fixture(autouse=True)
def teams(monkeypatch):
    """The number of threads of each run. Short epochs, as most are here, get their threads too."""
    found = []
    decide = plan.TrainingPlan.threads_for

    def threads_for(self, n_rows):
        found.append(decide(self, n_rows))
        return found[-1]

    use_rules(monkeypatch.setattr, epoch_flops=0)
    monkeypatch.setattr(plan.TrainingPlan, "threads_for", threads_for)
    return found
