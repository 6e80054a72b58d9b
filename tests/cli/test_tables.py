"""How the command line reads tables: its options, and what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

ROWS = [f"{i / 8},{'xyz'[i % 3]},{i * i}.5" for i in range(40)]


def text(header, rows, end="\n"):
    return end.join([header, *rows]) + end


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_substituted_processes(tmp_path):
    (tmp_path / "t.csv").write_text(text("a,c,t", ROWS))
    program = f"'{sys.executable}' -m fastnn"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{program} train <(cat t.csv) -t t -q --preset fast && "
         f"{program} predict model.safetensors <(cat t.csv)"], cwd=tmp_path, text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])})
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 41, done.stderr


# ---- targets ----

@pytest.mark.parametrize("ids", [
    (2**60, 2**60 + 1), (12345678901234567, 12345678901234568, 12345678901234570),
    (2**63, 2**63 + 1), (10**24, 10**24 + 1), (-2**60, -2**60 - 1)])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_few_ids_of_many_digits_are_classes(run, ids, name):
    """As numbers they are one, and the target was refused as not whole, or as one class."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        if max(map(abs, ids)) >= 2**64:
            return  # no integer of Parquet
    frame = pd.DataFrame({"x": np.arange(60) % 7, "y": [ids[i % len(ids)] for i in range(60)]})
    frame.to_csv(name, index=False) if name == "t.csv" else frame.to_parquet(name)
    code, out, err = run("train", name, "-t", "y", "--epochs", 1)
    assert code == 0, err
    assert f"into {len(ids)} classes" in out and "more digits than a number keeps" in out
    model = fastnn.load("model.safetensors")
    assert [str(label) for label in model.classes_] == sorted(map(str, ids), key=int)


def test_labels_that_begin_with_zero(run):
    rows = [f"{i / 8},{['01', '1', ''][i % 3]}" for i in range(40)]
    Path("t.csv").write_text(text("a,t", rows))
    code, out, err = run("train", "t.csv", "-t", "t", "--epochs", 2)
    assert code == 0 and "into 2 classes: 01, 1 (text, as '01' starts with 0" in out
    code, out, err = run("train", "t.csv", "-t", "t", "--epochs", 2, "-f", "--task", "regression")
    assert code == 2 and "one value only" in err


@pytest.mark.parametrize("size, options, message", [
    ("e300", (), r"values of up to 3.95e\+301: too large to compute with; "),
    ("e35", ("--dtype", "float32"), "too large to compute with in float32"),
    ("e35", (), None), ("e125", (), None),
])
def test_large_targets(run, recwarn, size, options, message):
    Path("t.csv").write_text(text("a,t", [f"{i / 8},{i}.5{size}" for i in range(40)]))
    code, out, err = run("train", "t.csv", "-t", "t", "--epochs", 2, *options)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]
    if message:
        assert code == 2 and re.search(message, err)
    else:
        assert code == 0, err
        assert np.isfinite(fastnn.load("model.safetensors").predict(
            pd.DataFrame({"a": [0.0, 5.0]}))).all()


# ---- models ----

@pytest.mark.parametrize("arguments", [("info",), ("export", "--to", "c"), ("predict", "t.csv")])
def test_a_model_is_read_once(run, monkeypatch, arguments):
    from fastnn.files import container as model_io

    fastnn.MLP((1, 1), random_state=0).save("m")
    Path("t.csv").write_text("a\n1\n")
    calls = []
    read = model_io.read
    monkeypatch.setattr(model_io, "read", lambda *given: calls.append(1) or read(*given))
    command, *rest = arguments
    assert run(command, "m", *rest)[0] == 0 and len(calls) == 1
