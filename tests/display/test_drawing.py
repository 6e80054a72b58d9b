"""HTML forms of networks, histories and plans, and the table of layers."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import fastnn
from fastnn import drawing
from fastnn.training.history import History


def parsed(html):
    """The tree of HTML that is XML, too; without anything that runs or comes from elsewhere."""
    tree = ET.fromstring(html)
    for node in tree.iter():
        tag = node.tag.rpartition("}")[2]
        assert tag in {"div", "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "circle",
                       "path", "text"}, tag
        assert not [name for name in node.attrib if name.startswith("on") or "href" in name]
    assert "url(" not in html
    return tree


def texts(tree):
    return [node.text for node in tree.iter() if node.text]


def count(tree, tag):
    return sum(node.tag.endswith(tag) for node in tree.iter())


NETS = {
    "chain": lambda: fastnn.MLP((3, 5, 2), activation="tanh", output="softmax"),
    "no hidden layer": lambda: fastnn.MLP((2, 1)),
    "wide": lambda: fastnn.MLP((784, 300, 10)),
    "deep": lambda: fastnn.MLP((2,) + (4,) * 70 + (1,)),
    "members": lambda: fastnn.MLP((3, 4, 2), members=3, dropout=0.1),
    "layers": lambda: fastnn.MLP.of(
        [fastnn.Dense(6, "gelu"), fastnn.LayerNorm(), fastnn.Scale(),
         fastnn.Residual([fastnn.Dense(6), fastnn.BatchNorm(), fastnn.Activation("relu"),
                          fastnn.Dropout(0.2)]), fastnn.PReLU(), fastnn.Dense(2)],
        n_in=3, output="sigmoid"),
}


@pytest.mark.parametrize("name", NETS)
def test_summary_counts_what_there_is(name):
    net = NETS[name]()
    summary = net.summary()
    assert summary.n_parameters == net.n_parameters == sum(row[3] for row in summary.rows)
    by_number = {number: size for number, _, _, size in summary.rows if number is not None}
    named = {}
    for key, view in net.named_parameters().items():
        number = int(key.split(".")[1])
        named[number] = named.get(number, 0) + view.size
    assert by_number == named
    assert summary.rows[-1][2] == net.sizes[-1]
    assert f"{net.n_parameters:,}" in str(summary).splitlines()[-1 - (
        summary.n_trainable < summary.n_parameters)]


def test_summary_of_frozen_layers_and_running_averages():
    net = NETS["layers"]()
    running = 2 * 6
    assert net.summary().n_trainable == net.n_parameters - running
    net.freeze(0)
    summary = net.summary()
    assert summary.n_trainable == net.n_parameters - running - 4 * 6
    assert "Dense(6, 'gelu'), frozen" in str(summary)
    assert f"{summary.n_trainable:,} are trained" in summary._repr_html_()


@pytest.mark.parametrize("name", NETS)
def test_html_of_networks_and_plans(name):
    net = NETS[name]()
    tree = parsed(net._repr_html_())
    assert f"{net.n_parameters:,}" in texts(tree)
    shown = [min(size, 8) - (size > 8) for size in net.sizes]
    if len(shown) <= 8:
        assert count(tree, "circle") == sum(shown)
    assert count(tree, "tr") <= 65
    plan = parsed(net.plan()._repr_html_())
    assert {"layout", "products", "shards", "threads"} <= set(texts(plan))
    assert count(plan, "circle") == count(tree, "circle")


def test_names_of_users_are_text():
    sine = fastnn.CustomActivation(np.sin, np.cos, name="<script>alert(1)</script>&\"'")
    html = fastnn.MLP((2, 3, 1), activation=sine)._repr_html_()
    parsed(html)
    assert "<script" not in html
    history = History(True, ("val_<b>",))
    history.loss, history.val_loss = [2.0, 1.0], [3.0, 2.5]
    history.metrics["val_<b>"] = [1.0, 2.0]
    history.stopped = "<img>"
    parsed(history._repr_html_())


def test_html_of_histories():
    X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    y = (X[:, 0] > 0).astype(int)
    history = fastnn.MLP((3, 4, 2), output="softmax", random_state=0).fit(
        X, y, epochs=4, validation_data=(X, y), metrics={"wrong": lambda y, p: 0.5, "nan":
                                                         lambda y, p: math.nan})
    found = texts(parsed(history._repr_html_()))
    assert "History of 4 epochs" in found
    assert f"{history.loss[-1]:.5g}" in found and f"loss  {history.loss[-1]:.5g}" in found
    assert {"val_loss", "val_wrong"} <= set(found)
    assert "val_nan" not in found[found.index("epoch of it"):]


def test_best_of_a_score_is_the_largest():
    history = History(True, ("val_accuracy", "val_own"), ("val_accuracy",))
    history.loss, history.val_loss = [3.0, 1.0, 2.0], [1.0, 2.0, 3.0]
    history.metrics.update(val_accuracy=[0.5, 0.75, 0.25], val_own=[1.0, 5.0, 9.0])
    rows = [[cell.text for cell in row] for row in parsed(history._repr_html_()).iter("tr")]
    assert rows[1:] == [["loss", "2", "1", "2"], ["val_loss", "3", "1", "1"],
                        ["val_accuracy", "0.25", "0.75", "2"], ["val_own", "9", None, None]]


def test_html_of_histories_without_epochs_or_finite_values():
    history = History()
    assert "History of 0 epochs" in texts(parsed(history._repr_html_()))
    history.loss, history.stopped = [math.nan, math.inf], "diverged"
    assert "History of 2 epochs, ended: diverged" in texts(parsed(history._repr_html_()))


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def lines(svg):
    return [points(node.attrib["d"]) for node in ET.fromstring(svg).iter()
            if node.attrib.get("stroke-width") == "1.6"]


def test_curves_lie_where_they_should():
    line, = lines(drawing.curves({"loss": [4.0, 3.0, 2.0]}))
    assert [y for _, y in line] == [10.0, pytest.approx(83.0, abs=0.1), 156.0]
    assert line[1][0] - line[0][0] == pytest.approx(line[2][0] - line[1][0])
    line, = lines(drawing.curves({"loss": [1.0, 10.0, 100.0]}))  # logarithmic
    assert line[0][1] - line[1][1] == pytest.approx(line[1][1] - line[2][1])


def test_values_at_the_end_of_floats_leave_gaps():
    """Their differences are infinite."""
    line, = lines(drawing.curves({"loss": [4.0, 1.7e308, -1.7e308, 2.0, math.inf]}))
    assert line == lines(drawing.curves({"loss": [4.0, math.nan, math.nan, 2.0, math.nan]}))[0]


def test_long_curves_keep_their_peaks():
    curve = [1.0] * 100_000
    curve[54_321] = 3.0
    svg = drawing.curves({"loss": curve})
    assert len(svg) < 30_000
    assert min(y for _, y in lines(svg)[0]) == 10.0


def test_gaps_of_curves():
    svg = drawing.curves({"a": [1.0, math.nan, 2.0, 3.0], "b": [math.inf, 1.5]})
    paths = [node.attrib["d"] for node in ET.fromstring(svg).iter()
             if node.attrib.get("stroke-width") == "1.6"]
    assert paths[0].count("M") == 2 and paths[1].startswith("M")
    assert drawing.curves({"a": [], "b": [math.nan]}) == ""
    assert lines(drawing.curves({"a": [2.0]}))  # one point


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-3.0, 1e-9), (1e-12, 2e-12), (1e5, 1.00001e5),
                                       (5.0, 5.0), (0.0, 0.0), (-7.0, -7.0), (1e-9, 1e4),
                                       (0.02, 0.6), (1e-300, 1e300)])
def test_ticks(low, high):
    svg = drawing.curves({"a": [low, high]})
    labels = [node.text for node in ET.fromstring(svg).iter()
              if node.attrib.get("text-anchor") == "end"][:-1]
    assert 2 <= len(labels) <= 7
    slack = 0.02 * max(abs(low), abs(high)) or 1
    assert all(low - slack - 0.1 * abs(low) <= float(label) <= high + slack + 0.1 * abs(high)
               for label in labels)


def test_numbers_of_tables_stand_on_the_right():
    tree = parsed(drawing.table(("name", "n"), [["a", 1234], ["b", 0.5]], ["all", 1235]))
    cells = [(cell.text, "text-align:right" in cell.attrib["style"]) for cell in tree.iter()
             if cell.text]
    assert cells == [("name", False), ("n", True), ("a", False), ("1,234", True), ("b", False),
                     ("0.5", True), ("all", False), ("1,235", True)]
