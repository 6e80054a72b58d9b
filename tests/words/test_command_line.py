"""What the command line says where something is wrong, odd, or too good."""

import numpy as np
import pytest

from fastnn.cli import main

pytest.importorskip("sklearn")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A folder with t.csv, of which anything can be learned."""
    monkeypatch.chdir(tmp_path)
    a = np.random.default_rng(0).normal(size=(600, 2))
    lines = [f"{x:.3f},{y:.3f},{'yes' if x > 0 else 'no'}" for x, y in a]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines]))
    return tmp_path


def told(capfd, *args):
    """Return code, and all that is printed."""
    try:
        code = main([str(one) for one in args])
    except SystemExit as end:
        code = end.code
    found = capfd.readouterr()
    return code, found.out + found.err


@pytest.mark.parametrize("given, text", [
    (("--lr", "0.1"), "unrecognized arguments: --lr 0.1; did you mean '--learning-rate'?"),
    (("--verbose",), "--verbose; the progress is shown anyway, -q hides it"),
    (("--class-weigth", "balanced"), "; did you mean '--class-weight'?"),
    (("--random-state", "3"), "; did you mean '--seed'?"),
    (("--gpu",), "--gpu; fastnn computes on the CPU alone"),
    (("--threads", "many"), "argument --threads: 'many' must be a whole number"),
    (("--time-limit", "1m"), "argument --time-limit: '1m' must be a number"),
    (("--hidden", "64-64"), "'64-64' must be numbers of units such as 64 or 128,64"),
    (("--header-row", "first"), "'first' must be a whole number"),
    (("-o", "m.onnx"), "'m.onnx' has the name of an ONNX file, and `train` writes a model file"),
    (("-o", "m.PKL"), "has the name of a pickle"),
    (("--delimiter", ";"), "; did you mean '--separator'?"),
])
def test_an_option_says_which_was_meant(table, capfd, given, text):
    code, said = told(capfd, "train", "t.csv", "-t", "c", *given)
    assert code == 2 and text in said


def test_other_names_of_options_name_what_there_is(capfd):
    """Else such a name would be said to be nothing known."""
    from fastnn import cli

    _, said = told(capfd, "train", "--help")
    _, more = told(capfd, "predict", "--help")
    assert [name for name in cli.OPTIONS.values() if name not in said + more] == []


def test_words_for_commands_that_are_options(capfd):
    assert "; did you mean '--help'?" in told(capfd, "help")[1]
    assert "; did you mean '--version'?" in told(capfd, "version")[1]


def test_a_table_that_lacks_a_column_says_what_there_is(table, capfd):
    told(capfd, "train", "t.csv", "-t", "c", "--hidden", "4", "--epochs", "1")
    (table / "n.csv").write_text("first,b\n1,2\n")
    code, said = told(capfd, "predict", "model.safetensors", "n.csv")
    assert code == 2 and "the table has no column 'a'; there are: 'first'" in said


def test_a_table_without_names(table, capfd):
    lines = (table / "t.csv").read_text().splitlines()[1:]
    (table / "bare.csv").write_text("\n".join(lines))
    code, said = told(capfd, "train", "bare.csv", "-t", "c")
    assert code == 2 and "the first line holds values, not names: --header-row 0" in said
    _, said = told(capfd, "train", "t.csv", "-t", "d")
    assert "--header-row" not in said


@pytest.mark.parametrize("name", ["p.png", "p.csv"])
def test_a_picture(table, capfd, name):
    (table / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    code, said = told(capfd, "train", name, "-t", "c")
    assert code == 2 and "it looks like a picture (PNG); save the table as CSV" in said
    assert "cp1252" not in said


def test_why_the_training_ended(table, capfd):
    plain = ("train", "t.csv", "-t", "c", "-f", "--hidden", "8", "--learning-rate", "0.03")
    _, said = told(capfd, *plain, "--epochs", "300", "--no-early-stopping")
    assert ": the loss fell by no more than 0.0001 in 10 epochs\n" in said
    _, said = told(capfd, *plain, "--epochs", "300", "--early-stopping")
    assert "were predicted no better for 10 epochs; kept is epoch " in said
    _, said = told(capfd, *plain, "--epochs", "2")
    assert "trained 2 epochs in" in said and "epochs;" not in said and "the loss fell" not in said


def test_what_is_too_good(table, capfd):
    lines = (table / "t.csv").read_text().splitlines()
    (table / "leak.csv").write_text("\n".join(
        [f"{lines[0]},left", *(f"{line},{7 if 'yes' in line else 3}" for line in lines[1:])]))
    _, said = told(capfd, "train", "leak.csv", "-t", "c", "--epochs", "20")
    assert "every one of these rows is right. Where that is too good to be true" in said
