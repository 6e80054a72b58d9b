"""The C tests of tests/csrc, without Python in between: sanitized, in valgrind, branches counted.

`make asan`, `tsan`, `valgrind` and `coverage-c` run the slow ones with what they say printed.
"""

import collections
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_compilers import CSRC, HERE

TESTS = Path(__file__).parents[1] / "csrc"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-fno-math-errno", "-fno-trapping-math",
         "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
              "-fno-omit-frame-pointer", "-Wno-pass-failed"]  # clang: "loop not vectorized"
# branches by function rather than by the places they are inlined at; of functions nobody calls too
COVERAGE = ["--coverage", "-Dalways_inline=noinline", "-Wno-attributes", "-fkeep-inline-functions"]
PLACES = ("malloc", "after", "before")  # of the arrays, see check.h

# Branches that no test can take: (file, function, code of the line) -> (how many, reason)
UNCOVERED = {
    ("vecmath.h", r"v_expm1_f(32|64)", "x > 2 * TANH_ONE"): (
        1, "no row asks for so large an x; in a vector the lanes do that elu then throws away"),
    ("losses.def", r"loss_(columns_)?poisson_f(32|64)", "FNN_LOSS(poisson"): (
        1, "the inner `y > 0 ? y : 1` keeps LOG in its range in lanes that the outer one drops"),
}

pytestmark = [
    pytest.mark.skipif(not CSRC.is_dir(), reason="no sources beside the tests"),
    pytest.mark.skipif(os.name != "posix", reason="written for POSIX"),
]


