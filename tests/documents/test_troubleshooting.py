"""docs/troubleshooting.md: each message that it explains is one that the library gives."""

import re

import numpy as np
import pytest
from pages import ROOT, text_of

import fastnn

X = np.random.default_rng(0).normal(size=(20, 2))
Y = np.arange(20) % 2


def net(sizes=(2, 4, 2), output="softmax"):
    return fastnn.MLP(sizes, output=output, random_state=0)


def with_gap():
    wrong = X.copy()
    wrong[3, 1] = np.nan
    net().predict(wrong)
    net().fit(wrong, Y)


def infinite():
    wrong = X.copy()
    wrong[3, 1] = np.inf
    net().fit(wrong, Y)


def other_checkpoint():
    net().fit(X, Y, epochs=1, checkpoint="fit.checkpoint")
    fastnn.MLP((2, 4, 2), output="softmax", random_state=1).fit(
        X, Y, epochs=1, checkpoint="fit.checkpoint")


def two_fits():
    one = net()
    one.fit(X, Y, callback=lambda epoch, net, history: one.fit(X, Y))


def no_model():
    with open("model.safetensors", "wb") as file:
        file.write(b"nothing")
    fastnn.load("model.safetensors")


# by the beginning of the row in the page
MAKES = {
    "X contains NaN": with_gap,
    "X contains infinity": infinite,
    "X has (300) columns": lambda: net().predict(np.zeros((2, 300))),
    "X has shape (5, 28, 28)": lambda: net((784, 2)).predict(np.zeros((5, 28, 28))),
    "y has labels in 1..2": lambda: net().fit(X, Y + 1),
    "y has dtype <U3": lambda: net().fit(X, np.where(Y, "yes", "not")),
    "y has shape (300,)": lambda: net(output="identity").fit(X, Y),
    "batch_size=0": lambda: net().fit(X, Y, batch_size=0),
    "unexpected keyword argument": lambda: net().fit(X, Y, lr=1),
    "is the checkpoint of another fit": other_checkpoint,
    "is being fitted already": two_fits,
    "ModelFormatError": no_model,
    "did you mean": lambda: net().fit(X, Y, optimizer="adamm"),
}
# said where this cannot reach: (file, words)
SAID = {
    "upgrade fastnn": ("fastnn/files/container.py", "upgrade fastnn"),
    "DivergenceWarning": ("docs/troubleshooting.md", "[fastnn.HintWarning, fastnn.Diver"),
    "HintWarning": ("docs/troubleshooting.md", "far from a scale of 1"),
    "ConvergenceWarning": ("docs/troubleshooting.md", "Maximum iterations reached"),
    "MemoryError": ("docs/troubleshooting.md", "the arrays do not fit"),  # Python's own
    "the compiled modules of fastnn are missing": ("fastnn/__init__.py", "the compiled modules of"),
    "the estimators of fastnn need scikit-learn": (
        "fastnn/estimators/__init__.py", "the estimators of fastnn need scikit-learn"),
}
ROWS = re.findall(r"^\| `([^`]+)`", text_of("docs/troubleshooting.md").partition("(messages)=")[2],
                  re.MULTILINE)


def maker(row):
    return [key for key in (*MAKES, *SAID) if row.startswith(key)]


def test_all_rows_are_tried():
    assert len(ROWS) > 15
    assert [row for row in ROWS if len(maker(row)) != 1] == []


@pytest.mark.parametrize("row", [row for row in ROWS if maker(row)[:1] and maker(row)[0] in MAKES])
def test_message_is_given(row, tmp_path, monkeypatch):
    """Its words, in their order; numbers and names are those of the reader."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as caught:
        MAKES[maker(row)[0]]()
    said = f"{type(caught.value).__name__}: {caught.value}"
    at = 0
    for word in re.findall(r"[A-Za-z]{3,}", row):
        found = said.find(word, at)
        assert found >= 0, f"{word!r} of {row!r} is not in {said!r}"
        at = found + len(word)


@pytest.mark.parametrize("row", [row for row in ROWS if maker(row)[:1] and maker(row)[0] in SAID])
def test_message_is_in_the_sources(row):
    file, words = SAID[maker(row)[0]]
    assert words in (ROOT / file).read_text(encoding="utf-8")
