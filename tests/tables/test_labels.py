"""`Labels`: the classes of a target, by every door."""

import numpy as np
import pytest

from fastnn.tables import Labels, TableError, learn_target
from fastnn.tables.frames import as_table


@pytest.mark.parametrize("values, classes, codes", [
    (["b", "a", "b"], ["a", "b"], [1, 0, 1]), ([2, 1, 2], [1, 2], [1, 0, 1]),
    (["2", "1", "10"], [1, 2, 10], [1, 0, 2]), ([True, False, None], [False, True], [1, 0, -1]),
    (["TRUE", "false", ""], [False, True], [1, 0, -1]), ([1.0, 0.0, np.nan], [0, 1], [1, 0, -1]),
    (["yes", "yes ", " no"], ["no", "yes"], [1, 1, 0]), (["01", "1", "01"], ["01", "1"], [0, 1, 0]),
    (["1", "1.0", "2"], [1, 2], [0, 0, 1]), (["None", "u", ""], ["None", "u"], [0, 1, -1]),
    (["NA", "u", "?"], ["NA", "u"], [0, 1, -1]), (["0", "1", "NA"], [0, 1], [0, 1, -1]),
    (["true", "false", "null"], [False, True], [1, 0, -1]),
    ([0.5, 1.5, 0.5], [0.5, 1.5], [0, 1, 0]),
    ([10**24, 1, 10**24], ["1", str(10**24)], [1, 0, 1]),
])
def test_classes_and_codes(values, classes, codes):
    labels = Labels.learn(values)
    assert labels.classes.tolist() == classes
    assert labels.apply(values).tolist() == codes


def test_missing_words_on_request():
    values = ["None", "nan", "?", "u"]
    assert Labels.learn(values, keep_na=True).classes.tolist() == ["?", "None", "nan", "u"]
    labels = Labels.learn(values, na=["None"])
    assert labels.classes.tolist() == ["u"]
    assert labels.apply(values).tolist() == [-1, -1, -1, 0]
    assert "--keep-na-classes" in labels.notes[0]
    notes = Labels.learn(values).notes
    assert "'None' in the target is taken as a class" in notes[1]
    assert Labels.learn(["0", "1", "NA"], keep_na=True).classes.tolist() == ["0", "1", "NA"]


def test_text_stays_text_where_it_is_not_from_a_file():
    assert Labels.learn(["0", "1"], numbers=False).classes.tolist() == ["0", "1"]
    assert Labels.learn(["True", "False"], numbers=False).classes.tolist() == ["False", "True"]


def test_the_same_classes_by_every_door():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    for text, typed in ((["1", "2", ""], [1, 2, None]),
                        (["TRUE", "FALSE", ""], [True, False, None]),
                        (["u", "v", ""], ["u", "v", None])):
        labels = Labels.learn(text)
        for column in (typed, pd.Series(typed), pd.Series(typed).convert_dtypes(),
                       pd.Series(typed, dtype="category"), pl.Series(typed), pa.array(typed),
                       pa.array(typed).dictionary_encode(), np.array(typed, dtype=object)):
            assert labels.apply(column).tolist() == labels.apply(text).tolist()
            assert Labels.learn(column).classes.tolist() == labels.classes.tolist()


def test_wrong_targets():
    with pytest.raises(TableError, match="missing in all rows"):
        Labels.learn(["", None, "nan"])
    with pytest.raises(TableError, match="holds dates"):
        Labels.learn(np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"))
    with pytest.raises(TableError, match="2 values of classes that training did not have: 'w'"):
        Labels.learn(["u", "v"]).apply(["u", "w", "w"])


@pytest.mark.parametrize("classes, texts, codes", [
    ([0, 1], ["1.", "+1", "1e0", "TRUE", "0", "-0", "", "１"], [1, 1, 1, 1, 0, 0, -1, 1]),
    ([5, 1000], ["$5", "$1,000"], [0, 1]), ([1.5, 2.5], ["1,5", "2,5"], [0, 1]),
    ([False, True], ["1", "0", "1.0", "true"], [1, 0, 1, 1])])
def test_numbers_of_classes_however_they_are_written(classes, texts, codes):
    assert Labels(classes).apply(texts).tolist() == codes


@pytest.mark.parametrize("classes, text", [([0, 1], "01"), ([0, 1], "2"), ([0, 1], "1 kg"),
                                           ([False, True], "2"), (["0", "1"], "1.5"),
                                           (["a", "b"], "1")])
def test_others_are_no_class(classes, text):
    with pytest.raises(TableError, match="of classes that training did not have"):
        Labels(classes).apply([text, text])


@pytest.mark.parametrize("word", ["None", "NA", "N/A", "null"])
@pytest.mark.parametrize("codes", [["01", "02"], ["007", "1.50"], ["1", "01"]])
def test_words_beside_codes_that_are_text_are_missing(word, codes):
    """As beside numbers: what `learn` has counted as missing was refused by `apply` as a class that
    training did not have."""
    labels = Labels.learn([*codes, word, *codes])
    assert labels.classes.tolist() == sorted(codes)
    assert f"'{word}' in the target counts as missing" in labels.notes[0]
    for found in (labels, Labels(labels.classes)):  # the latter is that of a file
        assert found.apply([word, *sorted(codes)]).tolist() == [-1, 0, 1]
    kept = Labels.learn([*codes, word, *codes], keep_na=True)
    assert word in kept.classes.tolist()
    assert (kept.apply([word]) >= 0).all()


def test_words_of_the_table_mean_missing():
    table = as_table({"y": ["a", "gone", "b", "a"], "z": ["1", "gone", "-5", "2"]})
    assert table.column("y").na == ()
    table.na = ("gone", "-5")
    labels = Labels.learn(table.column("y"))
    assert labels.classes.tolist() == ["a", "b"]
    assert labels.apply(table.column("y")).tolist() == [0, -1, 1, 0]
    known = Labels(["a", "b", "gone"])
    assert known.apply(table.column("y")).tolist() == [0, -1, 1, 0]
    assert known.apply(["a", "gone"]).tolist() == [0, 2]
    values, _ = learn_target(table.column("z"))
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, 2])
    np.testing.assert_array_equal(learn_target(table.rows([0, 1]).column("z"))[0], [1, np.nan])


@pytest.mark.parametrize("mark", ["-", "unknown", "n.a.", "."])
def test_marks_beside_numbers_are_no_classes(mark):
    labels = Labels.learn(["1", mark, "2", "None"])
    assert labels.classes.tolist() == [1, 2]
    assert labels.apply(["2", mark]).tolist() == [1, -1]
    assert any(repr(mark) in text and "counts as missing" in text for text in labels.notes)
    assert Labels([1, 2]).apply([mark, "1"]).tolist() == [-1, 0]
    assert Labels.learn(["1", mark], keep_na=True).classes.tolist() == sorted(["1", mark])
    for others in (["a", mark], ["true", "false", mark]):  # beside words it is one of them
        assert mark in Labels.learn(others).classes.tolist()
