"""Models of tables as C headers: compiled, and asked for the same rows."""

import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("sklearn")

import onnxruntime
import quick_recipe
from c_programs import STRICT
from test_onnx_tables import CASES, TABLE, feeds, model_with_trees, odd_rows

import fastnn

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "model.h"
static float scratch[MODEL_SCRATCH];
int main(void) {
    double numbers[MODEL_N_NUMBERS + 1], out[MODEL_N_OUTPUTS];
    int codes[MODEL_N_CATEGORIES + 1], i;
    char word[100];
    if (model_self_test(scratch))
        return 1;
    for (;;) {
        for (i = 0; i < MODEL_N_NUMBERS; ++i)
            if (scanf("%lf", &numbers[i]) != 1)
                return 0;
        for (i = 0; i < MODEL_N_CATEGORIES; ++i) {
            if (scanf("%99s", word) != 1)
                return 2;
            codes[i] = model_code(i, strcmp(word, "-") ? word : "");
        }
        model_predict(numbers, codes, out, scratch);
        for (i = 0; i < MODEL_N_OUTPUTS; ++i)
            printf("%.17g ", out[i]);
        printf("\n");
    }
}
"""
FLAGS = ["-std=c99", "-O1", *STRICT]


def answers(model, folder, tables):
    """What the compiled header answers to rows."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    fastnn.export.c_header(model, folder / "model.h")
    (folder / "main.c").write_text(PROGRAM)
    subprocess.run(["gcc", *FLAGS, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    schema, lines = model.model_.schema, []
    for table in tables:
        for i in range(len(table["size"])):
            words = [repr(float(table[name][i])) for name in schema.number_names]
            words += [table[name][i] or "-" for name in schema.category_names]
            lines.append(" ".join(words))
    said = subprocess.run([folder / "main"], input="\n".join(lines), capture_output=True,
                          text=True, check=True).stdout
    return np.array([line.split() for line in said.splitlines()], float)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["two", "three", "value", "quantiles"])
def test_headers_compute_what_the_model_predicts(case, tmp_path, monkeypatch):
    quick_recipe.use(monkeypatch)
    make, y, settings = CASES[case]
    model = make(random_state=0, **settings).fit(TABLE, y)
    agree(model, tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_statistics_of_categories(tmp_path):
    make, y, _ = CASES["two"]
    model = make("fast", random_state=0, time_limit=2).fit(TABLE, y)
    assert model.model_.ensemble.parts[0].encoding.statistics is not None
    agree(model, tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["three", "value"])
def test_trees(case, tmp_path, monkeypatch):
    agree(model_with_trees(case, monkeypatch), tmp_path)


def agree(model, folder):
    tables = TABLE, odd_rows()
    found = answers(model, folder, tables)
    expected = np.concatenate([model.model_.outputs(table) for table in tables])
    if not hasattr(model, "classes_"):
        expected = model.model_.task.predictions(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_what_a_header_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="constant"):
        fastnn.export.c_header(fastnn.TabularRegressor().fit(TABLE, np.ones(len(TABLE["size"]))),
                               tmp_path / "m.h")


@pytest.mark.filterwarnings("ignore")
def test_a_plain_number_is_the_category_that_is_written_otherwise(tmp_path, monkeypatch):
    """Such as 7 for 007: known in Python and to ONNX files, it was unknown in C."""
    quick_recipe.use(monkeypatch)
    x = np.arange(90.0)
    texts = np.array(["007", "1.50", "x"], object)[x.astype(int) % 3]
    model = fastnn.TabularRegressor(random_state=0).fit({"size": x, "code": texts.tolist()},
                                                        (texts == "007") * 5 + (texts == "x"))
    given = ["007", "7", "1.50", "1.5", "x", "8", "", "07"]
    table = {"size": np.full(len(given), 3.0), "code": given}
    found = answers(model, tmp_path, [table])[:, 0]
    np.testing.assert_allclose(found[:6], model.predict(table)[:6], rtol=1e-5, atol=1e-5)
    assert found[0] == found[1] and found[2] == found[3] and found[7] == found[5] != found[0]
    fastnn.export.onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    output, = session.run(None, feeds(table, model.model_.schema))
    np.testing.assert_allclose(output[:, 0], found, rtol=1e-5, atol=1e-5)


def test_texts_that_a_header_cannot_hold(tmp_path, monkeypatch):
    quick_recipe.use(monkeypatch)
    x = np.arange(60.0)
    for text, said in (("p\ud800", "'p.ud800' holds half of a character"),
                       ("p\0r", "'p.x00r' holds the character NUL")):
        texts = np.where(x % 3, text, "q")
        for table, y in (({"a": texts.tolist()}, x > 20), ({"a": x}, texts.astype(object))):
            model = fastnn.TabularClassifier(random_state=0).fit(table, y)
            with pytest.raises(ValueError, match=f"the category or label {said}"):
                fastnn.export.c_header(model, tmp_path / "m.h")
            assert not (tmp_path / "m.h").exists()


LOST = r"""
#include "model.h"
static float scratch[MODEL_SCRATCH];
int main(void) {
    double numbers[MODEL_N_NUMBERS + 1] = {0}, out[MODEL_N_OUTPUTS], right[MODEL_N_OUTPUTS];
    int codes[MODEL_N_CATEGORIES + 1], lost[] = {-1, 99, 1 << 30, -(1 << 30)}, i, j;
    for (j = 0; j < MODEL_N_CATEGORIES; ++j)
        codes[j] = model_code(j, "a text that training did not have");
    model_predict(numbers, codes, right, scratch);
    for (i = 0; i < 4; ++i) {
        for (j = 0; j < MODEL_N_CATEGORIES; ++j)
            codes[j] = lost[i];
        model_predict(numbers, codes, out, scratch);
        if (out[0] != right[0])
            return 1 + i;
    }
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_codes_that_no_text_has_are_unknown(tmp_path):
    """They would be read from the tables of other columns, or from beyond them."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    make, y, _ = CASES["two"]
    model = make("fast", random_state=0, time_limit=2).fit(TABLE, y)
    fastnn.export.c_header(model, tmp_path / "model.h")
    (tmp_path / "main.c").write_text(LOST)
    subprocess.run(["gcc", *FLAGS[:2], "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


def test_numbers_are_explained():
    """A wrong guess of what a weekday is would change the prediction without a word."""
    from fastnn.export._c_tables import _described
    from fastnn.tables.columns import PARTS, Column

    told = [*_described(Column("seen", "date", parts=tuple(PARTS))),
            *_described(Column("paid", "boolean")), *_described(Column("size", "number")),
            *_described(Column("town", "category"))]
    assert told == [
        "seen: days since 1970-01-01 UTC, with their fraction: 2024-05-01 is 19844",
        *(f"seen ({part}): {text}" for part, text in (
            ("month", "1 to 12"), ("weekday", "0 is Monday, 6 Sunday"),
            ("hour", "of the day, 0 to 24, with its fraction"))), "paid: 0 or 1", "size"]
    assert (np.datetime64("2024-05-01") - np.datetime64("1970-01-01")).astype(int) == 19844
