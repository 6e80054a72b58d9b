"""The C sources compile without a warning with whatever compilers are there."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FLAGS = ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall",
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


@pytest.mark.parametrize("flags_of_level", [
    ["-fsyntax-only"], pytest.param(["-O1"], marks=pytest.mark.slow)], ids=["syntax", "objects"])
@pytest.mark.parametrize("compiler, isa, flags", COMPILERS)
def test_kernels_compile(compiler, isa, flags, flags_of_level, tmp_path):
    """As C that is understood; optimised, too, where more is found, in the slow suite."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    if not CSRC.is_dir():
        pytest.skip("no sources beside the tests")
    for source in (f"isa/{isa}.c", "registry.c", "dispatch.c"):
        done = subprocess.run([compiler, *FLAGS, *flags_of_level, *flags, "-c", str(CSRC / source),
                               "-o", str(tmp_path / "object.o")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
