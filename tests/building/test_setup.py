"""setup.py's branches for other compilers and systems, by what it would tell the compiler."""

import importlib.util
import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {  # sys.platform, platform.machine(), compiler_type
    "linux x86-64": ("linux", "x86_64", "unix"),
    "linux aarch64": ("linux", "aarch64", "unix"),
    "macOS arm64": ("darwin", "arm64", "unix"),
    "macOS Intel": ("darwin", "x86_64", "unix"),
    "Windows": ("win32", "AMD64", "msvc"),
    "Windows on ARM": ("win32", "ARM64", "msvc"),
    "MinGW": ("win32", "AMD64", "mingw32"),
}
UNIX_OPENMP = (["-fopenmp"], ["-fopenmp"])
OPENMP = {
    **dict.fromkeys(SYSTEMS, UNIX_OPENMP),
    **dict.fromkeys(["macOS arm64", "macOS Intel"], (["-Xpreprocessor", "-fopenmp"], ["-lomp"])),
    **dict.fromkeys(["Windows", "Windows on ARM"], (["/openmp"], [])),
}


class Compiler:
    """Writes down what it is asked for; refuses the flags in ``unknown``."""

    def __init__(self, compiler_type, unknown=()):
        self.compiler_type = compiler_type
        self.unknown = unknown
        self.include_dirs = []
        self.compiled = {}  # name of the source: flags
        self.linked = []  # flags of each program

    def compile(self, sources, extra_postargs, **options):
        self.refuse(extra_postargs)
        for source in sources:
            self.compiled[Path(source).name] = extra_postargs
        return [f"{source}.o" for source in sources]

    def link_executable(self, objects, name, output_dir, extra_postargs):
        self.refuse(extra_postargs)
        self.linked.append(extra_postargs)

    def refuse(self, flags):
        for flag in flags:
            if flag.startswith(tuple(self.unknown)):
                raise RuntimeError(f"unknown flag {flag}")


@pytest.fixture
def load(monkeypatch):
    """Run setup.py as on another system, up to the call of `setup`."""
    pytest.importorskip("Cython")
    setuptools = pytest.importorskip("setuptools")
    if not (ROOT / "setup.py").is_file():
        pytest.skip("no setup.py beside the tests")
    monkeypatch.chdir(ROOT)
    for name in ("ARCHFLAGS", "LDFLAGS", "FASTNN_NO_OPENMP"):
        # also what setup.py itself sets is taken back
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def load(system, **environment):
        sys_platform, machine, _ = SYSTEMS[system]
        monkeypatch.setattr(platform, "machine", lambda: machine)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("fastnn_setup", ROOT / "setup.py")
        module = importlib.util.module_from_spec(spec)
        with (mock.patch.object(setuptools, "setup"), mock.patch("Cython.Build.cythonize"),
              mock.patch.object(sys, "platform", sys_platform)):
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def build(load):
    """Build on another system: (modules by name, the compiler, with what it was asked for)."""

    def build(system, unknown=(), **environment):
        module = load(system, **environment)
        sys_platform, _, compiler_type = SYSTEMS[system]
        made = object.__new__(module.BuildExt)
        made.compiler = Compiler(compiler_type, unknown)
        made.build_temp = "temp"
        made.extensions = [
            SimpleNamespace(name=f"fastnn.{name}", extra_compile_args=[], extra_link_args=[],
                            libraries=[], include_dirs=["csrc", os.path.abspath("numpy")])
            for name in module.MODULES]
        with (mock.patch.object(sys, "platform", sys_platform),
              mock.patch.object(module.build_ext, "build_extensions"),
              mock.patch.object(module.build_ext, "build_extension")):
            made.build_extensions()
            for extension in made.extensions:
                made.build_extension(extension)
        return {extension.name: extension for extension in made.extensions}, made.compiler

    return build


@pytest.mark.parametrize("system", SYSTEMS)
def test_instruction_sets(build, system):
    _, compiler = build(system)
    x86 = SYSTEMS[system][1] in ("x86_64", "AMD64")
    names = {"baseline.c", "avx2.c", "avx512.c"} if x86 else {"baseline.c"}
    assert set(compiler.compiled) - {"check.c"} == names
    wide = "/arch:" if SYSTEMS[system][2] == "msvc" else "-mavx"
    for name in names:
        assert any(flag.startswith(wide) for flag in compiler.compiled[name]) == (
            name != "baseline.c")


@pytest.mark.parametrize("system", SYSTEMS)
def test_flags_are_those_of_the_compiler(build, system):
    modules, compiler = build(system)
    lead = "/" if SYSTEMS[system][2] == "msvc" else "-"
    wanted = {"/O2", "/fp:precise", "/std:c11"} if lead == "/" else {"-O3", "-ffp-contract=off"}
    for module in modules.values():
        assert wanted <= set(module.extra_compile_args)
    for flags in [*compiler.compiled.values(), *compiler.linked,
                  *(module.extra_compile_args for module in modules.values())]:
        assert all(flag.startswith(lead) or flag in ("arm64", "x86_64") for flag in flags), flags
    assert all(module.libraries == ([] if lead == "/" else ["m"]) for module in modules.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_openmp(build, system, capsys):
    compile_flags, link_flags = OPENMP[system]
    for name, module in build(system)[0].items():
        used = name in (
            "fastnn.core._kernels", "fastnn.prediction._forward",
            "fastnn.prediction._derivatives", "fastnn.training._loop", "fastnn.tabular._forest")
        assert (module.extra_compile_args[-len(compile_flags):] == compile_flags) == used
        assert module.extra_link_args == (link_flags if used else [])
    assert "no OpenMP" not in capsys.readouterr().err


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_openmp(build, system, capsys):
    for unknown, environment in [(["-fopenmp", "/openmp", "-lomp"], {}),
                                 ([], {"FASTNN_NO_OPENMP": "1"})]:
        modules, _ = build(system, unknown, **environment)
        for module in modules.values():
            assert not any("omp" in flag or "openmp" in flag for flag in
                           module.extra_compile_args + module.extra_link_args)
        assert ("no OpenMP" in capsys.readouterr().err) == bool(unknown)


def test_openmp_of_other_clangs_on_macos(build):
    modules, _ = build("macOS arm64", unknown=["-lomp"])
    assert modules["fastnn.training._loop"].extra_link_args == ["-fopenmp"]


def test_libomp_is_looked_for_where_ldflags_say(build):
    """setuptools does so for modules; the check, which links a program, did not."""
    _, compiler = build("macOS arm64", LDFLAGS="-L/opt/homebrew/opt/libomp/lib")
    assert compiler.linked == [["-lomp", "-L/opt/homebrew/opt/libomp/lib", "-arch", "arm64"]]


def test_macos_builds_the_architecture_that_archflags_name(build, load):
    _, compiler = build("macOS arm64", ARCHFLAGS="-arch x86_64")
    assert "avx512.c" in compiler.compiled
    with pytest.raises(SystemExit, match="one architecture at a time"):
        load("macOS arm64", ARCHFLAGS="-arch x86_64 -arch arm64").machine()


@pytest.mark.parametrize("system", SYSTEMS)
def test_folders_are_mapped(build, system):
    flags = {f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={ROOT / 'numpy'}=include"}
    if SYSTEMS[system][2] == "msvc":
        flags = set()
    for unknown, expected in [([], flags), (["-ffile-prefix-map"], set())]:
        modules, compiler = build(system, unknown)
        for used in [*(module.extra_compile_args for module in modules.values()),
                     compiler.compiled["baseline.c"]]:
            assert {flag for flag in used if "prefix-map" in flag} == expected
