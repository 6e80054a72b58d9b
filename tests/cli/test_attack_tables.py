"""Odd tables, odd names, odd places to write to: what the command line makes of them."""

import csv
import io
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from timing import check_in_proportion

import fastnn
from fastnn.cli import network
from fastnn.cli.common import escaped
from fastnn.cli.predict import _guarded
from fastnn.cli.tables import read_table
from fastnn.tables.encoder import TableEncoder

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

ROOT = Path(fastnn.__file__).parents[1]


def numbers(n=60, **columns):
    """A table of x and y = 2 x, with more columns."""
    x = np.random.default_rng(0).normal(size=n).round(3)
    return pd.DataFrame({**columns, "x": x, "y": 2 * x})


def command(*arguments, **settings):
    """Arguments of `subprocess` for a command in an interpreter of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return {"args": [sys.executable, "-m", "fastnn", *map(str, arguments)], "env": env}


# ---- kinds of columns ----


def test_true_and_false_with_blanks(run):
    """As a column, dropped, as the target, and in a table whose model does not take it."""
    numbers(flag=["TRUE", "FALSE", ""] * 20).to_csv("t.csv", index=False)
    numbers().to_csv("clean.csv", index=False)
    for more in (["-t", "y"], ["-t", "y", "--drop", "flag"], ["-t", "flag"]):
        code, out, err = run("train", "t.csv", "-f", *more)
        assert code == 0, err
    assert "classification of 'flag' into 2 classes: False, True" in out
    assert fastnn.load("model.safetensors").classes_.tolist() == [False, True]
    assert run("train", "clean.csv", "-t", "y", "-q", "-o", "b.safetensors")[0] == 0
    assert run("predict", "b.safetensors", "t.csv")[0] == 0


def test_spellings_of_one_value_mean_the_same(run):
    """TRUE, True and true; 1 and 1.0: in training and in prediction; 01 is another text than 1."""
    flags, codes = ["TRUE", "FALSE", ""] * 100, ["1", "2", "x", "01"] * 75
    y = [{"TRUE": 100, "FALSE": 10, "": 50}[flag] + {"1": 0, "2": 1000, "x": 2000, "01": 3000}[code]
         for flag, code in zip(flags, codes, strict=True)]
    pd.DataFrame({"flag": flags, "code": codes, "y": y}).to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "y", "--task", "regression", "-q")[0] == 0
    model = fastnn.load("model.safetensors")
    found = {}
    for flag in ("TRUE", "True", "true", "1", "1.0", "FALSE", "False", "false", "0"):
        for code in ("1", "1.0", "1.00", "2", "2.0", "01"):
            Path("new.csv").write_text(f"flag,code\n{flag},{code}\n{flag},x\n")
            code_, out, err = run("predict", "model.safetensors", "new.csv")
            assert code_ == 0, err
            assert out.split()[1:] == [str(value) for value in
                                       model.predict(read_table("new.csv"))]
            found.setdefault((flag.lower() in ("true", "1", "1.0"),
                              code if code == "01" else code[0]), set()).add(out)
    assert all(len(same) == 1 for same in found.values()), found
    assert len({out for same in found.values() for out in same}) == 6
    frame = pd.DataFrame({"a": ["TRUE", "True", "true", "maybe"] * 10,
                          "b": ["1", "1.0", "x", "y"] * 10})
    assert fastnn.TableEncoder().fit(frame).feature_names == [
        "a=maybe", "a=TRUE", "b=1", "b=x", "b=y"]


def test_ids_of_twenty_digits_and_more(run):
    """Beyond 64 bits, with a sign, mixed with small ones; kept as they stand."""
    for k, of in enumerate((lambda i: 10**19 + i, lambda i: 10**24 + i,
                            lambda i: 10**24 if i % 2 else i,
                            lambda i: 10**19 + i if i % 3 else -i)):
        ids = list(map(of, range(60)))
        numbers(ident=list(map(str, ids))).to_csv("t.csv", index=False)
        for more in ([], ["--drop", "ident"]):
            assert run("train", "t.csv", "-t", "y", "-q", "-f", *more)[0] == 0, k
            code, out, err = run("predict", "model.safetensors", "t.csv", "--keep", "ident")
            assert code == 0, err
            assert [row[0] for row in csv.reader(io.StringIO(out))][1:] == list(map(str, ids))


def test_a_rare_class_is_stopped_by_its_loss(run):
    """By accuracy the first epochs were the best, in which all is of the commoner class."""
    def data(n, seed):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 2)).round(3)
        rare = (X[:, 0] + 0.8 * rng.normal(size=n) > 2.9).astype(int)
        return pd.DataFrame(X, columns=["a", "b"]).assign(fraud=rare)

    data(1500, 0).to_csv("t.csv", index=False)
    code, out, err = run("train", "t.csv", "-t", "fraud")
    assert code == 0
    assert "log loss: a class is rare" in out
    assert "no better" not in err
    assert "log loss 0." in err, "progress"
    test = data(20_000, 9)
    chance = fastnn.load("model.safetensors").predict_proba(test)[:, 1]
    truth = test["fraud"].to_numpy()
    order = chance.argsort().argsort() + 1  # the area under the curve, by ranks
    positives = int(truth.sum())
    area = (order[truth == 1].sum() - positives * (positives + 1) / 2) / (
        positives * (len(truth) - positives))
    assert area > 0.85


# ---- sizes ----


def test_columns_take_time_in_proportion(run):
    """Over two decades: ten times the columns, no more than thirty times the time."""
    sizes = (100, 1000, 10_000)
    for n in sizes:
        names = ",".join([*(f"c{i}" for i in range(n)), "a", "a"])
        Path(f"{n}.csv").write_text(f"{names}\n" + (",".join(["1"] * (n + 2)) + ",\n") * 2)

    def read(n):
        table = read_table(f"{n}.csv", quiet=True)
        assert (len(table), len(table.names)) == (2, n + 2)
        assert table.names[-1] == "a.1"

    check_in_proportion(read, sizes)


def test_what_cannot_be_saved_is_not_trained(run):
    """Many columns fit; too many are refused before the training."""
    for n, width, code in ((300, 5, 0), (1500, 900, 2)):
        names = [f"{i:0{width}}" for i in range(n)]
        rows = (",".join(str((i * j) % 7) for i in range(n)) + f",{j % 2}" for j in range(12))
        Path("t.csv").write_text(",".join([*names, "y"]) + "\n" + "\n".join(rows) + "\n")
        found, out, err = run("train", "t.csv", "-t", "y", "--epochs", 1, "-f", "--hidden", 2)
        assert found == code, err
        assert ("trained" in out) == (code == 0)
    assert "could not be saved: names and settings take" in err


def test_too_many_numbers_are_refused_before_they_are_learned(run, monkeypatch):
    """By what a file would say of them at least; each column by itself takes a millisecond."""
    monkeypatch.setattr(network, "MANY_COLUMNS", 100)
    monkeypatch.setattr(TableEncoder, "fit", lambda self, frame: pytest.fail("columns are learned"))
    values = np.random.default_rng(0).integers(0, 9, (2, 12, 750))
    parts = [pd.DataFrame({"y": [0, 1] * 6, "text": "a"})]
    parts += [pd.DataFrame(part, columns=[f"{name}{i:0900}" for i in range(750)])
              for name, part in (("whole", values[0]), ("real", values[1] / 2))]
    pd.concat(parts, axis=1).to_csv("t.csv", index=False)
    for task in ("regression", "classification"):
        code, _, err = run("train", "t.csv", "-t", "y", "--hidden", 2, "--task", task)
        assert code == 2
        assert "could not be saved: names and settings take" in err


def test_columns_that_are_not_learned_from_do_not_count(run, monkeypatch):
    """Those of one value, of text, and those left out; missing values or none."""
    monkeypatch.setattr(network, "MANY_COLUMNS", 100)
    table = numbers().assign(words=[f"w{i}" for i in range(60)], gaps=[None, 1.5] * 30)
    same = pd.DataFrame(7, range(60), [f"{i:0900}" for i in range(1200)])
    pd.concat([table, same], axis=1).to_csv("t.csv", index=False)
    code, out, err = run("train", "t.csv", "-t", "y", "--hidden", 2, "--epochs", 1)
    assert code == 0, err
    assert "; 1 input of the network" in out
    varied = same + np.arange(60).reshape(-1, 1) ** 2
    pd.concat([table, varied], axis=1).to_csv("t.csv", index=False)
    names = ",".join(same.columns)
    code, _, err = run("train", "t.csv", "-t", "y", "--epochs", 1, "-f", "--drop", names)
    assert code == 0, err


def test_separators_of_several_bytes_are_refused(run):
    """pandas would have said something about its engines."""
    numbers().to_csv("t.csv", index=False)
    for separator in ("é", "§", "ab", "€"):
        code, _, err = run("train", "t.csv", "-t", "y", "--separator", separator)
        assert code == 2
        assert "must be one ASCII character" in err


# ---- places to write to ----


def test_a_model_and_its_input_are_not_replaced_by_predictions(run):
    """Whatever their names are, and by links, too."""
    numbers().to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "y", "-q", "-o", "m.csv")[0] == 0
    os.symlink("m.csv", "link.csv")
    os.symlink("t.csv", "link2.csv")
    before = Path("m.csv").read_bytes(), Path("t.csv").read_bytes()
    for place in ("m.csv", "link.csv", "t.csv", "link2.csv"):
        code, _, err = run("predict", "m.csv", "t.csv", "-f", "-o", place)
        assert (code, "is the input" in err) == (2, True)
    assert before == (Path("m.csv").read_bytes(), Path("t.csv").read_bytes())


@pytest.mark.skipif(os.name != "posix", reason="no such files here")
def test_odd_places(run):
    """Pipes are no place for a result, whatever command; dangling links only with --force."""
    numbers().to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "y", "-q")[0] == 0
    os.mkfifo("pipe.csv")
    os.symlink("nowhere.csv", "link.csv")
    os.symlink("nowhere.html", "link.html")
    code, _, err = run("train", "t.csv", "-t", "y", "-q", "-o", "m", "--report", "link.html")
    assert (code, "--report names another file" in err) == (2, True), "not --output"
    commands = (["train", "t.csv", "-t", "y"], ["predict", "model.safetensors", "t.csv"],
                ["export", "model.safetensors", "--to", "c"])
    for words in commands:
        code, _, err = run(*words, "-q", "-f", "-o", "pipe.csv")
        assert (code, "is a pipe; only a regular file" in err) == (2, True)
        code, _, err = run(*words, "-q", "-o", "link.csv")
        assert (code, "is a link to 'nowhere.csv', where there is nothing" in err) == (2, True)
        assert not Path("nowhere.csv").exists()
        assert run(*words, "-q", "-f", "-o", "link.csv")[0] == 0
        assert Path("link.csv").is_symlink()
        Path("nowhere.csv").unlink()


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_predictions_are_there_whole_or_not_at_all(run):
    """After Ctrl-C, and where the disk is full, the old file is there and nothing beside it."""
    fastnn.MLP((2, 2), output="softmax", random_state=0).save(
        "m.safetensors", classes=["a", "b"], feature_names=["x", "y"])
    Path("big.csv").write_text("x,y\n" + "1,2\n" * 100_000)

    def interrupted(how, before):
        """Ctrl-C as soon as there is a new file; again where it came too late."""
        for _ in range(10):
            process = subprocess.Popen(**how, stderr=subprocess.PIPE)
            while process.poll() is None and sorted(os.listdir()) == before:
                time.sleep(0.0002)
            process.send_signal(signal.SIGINT)
            process.communicate()
            if process.returncode != 0:
                break
            Path("out.csv").unlink()
            if old is not None:
                Path("out.csv").write_text(old)
        return process.returncode

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    for old in (None, "precious old predictions\n"):
        if old is not None:
            Path("out.csv").write_text(old)
        before = sorted(os.listdir())
        how = command("predict", "m.safetensors", "big.csv", "-o", "out.csv", "-f")
        done = subprocess.run(**how, preexec_fn=limited, capture_output=True, text=True)
        assert done.returncode != 0
        assert sorted(os.listdir()) == before
        assert interrupted(how, before) == 130
        assert sorted(os.listdir()) == before
        assert old is None or Path("out.csv").read_text() == old
    assert run("predict", "m.safetensors", "big.csv", "-o", "out.csv", "-f", "-q")[0] == 0
    assert len(Path("out.csv").read_text().split()) == 100_001


# ---- text of strangers ----


def test_escapes_of_strangers_are_shown(run, monkeypatch):
    """Names, classes and targets that would act on a terminal; files and JSON hold them as ever."""
    bad = "a\x1b]0;owned\x07"
    net = fastnn.MLP((2, 2), output="softmax", random_state=0)
    net.save("m.safetensors", classes=[bad, "b\u202e"], feature_names=["x\x1b[2J", "y\n\x9b"])
    text = "".join(run("info", "m.safetensors"  )[1:])
    text += "".join(run("export", "m.safetensors", "--to", "c")[1:])
    table = numbers(**{bad: ["u\x1b[1m", "v\x07"] * 30, "z\x1b[0m": range(60)})
    table.to_csv("t.csv", index=False)
    for more in (["-t", "y"], ["-t", bad], ["-t", "nothing\x1b"], ["-t", f"y,{bad}"]):
        text += "".join(run("train", "t.csv", "-f", *more)[1:])
        text += "".join(run("info", "model.safetensors")[1:])
    assert "\\x1b]0;owned\\x07" in text
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        frame = pd.DataFrame({"x\x1b[2J": [1.0], "y\n\x9b": [2.0]})
        frame.to_csv("new.csv", index=False)
        text += "".join(run("predict", "m.safetensors", "new.csv", "--proba")[1:])
    odd = {c for c in text if not c.isprintable() and c != "\n"}
    assert not odd, odd
    assert bad in run("predict", "m.safetensors", "new.csv", "--proba")[1], "a pipe has all of it"
    assert escaped("a\udcff\n\t é") == "a\\udcff\\n\\t é"


def test_formulas_are_guarded_where_asked_for(run):
    """Text that begins with = + - @, a tab or a carriage return; numbers stay numbers."""
    first = ["=cmd()", "+1", "-1 x", "@a", "-2+3", "@SUM(A1)", "plain", "a=b", "", "5"]
    net = fastnn.MLP((1, 2), output="softmax", random_state=0)
    net.set_weights([[[-1.0, 1.0]], [0.0, 0.0]])
    net.save("m.safetensors", classes=["=evil", "fine"], feature_names=["x"])
    table = pd.DataFrame({"x": np.linspace(-1, 1, 10), "=name": first, "n": -5})
    table.to_csv("t.csv", index=False)
    words = ("predict", "m.safetensors", "t.csv", "--keep", "=name,n", "--proba")
    plain = list(csv.reader(io.StringIO(run(*words)[1], newline="")))
    safe = list(csv.reader(io.StringIO(run(*words, "--safe-csv")[1], newline="")))
    assert plain[0] == ["=name", "n", "prediction", "probability_=evil", "probability_fine"]
    assert safe[0] == ["'=name", *plain[0][1:]]
    for one, other in zip(plain[1:], safe[1:], strict=True):
        assert other[1] == "-5"
        for before, after in zip(one[:1] + one[2:3], other[:1] + other[2:3], strict=True):
            assert after == (f"'{before}" if before[:1] in ("=", "+", "-", "@", "\t", "\r")
                             and before else before)
    assert [_guarded(text) for text in ("\tq", "\rq", 5, None)] == ["'\tq", "'\rq", 5, None]
    assert ["'=evil" in row for row in safe[1:]] == ["=evil" in row for row in plain[1:]]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_file_names_that_are_no_text(run):
    """They are printed with escapes, and nothing fails after the work is done."""
    numbers().to_csv("t.csv", index=False)
    name, table, header = "n\udcff.safetensors", "t\udcfe.csv", "n\udcff.h"
    os.rename("t.csv", table)
    for words in (["train", table, "-t", "y", "--hidden", "4", "-o", name],
                  ["export", name, "--to", "c", "-o", header],
                  ["predict", name, table, "-o", "p\udcff.csv"], ["info", "none\udcff"]):
        done = subprocess.run(**command(*words, PYTHONIOENCODING="utf-8:strict"), text=True,
                              capture_output=True)
        assert done.returncode == (2 if "none" in words[1] else 0), done.stderr
        assert "codec" not in done.stderr
        assert "\\udcff" in done.stdout + done.stderr or words[0] == "predict"
    done = subprocess.run(**command("info", name, PYTHONIOENCODING="ascii:strict"))
    assert done.returncode == 0
