"""C headers of several models in one program, which each compiler here builds and runs."""

import shutil
import subprocess

import numpy as np
import pytest
from layer_cases import error_of, rows_for

from fastnn import export

STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion",
          "-Wdouble-promotion"]
SANITIZE = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BUILDS = [
    ["gcc", "-std=c99", "-O0", *STRICT],
    ["gcc", "-std=c99", *SANITIZE, *STRICT],
    ["clang", "-std=c99", "-O0", *STRICT],
    ["g++", "-std=c++17", "-O0", "-x", "c++", *STRICT],
    ["clang++", "-std=c++17", "-O0", "-x", "c++", *STRICT],
]
by_builds = pytest.mark.parametrize("builds", [
    BUILDS[:1], pytest.param(BUILDS[1:], marks=pytest.mark.slow)], ids=["first", "others"])

# a function of each model for each row of its inputs, and what its self-tests say
DRIVER = """
#define RUN(P, FUNCTION, REAL, N_IN, N_OUT, N_SCRATCH, FAILURES) do {{ \\
    static REAL scratch[N_SCRATCH], x[N_IN], out[N_OUT]; \\
    FILE *from = fopen(#P ".in", "rb"), *to = fopen(#P ".out", "wb"); \\
    if (!from || !to) return 2; \\
    while (fread(x, sizeof(REAL), N_IN, from) == N_IN) {{ \\
        P##_##FUNCTION(x, out, scratch); \\
        fwrite(out, sizeof(REAL), N_OUT, to); \\
    }} \\
    fclose(from); fclose(to); \\
    if (FAILURES) return 1; \\
}} while (0)
#include <stdio.h>
{includes}
int main(void) {{
{runs}
    return 0;
}}
"""


def write_program(path, includes, runs):
    """Write a program that runs functions of headers."""
    path.write_text(DRIVER.format(includes="\n".join(includes), runs="\n".join(runs)))


def check_headers(models, n_rows, builds, folder):
    """Write the headers m0.h, m1.h, ... of models (by name), and compare what they answer to rows
    with predictions."""
    includes, runs = [], []
    for i, model in enumerate(models.values()):
        name = f"m{i}"
        export.c_header(model, folder / f"{name}.h", name)
        rows_for(model, n_rows).tofile(folder / f"{name}.in")
        real = {"float32": "float", "float64": "double"}[model.net.dtype.name]
        sizes = ", ".join(f"{name.upper()}_{size}" for size in ("N_INPUTS", "N_OUTPUTS", "SCRATCH"))
        includes.append(f'#include "{name}.h"')
        runs.append(f"    RUN({name}, predict, {real}, {sizes}, {name}_self_test());")
    write_program(folder / "m.c", includes, runs)
    builds = [build for build in builds if shutil.which(build[0])]
    if not builds:
        pytest.skip("no C compiler")
    for build in builds:
        for command in ([*build, "m.c", "-o", "m", "-lm"], ["./m"]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, (build, (done.stdout + done.stderr)[-4000:])
        for i, (name, model) in enumerate(models.items()):
            expected = model.predict(rows_for(model, n_rows)).reshape(n_rows, -1)
            found = np.fromfile(folder / f"m{i}.out", model.net.dtype)
            assert error_of(found.reshape(expected.shape), expected) <= 1e-6, (build, name)
