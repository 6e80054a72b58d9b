"""What a fit borrows, and sparse matrices that lie: an error or the values of before, never foreign
memory. The same checks in training and in prediction."""

import threading

import numpy as np
import pytest
from each import each

import fastnn

sp = pytest.importorskip("scipy.sparse")
ROWS, COLUMNS = 40, 20
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, ROWS).astype(np.int32)


def matrix(format="csr", kind=sp.csr_matrix):
    return kind(sp.random(ROWS, COLUMNS, 0.3, "csr", dtype="f", random_state=0)).asformat(format)


def network(**settings):
    return fastnn.MLP((COLUMNS, 8, 3), output="softmax", random_state=0, n_threads=2, **settings)


# ---- changed meanwhile ----

def change(X, y, value):
    y[:] = value
    if sp.issparse(X):
        X.indices[:] = value
        X.indptr[1:] = value


@each("value", [1000, 3, -1, 10**9, -2**31])
@each("format", ["csr", "csc", "dense"])
def test_labels_and_indices_changed_by_a_callback(format, value):
    """They are those of the beginning."""
    nets = [network(), network()]
    X, y = matrix("csr" if format == "dense" else format), LABELS.copy()
    X = X.toarray() if format == "dense" else X
    for net, callback in zip(nets, (None, lambda *_: change(X, y, value)), strict=True):
        net.fit(X, y, epochs=4, batch_size=7, callback=callback, validation_data=(X, y))
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_labels_and_indices_changed_by_another_thread():
    X, y, stop = matrix(), LABELS.copy(), threading.Event()
    wanted = network()
    wanted.fit(matrix(), LABELS, epochs=200)
    original = X.indices.copy(), X.indptr.copy(), y.copy()

    def disturb():
        while not stop.is_set():
            change(X, y, int(RNG.integers(-2**31, 2**31)))
            X.indices[:], X.indptr[:], y[:] = original

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(10):
            net = network()
            try:
                net.fit(X, y, epochs=200)
                net.predict(X)
            except ValueError:
                continue  # they were wrong when they were looked at
            assert np.isfinite(net.parameters).all()
    finally:
        stop.set()
        thread.join()
    net = network()
    net.fit(X, y, epochs=200)
    assert net.parameters.tobytes() == wanted.parameters.tobytes()


# ---- sparse matrices that lie ----

def put(name, at, value):
    def spoil(X):
        array = getattr(X, name).copy()
        array[at] = value
        setattr(X, name, array)
    return spoil


def replace(name, function):
    return lambda X: setattr(X, name, function(getattr(X, name)))


def falling(starts):
    starts = starts.copy()
    starts[1:-1] = starts[-1:0:-1][1:]
    return starts


