"""Models of tables as C headers: compiled, and asked for the same rows."""

import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("sklearn")

import quick_recipe
from test_onnx_tables import CASES, TABLE, odd_rows

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
FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]


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
