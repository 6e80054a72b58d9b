"""Models of tables as ONNX graphs, from the columns as they are.

Each column of a table is an input (n_rows, 1): numbers, booleans and dates as double, NaN where
missing; categories as strings, empty where missing. The graph computes the dense encoding in
double, and then the networks.
"""

import itertools
import json
from types import SimpleNamespace

import numpy as np
from onnx import TensorProto, helper

from fastnn.core import validation
from fastnn.core.version import __version__
from fastnn.export._onnx import (
    ONNX_TYPE,
    Graph,
    add_classes,
    add_network,
    check_opset,
    class_labels,
)
from fastnn.files.container import check_place, write_atomically
from fastnn.tabular.encoding import CLIP

__all__ = ["build"]

ML_OPSET = 2  # of ai.onnx.ml: LabelEncoder
FAR = 1e100


def export(model, path, opset=17, zipmap=False, nocl=False):
    """See `fastnn.export.onnx`, of a `TabularModel`."""
    path = check_place(path)
    if zipmap:
        raise ValueError(f"zipmap={zipmap!r} must be False for a model of tables")
    write_atomically(path, build(model, opset, nocl).SerializeToString())


def build(model, opset=17, nocl=False):
    """Return the ONNX model of a `TabularModel`."""
    opset = check_opset(opset)
    if model.preparation is not None:
        raise ValueError("an ONNX file cannot hold the steps of a pipeline before the model: "
                         "export the model that was fitted to their output")
    if not model.ensemble.parts:
        raise ValueError("an ONNX file cannot hold a model that is constant")
    nocl = validation.check_flag("nocl", nocl)
    labels = None if model.classes is None else class_labels(model.classes, nocl)
    outputs = _outputs(model, labels)
    schema = model.schema
    names = [*schema.number_names, *schema.category_names]
    for name in names:
        validation.as_utf8("column", name)
    for column in schema.columns:
        for category in column.categories:
            validation.as_utf8(f"column {column.name!r}: the category", category)
    taken = [value.name for value in outputs]
    if set(names) & set(taken):
        raise ValueError(f"column {min(set(names) & set(taken))!r} has the name of an output of "
                         "the ONNX file: rename it")
    double = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if double is not None:
        raise ValueError(f"two inputs of the ONNX file would be called {double!r}: rename a column")
    g = Graph(np.float64, [*names, *taken], opset)
    numbers = list(schema.number_names)
    codes = [_coded(g, column) for column in schema.columns if column.kind == "category"]
    total, at = None, 0
    for part in model.ensemble.parts:
        dense = _encoded(g, part.encoding, numbers, codes)
        for net in part.networks:
            own = Graph(net.dtype, opset=opset)  # constants of the network's dtype
            own._taken, own.nodes, own.initializers = g._taken, g.nodes, g.initializers
            x = dense if own.is_double else g.cast(dense, TensorProto.FLOAT)
            output = add_network(own, x, net)
            output = output if own.is_double else g.cast(output, TensorProto.DOUBLE)
            output = g.op("Mul", output, g.real(model.ensemble.weights[at]))
            total = output if total is None else g.op("Add", total, output)
            at += 1
    for value, declared in zip(_decided(g, model, total, labels), outputs, strict=True):
        g.op("Identity", value, outputs=[declared.name])
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n_rows", 1])
              for name in schema.number_names]
    inputs += [helper.make_tensor_value_info(name, TensorProto.STRING, ["n_rows", 1])
               for name in schema.category_names]
    graph = helper.make_graph(g.nodes, "fastnn", inputs, outputs, g.initializers)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    found = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="fastnn", producer_version=__version__, doc_string=repr(model))
    helper.set_model_props(found, {"task": model.task.kind, "columns": json.dumps(names)})
    return found


