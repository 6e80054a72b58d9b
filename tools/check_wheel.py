"""Installs a wheel into a new environment with the oldest requirements it states, and tests it.

    python tools/check_wheel.py dist/fastnn_mlp-*.whl

Three stages in one environment: prediction with NumPy alone; the network, with the
requirements of the package; everything else, with those of its extras "sklearn" and "cli".
"Oldest" is the oldest version that pyproject.toml allows and that has a wheel for this Python.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
TESTERS = ["pytest>=7", "pytest-xdist", "hypothesis", "mpmath", "psutil", "safetensors>=0.4"]
STAGES = [  # extra packages, tests
    ((), ["core", "network", "training", "prediction", "building/test_startup.py"]),
    (("scikit-learn", "pandas"), ["estimators", "files", "interop", "export", "cli", "tables",
                                  "documents/test_worked_examples.py",
                                  "documents/test_import_documentation.py",
                                  "documents/test_export_documentation.py"]),
]
# the model is saved and loaded again, with neither SciPy nor threadpoolctl there
SERVICE = """
import importlib.util, sys
import numpy as np
import fastnn
assert not any(importlib.util.find_spec(name) for name in ("scipy", "threadpoolctl", "sklearn"))
net = fastnn.MLP((4, 8, 3), output="softmax", random_state=0)
net.save(sys.argv[1])
rows = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
assert np.array_equal(fastnn.load(sys.argv[1]).predict(rows), net.predict(rows))
print(f"fastnn {fastnn.__version__} predicts with NumPy {np.__version__} alone")
"""


def run(*command, **options):
    print("$", *(str(word) if len(str(word)) < 100 else "..." for word in command), flush=True)
    return subprocess.run([str(word) for word in command], check=True, **options)


def oldest(python, requirement):
    """``name==version`` of the oldest release that is allowed and has a wheel for ``python``."""
    name, minimum = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
    listing = run(python, "-m", "pip", "index", "versions", "--only-binary=:all:", name,
                  capture_output=True, text=True).stdout

    def key(version):
        parts = [int(part) for part in version.split(".")]
        return parts + [0] * (4 - len(parts))

    versions = re.search(r"Available versions: (.*)", listing)[1].split(", ")
    final = [version for version in versions if re.fullmatch(r"[\d.]+", version)]
    allowed = [version for version in final if key(version) >= key(minimum)]
    return f"{name}=={min(allowed, key=key)}"


def main(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed, extras = project["dependencies"], project["optional-dependencies"]
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run(sys.executable, "-m", "venv", folder / "venv")
        python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
        old = {requirement: oldest(python, requirement) for requirement in needed}

        run(*install, old[needed[0]])  # NumPy
        run(*install, "--no-deps", wheel)
        run(python, "-c", SERVICE, folder / "model.safetensors", cwd=folder)

        for packages, tests in STAGES:
            for requirement in {*extras["sklearn"], *extras["cli"]}:
                if requirement.partition(">=")[0] in packages:
                    old[requirement] = oldest(python, requirement)
            run(*install, *old.values(), *TESTERS)
            run(python, "-m", "pip", "check")
            # not from the root: fastnn's sources are there
            run(python, "-m", "pytest", "-q", "-m", "not slow", "-n", os.cpu_count() or 1,
                "-p", "no:cacheprovider", *(ROOT / "tests" / test for test in tests),
                cwd=folder, env={**os.environ, **threads})
        print(f"{Path(wheel).name}: tested with", *old.values(), "and NumPy alone")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(strict=True))
