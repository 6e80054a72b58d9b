"""Builds the C kernels once per instruction set and the Cython modules on top of them.

Everything declarative stands in pyproject.toml.  Environment:

FASTNN_NO_OPENMP=1                   build without OpenMP (one thread)
CC, CFLAGS, CPPFLAGS, LDFLAGS        as usual; on macOS the last two say where libomp is
"""

import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

CSRC = Path("csrc")
MODULES = (
    "core._signals", "core._kernels", "core._probes", "core._arrays", "core._sums",
    "prediction._program", "prediction._forward", "prediction._scaling", "prediction._outputs",
    "prediction._sweeps", "prediction._tangents", "prediction._adjoints", "prediction._derivatives",
    "training._gather", "training._ops_dense", "training._ops_norm",
    "training._ops_batch_norm", "training._ops_scale", "training._ops_prelu", "training._ops_add",
    "training._ops_members", "training._ops_python", "training._ops_lookup",
    "training._ops_embed", "training._ops_glu",
    "training._python_loss", "training._row_major", "training._one_row",
    "training._feature_major", "training._phases", "training._extras", "training._loop",
    "training._bursts", "training._data", "training._runs", "training._trainer",
    "training._steps", "training._loss_bends", "training._curvature_layers",
    "training._curvature", "tabular._encode", "tabular._forest", "tabular._trees")
OPENMP_MODULES = ("core._kernels", "prediction._forward", "prediction._derivatives",
                  "training._loop", "tabular._forest")
HEADERS = sorted(str(p) for pattern in ("*.h", "*.def") for p in CSRC.glob(pattern))

# Never -ffast-math, at compile or link time: it would change the float mode of the whole process
# and delete NaN checks.  Contraction is off so that fused operations are only those we write.
UNIX_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
MSVC_FLAGS = ["/O2", "/fp:precise", "/std:c11"]

ISA_FLAGS_UNIX = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma",
               "-mprefer-vector-width=512"],
}
ISA_FLAGS_MSVC = {"baseline": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]}

NO_COMPILER = """
fastnn could not compile a C program: {error}

A C compiler and the headers of Python are needed to install fastnn from source:
  Debian, Ubuntu   apt-get install gcc python3-dev
  Fedora, RHEL     dnf install gcc python3-devel
  macOS            xcode-select --install
  Windows          Build Tools for Visual Studio, "Desktop development with C++"
"""


def machine():
    """Return the processor that is built for: on macOS ARCHFLAGS may name another than this
    one's."""
    flags = os.environ.get("ARCHFLAGS", "")
    named = [word for word in flags.split() if word in ("x86_64", "arm64")]
    if len(set(named)) > 1:
        raise SystemExit(f"ARCHFLAGS={flags!r}: build one architecture at a time")
    return named[0] if named else platform.machine()


if sys.platform == "darwin" and "ARCHFLAGS" not in os.environ:
    # a universal Python would ask for both architectures, with the flags of one
    os.environ["ARCHFLAGS"] = f"-arch {platform.machine()}"


