"""The command line: round trips on made-up tables, what it prints, what it says of mistakes.

Most run in this process; a few as a user does, in a new interpreter.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.tables.opening import find_separator

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

ROOT = Path(fastnn.__file__).parents[1]
DATA = Path(os.environ.get("FASTNN_DATA", ROOT.parent / "shared" / "data"))


def people(n=300, seed=0):
    """A table with each kind of column; the class and the amount can be learned from it."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(18, 80, n).round(1)
    city = rng.choice(["Rome", "Oslo", "Lima"], n)
    member = rng.random(n) < 0.5
    since = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    amount = 1000 + 50 * age + 300 * (city == "Rome") + 100 * member + rng.normal(0, 5, n)
    return pd.DataFrame({
        "age": np.where(rng.random(n) < 0.05, np.nan, age),
        "city": np.where(rng.random(n) < 0.05, None, city), "member": member,
        "since": since.strftime("%Y-%m-%d"), "amount": amount.round(2),
        "group": np.where(age > 50, "old", "young"), "stars": (age // 20).astype(int)})


@pytest.fixture
def run(run):
    """The same, in a folder with people.csv."""
    people().to_csv("people.csv", index=False)
    return run


def fails(run, code, message, *arguments):
    """The command ends with this code, prints nothing but the message, on standard error."""
    found, _, err = run(*arguments)
    assert found == code, err
    assert re.search(message, err), err
    assert len(err.splitlines()) < 12


TRAIN = ("train", "people.csv", "--drop", "amount,stars", "--target", "group", "--epochs", 30)


# ---- round trips ----

def test_classification(run, tmp_path):
    code, out, err = run(*TRAIN, "-o", "m.safetensors", "--drop", "since")
    assert code == 0
    assert "300 rows, 7 columns" in out
    assert "classification of 'group' into 2 classes: old, young (text)" in out
    assert "1 of numbers, 1 of true or false, 1 of categories" in out
    assert "predict m.safetensors" in out
    network, always = re.findall(r"^  (?:network|always '\w+') +([\d.]+)", out, re.MULTILINE)
    assert float(network) > 0.9 > float(always)
    assert "epoch 1/30" in err and len(err.splitlines()) < 8

    code, out, err = run("predict", "m.safetensors", "people.csv", "--proba", "--keep",
                         "amount,group")
    assert (code, err) == (0, "")
    found = pd.read_csv(io.StringIO(out))
    assert list(found) == ["amount", "group", "prediction", "probability_old", "probability_young"]
    model = fastnn.load(tmp_path / "m.safetensors")
    table = people()
    assert table["amount"].nunique() == len(table)  # beside the right rows, then
    assert (found["amount"] == table["amount"]).all() and (found["group"] == table["group"]).all()
    assert (found["prediction"] == model.predict(table)).all()
    np.testing.assert_allclose(found.iloc[:, 3:].to_numpy(), model.predict_proba(table), rtol=1e-6)

    code, out, err = run("info", "m.safetensors")
    assert code == 0 and re.search(r"classes +old, young\n", out) and "checksum" in out
    assert re.search(r"  city +category +4: Lima, Oslo, Rome, missing\n", out)
    code, out, err = run("info", "m.safetensors", "--json")
    plain = json.loads(out)
    assert plain["inputs"] == model.feature_names_in_.tolist() and plain["targets"] == ["group"]
    assert plain["parameters"] == model.net.n_parameters


def test_info_of_other_columns(run):
    run("train", "people.csv", "-t", "amount", "--epochs", 1)
    _, out, _ = run("info", "model.safetensors")
    assert re.search(r"  since +date +202\d-\d\d-\d\d where missing", out)
    assert re.search(r"  member +boolean +(true|false) where missing", out)


def test_regression_gives_the_targets_own_units(run, tmp_path):
    code, out, _ = run("train", "people.csv", "-t", "amount", "--drop", "group", "--dtype",
                       "float64", "-o", "m.safetensors")
    assert code == 0
    assert "regression of 'amount' (300 different numbers)" in out
    r2, mae = re.search(r"network +([\d.]+) +([\d.]+)", out).groups()
    assert float(r2) > 0.8 and float(mae) < 500
    assert re.search(r"always the mean +-0.0", out)
    model = fastnn.load("m.safetensors")
    assert model.net.dtype == "float64"
    code, _, err = run("predict", "m.safetensors", "people.csv", "-o", "out.csv")
    assert code == 0 and "wrote 300 predictions to out.csv" in err
    found = pd.read_csv("out.csv")["prediction"].to_numpy()
    np.testing.assert_allclose(found, model.predict(people()), rtol=1e-12)
    amount = people()["amount"]
    assert 1 - ((found - amount) ** 2).mean() / amount.var() > 0.8
    assert abs((found - amount).mean()) < 0.2 * amount.std()


def test_the_printed_score_is_that_of_the_saved_model_on_held_out_rows(run):
    """The split is drawn first, from the seed alone."""
    _, out, _ = run("train", "people.csv", "-t", "amount", "--seed", 3, "--epochs", 5)
    order = np.random.default_rng(3).permutation(300)
    held = people().iloc[np.sort(order[:60])]
    error = fastnn.load("model.safetensors").predict(held) - held["amount"]
    assert f"{np.abs(error).mean():.6g}" in out


def test_several_targets(run):
    code, out, _ = run("train", "people.csv", "-t", "amount,stars", "--epochs", 5)
    assert code == 0 and "regression of 'amount', 'stars'" in out
    code, out, _ = run("predict", "model.safetensors", "people.csv")
    assert out.splitlines()[0] == "prediction_amount,prediction_stars"


def test_whole_numbers_are_classes_if_few(run):
    _, out, _ = run("train", "people.csv", "-t", "stars", "--epochs", 2)
    assert "classification of 'stars' into 4 classes: 0, 1, 2, 3 (4 different whole" in out
    assert fastnn.load("model.safetensors").classes_.dtype == "int64"
    _, out, _ = run("train", "people.csv", "-t", "stars", "--task", "regression", "-f",
                    "--epochs", 2)
    assert "regression of 'stars' (as asked)" in out


@pytest.mark.parametrize("arguments, sizes, activations", [
    (("--early-stopping",), None, None), (("--hidden", "0"), (7, 1), ()),
    (("--hidden", "8,8,4", "--activation", "tanh"), (7, 8, 8, 4, 1), ("tanh",) * 3),
    (("--batch-size", "1000"), None, None), (("--threads", "2"), None, None),
    (("--test-fraction", "0.5", "--quiet"), None, None),
])
def test_options(run, arguments, sizes, activations):
    code, out, err = run(*TRAIN, *arguments)
    assert code == 0, err
    if "--quiet" in arguments:
        assert out == err == ""
    net = fastnn.load("model.safetensors").net
    assert sizes is None or (net.sizes, net.activations) == (sizes, activations)


def test_the_same_seed_gives_the_same_file(run):
    for name, seed, threads in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        run(*TRAIN, "--seed", seed, "--threads", threads, "-o", name)
    a, b, c = (Path(name).read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("name, options", [
    ("t.csv.gz", {}), ("t.csv.xz", {}), ("t.tsv", {"sep": "\t"}),
    ("t.csv", {"sep": ";", "decimal": ","}), ("t.csv", {"sep": "|"}),
    ("t.csv", {"encoding": "utf-8-sig"}),
])
def test_ways_to_write_a_table(run, name, options):
    run(*TRAIN)
    _, expected, _ = run("predict", "model.safetensors", "people.csv", "--proba")
    people().to_csv(name, index=False, **options)
    assert run("predict", "model.safetensors", name, "--proba")[1] == expected


def test_parquet(run):
    pytest.importorskip("pyarrow")
    table = people()
    table["since"] = pd.to_datetime(table["since"]).dt.date
    table.to_parquet("people.parquet")
    run("train", "people.parquet", "-t", "group", "-o", "a", "--epochs", 2)
    code, *_ = run("predict", "a", "people.parquet", "-o", "out.parquet")
    assert code == 0 and len(pd.read_parquet("out.parquet")) == 300


def test_standard_input(run, monkeypatch):
    run(*TRAIN)
    _, expected, _ = run("predict", "model.safetensors", "people.csv")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("people.csv").read_bytes())))
    assert run("predict", "model.safetensors", "-")[1] == expected


def test_one_row_is_predicted_as_in_a_large_table(run):
    """A single row changes what pandas takes the columns for."""
    table = people()
    table["code"] = np.where(table["age"] > 50, "01", "x")
    table.to_csv("people.csv", index=False)
    run(*TRAIN)
    _, all_rows, _ = run("predict", "model.safetensors", "people.csv")
    for i in (0, 7, 19):
        table.iloc[[i]].to_csv("one.csv", index=False)
        assert run("predict", "model.safetensors", "one.csv")[1].split() == [
            "prediction", all_rows.split()[i + 1]]


def test_models_made_in_python(run):
    X = np.random.default_rng(0).standard_normal((50, 3))
    fastnn.MLP((3, 4, 2), random_state=0).save("bare.safetensors")
    pd.DataFrame(X).to_csv("three.csv", index=False)
    code, out, _ = run("predict", "bare.safetensors", "three.csv")
    assert code == 0 and out.startswith("prediction_0,prediction_1\n")
    fails(run, 2, "7 columns, the model takes 3", "predict", "bare.safetensors", "people.csv")

    frame = pd.DataFrame(X, columns=list("abc"))
    estimator = fastnn.MLPClassifier(max_iter=300, tol=0.1).fit(frame, X[:, 0] > 0)
    estimator.save("est.safetensors")
    frame[["c", "b", "a"]].assign(d="x").to_csv("abc.csv", index=False)
    _, out, _ = run("predict", "est.safetensors", "abc.csv")
    assert out.split()[1:] == list(map(str, estimator.predict(frame)))
    assert "MLPClassifier" in run("info", "est.safetensors")[1]
    frame.assign(b=None).to_csv("gaps.csv", index=False)
    fails(run, 2, "column 'b'.* is not a finite number", "predict", "est.safetensors", "gaps.csv")


def test_several_labels(run):
    X = np.random.default_rng(0).standard_normal((50, 3))
    fastnn.MLP((3, 2), output="sigmoid", random_state=0).save("m", classes=["red", "round"])
    pd.DataFrame(X).to_csv("x.csv", index=False)
    code, out, _ = run("predict", "m", "x.csv", "--proba")
    assert code == 0 and out.splitlines()[0] == (
        "prediction_red,prediction_round,probability_red,probability_round")
    found = pd.read_csv(io.StringIO(out)).to_numpy()
    np.testing.assert_array_equal(found[:, :2], found[:, 2:] > 0.5)


def test_notes(run):
    table = people()
    table.loc[:4, "group"] = None
    table.insert(0, "id", range(300))
    table["name"] = [f"n{i}" for i in range(300)]
    table.to_csv("people.csv")  # with its index
    code, out, err = run(*TRAIN)
    assert code == 0
    assert "note: 5 rows left out: the target is missing there" in err
    assert "column 'Unnamed: 0' is left out" in err
    assert "column 'id' counts the rows; if it says nothing about them: --drop id" in err
    assert "column 'name' is left out: " in err


def test_names_missing_in_the_first_line(run):
    people()[["age", "amount"]].fillna(1).to_csv("x.csv", index=False, header=False)
    name = Path("x.csv").read_text().split(",")[0]
    _, _, err = run("train", "x.csv", "-t", name, "--epochs", 1)
    assert "is the line with the columns' names missing?" in err


def test_useless_columns_are_told(run):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.standard_normal((300, 4)), columns=list("abcy")).to_csv("x.csv")
    _, _, err = run("train", "x.csv", "-t", "y", "--epochs", 50, "--learning-rate", 0.01)
    assert "no better than the same answer for every row" in err


