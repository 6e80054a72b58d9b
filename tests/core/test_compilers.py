"""The C sources compile without a warning with whatever compilers are there."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FLAGS = ["-std=c11", "-O1", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall",
         "-Wextra", "-Wpedantic", "-Werror"]
X86 = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"],
}
HERE = X86 if platform.machine() in ("x86_64", "AMD64") else {"baseline": []}
COMPILERS = [
    *(("gcc", isa, flags) for isa, flags in HERE.items()),
    *(("clang", isa, flags) for isa, flags in HERE.items()),
    ("aarch64-linux-gnu-gcc", "baseline", []),
]


@pytest.mark.parametrize("compiler, isa, flags", COMPILERS)
def test_kernels_compile(compiler, isa, flags, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    if not CSRC.is_dir():
        pytest.skip("no sources beside the tests")
    for source in (f"isa/{isa}.c", "registry.c", "dispatch.c"):
        done = subprocess.run([compiler, *FLAGS, *flags, "-c", str(CSRC / source),
                               "-o", str(tmp_path / "object.o")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
