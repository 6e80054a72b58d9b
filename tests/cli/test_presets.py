"""``train`` by a preset, ``evaluate``, reports."""

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastnn
from fastnn.cli import main

QUICK = ("--preset", "fast")


def people(n=400, seed=0):
    """A target of two classes that age and city tell, and one of numbers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.integers(18, 90, n), "city": rng.choice(["Bern", "Basel", "Genf"], n),
        "income": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(10, 1, n).round()),
        "days": rng.integers(1, 4, n)})
    z = (frame.age - 50) / 10 + (frame.city == "Bern") * 2 - 0.5
    frame["left"] = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * z)), "yes", "no")
    frame["spent"] = (3 * frame.age + rng.normal(size=n)).round(2)
    return frame


@pytest.fixture
def run(run):
    """The same, in a folder with people.csv."""
    people().to_csv("people.csv", index=False)
    return run


def scores(out):
    """Numbers of the lines of the scores."""
    return [[float(text) for text in re.findall(r"-?\d+\.?\d*", line.partition("'")[2] or line)]
            for line in out.splitlines() if line.startswith(("  model", "  always"))]


def test_classes(run):
    code, out, err = run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK)
    assert code == 0, err
    model, constant = scores(out)
    assert model[2] < 0.8 * constant[2] and model[3] > 0.8 and constant[3] == 0.5
    assert out.index("importances") < out.index("  age ") < out.index("  city ")
    found = fastnn.load("model.safetensors")
    assert found.targets == ("left",) and list(found.classes_) == ["no", "yes"]

    people(200, seed=1).to_csv("new.csv", index=False)
    _, out, _ = run("evaluate", "model.safetensors", "new.csv")
    assert scores(out)[0][2] < scores(out)[1][2]
    _, out, _ = run("predict", "model.safetensors", "new.csv", "--proba", "--keep", "days")
    header, first, *_ = out.splitlines()
    assert header == "days,prediction,probability_no,probability_yes"
    table = pd.read_csv("new.csv")
    np.testing.assert_allclose([float(text) for text in first.split(",")[2:]],
                               found.predict_proba(table)[0], rtol=1e-12)
    _, out, _ = run("info", "model.safetensors")
    assert "networks " in out and "predicts        left" in out and "city " in out


def test_numbers_with_a_loss_and_weights(run):
    code, out, err = run("train", "people.csv", "-t", "spent", "--drop", "left", "--loss",
                         "poisson", "--weight", "days", *QUICK)
    assert code == 0, err
    model, constant = scores(out)
    assert model[0] > 0.9 and abs(constant[0]) < 0.05
    found = fastnn.load("model.safetensors")
    assert found.task.loss.name == "poisson" and "days" not in found.names
    assert (found.predict(people().drop(columns=["left", "spent", "days"])) > 0).all()


def test_rows_to_judge_by(run):
    """A table of its own, none, folds."""
    people(150, seed=2).to_csv("test.csv", index=False)
    basic = ("train", "people.csv", "-t", "left", "--drop", "spent", "-f", *QUICK)
    _, out, _ = run(*basic, "--test", "test.csv")
    assert "on 400 rows in" in out and "scores on 150 rows of test.csv" in out
    _, out, _ = run(*basic, "--test-fraction", 0)
    assert "on 400 rows in" in out and "by networks that have not learned from it" in out
    assert scores(out)[0][2] < scores(out)[1][2]
    _, out, err = run(*basic, "--cv", 3)
    assert "scores on all 400 rows, each by a model of the other 2 of 3 folds" in out
    assert err.count("fold ") == 3 and "on 400 rows in" in out
    assert scores(out)[0][2] < scores(out)[1][2]
    _, both, _ = run(*basic, "--cv", 3, "--test", "test.csv")  # which was read, and not told
    assert scores(both)[:2] == scores(out) and len(scores(both)) == 4
    _, own, _ = run("evaluate", "model.safetensors", "test.csv")
    assert scores(both)[2] == scores(own)[0] and "scores on 150 rows of test.csv" in both


def test_rows_of_one_class_have_no_auc(run):
    """0.5 would be a figure that nobody has measured."""
    run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK)
    people(50, seed=3).assign(left="yes").to_csv("new.csv", index=False)
    code, out, err = run("evaluate", "model.safetensors", "new.csv")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines() if line.startswith(("  model", "  always"))]
    assert [line[-1] for line in lines] == ["-", "-"]


def test_a_rare_class(run):
    """Judged by log loss, with recall by class and what was taken for what."""
    frame = people(1500)
    rng = np.random.default_rng(0)
    chance = 1 / (1 + np.exp(-(frame.age - 95) / 4.0))
    frame["left"] = np.where(rng.random(1500) < chance, "fraud", "fine")
    assert 0.01 < (frame.left == "fraud").mean() < 0.1
    frame.to_csv("people.csv", index=False)
    _, out, _ = run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK)
    model, constant = scores(out)
    assert model[2] < constant[2] and model[3] > 0.8
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("class "))
    assert lines[at + 1].split()[0] == "fine" and lines[at + 2].split()[0] == "fraud"
    counts = [[int(text) for text in lines[at + i].split()[-2:]] for i in (1, 2)]
    assert np.sum(counts) == 300
    before = scores(out)[0][1]
    _, out, _ = run("train", "people.csv", "-t", "left", "--drop", "spent", "-f", "--class-weight",
                    "balanced", *QUICK)
    assert scores(out)[0][1] > before  # the rare class counts as much as the other one


@pytest.mark.parametrize("rows, options", [
    (1, ()), (2, ()), (3, ("--class-weight", "balanced")), (8, ("--weight", "days")),
    (12, ("--test-fraction", 0)), (12, ("--metric", "roc_auc"))])
def test_a_class_of_hardly_any_rows(run, rows, options):
    """A model is saved that is not worse than chance, and nothing is blamed that was not measured:
    one row of a class cannot be both learned from and judged by."""
    frame = people(300)
    frame["left"] = np.where(np.arange(300) % (300 // rows) == 7, "fraud", "fine")
    frame.loc[frame.left == "fraud", "age"] += 100
    frame.to_csv("people.csv", index=False)
    code, out, err = run("train", "people.csv", "-t", "left", "--drop", "spent", *options, *QUICK)
    assert code == 0, err
    model = fastnn.load("model.safetensors")
    assert list(model.classes_) == ["fine", "fraud"]
    p = model.predict_proba(frame)
    assert np.isfinite(p).all() and p[:, 1].mean() < 0.5
    if not options:
        truth = (frame.left == "fraud").to_numpy()
        share = np.clip(truth.mean(), 1e-3, 1)
        constant = -(truth * np.log(share) + ~truth * np.log(1 - share)).mean()
        own = -np.log(np.clip(p[np.arange(300), truth.astype(int)], 1e-7, 1)).mean()
        assert own < 1.5 * constant
    assert "log loss" in out


@pytest.mark.parametrize("target, drop", [("left", "spent"), ("spent", "left")])
def test_reports(run, target, drop):
    code, out, err = run("train", "people.csv", "-t", target, "--drop", drop, "--report", "r.html",
                         *QUICK)
    assert code == 0 and "wrote r.html" in out, err
    text = Path("r.html").read_text(encoding="utf-8")
    words = ["The table", "Scores on 80 rows", "Training", "Importances", "city"]
    words += ["Confusion", "Calibration"] if target == "left" else ["predicted and true"]
    assert all(word in text for word in words)
    assert "<script" not in text and not re.search(r"(src|href)=", text) and "nan" not in text
    code, _, err = run("train", "people.csv", "-t", target, "--report", "r.txt", "-f", *QUICK)
    assert code == 2 and "must end in .html" in err
    code, out, err = run("evaluate", "model.safetensors", "people.csv", "--report", "e.html")
    assert code == 0 and "Scores on 400 rows" in Path("e.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("low, high, shown", [
    (35_710.0, 434_400.0, ["35,710", "235,100", "434,400"]),
    (-1.2e7, 1e7, ["-12,000,000", "-1,000,000", "10,000,000"]),
    (1e-7, 3e-7, ["1e-07", "2e-07", "3e-07"]), (0.0, 1.0, ["0", "0.5", "1"])])
def test_numbers_of_axes_have_room_in_reports(low, high, shown):
    from fastnn.cli.report import _Plot

    svg = _Plot(low, high, "true", "predicted").svg()
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    texts = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"[^>]*>([^<]*)', svg)
    assert [text for *_, text in texts if text in shown] == [text for text in shown for _ in "xy"]
    for x, y, anchor, text in texts:
        if text in shown:
            wide = 6.5 * len(text)  # at most, in letters of 11 pixels
            left = float(x) - {"middle": wide / 2, "end": wide}[anchor]
            assert left > (16 if anchor == "end" else 0), "beside the name of the axis"
            assert left + wide < width and float(y) < height


def test_names_are_escaped_in_reports(run):
    frame = people(120).rename(columns={"city": "<b>&city\x1b]0;x\x07\u202e"})
    frame.to_csv("people.csv", index=False)
    run("train", "people.csv", "-t", "left", "--drop", "spent", "--report", "r.html", *QUICK)
    text = Path("r.html").read_text(encoding="utf-8")
    assert "<b>" not in text and "&lt;b&gt;&amp;city\\x1b]0;x\\x07\\u202e" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_unknown_categories_are_told_or_refused(run):
    run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK)
    people(20).assign(city=["Bern"] * 17 + ["Genua"] * 3).to_csv("new.csv", index=False)
    code, _, err = run("predict", "model.safetensors", "new.csv")
    assert code == 0 and "Genua" in err and "3" in err
    code, _, err = run("predict", "model.safetensors", "new.csv", "--strict")
    assert code == 2 and "Genua" in err


@pytest.mark.parametrize("message, arguments", [
    ("--hidden is of a plain network, --preset of a preset", ("--hidden", 3)),
    ("--loss poisson goes with numbers", ("--loss", "poisson")),
    ("--metric 'f2' must be one of: accuracy", ("--metric", "f2")),
    ("--cv 1 must be 2 or more", ("--cv", 1)),
    ("--cv and --test-fraction are both given", ("--cv", 3, "--test-fraction", 0.1)),
    ("--test and --test-fraction are both given", ("--test", "people.csv", "--test-fraction", 0.1)),
    ("the table has no column 'dayz'; did you mean 'days'", ("--weight", "dayz")),
    ("--weight needs numbers, but", ("--weight", "city")),
    ("there is no file 'tests.csv'", ("--test", "tests.csv")),
    ("did you mean '--time-limit'", ("--timelimit", 3)),
    ("'left' is both --target and --categorical-features", ("--categorical-features", "left")),
    ("'spent' is both --drop and --categorical-features", ("--categorical-features", "spent")),
    ("no column 'dayz'; did you mean 'days'", ("--categorical-features", "city,dayz")),
    ("names 'days' twice", ("--categorical-features", "days,days")),
    ("'left' is both --target and --weight", ("--weight", "left")),
    ("'days' is both --categorical-features and --weight",
     ("--weight", "days", "--categorical-features", "days")),
    ("'models/' is a folder", ("-o", "models/")),
    ("'a.html' is both --report and --output", ("--report", "a.html", "-o", "../{}/a.html")),
    ("--hidden is of a plain network, --categorical-features of a preset",
     ("--hidden", 3, "--categorical-features", "days")),
])
def test_mistakes(run, message, arguments):
    if "--categorical-features of" in message:
        code, _, err = run("train", "people.csv", "-t", "left", *arguments)
        assert code == 2 and message in err, err
        return
    arguments = [str(word).format(Path.cwd().name) for word in arguments]
    code, out, err = run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK, *arguments)
    assert code == 2 and message in err, err
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize("message, arguments", [
    ("did you mean '--target'", ("train", "people.csv", "--taget", "left")),
    ("did you mean '--target'", ("train", "people.csv", "--taget=left")),
    ("did you mean 'best'", ("train", "people.csv", "-t", "left", "--preset", "bset")),
    ("did you mean 'train'", ("trian", "people.csv", "-t", "left")),
    ("arguments: m.onnx; -o FILE says where", ("export", "m.safetensors", "m.onnx")),
    ("behind the command: ", ("-q", "train", "people.csv", "-t", "left")),
    ("required: data; of a file whose name begins with - : ./-x.csv",
     ("train", "-x.csv", "-t", "y")),
    ("inf must be above 0, and finite", ("train", "x.csv", "-t", "y", "--time-limit", "inf")),
    ("nan must be above 0", ("train", "x.csv", "-t", "y", "--time-limit", "nan")),
    ("--decimal: ';' must be . or ,", ("train", "x.csv", "-t", "y", "--decimal", ";")),
    ("'_' must be point, comma, space, apostrophe or none",
     ("train", "x.csv", "-t", "y", "--thousands", "_")),
])
def test_words_that_were_meant(capsys, message, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-x.csv").write_text("a,y\n1,2\n")
    assert main(list(arguments)) == 2
    assert message in capsys.readouterr().err


def test_numbers_that_are_categories(run):
    frame = people()
    frame["spent"] = np.where(frame.days == 2, 5.0, 1.0) + 0.01 * frame.age  # no line in days
    frame.to_csv("people.csv", index=False)
    code, out, err = run("train", "people.csv", "-t", "spent", "--drop", "left", *QUICK,
                         "--categorical-features", "days")
    assert code == 0 and "2 of numbers, 2 of categories" in out, err
    model = fastnn.load("model.safetensors")
    kinds = {column.name: column.kind for column in model.schema.columns}
    assert kinds == {"age": "number", "city": "category", "income": "number", "days": "category"}
    frame["days"] = frame.days.astype(str)
    twin = fastnn.TabularRegressor("fast", categorical_features=["days"], random_state=0)
    assert twin.fit(frame.drop(columns=["spent", "left"]), frame.spent).score(
        frame.drop(columns=["spent", "left"]), frame.spent) > 0.9


def test_time_limit_ends_a_fit(run):
    started = time.perf_counter()
    code, out, _ = run("train", "people.csv", "-t", "left", "--drop", "spent", "--preset", "best",
                       "--time-limit", 0.01)
    assert code == 0 and "trained 16 networks (best)" in out
    history = [net.history for net in fastnn.load("model.safetensors").ensemble.networks]
    assert time.perf_counter() - started < 60 and len(history) == 16


def test_mistakes_in_evaluate(run):
    run("train", "people.csv", "-t", "left", "--drop", "spent", *QUICK)
    people(30).drop(columns="left").to_csv("new.csv", index=False)
    code, _, err = run("evaluate", "model.safetensors", "new.csv")
    assert code == 2 and "has no column 'left', which is the target" in err
    people(30).assign(left="maybe").to_csv("new.csv", index=False)
    code, _, err = run("evaluate", "model.safetensors", "new.csv")
    assert code == 2 and "classes that training did not have: 'maybe'" in err


def test_the_same_bytes_for_any_threads(run):
    found = []
    for threads in (1, 2):
        run("train", "people.csv", "-t", "left", "--drop", "spent", "-f", "--threads", threads,
            *QUICK)
        found.append(Path("model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_a_loss_that_there_is_not(run):
    code, _, err = run("train", "people.csv", "-t", "spent", "--drop", "left", "--loss", "poison",
                       *QUICK)
    assert code == 2 and "--loss 'poison' is not known; did you mean 'poisson'" in err


def test_the_command_line_imports_no_models_of_tables(run_python):
    """Every command pays for what is imported at the top."""
    done = run_python("import sys, fastnn.cli; print(*sys.modules)")
    loaded = done.stdout.split()
    assert "fastnn.cli.train" in loaded
    assert not [name for name in loaded if name.startswith(("fastnn.tabular", "fastnn.training"))]


@pytest.mark.parametrize("model", [QUICK, ("--hidden", 4)])
def test_a_report_has_the_scores_that_are_printed(run, model):
    """Those of weighted rows are weighted in both."""
    _, out, _ = run("train", "people.csv", "-t", "left", "--drop", "spent", "--weight", "days",
                    "--report", "r.html", *model)
    printed = next(line for line in out.splitlines() if line.startswith("  always")).split()
    text = Path("r.html").read_text(encoding="utf-8")
    reported = re.search(r"\n  always ([^<]*)", text)[1].split()
    assert reported[-4:] == printed[-4:]


def test_held_out_rows_of_one_class_are_told(run):
    """A class so rare that it has no such row: the columns are not to blame."""
    x = np.random.default_rng(0).normal(size=(120, 2)).round(3)
    pd.DataFrame(x, columns=["a", "b"]).assign(
        fraud=np.where(x[:, 0] >= np.sort(x[:, 0])[-2], "fraud", "ok")).to_csv("rare.csv")
    _, _, err = run("train", "rare.csv", "-t", "fraud", *QUICK)
    assert "these rows are all of class 'ok'" in err and "no better than" not in err


def test_a_loss_of_numbers_names_the_task(run):
    x = np.random.default_rng(0).normal(size=120).round(3)
    pd.DataFrame({"a": x, "n": np.exp(x).astype(int)}).to_csv("counts.csv", index=False)
    words = "train", "counts.csv", "-t", "n", "--loss", "poisson", *QUICK
    code, _, err = run(*words)
    assert code == 2 and "--task regression" in err
    assert run(*words, "--task", "regression")[0] == 0
