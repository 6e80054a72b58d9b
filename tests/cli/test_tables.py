"""How the command line reads tables: files that are not quite as one would wish."""

import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli.common import CommandError
from fastnn.cli.hints import why_text
from fastnn.cli.tables import read_table

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

ROWS = [f"{i / 8},{'xyz'[i % 3]},{i * i}.5" for i in range(40)]


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a text, or bytes, as a table."""
    monkeypatch.chdir(tmp_path)

    def call(text, **options):
        Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table("t.csv", **options)

    return call


def text(header, rows, end="\n"):
    return end.join([header, *rows]) + end


# ---- widths ----

@pytest.mark.parametrize("rows", [
    [f"{i},{row}" for i, row in enumerate(ROWS, 1)], [f'"row {i}",{i},x,1' for i in range(9)],
    [f"{row},7" for row in ROWS], [*(f"{row}," for row in ROWS[:-1]), ROWS[-1] + ",7"],
])
@pytest.mark.parametrize("n_rows", [1, 40])
def test_more_values_than_names_are_refused(read, rows, n_rows):
    """R's write.table gives the column of row names no name: all others would be shifted."""
    rows = rows[-1:] if n_rows == 1 else rows
    with pytest.raises(CommandError, match="first line has 3 names, but line 2 has 4 values|"
                                           "row 40 has more values than the first line"):
        read(text("a,c,t", rows))


def test_the_first_line_is_short_beyond_what_is_looked_at(read):
    rows = [f"{row}," for row in ROWS * 300] + [ROWS[0] + ",7"]
    with pytest.raises(CommandError, match="row 12001 has more values"):
        read(text("a,c,t", rows))
    rows = [*ROWS * 300, ROWS[0] + ",7"]
    with pytest.raises(CommandError, match="Expected 3 fields in line 12002, saw 4"):
        read(text("a,c,t", rows))


def test_a_separator_at_the_end_of_each_row_is_none(read):
    expected = read(text("a,c,t", ROWS))
    for end in (",", ",,", ", "):
        found = read(text("a,c,t", [row + end for row in ROWS]), label_columns=["a"])
        pd.testing.assert_frame_equal(found, expected)
    found = read(text("a,a,", [row + "," for row in ROWS]), quiet=True)
    assert list(found) == ["a", "a.1", "Unnamed: 2"]


def test_spaces(read):
    found = read(' a  "b c"\t d \n 1 2   3 \n4\t5 6\n', separator="space")
    assert list(found) == ["a", "b c", "d"] and found.to_numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(CommandError, match="2 names, but line 2 has 3 values"):
        read("a b\n1 2 3\n4 5 6\n", separator="space")


def test_wide_tables(read):
    names = [f"column_{i}" for i in range(5000)]
    line = ",".join(["1"] * 5000)
    assert read(text(",".join(names), [line] * 3)).shape == (3, 5000)
    with pytest.raises(CommandError, match="5,000 names, but line 2 has 5,001 values"):
        read(text(",".join(names), [line + ",1"] * 3))


def test_double_names(read, capsys):
    assert list(read("a,a,b,a\n1,2,3,4\n")) == ["a", "a.1", "b", "a.2"]
    assert "the first line has 'a' 3 times: all but the first are called a.1" in (
        capsys.readouterr().err)
    read("a,a\n1,2\n", quiet=True)
    assert capsys.readouterr().err == ""


# ---- quotation marks ----

def test_quotation_marks_that_are_not_closed(read):
    rows = [row.replace("x", '"x"').replace("y", '"y"') for row in ROWS]
    rows[6] = rows[6].replace('"x"', '"x')
    with pytest.raises(CommandError, match="row 7: column 'c' holds the end of its line"):
        read(text("a,c,t", rows))
    with pytest.raises(CommandError, match="a quotation mark in row 5 is not closed"):
        read(text("a,c,t", [*ROWS[:4], '1,"x,2', *ROWS]))
    fine = 'c,t\n"Dear Sir, or Madam\nyou ""said"" a, b",1\n"x\n\ny",2\n'
    assert read(fine)["c"].tolist() == ['Dear Sir, or Madam\nyou "said" a, b', "x\n\ny"]


# ---- encodings and pipes ----

