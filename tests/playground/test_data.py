"""Points of the playground: drawn ones, and those of CSV files."""

import numpy as np
import pytest

from fastnn.playground.data import DRAW, FORMULAS, Table, features, make_points
from fastnn.playground.settings import CLASSES, FEATURES, Settings, SettingsError


@pytest.mark.parametrize("name", DRAW)
def test_drawn_points(name):
    points = make_points(Settings(data=name, points=301, test=0.3))
    assert points.x.shape == (301, 2) and points.y.shape == (301,)
    assert points.n_train == 301 - 90
    assert np.abs(points.x).max() < 2.4
    assert points.classifies == (name in CLASSES)
    if points.classifies:
        assert set(points.y) == {0, 1} and 0.35 < points.y.mean() < 0.65
    else:
        assert np.abs(points.y).max() <= 1.05 and np.ptp(points.y) > 1
    same, other = (make_points(Settings(data=name, points=301, test=0.3, draw=draw))
                   for draw in (0, 1))
    np.testing.assert_array_equal(same.x, points.x)
    assert (other.x != points.x).any()
    noisy = make_points(Settings(data=name, points=301, noise=0.5))
    assert (noisy.x != points.x).any() or (noisy.y != points.y).any()


def test_least_and_largest_tests():
    assert make_points(Settings(points=20, test=0.1)).n_train == 18
    assert make_points(Settings(points=20, test=0.9)).n_train == 2


def test_features_are_their_formulas():
    x = np.random.default_rng(0).normal(size=(20, 2))
    found = features(x, FEATURES)
    assert found.dtype == np.float32 and FORMULAS.keys() == set(FEATURES)
    for column, name in zip(found.T, FEATURES, strict=True):
        np.testing.assert_array_equal(column, eval(FORMULAS[name]).astype("float32"))


# ---- CSV files ----

GOOD = """size,weight,colour,price,kind
1,10,red,1.5,a
2,20,red,2.5,b
3,,blue,3.5,a
4,40,green,4.5,b
5,50,red,,a
6,60,red,6.5,b
"""


def points_of(text, query="data=csv"):
    return make_points(Settings.parse(query), Table(text.encode()))


def test_first_columns_that_will_do():
    table = Table(GOOD.encode())
    assert table.describe() == {"inputs": ["size", "weight", "price"],
                                "targets": ["size", "weight", "price", "kind"], "rows": 6}
    assert table.chosen(Settings(data="csv")) == ("size", "weight", "kind")
    points = points_of(GOOD)
    assert points.names == ("size", "weight") and points.classes == ("a", "b")
    assert points.left_out == 1 and points.classifies and len(points.x) == 5
    assert points.ranges == ((1.0, 6.0), (10.0, 60.0), (0.0, 1.0))
    order = np.argsort(points.x[:, 0])
    np.testing.assert_allclose(points.x[order, 0], np.array([1, 2, 4, 5, 6]) * 0.8 - 2.8)
    np.testing.assert_array_equal(points.y[order], [0, 1, 1, 0, 1])


def test_other_columns():
    points = points_of(GOOD, "data=csv&x=weight&y=size&target=price")
    assert points.names == ("weight", "size") and not points.classifies
    assert points.y.min() == -1 and points.y.max() == 1 and points.left_out == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_byte_order_marks(separator):
    text = "\ufeff" + GOOD.replace(",", separator).replace("\n", "\r\n") + "\r\n\r\n"
    np.testing.assert_array_equal(points_of(text).x, points_of(GOOD).x)


def test_quoted_values():
    text = 'a,b,"what, then"\n1,2,"x, y"\n2,3,z\n3,5,z\n4,4,"x, y"\n'
    assert points_of(text).classes == ("x, y", "z")


