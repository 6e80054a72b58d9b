"""Every wrong argument is a ValueError or TypeError with its name, its value and the rule.

Arrays of any form are copied where need be, never written to, and nothing crashes.
"""

import re

import numpy as np
import pytest
import scipy.sparse
from each import each
from hypothesis import given, settings
from hypothesis import strategies as st
from trainers import make_layout, make_trainer

import fastnn
from fastnn.core import _kernels
from fastnn.training.plan import plan_training


def make(sizes=(3, 4, 2), output="softmax", dtype="float64", **more):
    return fastnn.MLP(sizes, "tanh", output, dtype=dtype, **{"random_state": 0, **more})


X = np.arange(12.0).reshape(4, 3) / 10
LABELS = np.array([0, 1, 1, 0])


def assert_refused(call, error, *words):
    """The message holds every word, in any order."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    for word in words:
        assert re.search(word, str(caught.value)), f"{word!r} is not in {caught.value}"


# ---- making a network ----


@each("sizes, error, words", [
    ((3, 0, 2), ValueError, [r"sizes\[1\]=0", ">= 1"]),
    ((-3, 2), ValueError, [r"sizes\[0\]=-3", ">= 1"]),
    ((3,), ValueError, [r"sizes=\(3,\)", "at least two"]),
    ((), ValueError, [r"sizes=\(\)", "at least two"]),
    ((3, 2.5), TypeError, [r"sizes\[1\]=2.5", "integer"]),
    ((3, "2"), TypeError, [r"sizes\[1\]='2'", "integer"]),
    ((3, True), TypeError, [r"sizes\[1\]=True", "integer"]),
    ((3, None), TypeError, [r"sizes\[1\]=None", "integer"]),
    (5, TypeError, ["sizes=5", "sequence"]),
    ("32", TypeError, ["sizes='32'", "sequence"]),
    (None, TypeError, ["sizes=None", "sequence"]),
    ((3, 2**31), ValueError, [r"sizes\[1\]=2147483648", "32-bit", "BLAS"]),
    ((2**40, 2), ValueError, [r"sizes\[0\]=1099511627776", "32-bit", "BLAS"]),
])
def test_sizes(sizes, error, words):
    assert_refused(lambda: fastnn.MLP(sizes), error, *words)


def test_numpy_integers_are_sizes():
    net = fastnn.MLP(np.array([3, 4, 2]))
    assert net.sizes == (3, 4, 2)
    assert all(type(size) is int for size in net.sizes)


def test_unknown_names_list_the_known_ones():
    known = [*_kernels.ACTIVATIONS]
    assert_refused(lambda: fastnn.MLP((3, 4, 2), "rleu"), ValueError, "activation='rleu'", *known)
    assert_refused(lambda: fastnn.MLP((3, 4, 4, 2), ("relu", "rleu")), ValueError,
                   r"activation\[1\]='rleu'", *known)
    assert_refused(lambda: fastnn.MLP((3, 4, 2), "softmax"), ValueError, "activation='softmax'",
                   *known)
    assert_refused(lambda: make(output="sofmax"), ValueError, "output='sofmax'", "softmax", *known)
    assert_refused(lambda: make(initializer="glorot"), ValueError, "initializer='glorot'",
                   "glorot_uniform", "he_normal")
    assert_refused(lambda: make().fit(X, LABELS, loss="l1"), ValueError, "loss='l1'",
                   *_kernels.LOSSES)
    assert_refused(lambda: make().loss(X, LABELS, loss="l1"), ValueError, "loss='l1'")


@each("arguments, error, words", [
    ({"activation": None}, TypeError, ["activation=None", "string"]),
    ({"activation": 3}, TypeError, ["activation=3", "string"]),
    ({"activation": ["relu"] * 3}, ValueError, ["activation", "3 entries", "per hidden layer"]),
    ({"activation": ()}, ValueError, ["activation", "0 entries", "one per hidden layer"]),
    ({"output": None}, TypeError, ["output=None", "string"]),
    ({"dtype": "float16"}, ValueError, ["dtype='float16'", "float32 or float64"]),
    ({"dtype": int}, ValueError, ["dtype=<class 'int'>", "float32 or float64"]),
    ({"dtype": "nonsense"}, ValueError, ["dtype='nonsense'", "float32 or float64"]),
    ({"dtype": ">f8"}, ValueError, ["dtype='>f8'", "float32 or float64"]),
    ({"dtype": None}, ValueError, ["dtype=None", "float32 or float64"]),
    ({"dropout": 1.0}, ValueError, ["dropout=1.0", r"\[0, 1\)"]),
    ({"dropout": -0.1}, ValueError, ["dropout=-0.1", r"\[0, 1\)"]),
    ({"dropout": np.nan}, ValueError, ["dropout=nan", r"\[0, 1\)"]),
    ({"dropout": "half"}, TypeError, ["dropout='half'", "number"]),
    ({"dropout": None}, TypeError, ["dropout=None", "number"]),
    ({"dropout": (0.1, 0.2)}, ValueError, ["dropout", "2 entries", "one per hidden layer"]),
    ({"dropout": (1.5,)}, ValueError, [r"dropout\[0\]=1.5", r"\[0, 1\)"]),
    ({"initializer": 1}, TypeError, ["initializer=1", "string"]),
    ({"gemm": "cublas"}, ValueError, ["gemm='cublas'", "auto, blas, native"]),
    ({"gemm": None}, TypeError, ["gemm=None", "auto, blas, native"]),
    ({"n_threads": 0}, ValueError, ["n_threads=0", ">= 1"]),
    ({"n_threads": -2}, ValueError, ["n_threads=-2", ">= 1"]),
    ({"n_threads": 257}, ValueError, ["n_threads=257", "<= 256"]),
    ({"n_threads": 1.5}, TypeError, ["n_threads=1.5", "integer"]),
    ({"n_threads": "all"}, TypeError, ["n_threads='all'", "integer"]),
    ({"n_threads": True}, TypeError, ["n_threads=True", "integer"]),
    ({"random_state": -1}, ValueError, ["random_state=-1", ">= 0"]),
    ({"random_state": "seed"}, TypeError, ["random_state='seed'"]),
    ({"random_state": 0.5}, TypeError, ["random_state=0.5"]),
])
def test_settings(arguments, error, words):
    assert_refused(lambda: fastnn.MLP((3, 4, 2), **arguments), error, *words)


# ---- weights ----


@each("change, error, words", [
    (lambda a: a[:-1], ValueError, ["arrays", "3", "4"]),
    (lambda a: [*a, a[0]], ValueError, ["arrays", "5", "4"]),
    (lambda a: [a[0].T, *a[1:]], ValueError, [r"arrays\[0\]", r"\(4, 3\)", r"\(3, 4\)"]),
    (lambda a: [a[0], a[1][:, None], *a[2:]], ValueError, [r"arrays\[1\]", r"\(4, 1\)", r"\(4,\)"]),
    (lambda a: [a[0] * np.nan, *a[1:]], ValueError, [r"arrays\[0\]", "NaN"]),
    (lambda a: [*a[:3], a[3] + np.inf], ValueError, [r"arrays\[3\]", "infinity"]),
    (lambda a: [a[0].astype(object), *a[1:]], TypeError, [r"arrays\[0\]", "object", "numeric"]),
    (lambda a: [a[0].astype(complex), *a[1:]], TypeError, [r"arrays\[0\]", "complex", "numeric"]),
    (lambda a: [a[0].astype(str), *a[1:]], TypeError, [r"arrays\[0\]", "numeric"]),
])
def test_set_weights(change, error, words):
    net = make()
    before = net.parameters.tobytes()
    assert_refused(lambda: net.set_weights(change(net.get_weights())), error, *words)
    assert net.parameters.tobytes() == before


# ---- data ----


def with_value(value, row=2, column=1):
    changed = X.copy()
    changed[row, column] = value
    return changed


BAD_X = {
    "NaN": (with_value(np.nan), ValueError, ["X", "NaN", "column 1", "row 2"]),
    "infinity": (with_value(np.inf), ValueError, ["X", "infinity", "column 1", "row 2"]),
    "minus infinity": (with_value(-np.inf, 0, 2), ValueError, ["X", "infinity", "column 2"]),
    "both infinities": (np.where(np.eye(4, 3) == 1, [np.inf, -np.inf, 0], X), ValueError,
                        ["X", "infinity", "column 0"]),
    "too few columns": (X[:, :2], ValueError, ["X", "2 columns", "3"]),
    "too many columns": (np.zeros((4, 5)), ValueError, ["X", "5 columns", "3"]),
    "one row as a vector": (X[0], ValueError, ["X", r"\(3,\)", "reshape"]),
    "three axes": (X[None], ValueError, ["X", r"\(1, 4, 3\)"]),
    "scalar": (1.0, ValueError, ["X", r"\(\)"]),
    "no columns": (np.empty((4, 0)), ValueError, ["X", "0 columns", "3"]),
    "objects": (X.astype(object), TypeError, ["X", "object", "numeric"]),
    "strings": (X.astype(str), TypeError, ["X", "numeric"]),
    "bytes": (X.astype("S5"), TypeError, ["X", "numeric"]),
    "complex": (X.astype(complex), TypeError, ["X", "complex", "numeric"]),
    "dates": (np.zeros((4, 3), "M8[s]"), TypeError, ["X", "numeric"]),
    "records": (np.zeros((4, 3), [("a", float)]), TypeError, ["X", "numeric"]),
    "None": (None, TypeError, ["X"]),
    "sparse NaN": (scipy.sparse.csr_array(with_value(np.nan)), ValueError, ["X", "NaN"]),
    "sparse too wide": (scipy.sparse.csr_array(np.eye(4)), ValueError, ["X", r"\(4, 4\)", "3"]),
    "sparse complex": (scipy.sparse.csr_array(X.astype(complex)), TypeError, ["X", "complex"]),
}
FINITE_ONLY = {"NaN", "infinity", "minus infinity", "both infinities", "sparse NaN"}


@each("name", BAD_X)
def test_bad_x(name):
    bad, error, words = BAD_X[name]
    net = make()
    before = net.parameters.tobytes()
    for call in (lambda: net.fit(bad, LABELS), lambda: net.loss(bad, LABELS),
                 lambda: net.loss_and_grad(bad, LABELS), lambda: net.deltas(bad, LABELS)):
        assert_refused(call, error, *words)
    if name not in FINITE_ONLY:
        assert_refused(lambda: net.predict(bad), error, *words)
        assert_refused(lambda: net.activations_of(bad), error, *words)
    assert net.parameters.tobytes() == before


def test_value_beyond_float32_is_infinity_there():
    assert_refused(lambda: make(dtype="float32").fit(with_value(1e39), LABELS), ValueError,
                   "X", "infinity", "float32", "column 1")
    make(dtype="float64").loss(with_value(1e39), LABELS)


def test_sum_that_overflows_is_not_taken_for_infinity(dtype):
    """The values themselves are finite."""
    big = np.full((4, 3), np.finfo(dtype).max / 2, dtype)
    assert np.isfinite(make(dtype=dtype).predict(big)).all()
    make(dtype=dtype, initializer="zeros").loss(big, LABELS)


def test_no_rows():
    net = make()
    for call in (net.fit, net.loss, net.loss_and_grad, net.deltas):
        assert_refused(lambda call=call: call(np.empty((0, 3)), np.empty(0, int)), ValueError,
                       "X", "0 rows", "at least 1")


BAD_LABELS = {
    "too large": ([0, 1, 2, 0], ValueError, ["y", "0..2", "0..1"]),
    "negative": ([0, -1, 1, 0], ValueError, ["y", "-1..1", "0..1"]),
    "huge": ([0, 2**40, 1, 0], ValueError, ["y", "1099511627776", "0..1"]),
    "unsigned huge": (np.array([0, 2**64 - 1, 1, 0], np.uint64), ValueError,
                      ["y", "18446744073709551615", "0..1"]),
    "not whole": ([0, 0.5, 1, 0], ValueError, ["y", "whole", "0..1"]),
    "NaN": ([0, np.nan, 1, 0], ValueError, ["y", "NaN"]),
    "infinity": ([0, np.inf, 1, 0], ValueError, ["y", "infinity"]),
    "too few": ([0, 1], ValueError, ["y", r"\(2,\)", "4"]),
    "scalar": (1, ValueError, ["y", r"\(\)", "4"]),
    "three columns": (np.zeros((4, 3)), ValueError, ["y", r"\(4, 3\)", r"\(4, 2\)"]),
    "strings": (["a", "b", "a", "b"], TypeError, ["y", "numeric"]),
    "objects": (np.array([0, 1, 1, 0], object), TypeError, ["y", "object", "numeric"]),
    "None": (None, TypeError, ["y"]),
    "one-hot NaN": (np.where(np.eye(4, 2) == 1, np.nan, 0), ValueError, ["y", "NaN", "column 0"]),
    "one-hot outside": (2 * np.eye(4, 2), ValueError, ["y", "2", "cross_entropy", r"\[0, 1\]"]),
}


@each("name", BAD_LABELS)
def test_bad_labels(name):
    bad, error, words = BAD_LABELS[name]
    net = make()
    before = net.parameters.tobytes()
    for call in (net.fit, net.loss, net.loss_and_grad, net.deltas):
        assert_refused(lambda call=call: call(X, bad), error, *words)
    assert net.parameters.tobytes() == before


@each("output, y, words", [
    ("identity", np.zeros((4, 3)), [r"\(4, 3\)", r"\(4, 2\)"]),
    ("identity", np.zeros(4), [r"\(4,\)", r"\(4, 2\)"]),
    ("identity", np.full((4, 2), np.inf), ["infinity", "column 0"]),
    ("identity", np.where(np.eye(4, 2)[::-1] == 1, np.nan, 0), ["NaN", "column 1"]),
    ("sigmoid", np.full((4, 2), 1.5), ["1.5", "binary_cross_entropy", r"\[0, 1\]"]),
    ("sigmoid", np.full((4, 2), -0.5), ["-0.5", "binary_cross_entropy", r"\[0, 1\]"]),
    ("exp", np.full((4, 2), -1.0), ["-1", "poisson", ">= 0"]),
    ("step", np.full((4, 2), 3.0), ["3", "perceptron", r"\[0, 1\]"]),
])
def test_bad_targets(output, y, words):
    net = make(output=output)
    for call in (net.fit, net.loss, net.loss_and_grad):
        assert_refused(lambda call=call: call(X, y), ValueError, "y", *words)


@each("weights, error, words", [
    ([1, 1, 1], ValueError, [r"\(3,\)", r"\(4,\)"]),
    (np.ones((4, 1)), ValueError, [r"\(4, 1\)", r"\(4,\)"]),
    ([1, -1, 1, 1], ValueError, ["-1", ">= 0"]),
    ([1, np.nan, 1, 1], ValueError, ["NaN", "row 1"]),
    ([1, 1, np.inf, 1], ValueError, ["infinity", "row 2"]),
    ([0, 0, 0, 0], ValueError, ["0 everywhere", "> 0"]),
    (["a"] * 4, TypeError, ["numeric"]),
    (2.0, ValueError, [r"\(\)", r"\(4,\)"]),
])
def test_bad_sample_weight(weights, error, words):
    net = make()
    for call in (net.fit, net.loss, net.loss_and_grad):
        assert_refused(lambda call=call: call(X, LABELS, sample_weight=weights), error,
                       "sample_weight", *words)


@each("arguments, error, words", [
    ({"epochs": 0}, ValueError, ["epochs=0", ">= 1"]),
    ({"epochs": -1}, ValueError, ["epochs=-1", ">= 1"]),
    ({"epochs": 2.0}, TypeError, ["epochs=2.0", "integer"]),
    ({"batch_size": 0}, ValueError, ["batch_size=0", ">= 1"]),
    ({"batch_size": -5}, ValueError, ["batch_size=-5", ">= 1"]),
    ({"batch_size": 1.5}, TypeError, ["batch_size=1.5", "integer"]),
    ({"batch_size": "auto"}, TypeError, ["batch_size='auto'", "integer"]),
    ({"alpha": -1.0}, ValueError, ["alpha=-1.0", ">= 0"]),
    ({"alpha": np.nan}, ValueError, ["alpha=nan", ">= 0"]),
    ({"alpha": np.inf}, ValueError, ["alpha=inf", "finite"]),
    ({"alpha": "small"}, TypeError, ["alpha='small'", "number"]),
    ({"optimizer": "adamm"}, ValueError, ["optimizer='adamm'", "adam"]),
    ({"optimizer": fastnn.Adam}, TypeError, ["optimizer=", "Optimizer"]),
    ({"optimizer": fastnn.SGD(lambda epoch: -1.0)}, ValueError, ["learning_rate", "-1", ">= 0"]),
    ({"optimizer": fastnn.SGD(lambda epoch: np.nan)}, ValueError, ["learning_rate", "nan"]),
    ({"loss": 3}, TypeError, ["loss=3", "string"]),
    ({"loss": "binary_cross_entropy"}, ValueError, ["binary_cross_entropy", "sigmoid", "softmax"]),
    ({"loss": "squared_error"}, ValueError, ["squared_error", "softmax"]),
    ({"validation_data": X}, ValueError, ["validation_data", r"\(X, y\)"]),
    ({"validation_data": 3}, ValueError, ["validation_data", r"\(X, y\)"]),
    ({"validation_data": (X[:, :2], LABELS)}, ValueError, ["in validation_data: X", "columns"]),
    ({"validation_data": (X, [0, 1, 5, 0])}, ValueError, ["in validation_data: y", "0..5", "0..1"]),
    ({"validation_data": (X[:0], LABELS[:0])}, ValueError, ["in validation_data: X has 0 rows"]),
    ({"validation_data": (X, LABELS[:0])}, ValueError, ["in validation_data: y"]),
    ({"validation_data": ([["a"] * 3], [0])}, TypeError, ["in validation_data: X"]),
    ({"callback": 5}, TypeError, ["callback=5", "callable"]),
])
def test_bad_arguments_of_fit(arguments, error, words):
    net = make()
    before = net.parameters.tobytes()
    assert_refused(lambda: net.fit(X, LABELS, **arguments), error, *words)
    assert net.parameters.tobytes() == before
    net.fit(X, LABELS, epochs=1)  # nothing is left locked


@each("optimizer, arguments, error, words", [
    (fastnn.SGD, {"learning_rate": 0}, ValueError, ["learning_rate=0", "> 0"]),
    (fastnn.SGD, {"learning_rate": -0.1}, ValueError, ["learning_rate=-0.1", "> 0"]),
    (fastnn.SGD, {"learning_rate": "fast"}, TypeError, ["learning_rate='fast'", "number"]),
    (fastnn.SGD, {"momentum": 1.5}, ValueError, ["momentum=1.5", r"\[0, 1\]"]),
    (fastnn.SGD, {"momentum": -0.5}, ValueError, ["momentum=-0.5", r"\[0, 1\]"]),
    (fastnn.SGD, {"velocity": "fast"}, ValueError, ["velocity='fast'", "gradient", "step"]),
    (fastnn.Adam, {"beta1": 1.0}, ValueError, ["beta1=1.0", r"\[0, 1\)"]),
    (fastnn.Adam, {"beta2": -0.1}, ValueError, ["beta2=-0.1", r"\[0, 1\)"]),
    (fastnn.Adam, {"eps": 0.0}, ValueError, ["eps=0.0", "> 0"]),
    (fastnn.AdamW, {"weight_decay": -1}, ValueError, ["weight_decay=-1", ">= 0"]),
    (fastnn.RMSprop, {"rho": 1}, ValueError, ["rho=1", r"\[0, 1\)"]),
    (fastnn.Adagrad, {"eps": np.inf}, (TypeError, ValueError), ["eps=inf", "finite"]),
])
def test_bad_optimizers(optimizer, arguments, error, words):
    with pytest.raises(error) as caught:
        optimizer(**arguments)
    for word in words:
        assert re.search(word, str(caught.value)), str(caught.value)


def read_only(array):
    array.flags.writeable = False
    return array


@each("out", [
    np.empty((4, 3)), np.empty((5, 2)), np.empty(8), np.empty((4, 2), np.float32),
    np.empty((4, 2), int), np.empty((4, 2), ">f8"), np.empty((2, 4)).T, np.empty((4, 4))[:, ::2],
    np.empty((8, 2))[::2], read_only(np.empty((4, 2))), [[0.0, 0.0]] * 4, "out"])
def test_bad_out(out):
    assert_refused(lambda: make().predict(X, out=out), ValueError, "out", r"\(4, 2\)", "float64")


# ---- arrays of every form ----


def forms(array):
    """The same values in every layout that NumPy has."""
    n, m = array.shape
    wide = np.zeros((2 * n, 3 * m), array.dtype)
    wide[::2, ::3] = array
    raw = np.zeros(array.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(array.dtype).reshape(array.shape)
    misaligned[:] = array
    records = np.zeros(n, np.dtype([("pad", "i1"), ("values", array.dtype, (m,))]))
    records["values"] = array
    return {
        "plain": array.copy(),
        "read-only": read_only(array.copy()),
        "Fortran": np.asfortranarray(array),
        "strided": wide[::2, ::3],
        "reversed": array[::-1, ::-1].copy()[::-1, ::-1],
        "misaligned": misaligned,
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "little-endian": array.astype(array.dtype.newbyteorder("<")),
        "field of records": records["values"],
        "list": array.tolist(),
        "subclass": array.view(type("Sub", (np.ndarray,), {})),
        "masked": np.ma.array(array),
        "memmap-like": np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    }


@each("form", forms(X))
@each("net_dtype", ["float32", "float64"])
@each("data_dtype", ["float32", "float64", "int8", "uint16", "bool", "float16"])
def test_any_layout(form, net_dtype, data_dtype):
    net = make(dtype=net_dtype)
    values = (10 * X).astype(data_dtype)
    targets = np.eye(4, 2).astype(data_dtype)
    weights = np.array([[1, 2, 1, 1]]).astype(data_dtype)
    x, y, s = (forms(array)[form] for array in (values, targets, weights))
    s = s[0]
    copies = [np.array(array) for array in (x, y, s)]
    wanted = make(dtype=net_dtype)
    plain = [np.ascontiguousarray(array, net_dtype) for array in (values, targets, weights[0])]
    assert net.predict(x).tobytes() == wanted.predict(plain[0]).tobytes()
    assert net.fit(x, y, epochs=2, sample_weight=s, batch_size=3).loss == wanted.fit(
        plain[0], plain[1], epochs=2, sample_weight=plain[2], batch_size=3).loss
    assert net.parameters.tobytes() == wanted.parameters.tobytes()
    value, grad = net.loss_and_grad(x, y, sample_weight=s)
    wanted_value, wanted_grad = wanted.loss_and_grad(*plain[:2], sample_weight=plain[2])
    assert value == wanted_value
    assert grad.tobytes() == wanted_grad.tobytes()
    for array, kept in zip((x, y, s), copies, strict=True):
        np.testing.assert_array_equal(np.array(array), kept)


@st.composite
def views(draw, rows, columns):
    """A view (rows, columns) of some buffer: dtype, byte order, order, strides, offset, flags."""
    dtype = np.dtype(draw(st.sampled_from(
        ["f4", "f8", "f2", "i1", "u2", "i4", "i8", "u8", "bool", "longdouble"])))
    if draw(st.booleans()):
        dtype = dtype.newbyteorder()
    step = [draw(st.sampled_from([1, 2, 3])) for _ in range(2)]
    sign = [draw(st.sampled_from([1, -1])) for _ in range(2)]
    shape = (rows * step[0], columns * step[1])
    offset = draw(st.integers(0, 9))
    raw = np.zeros(offset + shape[0] * shape[1] * dtype.itemsize, np.uint8)
    buffer = raw[offset:].view(dtype).reshape(shape, order=draw(st.sampled_from("CF")))
    view = buffer[:: step[0], :: step[1]][:: sign[0], :: sign[1]]
    view[...] = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, (rows, columns))
    view.flags.writeable = draw(st.booleans())
    return view


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_random_views(data):
    """Whatever the memory looks like, the values decide; nothing is written to it."""
    rows, n_in, n_out = (data.draw(st.integers(1, 20)) for _ in range(3))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x, y = data.draw(views(rows, n_in)), data.draw(views(rows, n_out))
    before = x.tobytes(), y.tobytes()
    nets = [fastnn.MLP((n_in, 3, n_out), output="sigmoid", dtype=dtype, random_state=0)
            for _ in range(2)]
    plain = [np.array(array, dtype, order="C") for array in (x, y)]
    assert nets[0].predict(x).tobytes() == nets[1].predict(plain[0]).tobytes()
    assert nets[0].fit(x, y, epochs=1).loss == nets[1].fit(*plain, epochs=1).loss
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    assert (x.tobytes(), y.tobytes()) == before


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.binary(max_size=5), st.lists(st.floats(), max_size=4), st.lists(st.lists(
        st.floats(width=16), max_size=3), max_size=5), st.dictionaries(st.text(max_size=2),
                                                                       st.integers(), max_size=2),
    st.just(object()), st.just(np.array(3.0)), st.just(np.zeros((4, 3))),
    st.just(np.zeros((0, 3))), st.just(scipy.sparse.csr_array((4, 3))))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(["X", "y", "loss", "optimizer", "epochs", "batch_size", "sample_weight",
                        "alpha", "validation_data", "callback", "out"]), ANYTHING)
def test_anything_as_an_argument(name, value):
    """It works, or it is a ValueError or TypeError; the network stays as it was or is finite."""
    net = make()
    arguments = {"X": X, "y": LABELS, "epochs": 1}
    if name in ("epochs", "batch_size") and isinstance(value, int) and value > 1000:
        value = 1000
    try:
        if name == "out":
            net.predict(X, out=value)
        else:
            net.fit(**{**arguments, name: value})
    except (ValueError, TypeError) as error:
        assert str(error)
    assert np.isfinite(net.parameters).all()
    net.predict(X)


# ---- below the Python edge ----


@each("field, value", [
    ("X", X.astype(np.float32)), ("X", X[:, :2]), ("X", np.asfortranarray(X)),
    ("X", np.zeros((8, 3))[::2]), ("X", forms(X)["misaligned"]), ("X", forms(X)["big-endian"]),
    ("y", LABELS.astype(np.int64)), ("y", LABELS[:2].astype(np.int32)), ("y", np.zeros((4, 3))),
    ("sample_weight", np.ones(3)), ("sample_weight", np.ones(4, np.float32)),
    ("sample_weight", np.ones(8)[::2])])
def test_trainer_takes_only_what_its_loops_can_read(field, value):
    trainer = make_trainer((3, 4, 2), ("tanh",), "softmax", "cross_entropy", dtype="float64",
                           optimizer=fastnn.Adam(), batch_size=2)
    data = {"X": X, "y": LABELS.astype(np.int32), "sample_weight": None, field: value}
    assert_refused(lambda: trainer.set_data(**data), ValueError, field)


def test_dimension_beyond_blas():
    layout = make_layout((3, 2), "float32")
    assert_refused(lambda: plan_training(layout, 2**31, 1), ValueError, "2147483648", "BLAS")
    layout.sizes = (2**31, 2)
    assert_refused(lambda: plan_training(layout, 1, 1), ValueError, "2147483648", "BLAS")


def test_batch_size_beyond_32_bits_is_clipped_to_the_rows():
    net = make()
    assert len(net.fit(X, LABELS, batch_size=2**40, epochs=1).loss) == 1


@pytest.mark.parametrize("call, error, words", [
    (lambda: fastnn.SGD(0.1, nesterov="no"), TypeError, ["nesterov='no'", "True or False"]),
    (lambda: fastnn.Adam(eps_hat=1), TypeError, ["eps_hat=1", "True or False"]),
    (lambda: fastnn.Adam(10**400), ValueError, ["learning_rate", "float64"]),
    (lambda: fastnn.Adam("fast"), TypeError, ["learning_rate='fast'", "number"]),
    (lambda: fastnn.Adam(float("nan")), ValueError, ["learning_rate=nan", "finite"]),
    (lambda: fastnn.MLP((3, 2), n_threads=2**40), ValueError, ["n_threads", "<= 256"]),
    (lambda: fastnn.MLP((2**31 - 1, 2**31 - 1)), ValueError, ["sizes", "parameters"]),
    (lambda: fastnn.MLP((3, 2), output=np.array(["relu"] * 2)), TypeError, ["output", "string"]),
    pytest.param(
        lambda: fastnn.MLP((2, 1)).fit([[1, 2], [3]], [1, 2]), ValueError, ["X must be an array"],
        marks=pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0",
                                 reason="NumPy made an array of lists of it")),
    (lambda: fastnn.MLP((2, 1)).fit(np.ones((3, 2)), np.ones(3), shuffle="no"), TypeError,
     ["shuffle='no'", "True or False"]),
    (lambda: fastnn.MLP((2, 1)).fit(np.ones((3, 2)), np.ones(3), alpha=10**400), ValueError,
     ["alpha", "float64"]),
    (lambda: fastnn.MLP((2, 1)).fit(np.ones((3, 2)), np.ones(3),
                                    optimizer=fastnn.SGD(lambda epoch: None)), TypeError,
     [r"learning_rate\(0\)=None", "number"]),
])
def test_odd_arguments(call, error, words):
    assert_refused(call, error, *words)


def test_optimizer_itself_is_no_optimizer():
    from fastnn.training.optimizers import Optimizer

    with pytest.raises(TypeError, match="base of SGD"):
        Optimizer()