def _outputs(model, labels):
    """Return declarations of the outputs, (n_rows, ...)."""
    real, n_out = ONNX_TYPE[np.dtype(np.float64)], model.task.n_out
    if labels is None:
        return [helper.make_tensor_value_info("output", real, ["n_rows", n_out])]
    multilabel = model.task.kind == "multilabel"
    words = labels.dtype == object and not multilabel
    n_columns = n_out if multilabel else max(n_out, 2)
    return [helper.make_tensor_value_info(
        "label", TensorProto.STRING if words else TensorProto.INT64,
        ["n_rows", n_out] if multilabel else ["n_rows"]),
        helper.make_tensor_value_info("probabilities", real, ["n_rows", n_columns])]


def _decided(g, model, output, labels):
    """Return the values of the outputs."""
    task = model.task
    if labels is None:
        output = g.op("Add", g.op("Mul", output, g.constant(np.array(task.scale))),
                      g.constant(np.array(task.center)))
        if len(task.levels) > 1:  # they never cross
            first = g.unique("sorted")
            g.nodes.append(helper.make_node(
                "TopK", [output, g.constant(np.array([task.n_out]), "k")],
                [first, g.unique("places")], axis=1, largest=0, sorted=1))
            output = first
        return [output]
    stand_in = SimpleNamespace(
        task="multilabel" if task.kind == "multilabel" else "classification",
        net=SimpleNamespace(sizes=(0, task.n_out)))
    return add_classes(g, stand_in, output, labels)


def _coded(g, column):
    """Return the codes (n_rows, 1) of a column of strings."""
    k = len(column.categories)
    known = {"": k + 1, **column.texts}
    return g.op("LabelEncoder", column.name, domain="ai.onnx.ml", keys_strings=list(known),
                values_int64s=list(known.values()), default_int64=k)


def _encoded(g, encoding, numbers, codes):
    """Return the dense encoding (n_rows, n_inputs)."""
    numbers = list(numbers)
    if encoding.statistics is not None:
        numbers += _statistics(g, encoding.statistics, codes)
    if encoding.forest is not None:
        numbers += _forest(g, encoding.forest, numbers, codes)
    found = []
    for j, name in enumerate(numbers):
        found += _number(g, name, encoding.edges[j], encoding.scales[j], bool(encoding.seen[j]))
    for code, places in zip(codes, encoding.maps, strict=True):
        n = int(places.max(initial=-1)) + 1
        if n:
            own = g.op("Gather", g.constant(places.astype(np.int64), "places"), code)
            same = g.op("Equal", own, g.constant(np.arange(n)[np.newaxis], "categories"))
            found.append(g.cast(same, TensorProto.DOUBLE))
    if not found:
        raise ValueError("an ONNX file cannot hold a model without inputs")
    return found[0] if len(found) == 1 else g.op("Concat", *found, axis=1)


def _number(g, name, edges, scale, seen):
    """Return the inputs of a number, arrays (n_rows, n): value, bins, whether it is missing."""
    missing, found = g.op("IsNaN", name), []
    if len(edges) > 1:
        center, width, mean, deviation = (float(one) for one in scale)
        zero = g.real(0)
        x = g.op("Where", missing, g.real(edges[0]), name)
        x = g.op("Min", g.op("Max", x, g.real(edges[0])), g.real(edges[-1]))
        z = g.op("Sub", g.op("Div", x, g.real(width)), g.real(center / width))
        z = g.op("Min", g.op("Max", z, g.real(-FAR)), g.real(FAR))
        share = g.op("Div", z, g.real(CLIP))
        root = g.op("Sqrt", g.op("Add", g.op("Mul", share, share), g.real(1)))
        z = g.op("Div", g.op("Sub", g.op("Div", z, root), g.real(mean)), g.real(deviation))
        found.append(g.op("Where", missing, zero, z))
        if len(edges) > 2:
            low = g.constant(edges[np.newaxis, :-1], "edges")
            width = g.constant(np.diff(edges)[np.newaxis], "widths")
            bins = g.op("Div", g.op("Sub", x, low), width)
            bins = g.op("Min", g.op("Max", bins, zero), g.real(1))
            found.append(g.op("Where", missing, zero, bins))
    if seen:
        found.append(g.cast(missing, TensorProto.DOUBLE))
    return found