COMPRESSED = {
    "one beyond": put("indices", 3, 64), "negative": put("indices", 3, -1),
    "far beyond": put("indices", 3, 2**30),
    "64 bits": lambda X: (replace("indices", lambda a: a.astype(np.int64))(X),
                          put("indices", 3, 2**33 + 2)(X)),
    "unsigned": lambda X: (replace("indices", lambda a: a.astype(np.uint64))(X),
                           put("indices", 3, 2**64 - 1)(X)),
    "floats": replace("indices", lambda a: a.astype(float)),
    "falls": replace("indptr", falling), "all fall": replace("indptr", lambda a: a[::-1]),
    "does not begin at 0": put("indptr", 0, 1), "begins below 0": put("indptr", 0, -1),
    "ends behind": put("indptr", -1, 10**6), "starts of 64 bits": lambda X: (
        replace("indptr", lambda a: a.astype(np.int64))(X), put("indptr", -1, 2**33)(X)),
    "too few starts": replace("indptr", lambda a: a[:-1]),
    "too many starts": replace("indptr", lambda a: np.append(a, a[-1])),
    "no starts": replace("indptr", lambda a: a[:0]),
    "two-dimensional data": replace("data", lambda a: a.reshape(-1, 1)),
    "two-dimensional indices": replace("indices", lambda a: a.reshape(1, -1)),
    "less data": replace("data", lambda a: a[:-5]), "no data": replace("data", lambda a: a[:0]),
    "less indices": replace("indices", lambda a: a[:-5]),
    "a list": replace("indices", lambda a: a.tolist()),
}
COORDINATES = {
    "row beyond": put("row", 3, 64), "column beyond": put("col", 3, 64),
    "negative row": put("row", 3, -1), "negative column": put("col", 3, -2**31),
    "far": put("col", 3, 2**30), "less rows": replace("row", lambda a: a[:-5]),
    "less data": replace("data", lambda a: a[:-5]),
    "two-dimensional data": replace("data", lambda a: a.reshape(1, -1)),
}
LISTS = {  # of a matrix whose row 0 has one entry
    "more values": put("data", 0, [1.0] * 50), "more places": put("rows", 0, [0] * 50),
    "less values": put("data", 0, []), "no values": put("data", 0, None),
    "column beyond": put("rows", 0, [20]), "negative column": put("rows", 0, [-1]),
    "far": put("rows", 0, [2**32 + 3]), "floats": put("rows", 0, [1.5]),
    "a column of text": put("rows", 0, "a"), "a value of text": put("data", 0, ["a"]),
    "lists in lists": put("data", 0, [[1.0, 2.0]]), "complex": put("data", 0, [1j]),
    "less rows": replace("rows", lambda a: a[:5]), "less data": replace("data", lambda a: a[:5]),
    "more rows": replace("rows", lambda a: np.concatenate([a, a])),
    "more data": replace("data", lambda a: np.concatenate([a] * 9)),
    "two-dimensional": replace("rows", lambda a: a.reshape(4, -1)),
    "a list": replace("data", lambda a: a.tolist()), "no rows": replace("rows", lambda a: None),
    "no dtype": replace("dtype", lambda _: None),
}
BLOCKS = {
    "no height": replace("data", lambda a: a[:, :0]), "no width": replace("data",
                                                                          lambda a: a[..., :0]),
    "one-dimensional data": replace("data", np.ravel), "other blocks": replace(
        "data", lambda a: np.zeros((len(a), 3, 3), "f")),
    "beyond": put("indices", 0, 10), "negative": put("indices", 0, -1),
    "beyond 32 bits, times 2": put("indices", 0, -2**31), "less data": replace(
        "data", lambda a: a[:-1]), "ends behind": put("indptr", -1, 10**6),
}
SPOILED = {"csr": COMPRESSED, "csc": COMPRESSED, "coo": COORDINATES, "lil": LISTS, "bsr": BLOCKS}
LIES = [(format, name) for format, spoiled in SPOILED.items() for name in spoiled]


@pytest.mark.filterwarnings("ignore")
@each("format, name", LIES)
def test_the_same_refusal_everywhere(format, name):
    X = matrix().tobsr((2, 2)) if format == "bsr" else matrix(format)
    if format == "lil":
        X.rows[0], X.data[0] = [3], [2.0]
    SPOILED[format][name](X)
    net = network()
    scaler = fastnn.Scaler(np.zeros(COLUMNS), np.ones(COLUMNS))
    good = fastnn.MLPClassifier((4,), max_iter=2, random_state=0).fit(matrix(), LABELS)
    calls = {
        "fit": lambda: net.fit(X, LABELS, epochs=1), "predict": lambda: net.predict(X),
        "loss": lambda: net.loss(X, LABELS), "grad": lambda: net.loss_and_grad(X, LABELS),
        "deltas": lambda: net.deltas(X, LABELS), "activations_of": lambda: net.activations_of(X),
        "jacobian": lambda: net.jacobian(X),
        "batches": lambda: net.fit_batches([(X, LABELS)]),
        "batches of an estimator": lambda: fastnn.MLPClassifier((4,)).fit_batches([(X, LABELS)]),
        "validation": lambda: net.fit(matrix(), LABELS, validation_data=(X, LABELS), epochs=1),
        "Scaler": lambda: scaler.apply(X, "float32"),
        "Predictor": lambda: fastnn.Predictor(net).predict(X),
        "scaled": lambda: fastnn.Predictor(net, scaler=scaler).predict(X),
        "estimator": lambda: fastnn.MLPClassifier((4,), max_iter=2).fit(X, LABELS),
        "lbfgs": lambda: fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=2).fit(X, LABELS),
        "its predict": lambda: good.predict(X), "its proba": lambda: good.predict_proba(X),
        "partial": lambda: fastnn.MLPClassifier((4,)).partial_fit(X, LABELS, classes=[0, 1, 2]),
        "regressor": lambda: fastnn.MLPRegressor(max_iter=2).fit(X, LABELS),
    }
    for call, run in calls.items():
        with pytest.raises(ValueError, match="X"):
            run()
            print(f"{call} took it")


@each("format", ["csr", "csc", "coo", "bsr", "dia", "dok", "lil"])
@each("kind", [sp.csr_matrix, sp.csr_array])
def test_every_format(format, kind):
    X, dense = matrix(format, kind), matrix().toarray()
    nets = [network(), network()]
    losses = [net.fit(rows, LABELS, epochs=2).loss for net, rows in zip(nets, (X, dense),
                                                                        strict=True)]
    assert losses[0] == losses[1]
    assert nets[0].predict(X).tobytes() == nets[1].predict(dense).tobytes()