def build(folder, compiler="gcc", kernels=("-O0",), tests=("-O1",), csrc=CSRC, tests_csrc=TESTS,
          flags_of_isa=HERE):
    """Compile the kernels and their tests, each with flags of their own; return the program."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    include = [f"-I{csrc}", f"-I{tests_csrc / 'fake_omp'}"]
    jobs = [(csrc / "isa" / f"{isa}.c", [*kernels, *flags]) for isa, flags in flags_of_isa.items()]
    jobs += [(csrc / f"{name}.c", kernels) for name in ("registry", "dispatch")]
    jobs += [(path, tests) for path in sorted(tests_csrc.glob("*.c"))]
    kinds = {csrc / "isa": "csrc", csrc: "shared", tests_csrc: "tests"}
    objects = [folder / f"{kinds[path.parent]}-{path.stem}.o" for path, _ in jobs]

    def compile_one(job, target):
        run(compiler, *FLAGS, *include, *job[1], "-c", job[0], "-o", target, cwd=folder)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, jobs, objects))
    run(compiler, *kernels, *tests, *objects, "-lm", "-lpthread", "-o", folder / "check",
        cwd=folder)
    return folder / "check"


def run(*command, cwd, **environment):
    done = subprocess.run(list(map(str, command)), cwd=cwd, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=3600, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command[:3]}\n{done.stdout}{done.stderr}"
    return done.stdout


def isas(program):
    return run(program, "list", cwd=program.parent).split()


def run_all(program, *places, isas):
    """What is the same for all instruction sets, then each of them, two programs at a time."""
    runs = [("common",), *((isa, place) for isa in isas for place in places)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda arguments: run(program, *arguments, cwd=program.parent), runs))


def sources_with_more_rows(folder):
    """Copy the sources and their tests, with rows of a kind that no .def file has; return both."""
    csrc = folder / "csrc"
    tests = folder / "tests" / "csrc"
    shutil.copytree(CSRC, csrc)
    shutil.copytree(TESTS, tests)
    with open(csrc / "optimizers.def", "a") as rows:
        rows.write("FNN_OPTIMIZER(stateless, 0, { c[0] = lr; }, { w -= c0 * g; })\n")
    return csrc, tests


@pytest.mark.slow
def test_address_and_undefined_behaviour(tmp_path):
    # without optimization: compiled in a third of the time, and nothing is optimized away unseen
    csrc, tests = sources_with_more_rows(tmp_path)
    program = build(tmp_path, "gcc", ["-O0", *SANITIZERS], ["-O1", *SANITIZERS], csrc, tests)
    run_all(program, "malloc", isas=isas(program))


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitized_and_optimized(compiler, tmp_path):
    program = build(tmp_path, compiler, ["-O1", *SANITIZERS], ["-O1", *SANITIZERS])
    run_all(program, *PLACES, isas=isas(program))


@pytest.mark.slow
def test_as_it_is_released(tmp_path):
    program = build(tmp_path, kernels=["-O3"])
    run_all(program, *PLACES, isas=isas(program))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setarch"), reason="no setarch")
def test_team_under_thread_sanitizer(tmp_path):
    program = build(tmp_path, tests=["-O1", "-fsanitize=thread"])
    for _ in range(20):
        run("setarch", "-R", program, "common", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_valgrind(tmp_path):
    program = build(tmp_path, kernels=["-O1"])
    valgrind = ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
                "--show-leak-kinds=all")
    run(*valgrind, program, "common", cwd=tmp_path)
    for isa in run("valgrind", "-q", program, "list", cwd=tmp_path).split():  # no AVX-512 there
        run(*valgrind, program, isa, "malloc", cwd=tmp_path)


# ---- other processors ----

@pytest.mark.slow
@pytest.mark.skipif("avx2" not in HERE, reason="x86-64 only")
def test_avx512_where_there_is_none(tmp_path):
    """Its intrinsics written out in C, in the place of the kernels for AVX2."""
    in_c = [*HERE["avx2"], "-Wno-psabi", "-include", TESTS / "avx512_in_c.h"]
    program = build(tmp_path, kernels=["-O1"], flags_of_isa={**HERE, "avx2": in_c})
    if "avx2" not in isas(program):
        pytest.skip("no AVX2")
    run_all(program, *PLACES, isas=["avx2"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="no qemu-x86_64")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")
@pytest.mark.parametrize(
    "cpu, expected", [("Nehalem", ["baseline"]), ("Haswell", ["avx2", "baseline"])])
def test_emulated_processor_takes_its_path(cpu, expected, tmp_path):
    program = build(tmp_path)
    qemu = ("qemu-x86_64", "-cpu", cpu)
    assert run(*qemu, program, "list", cwd=tmp_path).split() == expected
    run(*qemu, program, expected[0], "malloc", cwd=tmp_path)

    if cpu == "Nehalem":
        return  # OpenBLAS, in NumPy, ends there with an illegal instruction
    import_it = "from fastnn.core import _kernels; print(_kernels.isa())"
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    qemu = (*qemu, sys.executable, "-c", import_it)
    assert run(*qemu, cwd=tmp_path, FASTNN_ISA="", **path).strip() == expected[0]
    refused = subprocess.run(qemu, capture_output=True, text=True,
                             env={**os.environ, **path, "FASTNN_ISA": "avx512"})
    assert refused.returncode == 1
    last = refused.stderr.splitlines()[-1]
    assert re.match("ImportError: .*avx512.*" + ", ".join(expected), last)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64")
def test_emulated_aarch64(tmp_path):
    """Its vectors, its floating-point mode and its team, whatever processor is here."""
    program = build(tmp_path, "aarch64-linux-gnu-gcc", ["-O2", "-static"],
                    flags_of_isa={"baseline": []})
    qemu = ("qemu-aarch64", program)
    assert run(*qemu, "list", cwd=tmp_path).split() == ["baseline"]
    run(*qemu, "common", cwd=tmp_path)
    run(*qemu, "baseline", "malloc", cwd=tmp_path)


# ---- coverage ----

def counts(folder, names):
    """{(file in csrc/, line, function): [times run]}, and the same of each branch."""
    lines, branches = collections.Counter(), collections.Counter()
    for name in names:
        report = json.loads(run("gcov", "--json-format", "--branch-probabilities", "--stdout",
                                f"{name}.o", cwd=folder))
        for file in report["files"]:
            path, seen = Path(file["file"]), collections.Counter()
            if CSRC not in path.parents:
                continue
            for line in file["lines"]:
                key = path.name, line["line_number"], line.get("function_name", "")
                lines[key] += line["count"]
                for branch in line["branches"]:
                    branches[(*key, seen[key])] += branch["count"]
                    seen[key] += 1
    return lines, branches


def excuse(key):
    """The row of UNCOVERED that a branch falls under, or None."""
    name, line, function = key[:3]
    (path,) = CSRC.rglob(name)
    code = path.read_text().splitlines()[line - 1]
    for row in UNCOVERED:
        if name == row[0] and re.fullmatch(row[1], function) and row[2] in code:
            return row
    return None


@pytest.mark.slow
def test_every_branch_is_taken(tmp_path):
    program = build(tmp_path, kernels=["-O0", *COVERAGE], tests=["-O0", *COVERAGE])
    if not shutil.which("gcov"):
        pytest.skip("no gcov")
    available = isas(program)
    run_all(program, "malloc", isas=available)
    shared = [path.stem for path in tmp_path.glob("*.o") if path.stem != "tests-reference"
              and not path.stem.startswith("csrc-")]
    used = set()
    for name in [*(f"csrc-{isa}" for isa in available), "the rest"]:
        lines, branches = counts(tmp_path, shared if name == "the rest" else [name])
        missed = [key for key, count in branches.items() if not count]
        excused = collections.Counter((excuse(key), key[:3]) for key in missed)
        print(f"{name.removeprefix('csrc-')}: {sum(map(bool, lines.values()))} of {len(lines)} "
              f"lines, {len(branches) - len(missed)} of {len(branches)} branches")
        assert not [key for key, count in lines.items() if not count]
        for (row, place), count in excused.items():
            assert row and count <= UNCOVERED[row][0], f"{place}: {count} branches are never taken"
            used.add(row)
    assert used == UNCOVERED.keys(), "a row of UNCOVERED is not needed any more"