def test_target_far_from_zero_is_trained_in_float64(run):
    table = people()
    table["amount"] += 1e9
    table.to_csv("people.csv", index=False)
    _, out, err = run("train", "people.csv", "-t", "amount")
    assert "trained in float64" in err
    assert float(re.search(r"network +([\d.]+)", out)[1]) > 0.8


def test_export(run):
    export = pytest.importorskip("fastnn.export")
    run(*TRAIN)
    code, out, err = run("export", "model.safetensors", "--to", "c", "--prefix", "group")
    assert code == 0 and "wrote model.h" in out and "7 numbers in this order: age" in err
    assert "group" in Path("model.h").read_text()
    fails(run, 2, "'model.h' exists", "export", "model.safetensors", "--to", "c")
    fails(run, 2, "--prefix goes with --to c only", "export", "model.safetensors", "--to", "onnx",
          "--prefix", "x")
    fails(run, 2, "--to c writes .h, but --output x.ONNX ends as a file of --to onnx", "export",
          "model.safetensors", "--to", "c", "-o", "x.ONNX")
    if hasattr(export, "onnx"):
        code, _, err = run("export", "model.safetensors", "--to", "onnx")
        assert (code == 0 and Path("model.onnx").stat().st_size > 100) or (
            code == 1 and "onnx" in err)