@pytest.mark.filterwarnings("ignore")
def test_slack_and_duplicates_are_legal():
    X, dense = matrix(), matrix().toarray()
    X.data = np.append(X.data, np.full(9, np.nan, "f"))
    X.indices = np.append(X.indices, np.full(9, -5, np.int32))
    double = sp.csr_matrix((np.repeat(matrix().data / 2, 2), np.repeat(matrix().indices, 2),
                            matrix().indptr * 2), matrix().shape)
    unsorted = matrix()
    for row in range(ROWS):
        place = slice(*unsorted.indptr[row:row + 2])
        unsorted.indices[place] = unsorted.indices[place][::-1]
        unsorted.data[place] = unsorted.data[place][::-1]
    for given, exactly in ((X, True), (double, False), (unsorted, False)):
        nets = [network(), network()]
        losses = [net.fit(rows, LABELS, epochs=2).loss for net, rows in zip(nets, (given, dense),
                                                                            strict=True)]
        predictions = nets[0].predict(given), nets[1].predict(dense)
        models = [fastnn.MLPClassifier((4,), max_iter=2, random_state=0).fit(rows, LABELS)
                  for rows in (given, dense)]
        for found, wanted in (losses, predictions, [model.coefs_[0] for model in models]):
            # where terms come in another order, or in parts, sums are rounded otherwise
            np.testing.assert_allclose(found, wanted, rtol=0 if exactly else 2e-5,
                                       atol=0 if exactly else 2e-6)


@pytest.mark.filterwarnings("ignore")
def test_sparse_labels_that_lie():
    y = sp.csr_matrix(np.eye(3)[LABELS])
    fastnn.MLPClassifier((4,), max_iter=2).fit(matrix(), y)
    y.indices = np.where(np.arange(len(y.indices)) == 3, 2**30, y.indices).astype(np.int32)
    lists = sp.lil_matrix(np.eye(3)[LABELS])
    lists.data[0] = [1.0] * 5000
    for labels in (y, lists):
        for action in (lambda labels: fastnn.MLPClassifier((4,), max_iter=2).fit(matrix(), labels),
                       lambda labels: fastnn.MLPRegressor(max_iter=2).fit(matrix(), labels),
                       lambda labels: fastnn.MLPClassifier((4,)).fit_batches(
                           [(matrix(), labels)])):
            with pytest.raises(ValueError, match="y"):
                action(labels)


MASKED = [("csr", "indices"), ("csr", "indptr"), ("csr", "data"), ("csc", "indices"),
          ("coo", "data"), ("dia", "data"), ("dia", "offsets"),
          ("bsr", "data"), ("bsr", "indices")]


@pytest.mark.filterwarnings("ignore")
@each("format, name", MASKED)
def test_hidden_values(format, name):
    """NumPy reads what lies behind a mask."""
    X, net = matrix(format), network()
    setattr(X, name, np.ma.array(getattr(X, name)))
    wanted = net.predict(X)
    mask = np.zeros(getattr(X, name).shape, bool)
    mask[1] = True
    setattr(X, name, np.ma.array(getattr(X, name), mask=mask))
    for action in (net.predict, lambda X: net.fit(X, LABELS, epochs=1),
                   lambda X: fastnn.MLPClassifier((4,), max_iter=2).fit(X, LABELS)):
        with pytest.raises(ValueError, match=rf"{name} is a masked array that hides values"):
            action(X)
    assert wanted.tobytes() == net.predict(matrix()).tobytes()


@pytest.mark.filterwarnings("ignore")
@each("dtype", ["O", "M8[s]", [("a", "f4")], "U3"])
@each("format", ["csr", "coo", "lil"])
def test_values_that_are_no_numbers(format, dtype):
    """SciPy makes no such matrices, but takes what is put into one; to scikit-learn's checks those
    of one field are numbers."""
    X, dtype = matrix(format), np.dtype(dtype)
    if format == "lil":
        X.dtype = dtype
    else:
        X.data = np.zeros(len(X.data), dtype)
    good = fastnn.MLPClassifier((4,), max_iter=2, random_state=0).fit(matrix(), LABELS)
    for action in (network().predict, good.predict,
                   lambda X: fastnn.MLPClassifier((4,), max_iter=2).fit(X, LABELS),
                   lambda X: fastnn.MLPRegressor(max_iter=2).fit(X, LABELS)):
        with pytest.raises(TypeError, match=r"X has dtype .*, must be numeric"):
            action(X)