@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_of_an_encoding(read, encoding):
    expected = read(text("ä,c,t", ROWS))
    assert list(expected) == ["ä", "c", "t"]
    pd.testing.assert_frame_equal(read(text("ä,c,t", ROWS).encode(encoding)), expected)
    with pytest.raises(CommandError, match="is not text"):
        read(text("ä,c,t", ROWS).encode("utf-16-le"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["t", "t.csv", "t.csv.gz", "t.csv.bz2", "t.parquet"])
def test_pipes_are_read_once(tmp_path, name):
    table = pd.DataFrame({"a": np.arange(30000) / 8, "b": ["01", "1", "2"] * 10000})
    plain = tmp_path / f"plain{name}"
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        table.to_parquet(plain)
    else:
        table.to_csv(plain, index=False)
    pipe = tmp_path / name
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[plain.read_bytes()], daemon=True)
    writer.start()
    found = read_table(str(pipe), label_columns=["b"], quiet=True)
    writer.join(60)
    assert found.to_numpy().tolist() == table.to_numpy().tolist()


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_substituted_processes(tmp_path):
    (tmp_path / "t.csv").write_text(text("a,c,t", ROWS))
    program = f"'{sys.executable}' -m fastnn"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{program} train <(cat t.csv) -t t -q --epochs 1 && "
         f"{program} predict model.safetensors <(cat t.csv)"], cwd=tmp_path, text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])})
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 41, done.stderr


def test_nothing_comes(read, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    for path in ("-", os.devnull):
        with pytest.raises(CommandError, match="is empty"):
            read_table(path)


# ---- decimal marks, labels, hints ----

def test_decimal_marks(read, capsys):
    assert read("a;b\n1,5;x\n2,5;y\n")["a"].tolist() == [1.5, 2.5]
    assert capsys.readouterr().err == ""
    found = read("pos;v;t\n0,0;0.1;0.5\n4,4;1.5;1.5\n")
    assert found["pos"].tolist() == ["0,0", "4,4"] and found["v"].tolist() == [0.1, 1.5]
    assert "decimal mark is taken to be '.'; the others, as in column 'pos'" in (
        capsys.readouterr().err)
    found = read("a;b;c\n0,5;1,5;0.1\n1,5;2,5;1.5\n")
    assert found["a"].tolist() == [0.5, 1.5] and found["c"].tolist() == ["0.1", "1.5"]


def test_labels_that_begin_with_zero(read, run):
    rows = [f"{i / 8},{['01', '1', ''][i % 3]}" for i in range(40)]
    assert read(text("a,t", rows))["t"].tolist()[:2] == [1, 1]
    found = read(text("a,t", rows), label_columns=["t"], quiet=True)["t"]
    assert found.tolist()[:2] == ["01", "1"] and found.isna().sum() == 13
    assert read("a,t\n1,0\n2,10\n3,0.5\n", label_columns=["t"])["t"].tolist() == [0, 10, 0.5]

    Path("t.csv").write_text(text("a,t", rows))
    code, out, err = run("train", "t.csv", "-t", "t", "--epochs", 2)
    assert code == 0 and "into 2 classes: 01, 1 (text)" in out and "'01' starts with 0" in err
    code, out, err = run("train", "t.csv", "-t", "t", "--epochs", 2, "-f", "--task", "regression")
    assert code == 2 and "one value only" in err


@pytest.mark.parametrize("values, why", [
    (["12%", "3.5 %", "0"], "a percent sign"), (["1,234.50", "17.25"], "separators of thousands"),
    (["1.234,50", "-1.234.567,8"], "separators of thousands"), (["1,5", "2"], "a decimal point"),
    (["$5", "7 €"], "a currency"), (["31/12/2020", "1.2.21"], "dates must become numbers"),
    (["a", "b"], ""), (["1", "2"], ""), (["12%", "none", "some"], ""), ([], ""),
])
def test_why_a_column_is_text(values, why):
    found = why_text(pd.Series(values, dtype=object), target=True)
    assert (why in found) if why else found == ""
    assert why_text(pd.Series([1.5])) == ""


def test_hints(run):
    rows = [f'{i / 8},{1 + i % 28}/{1 + i // 28}/2020,{i}%,"{i},000.5",{i % 7}' for i in range(40)]
    Path("t.csv").write_text(text("a,d,p,t,n", rows))
    _, out, err = run("train", "t.csv", "-t", "a", "--epochs", 1)
    assert "note: column 'd': '" in err and "dates must be written as 2024-12-31" in err
    assert "column 'p': '" in err and "a percent sign is no part of a number" in err
    code, _, err = run("train", "t.csv", "-t", "p", "-f")
    assert code == 2 and "too many to learn; is it the right column?\n'0%' is text" in err
    code, _, err = run("train", "t.csv", "-t", "t", "--task", "regression", "-f")
    assert code == 2 and "is text: numbers must not have separators of thousands" in err
    code, _, err = run("train", "t.csv", "-t", "a", "--drop", "d,t,n", "-f")
    assert code == 2 and "no column is left" in err and "\ncolumn 'p': '" in err
    Path("t.csv").write_text(text("a,t", [f"{i},{i % 3}%" for i in range(60)]))
    code, _, err = run("train", "t.csv", "-t", "t", "--epochs", 1, "-f")
    assert code == 0 and "note: the target 't': '0%' is text: a percent sign" in err


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
