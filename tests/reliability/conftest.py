"""The library that lets memory and threads run out (faults.c), compiled when a test needs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """Path of the compiled library, for LD_PRELOAD."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux with glibc, and a C compiler")
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    run = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(made),
         str(Path(__file__).with_name("faults.c")), "-ldl", "-lpthread"],
        capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"faults.c cannot be compiled here: {run.stderr}")
    return made