def test_options_of_export_reach_the_library(run, monkeypatch):
    from fastnn import export

    calls = []

    def onnx(model, path, *, opset=17):
        calls.append((model.net.sizes, path.name, opset))
        path.write_bytes(b"x")

    def c_header(model, path):
        raise ImportError("needs a thing")

    monkeypatch.setattr(export, "onnx", onnx)
    monkeypatch.setattr(export, "c_header", c_header)
    run(*TRAIN)
    code, out, _ = run("export", "model.safetensors", "--to", "onnx")
    assert (code, out) == (0, "wrote model.onnx (1 bytes)\n")
    run("export", "model.safetensors", "--to", "onnx", "--opset", 21, "-o", "b.onnx", "-q")
    assert calls == [((7, 64, 64, 1), "model.onnx", 17), ((7, 64, 64, 1), "b.onnx", 21)]
    fails(run, 1, "needs a thing", "export", "model.safetensors", "--to", "c")


def test_bench(run, monkeypatch):
    from fastnn.cli import bench

    monkeypatch.setattr(bench, "SECONDS", 0.02)
    run(*TRAIN)
    code, out, _ = run("bench", "model.safetensors", "--json", "--threads", 2)
    assert code == 0
    figures = json.loads(out)["figures"]
    assert [line["threads"] for line in figures] == [1, 2]
    assert all(line[key] > 0 for line in figures
               for key in ("one_row_us", "rows_per_s", "step_us", "trained_rows_per_s"))
    assert (784, 512, 512, 10) in bench.NETS
    monkeypatch.setattr(bench, "NETS", bench.NETS[:2])
    code, out, _ = run("bench", "--threads", 1)
    assert code == 0 and "20-64-64-2" in out


