"""Words that mean "missing", in columns of categories and among labels."""

import pytest

from fastnn.tables import read
from fastnn.tables.cells import MISSING_WORDS
from fastnn.tables.labels import WRITTEN_MISSING, Labels
from fastnn.tables.schema import Schema

MISSING = 3  # the code, of two categories and one that is unknown


def learned(words, na=()):
    return Schema.learn({"a": [*words, "u", "v"] * 3, "b": list(range(3 * len(words) + 6))}, na=na)


def codes(schema, words):
    return schema.apply({"a": words, "b": [0] * len(words)}).codes[:, 0].tolist()


@pytest.mark.parametrize("word", sorted(MISSING_WORDS))
def test_usual_words_are_missing_in_columns_of_categories(word):
    schema = learned([word])
    assert schema.columns[0].categories == ("u", "v")
    assert codes(schema, [word, f" {word} ", None, "", "u"]) == [3, 3, 3, 3, 0]
    assert schema.apply_row({"a": word, "b": 0}).codes.tolist() == [[MISSING]]


@pytest.mark.parametrize("word", ["none", "?", "-", "unknown", "missing", "n.a.", "#REF!", "0"])
def test_other_words_are_categories_unless_na_names_them(word):
    assert learned([word]).columns[0].categories == tuple(sorted([word, "u", "v"]))
    schema = learned([word], na=[word])
    assert schema.columns[0].categories == ("u", "v")
    # what na says is kept with the model, and holds for exactly this word
    again = Schema.from_settings(schema.settings())
    assert codes(again, [word, word.upper() + "x", "u"]) == [3, 2, 0]
    assert again.apply_row({"a": word, "b": 0}).codes.tolist() == [[MISSING]]


def test_words_of_a_file_and_of_a_frame_alike(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{word},{i}\n" for i, word in
                                      enumerate(["gone", "u", "NA", "v", "", "None"] * 3)))
    of_file = Schema.learn(read(path, na=["gone"]), na=["gone"])
    columns = {"a": ["gone", "u", "NA", "v", None, "None"] * 3, "b": list(range(18))}
    of_frame = Schema.learn(columns, na=["gone"])
    assert of_file.settings() == of_frame.settings()
    assert of_file.apply(read(path)).codes[:6, 0].tolist() == [3, 0, 3, 1, 3, 3]
    assert of_file.apply(read(path)).codes.tobytes() == of_frame.apply(columns).codes.tobytes()


@pytest.mark.parametrize("word", ["gone", "-999", "été", "TRUE"])
def test_a_category_of_training_that_na_names_in_prediction_is_missing(word, tmp_path):
    """It was the category; the same file with a blank in its place gave other predictions."""
    schema = learned([word])
    assert word in schema.columns[0].categories
    known = schema.columns[0].categories.index("u")
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n{word},0\nu,0\n,0\n", encoding="utf-8")
    assert schema.apply(read(path, na=[word])).codes[:, 0].tolist() == [4, known, 4]
    assert schema.apply(read(path)).codes[0, 0] not in (3, 4)
    assert codes(schema, [word]) == [schema.apply(read(path)).codes[0, 0]]


def test_another_spelling_of_a_category_that_na_names_is_missing():
    """1 is true, unless it is missing: by a table and by one row."""
    columns = {"a": ["true", "false"] * 5, "b": list(range(10))}
    schema = Schema.learn(columns, categorical_features=["a"], na=["1"])
    assert codes(schema, ["1", "0", "true"]) == [3, 0, 1]
    for text, code in (("1", 3), ("0", 0), (1, 3), (True, 1)):
        assert schema.apply_row({"a": text, "b": 0}).codes.tolist() == [[code]]


@pytest.mark.parametrize("word", sorted(MISSING_WORDS | {"?"}))
def test_labels(word):
    """What only programs write is missing; what may be a name is a class, until na names it."""
    words = [word, "u", "v"]
    plain = Labels.learn(words)
    assert (word in plain.classes.tolist()) == (word not in WRITTEN_MISSING)
    assert word in Labels.learn(words, keep_na=True).classes.tolist()
    assert Labels.learn(words, na=[word]).classes.tolist() == ["u", "v"]
    assert Labels.learn(words, na=[word]).apply(words).tolist() == [-1, 0, 1]
