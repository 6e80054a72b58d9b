"""benchmarks/tabular.py: what it reads, and that it goes on where it was stopped."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tabular.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not in a source tree")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=80), rng.choice(["a", "b"], 80)
    rows = [f"{one:.4f},{two},{'yes' if one > 0 else 'no'}" for one, two in zip(x, kind,
                                                                               strict=True)]
    (tmp_path / "two.csv").write_text("\n".join(["x,kind,target", *rows]))
    rows = [f"{one:.4f},{2 * one + 1:.4f}" for one in x]
    (tmp_path / "line.csv").write_text("\n".join(["x,y", *rows]))
    rows = [f"{one:.4f},0.5,{count}" for one, count in zip(x, rng.poisson(2, 80), strict=True)]
    (tmp_path / "counts.csv").write_text("\n".join(["x,exposure,target", *rows]))
    return tmp_path


def loaded(path):
    spec = importlib.util.spec_from_file_location(f"{path.stem}_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def tabular():
    yield from loaded(SCRIPT)


@pytest.fixture(scope="module")
def more_tables():
    yield from loaded(SCRIPT.with_name("more_tables.py"))


def test_tasks(tabular, folder):
    two, line, counts = (tabular.read(folder / f"{name}.csv", 0)
                         for name in ("two", "line", "counts"))
    assert (two.kind, two.categories, set(two.y)) == ("classes", ["kind"], {0, 1})
    assert line.kind == "numbers" and abs(line.y[line.train].std() - 1) < 1e-12
    few = folder.parent / "few.csv"
    few.write_text("a,target\n" + "".join(f"{i},{i % 3 * 10}\n" for i in range(30)))
    assert [tabular.read(few, 0, names).kind for names in ((), ["few"])] == ["classes", "numbers"]
    assert counts.kind == "rates" and (counts.weight == 0.5).all()
    assert len(two.train) == 64 and not set(two.train) & set(two.test)


def test_losses(tabular, folder):
    two = tabular.read(folder / "two.csv", 0)
    half = np.full((16, 2), 0.5)
    assert tabular.loss(two, half) == pytest.approx(np.log(2))
    counts = tabular.read(folder / "counts.csv", 0)
    assert tabular.loss(counts, counts.y[counts.test] + 1e-9) == pytest.approx(0, abs=1e-6)


def test_classes_of_the_test_alone(tabular, tmp_path):
    rows = [f"{i},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "rare.csv").write_text("\n".join(["x,target", *rows, "40,c"]))
    split = next(s for s in range(50) if 40 in tabular.read(tmp_path / "rare.csv", s).test)
    task = tabular.read(tmp_path / "rare.csv", split)
    fit, predict = tabular.MODELS["linear"](task, 1)
    fit()
    found = predict()
    assert found.shape == (9, 3) and (found[:, 2] == 0).all()
    assert tabular.loss(task, found) > -np.log(1e-7) / 9  # the row counts, as one not foreseen


def test_more_tables(more_tables, tabular, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(more_tables, "MOST_ROWS", 50)
    frame = pd.DataFrame({
        "day": pd.to_datetime(["1970-01-02", "1970-01-11"] * 40), "yes": [True, False] * 40,
        "text": pd.Categorical(["a ", "b"] * 40), "number": np.array(["1.5", None] * 40, object),
        "y": ["one", "two"] * 39 + ["one", "alone"]})
    more_tables.save(frame, "y", True, tmp_path / "mixed.csv.gz")
    found = pd.read_csv(tmp_path / "mixed.csv.gz")
    assert len(found) in (49, 50) and list(found)[-1] == "target"
    assert set(found["target"]) == {"cone", "ctwo"}
    first = found[found["target"] == "cone"].iloc[0]
    assert first[["day", "yes", "text", "number"]].tolist() == [1, 1, "a", 1.5]
    assert tabular.read(tmp_path / "mixed.csv.gz", 0).categories == ["text"]
    lines = (more_tables.CLASSES + more_tables.NUMBERS).strip().splitlines()
    names = [*more_tables.KEEL.split(), *more_tables.KEEL_IMBALANCED.split(),
             *(line.split()[0].split("/")[1] for line in lines if line)]
    assert len(set(names)) == len(names) == 104


@pytest.mark.slow
def test_it_goes_on(folder):
    results = folder / "results.jsonl"

    def run(*more):
        command = [sys.executable, str(SCRIPT), str(folder), "--models", "linear",
                   "--results", str(results), *more]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run("--only", "line")
    assert len(results.read_text().splitlines()) == 1
    said = run()
    found = [json.loads(line) for line in results.read_text().splitlines()]
    assert [one["table"] for one in found].count("line") == 1 and len(found) == 3
    assert found[0]["loss"] < 0.1 and "mean rank  1.00" in said
    assert run("--markdown").startswith("| table, split | linear |")