# ---- mistakes ----

@pytest.mark.parametrize("message, arguments", [
    ("there is no file 'peple.csv'; did you mean 'people.csv'", ("peple.csv", "-t", "group")),
    ("no column 'Groop'; did you mean 'group'", ("people.csv", "-t", "Groop")),
    ("no column 'xyz'; there are: 'age', 'city'", ("people.csv", "-t", "xyz")),
    ("--drop: the table has no column 'citi'; did", ("people.csv", "-t", "age", "--drop", "citi")),
    ("'age' is both --target and --drop", ("people.csv", "-t", "age", "--drop", "age")),
    ("--target names 'age' twice", ("people.csv", "-t", "age,age")),
    ("'rellu' is not known; did you mean 'relu'", ("people.csv", "-t", "age", "--activation",
                                                   "rellu")),
    ("is another --separator right", ("people.csv", "-t", "age", "--separator", ";")),
    ("--separator 'ab' must be one ASCII character",
     ("people.csv", "-t", "age", "--separator", "ab")),
    ("--encoding 'abc' is not known", ("people.csv", "-t", "age", "--encoding", "abc")),
    ("there is no folder 'no'", ("people.csv", "-t", "age", "-o", "no/m")),
    ("'.' is a folder, must be a file name", ("people.csv", "-t", "age", "-o", ".")),
    ("'people.csv' is the input", ("people.csv", "-t", "age", "-o", "people.csv", "-f")),
    ("'.' is a folder, must be a table", (".", "-t", "age")),
    ("'x.xlsx' is neither CSV nor Parquet", ("x.xlsx", "-t", "age")),
    ("that goes with regression", ("people.csv", "-t", "age,stars", "--task", "classification")),
    ("has numbers that are not whole", ("people.csv", "-t", "age", "--task", "classification")),
    ("a regression needs numbers, but column 'group'.*first in row 1", ("people.csv", "-t", "group",
                                                               "--task", "regression")),
    ("has 1 class|many to learn|classes in 300 rows", ("people.csv", "-t", "since")),
    ("--seed: -1 must be 0 or more", ("people.csv", "-t", "age", "--seed", "-1")),
    ("--seed: '1e3' must be a whole number", ("people.csv", "-t", "age", "--seed", "1e3")),
    ("DATA and --test are both -", ("-", "-t", "age", "--test", "-")),
    ("must be numbers of units", ("people.csv", "-t", "age", "--hidden", "4,x")),
    ("argument --threads: 99999 must be at most", ("no.csv", "-t", "age", "--threads", "99999")),
    ("0 must be 1 or more", ("people.csv", "-t", "age", "--epochs", "0")),
    ("1.5 must be at least 0 and below 1", ("people.csv", "-t", "age", "--test-fraction", "1.5")),
    ("arguments are required: -t/--target", ("people.csv",)),
])
def test_mistakes_in_train(run, message, arguments):
    Path("x.xlsx").write_bytes(b"PK")
    fails(run, 2, message, "train", *arguments)
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize("message, text", [
    ("'t.csv' is empty", b""), ("'t.csv' is empty", b"\n\n"),
    ("header line but no rows", b"a,y\n"),
    ("line 3 has 3 values, must have 2", b"a,y\n1,2\n1,2,3"),
    ("is not text", b"a,y\n\0\1,2\n"), ("--encoding cp1252", "a,y\nü,1\n".encode("latin-1")),
    ("2 rows with a known target are not enough", b"a,y\n1,2\n2,3\n"),
    ("'y' is missing in all rows", b"a,y\n1,\n2,\n"),
    ("the target 'y' has one class only, 'u'", b"a,y\n" + b"1,u\n2,u\n" * 10),
    ("'y' has one value only", b"a,y\n" + b"1,2.5\n2,2.5\n" * 10),
    ("no column to learn from", b"y\n" + b"1.5\n2\n" * 10),
    ("no column is left to learn from: column 'a'", b"a,y\n" + b"1,u\n1,v\n" * 10),
    ("'y' holds numbers, but 'x' in row 5", b"a,y\n1,1\n1,2\n1,3\n1,4\n1,x\n" + b"1,2\n" * 50),
    ("column 'a', row 2: inf is not a finite", b"a,y\n1,u\ninf,v\n" * 1 + b"2,u\n3,v\n" * 20),
])
def test_wrong_tables(run, message, text):
    Path("t.csv").write_bytes(text)
    fails(run, 2, message, "train", "t.csv", "-t", "y", "--test-fraction", "0.1")