def _statistics(g, statistics, codes):
    """Return the numbers that categories and their pairs give, each (n_rows, 1)."""
    found = []
    for key, known, means in zip(statistics.keys, statistics.known, statistics.means, strict=True):
        number = codes[key[0]]
        if len(key) > 1:
            size = g.constant(np.array(statistics.sizes[key[1]], np.int64))
            number = g.op("Add", g.op("Mul", number, size), codes[key[1]])
        place = g.op("LabelEncoder", number, domain="ai.onnx.ml", keys_int64s=known.tolist(),
                     values_floats=[float(i) for i in range(len(known))],
                     default_float=float(len(known)))
        place = g.cast(place, TensorProto.INT64)
        for j, prior in enumerate(statistics.prior):
            table = g.constant(np.append(means[:, j], prior), "means")
            found.append(g.op("Gather", table, place))
    return found


def _forest(g, forest, numbers, codes):
    """Return what the trees of each fold come to, each (n_rows, 1): for every tree which of its
    thresholds a row is above, then which leaf has all the answers that lead to it."""
    tables, found = forest.tables, []
    first, first_leaf = (np.cumsum([0, *(tables["counts"] + more)]) for more in (0, 1))
    for fold, (start, end) in enumerate(itertools.pairwise([0, *tables["ends"].tolist()])):
        x = list(numbers)
        for q, (low, high) in zip(tables["categories"], itertools.pairwise(forest.first_ranks),
                                  strict=True):
            x.append(g.op("Gather", g.constant(tables["ranks"][fold][low:high], "ranks"), codes[q]))
        x = x[0] if len(x) == 1 else g.op("Concat", *x, axis=1)
        places = [(slice(first[t], first[t + 1]), slice(first_leaf[t], first_leaf[t + 1]))
                  for t in range(start, end)]
        total = g.op("Add", _trees(g, x, places, tables),
                     g.constant(tables["base"][fold][np.newaxis], "base"))
        found += [g.op("Gather", total, g.constant(np.array([j]), "place"), axis=1)
                  for j in range(forest.n_out)]
    return found


def _trees(g, x, places, tables):
    """Return the sum (n_rows, n_out) of the leaves of trees, whose splits and leaves stand at
    ``places``."""
    n, most = len(places), max(own.stop - own.start for own, _ in places)
    columns, thresholds = np.zeros((n, most), np.int64), np.zeros((n, most))
    answers, asked = np.zeros((n, most, most + 1), np.float32), np.full((n, 1, most + 1), 1e3,
                                                                         np.float32)
    values = np.zeros((n, most + 1, tables["values"].shape[1]))
    for t, (own, leaves) in enumerate(places):
        k = own.stop - own.start
        columns[t, :k], thresholds[t, :k] = tables["columns"][own], tables["thresholds"][own]
        values[t, :k + 1] = tables["values"][leaves]
        for i, leaf in enumerate(tables["leaves"][own].tolist()):
            answers[t, :, i + 1] = answers[t, :, leaf]
            answers[t, i, leaf], answers[t, i, i + 1] = -1, 1
        asked[t, 0, :k + 1] = (answers[t, :, :k + 1] > 0).sum(axis=0)
    above = g.op("Greater", g.op("Gather", x, g.constant(columns, "columns"), axis=1),
                 g.constant(thresholds, "thresholds"))  # (n_rows, n_trees, n_splits)
    above = g.op("Transpose", g.cast(above, TensorProto.FLOAT), perm=[1, 0, 2])
    given = g.op("MatMul", above, g.constant(answers, "answers"))
    there = g.cast(g.op("Equal", given, g.constant(asked, "asked")), TensorProto.DOUBLE)
    return g.op("ReduceSum", g.op("MatMul", there, g.constant(values, "leaves")),
                g.constant(np.array([0]), "axes"), keepdims=0)