@pytest.mark.parametrize("body, message", [
    (b"", "the file is empty"),
    (b"\n \n", "the file is empty"),
    (b"\xff\xfea\x00", r"not text in UTF-8 \(byte 0\)"),
    (b"a,b,c\n1,2,\x00\n", "zero bytes"),
    (b"\x89PNG\r\n\x1a\n", "not text in UTF-8"),
    (b"a\n1\n2\n3\n4\n", "one column only"),
    (b"a,b,c\n1,2,x\n2,3,y\n", "2 rows below its first line"),
    (b"a,a,c\n" + b"1,2,x\n" * 5, "each name once"),
    (b"a,,c\n" + b"1,2,x\n" * 5, "must name each column"),
    (b"a,b,c\n1,2,x\n1,2\n1,2,x\n1,2,x\n", "row 3 of the file has 2 values"),
    (b"a,b,c\n1,2,x,9\n1,2,x\n1,2,x\n1,2,x\n", "row 2 of the file has 4 values"),
    (b'a,b,c\n1,2,"x\n1,2,x\n1,2,x\n', "no CSV file|values"),
    (b"a,b,c\n" + b"1,2,x\n" * 5, "0 columns of numbers that vary"),
    (b"a,b,c\n" + b"".join(b"%d,u,x\n" % i for i in range(5)), "1 columns of numbers"),
    (b"a,b,c\n" + b"".join(b"%d,%d,t%d\n" % (i, -i, i) for i in range(5)),
     "no column is left to be learned"),
    (b"a,b\n" + b"".join(b"%d,%d\n" % (i, -i) for i in range(5)), "no column is left"),
    (b"a,b,c\n" + b"1,2,x\n" * 20_001, "20001 rows"),
    (b",".join(b"c%d" % i for i in range(201)) + b"\n" + b"1\n" * 5, "201 columns"),
    (b"a,b,c\n" + b"1,2," + b"x" * 201 + b"\n" + b"1,2,x\n" * 4, "more than 200 characters"),
    (b"a,b,c\n1,2,\"" + b"x" * 200_000 + b"\"\n" + b"1,2,x\n" * 4, "no CSV file: field larger"),
    (b"a,b,c\n" + b"nan,inf,x\n" * 5, "0 columns of numbers that vary"),
    (b"a;b;c\n" + b"".join(b"%d,5;-%d,25;x\n" % (i, i) for i in range(5)),
     "0 columns of numbers that vary.* decimal commas"),
    (b'" "\n', "the file is empty"),
])
def test_malformed_files_are_explained(body, message):
    with pytest.raises(SettingsError, match=message) as caught:
        Table(body)
    assert len(str(caught.value)) < 400


def test_lines_that_end_as_on_an_old_mac():
    text = "a,b,c\n" + "".join(f"{i},{i * i},{i % 2}\n" for i in range(5))
    assert Table(text.replace("\n", "\r").encode()).columns == Table(text.encode()).columns


@pytest.mark.parametrize("query, message", [
    ("x=nothing", "x='nothing': the file has no such column; there are size, weight"),
    ("x=colour", "column 'colour' does not hold numbers"),
    ("target=colour", "column 'colour' has 3 different texts"),
])
def test_wrong_columns_are_explained(query, message):
    with pytest.raises(SettingsError, match=message):
        points_of(GOOD, f"data=csv&{query}")


def test_rows_that_are_not_complete():
    text = "a,b,c\n" + "".join(f"{i if i % 2 else ''},{'' if i % 2 else i},{i % 2}\n"
                               for i in range(20))
    with pytest.raises(SettingsError, match="only 0 rows have values in all of a, b and c"):
        points_of(text)
    text = "a,b,c\n" + "".join(f"{i},{i % 3},{'xy'[i > 8] if i > 3 else ''}\n" for i in range(9))
    with pytest.raises(SettingsError):
        points_of(text)


@pytest.mark.parametrize("rows", ["{f}e308,{i},{f}", "{i},{f}e308,{f}", "{i},{f},{f}.{i}e308"])
def test_values_whose_difference_overflows(rows):
    text = "a,b,c\n" + "".join(rows.format(i=i, f=(-1) ** i) + "\n" for i in range(6))
    with pytest.raises(SettingsError, match="values too far from each other"):
        points_of(text)


def test_no_file():
    with pytest.raises(SettingsError, match="no CSV file is loaded"):
        make_points(Settings(data="csv"))