class BuildExt(build_ext):
    """Add the kernels, each compiled with the flags of its instruction set, to `core._kernels`."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:  # the modules side by side; `-j 1` builds one after the other
            self.parallel = os.cpu_count() or 1

    def build_extensions(self):
        self.msvc = self.compiler.compiler_type == "msvc"
        self.flags = MSVC_FLAGS if self.msvc else UNIX_FLAGS
        self.check_compiler()
        self.flags = self.flags + self.prefix_flags()
        openmp = self.openmp_flags()
        for extension in self.extensions:
            extension.extra_compile_args += self.flags
            if extension.name.removeprefix("fastnn.") in OPENMP_MODULES:
                extension.extra_compile_args += openmp[0]
                extension.extra_link_args += openmp[1]
            if not self.msvc:
                extension.libraries += ["m"]
        super().build_extensions()

    def build_extension(self, extension):
        if extension.name == "fastnn.core._kernels":
            extension.extra_objects = self.kernel_objects()
        super().build_extension(extension)

    def kernel_objects(self):
        x86 = machine().lower() in ("x86_64", "amd64")
        by_isa = ISA_FLAGS_MSVC if self.msvc else ISA_FLAGS_UNIX
        standard = [] if self.msvc else ["-std=c11"]
        objects = []
        for isa in by_isa if x86 else ["baseline"]:
            objects += self.compiler.compile(
                [str(CSRC / "isa" / f"{isa}.c")], output_dir=self.build_temp,
                include_dirs=[str(CSRC)], depends=HEADERS,
                extra_postargs=self.flags + standard + by_isa[isa])
        return objects

    def check_compiler(self):
        try:
            self.try_compile("#include <Python.h>\nint main(void) { return 0; }\n", [], [])
        except Exception as error:
            raise SystemExit(NO_COMPILER.format(error=error)) from None

    def openmp_flags(self):
        """Return (compile, link) flags that this compiler takes for OpenMP; empty where it has
        none."""
        if os.environ.get("FASTNN_NO_OPENMP", "0") not in ("", "0"):
            return [], []
        if self.msvc:
            candidates = [(["/openmp"], [])]
        elif sys.platform == "darwin":  # Apple's clang; libomp from a package manager, by CPPFLAGS
            candidates = [(["-Xpreprocessor", "-fopenmp"], ["-lomp"]), (["-fopenmp"],) * 2]
        else:
            candidates = [(["-fopenmp"], ["-fopenmp"])]
        # All that team.h wants of OpenMP: its library may be older than gcc (manylinux2014), and
        # a module with a name in it that is nowhere links all the same, but cannot be imported.
        program = ('#include "team.c"\nint main(void) { fnn_team_prepare(); '
                   "return fnn_team_form(1) != 1 || fnn_team_size() < FNN_HAS_OPENMP; }\n")
        for compile_flags, link_flags in candidates:
            try:
                self.try_compile(program, compile_flags, link_flags, link=True)
                return list(compile_flags), list(link_flags)
            except Exception as error:
                reason = error
        print(f"fastnn: no OpenMP ({reason}); building for one thread", file=sys.stderr)
        return [], []

    def prefix_flags(self):
        """Return flags that keep the names of folders out of the objects."""
        if self.msvc:
            return []
        folders = {os.getcwd(): ".", **{path: "include" for path in self.extensions[0].include_dirs
                                        if os.path.isabs(path)}}
        flags = [f"-ffile-prefix-map={folder}={name}" for folder, name in folders.items()]
        try:
            self.try_compile("int main(void) { return 0; }\n", flags, [])
        except Exception:  # gcc before 8, clang before 10
            return []
        return flags

    def try_compile(self, program, compile_flags, link_flags, link=False):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "check.c"
            source.write_text(program)
            objects = self.compiler.compile(
                [str(source)], output_dir=folder, extra_postargs=compile_flags,
                include_dirs=[str(CSRC), *self.compiler.include_dirs])
            if not objects:
                raise CompileError("no object file")
            if link:  # setuptools gives these to the linker of modules, not to that of programs
                names = [] if self.msvc else ["LDFLAGS"]
                names += ["ARCHFLAGS"] if sys.platform == "darwin" else []
                more = [flag for name in names for flag in shlex.split(os.environ.get(name, ""))]
                self.compiler.link_executable(
                    objects, "check", output_dir=folder, extra_postargs=[*link_flags, *more])


def extensions():
    import numpy
    from Cython.Build import cythonize

    c_sources = {"core._kernels": [str(CSRC / "registry.c"), str(CSRC / "dispatch.c"),
                                   str(CSRC / "team.c")],
                 "training._ops_dense": [str(CSRC / "blas_gate.c")]}
    modules = [
        Extension(
            f"fastnn.{name}",
            [f"fastnn/{name.replace('.', '/')}.pyx", *c_sources.get(name, [])],
            include_dirs=[str(CSRC), numpy.get_include()],
            define_macros=[
                ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
                # Cython 3.3.1's own call of tp_new frees arguments that it has not set yet when
                # there is no memory for the tuple of their names
                ("CYTHON_VECTORCALL_TPNEW", "0"),
            ],
            depends=HEADERS + [f"csrc/isa/{isa}.c" for isa in ISA_FLAGS_UNIX],
        )
        for name in MODULES
    ]
    return cythonize(
        modules,
        build_dir="build/cython",
        compiler_directives=dict(
            language_level=3, boundscheck=False, cdivision=True,
            initializedcheck=False, freethreading_compatible=False),
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