def test_columns_of_lists(run):
    pytest.importorskip("pyarrow")
    people().assign(list=[[1]] * 300).to_parquet("t.parquet")
    fails(run, 2, "column 'list' holds lists.* \\(--drop list\\)",
          "train", "t.parquet", "-t", "age")


def test_damaged_archives(run):
    for name in ("t.csv.gz", "t.csv.xz", "t.csv.bz2"):
        Path(name).write_bytes(b"hello hello")
        fails(run, 2, "is damaged", "train", name, "-t", "y")


def test_mistakes_in_the_other_commands(run):
    run(*TRAIN)
    before = Path("model.safetensors").read_bytes()
    fails(run, 2, "'model.safetensors' exists; --force", *TRAIN)
    assert Path("model.safetensors").read_bytes() == before
    fails(run, 2, "no model file 'modle.safetensors'; did you mean 'model.safetensors'",
          "info", "modle.safetensors")
    for command in (("info", "people.csv"), ("predict", "people.csv", "people.csv"),
                    ("export", "people.csv", "--to", "c"), ("bench", "people.csv")):
        fails(run, 2, "'people.csv' (is not a safetensors file|has a header)", *command)
    Path("damaged").write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    fails(run, 2, "is damaged: ", "info", "damaged")

    people().drop(columns="city").to_csv("less.csv", index=False)
    fails(run, 2, "no column 'city'", "predict", "model.safetensors", "less.csv")
    people().rename(columns={"city": "City"}).to_csv("less.csv", index=False)
    fails(run, 2, "no column 'city'; did you mean 'City'", "predict", "model.safetensors",
          "less.csv")
    people().astype(object).assign(age=["4 2"] * 300).to_csv("text.csv", index=False)
    fails(run, 2, "column 'age', row 1: '4 2' is not a number", "predict", "model.safetensors",
          "text.csv")
    Path("head.csv").write_text("age,city,member,since\n")
    fails(run, 2, "no rows", "predict", "model.safetensors", "head.csv")
    fails(run, 2, "--keep names 'age' twice", "predict", "model.safetensors", "people.csv",
          "--keep", "age,age")
    people().assign(prediction=1).to_csv("more.csv", index=False)
    fails(run, 2, "--keep 'prediction': the predictions have a column of that name", "predict",
          "model.safetensors", "more.csv", "--keep", "prediction")
    fails(run, 2, "must end in .csv", "predict", "model.safetensors", "people.csv", "-o", "x.txt")
    fails(run, 2, "--keep: .*no column 'ag'; did you mean 'age'", "predict", "model.safetensors",
          "people.csv", "--keep", "ag")
    run("train", "people.csv", "-t", "amount", "-o", "r", "--epochs", 1)
    fails(run, 2, "'r' predicts numbers, it has no classes", "predict", "r", "people.csv",
          "--proba")
    fails(run, 2, r"invalid choice: 'frobnicate' \(choose from [^;]*\)\n$", "frobnicate")


