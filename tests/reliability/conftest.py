"""The library that lets memory and threads run out (faults.c), compiled when a test needs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """What of the environment a program needs to run with the compiled library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux with glibc, and a C compiler")
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    before = os.environ.get("LD_PRELOAD", "")
    sanitized = "libasan" in before
    run = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(made), *["-DFAULTS_SANITIZED"] * sanitized,
         str(Path(__file__).with_name("faults.c")), "-ldl", "-lpthread"],
        capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"faults.c cannot be compiled here: {run.stderr}")
    found = {"LD_PRELOAD": f"{made} {before}"}
    if sanitized:
        found["ASAN_OPTIONS"] = f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"
    return found
