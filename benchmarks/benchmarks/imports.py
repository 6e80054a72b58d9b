"""Start-up: what a process pays before its first prediction."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CODE = {
    "import fastnn": "import fastnn",
    "bare network": "import fastnn; fastnn.MLP",
    "estimators": "from fastnn import MLPClassifier, MLPRegressor",
}


class Import:
    """Each run is a new interpreter; subtract `python -c pass`."""

    params = [["pass", *CODE]]
    param_names = ["statement"]

    def setup(self, statement):
        self.code = CODE.get(statement, statement)

    def time_import(self, statement):
        subprocess.run([sys.executable, "-c", self.code], check=True)

    def track_modules(self, statement):
        """How many modules of SciPy and scikit-learn come along."""
        count = "sum(m.partition('.')[0] in ('scipy', 'sklearn') for m in sys.modules)"
        script = f"{self.code}\nimport sys; print({count})"
        done = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    track_modules.unit = "modules"


class FirstPrediction:
    """New interpreter, load a model file, predict one row: a service that starts."""

    params = [["float32", "float64"]]
    param_names = ["dtype"]

    def setup(self, dtype):
        import fastnn

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "model.safetensors"
        net = fastnn.MLP((784, 128, 10), output="softmax", dtype=dtype, random_state=0)
        net.save(path)
        self.code = (
            "import sys, numpy, fastnn\n"
            f"net = fastnn.load({str(path)!r})\n"
            f"net.predict(numpy.zeros((1, 784), {dtype!r}))\n"
        )

    def teardown(self, dtype):
        self.folder.cleanup()

    def time_load_and_predict(self, dtype):
        subprocess.run([sys.executable, "-c", self.code], check=True)

    def track_scipy_free(self, dtype):
        """1 when neither SciPy nor scikit-learn was imported."""
        check = "print(int('scipy' not in sys.modules and 'sklearn' not in sys.modules))"
        done = subprocess.run(
            [sys.executable, "-c", self.code + check], check=True, capture_output=True, text=True
        )
        return int(done.stdout)