def test_failures_that_are_no_mistakes(run, monkeypatch):
    fails(run, 1, "training diverged: use a smaller --learning-rate", "train", "people.csv", "-t",
          "amount", "--learning-rate", "1e30")
    run(*TRAIN)
    monkeypatch.setitem(sys.modules, "pandas", None)  # which predictions do not need
    assert run("predict", "model.safetensors", "people.csv")[0] == 0
    monkeypatch.setitem(sys.modules, "sklearn", None)
    fails(run, 1, "pip install", *TRAIN, "-f")

    def broken(options):
        raise RuntimeError("no idea")

    from fastnn.cli import info
    monkeypatch.setattr(info, "run", broken)
    fails(run, 1, "RuntimeError: no idea", "info", "model.safetensors")


def test_help(run):
    code, out, _ = run()
    assert code == 0 and "train" in out and "a first session" in out
    for command in ("train", "predict", "info", "export", "bench"):
        code, out, _ = run(command, "--help")
        assert code == 0 and f"{command} " in out
        assert max(map(len, out.splitlines())) <= 100
    code, out, _ = run("--version")
    assert code == 0 and out == f"fastnn {fastnn.__version__}\n"


@pytest.mark.parametrize("start, separator", [
    ("a,b\n1,2\n", ","), ("a;b\n1,5;2\n", ";"), ("a\tb\n", "\t"), ("a\n1\n", ","),
    ('a,"x;y;z;w"\n1,2\n', ","), ("a|b|c\n1,2|3|4\n", "|"),
])
def test_separator_is_found(start, separator):
    assert find_separator(start) == separator


# ---- as a user does ----

def start(*arguments, cwd, program=("-m", "fastnn")):
    return subprocess.Popen(
        [sys.executable, *program, *arguments], cwd=cwd, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_in_a_new_interpreter(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    done = start(*map(str, TRAIN), cwd=tmp_path)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "next: python -m fastnn predict model.safetensors" in out
    # the reader of a pipe may go; predictions need no scikit-learn
    pd.concat([people()] * 100).to_csv(tmp_path / "many.csv", index=False)
    (tmp_path / "sklearn.py").write_text("raise ImportError('not here')")
    done = start("predict", "model.safetensors", "many.csv", cwd=tmp_path)
    assert done.stdout.readline() == "prediction\n"
    done.stdout.close()
    assert (done.wait(timeout=60), done.stderr.read()) == (141, "")
    done.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c(tmp_path):
    people(5000).to_csv(tmp_path / "people.csv", index=False)
    # a test run in the background of a shell ignores the signal, and so would its children
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from fastnn.cli import main; sys.exit(main())")
    done = start("train", "people.csv", "-t", "amount", "--hidden", "1000,1000", "--epochs",
                 "100000", "--no-early-stopping", cwd=tmp_path, program=("-c", code))
    while "epoch" not in done.stderr.readline():
        assert done.poll() is None
    time.sleep(0.2)
    done.send_signal(signal.SIGINT)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 130 and "interrupted" in err and "Traceback" not in err
    # in the midst of the second epoch, or before: then there is nothing to be saved
    kept = "interrupted after 1 epoch: the model is saved" in err
    assert kept == (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("name, arguments, least", [
    pytest.param("adult.csv.gz", ("-t", "income", "--drop", "fnlwgt"), 0.84,
                 marks=pytest.mark.slow),
    ("housing.csv.gz", ("-t", "median_house_value",), 0.78),
])
def test_real_data(run, name, arguments, least):
    if not (DATA / name).is_file():
        pytest.skip(f"no {DATA / name}")
    code, out, err = run("train", DATA / name, *arguments)
    assert code == 0, err
    assert float(re.search(r"network +([\d.]+)", out)[1]) > least
