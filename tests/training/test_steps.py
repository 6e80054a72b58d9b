"""Single steps do what a fit does with the same batches, and see what is done to the network."""

import copy
import doctest
import os
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from each import each

import fastnn
from fastnn import Activation, Dense, Dropout, LayerNorm, Residual

ROWS = 12


def problem(n_in=5, n_out=3, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, n_in)).astype(dtype)
    return X, np.tanh(X[:, :n_out] * 2).astype(dtype), rng.integers(0, n_out, ROWS)


def same(a, b):
    return a.parameters.tobytes() == b.parameters.tobytes()


def take(steps, X, y, batch, **settings):
    return [steps(X[i:i + batch], y[i:i + batch], **settings) for i in range(0, len(X), batch)]


NETS = {
    "narrow": lambda **k: fastnn.MLP((5, 9, 3), random_state=1, **k),
    "tanh": lambda **k: fastnn.MLP((5, 9, 7, 3), "tanh", random_state=1, **k),
    "gelu": lambda **k: fastnn.MLP((5, 33, 3), "gelu", random_state=1, **k),
    "no hidden layer": lambda **k: fastnn.MLP((5, 3), random_state=1, **k),
    "wide": lambda **k: fastnn.MLP((5, 150, 140, 3), random_state=1, **k),
    "panels": lambda **k: fastnn.MLP((5, 1024, 8, 3), random_state=1, **k),
    "layers": lambda **k: fastnn.MLP.of(
        [Dense(8), LayerNorm(), Activation("tanh"), Residual([Dense(8, "relu"), Dropout(0.3)]),
         Dense(3)], n_in=5, random_state=1, **k),
    "norm": lambda **k: fastnn.MLP((5, 9, 9, 3), norm="layer", residual=True, random_state=1, **k),
    "dropout": lambda **k: fastnn.MLP((5, 20, 3), dropout=0.4, random_state=1, **k),
}
OPTIMIZERS = {
    "sgd": fastnn.SGD(0.05, momentum=0.0),
    "momentum": fastnn.SGD(0.05),
    "adam": fastnn.Adam(0.01),
    "average": fastnn.EMA(fastnn.Adam(0.01), 0.9),
    "layers": fastnn.AdamW(0.01, layers={0: {"learning_rate_factor": 0.5}}),
}


@each("net, optimizer, batch, dtype",
      [(net, "adam", batch, dtype) for net in NETS for batch in (1, 5)
       for dtype in ("float32", "float64")]
      + [("narrow", optimizer, batch, "float32") for optimizer in OPTIMIZERS for batch in (1, 4)]
      + [("wide", optimizer, 1, "float32") for optimizer in OPTIMIZERS])
def test_bytes_of_a_fit(net, optimizer, batch, dtype):
    X, y, _ = problem(dtype=dtype)
    fitted, stepped = NETS[net](dtype=dtype), NETS[net](dtype=dtype)
    history = fitted.fit(X, y, optimizer=OPTIMIZERS[optimizer], batch_size=batch, epochs=1,
                         shuffle=False, alpha=0.1)
    losses = take(stepped.steps(OPTIMIZERS[optimizer], alpha=0.1, batch_size=batch), X, y, batch)
    assert same(fitted, stepped)
    rows = [len(X[i:i + batch]) for i in range(0, ROWS, batch)]
    assert np.isclose(np.average(losses, weights=rows), history.loss[0], rtol=1e-6)


@each("settings", [{"l1": 0.1}, {"clip_norm": 0.1}, {"clip_value": 0.01}, {"max_norm": 0.5},
                   {"input_dropout": 0.4}, {"input_noise": 0.3}, {"mixup": 0.4}])
def test_settings_are_those_of_a_fit(settings):
    X, y, _ = problem()
    fitted, stepped = NETS["narrow"](), NETS["narrow"]()
    fitted.fit(X, y, batch_size=4, epochs=1, shuffle=False, **settings)
    take(stepped.steps(batch_size=4, **settings), X, y, 4)
    assert same(fitted, stepped)


@each("output, loss, batch", [
    (output, loss, batch) for batch in (1, 4) for output, loss in [
        ("softmax", None), ("softmax", fastnn.losses.Focal()), ("sigmoid", None), ("exp", None),
        ("identity", "huber"), ("tanh", "squared_error"), ("step", "perceptron")]])
def test_losses(output, loss, batch):
    X, y, labels = problem()
    targets = labels if output == "softmax" else (y > 0).astype(np.float32)
    nets = [fastnn.MLP((5, 9, 3), output=output, random_state=0) for _ in range(2)]
    nets[0].fit(X, targets, loss=loss, batch_size=batch, epochs=1, shuffle=False)
    take(nets[1].steps(loss=loss, batch_size=batch), X, targets, batch)
    assert same(*nets)


def test_a_loss_and_an_activation_in_python():
    X, y, _ = problem()
    loss = fastnn.losses.Custom(lambda y, z: (z - y) ** 2, lambda y, z: 2 * (z - y))
    sine = fastnn.CustomActivation(np.sin, np.cos)
    for batch in (1, 4):
        for activation in ("relu", sine):
            nets = [fastnn.MLP((5, 9, 3), activation, random_state=0) for _ in range(2)]
            nets[0].fit(X, y, loss=loss, batch_size=batch, epochs=1, shuffle=False)
            take(nets[1].steps(loss=loss, batch_size=batch), X, y, batch)
            assert same(*nets)


def test_products_by_blas():
    X, y, _ = problem()
    nets = [fastnn.MLP((5, 9, 3), random_state=0, gemm="blas") for _ in range(2)]
    nets[0].fit(X, y, batch_size=4, epochs=1, shuffle=False)
    take(nets[1].steps(batch_size=4), X, y, 4)
    assert same(*nets)


def test_frozen_layers_stay():
    X, y, _ = problem()
    net = NETS["narrow"]()
    net.freeze(0)
    before = net.get_weights()
    net.steps(fastnn.SGD(0.1))(X[:1], y[:1])
    assert (net.weights[0] == before[0]).all()
    assert (net.weights[1] != before[2]).any()


# ---- what is given ----

FORMS = {
    "list": lambda X, y: (X.tolist(), y.tolist()),
    "float64": lambda X, y: (X.astype(float), y.astype(float)),
    "by columns": lambda X, y: (np.asfortranarray(X), np.asfortranarray(y)),
    "every other row": lambda X, y: (np.repeat(X, 2, axis=0)[::2], np.repeat(y, 2, axis=0)[::2]),
    "csr": lambda X, y: (sp.csr_matrix(X), y),
    "csc": lambda X, y: (sp.csc_matrix(X), y),
    "other byte order": lambda X, y: (X.astype(">f4"), y.astype(">f4")),
    "read-only": lambda X, y: (np.frombuffer(X.tobytes(), X.dtype).reshape(X.shape), y),
}


@each("form, rows", [(form, rows) for form in FORMS for rows in (1, 3)])
def test_forms_of_a_batch(form, rows):
    X, y, _ = problem()
    one, other = NETS["narrow"](), NETS["narrow"]()
    mine, others = one.steps(), other.steps()
    for i in range(0, 9, rows):
        batch = X[i:i + rows], y[i:i + rows]
        assert mine(*batch) == others(*FORMS[form](*batch))
        assert mine(*batch) == others(*batch)  # an array after a sparse matrix
    assert same(one, other)


@each("kind", ["int64", "int32", "int8", "uint8", "float32", "bool"])
def test_labels_of_any_type(kind):
    X, _, labels = problem(n_out=2)
    nets = [fastnn.MLP((5, 9, 2), output="softmax", random_state=0) for _ in range(2)]
    for net, y in zip(nets, (labels, labels.astype(kind)), strict=True):
        take(net.steps(), X, y, 1)
    assert same(*nets)


def test_one_column_of_targets():
    X, y, _ = problem(n_out=1)
    nets = [fastnn.MLP((5, 9, 1), random_state=0) for _ in range(2)]
    take(nets[0].steps(), X, y, 1)
    take(nets[1].steps(), X, y[:, 0], 1)
    assert same(*nets)


def test_sample_weights():
    X, y, _ = problem()
    weight = np.linspace(0.5, 2, ROWS)
    nets = [NETS["narrow"]() for _ in range(2)]
    nets[0].fit(X, y, sample_weight=weight, batch_size=4, epochs=1, shuffle=False)
    steps = nets[1].steps(batch_size=4)
    for i in range(0, ROWS, 4):
        steps(X[i:i + 4], y[i:i + 4], sample_weight=weight[i:i + 4])
    assert same(*nets)


def test_a_larger_batch_makes_room():
    X, y, _ = problem()
    sizes = [1, 3, 2, 6]
    batches, at = [], 0
    for size in sizes:
        batches.append((X[at:at + size], y[at:at + size]))
        at += size
    for name in ("narrow", "layers"):
        one, other = NETS[name](), NETS[name]()
        one.fit_batches([batches[0]], batch_size=None)
        other.fit_batches([batches[0]], batch_size=None)
        one.fit_batches(batches, optimizer=fastnn.EMA("adam", 0.9))
        steps = other.steps(fastnn.EMA("adam", 0.9))
        for batch in batches:
            steps(*batch)
        assert same(one, other)
        assert steps.batch_size == 6
        assert steps.step == 4


BAD = {
    "columns": (lambda X, y: (X[:, :4], y), ValueError, "X has 4 columns, must have 5"),
    "one dimension": (lambda X, y: (X[0], y[:1]), ValueError, r"X.reshape\(1, -1\)"),
    "no rows": (lambda X, y: (X[:0], y[:0]), ValueError, "X has 0 rows"),
    "nan": (lambda X, y: (X * np.float32(np.nan), y), ValueError, "X contains NaN"),
    "infinity": (lambda X, y: (X * np.float32(np.inf), y), ValueError, "X contains infinity"),
    "nan in y": (lambda X, y: (X, y * np.float32(np.nan)), ValueError, "y contains NaN"),
    "rows of y": (lambda X, y: (X, y[:1]), ValueError, "must have one row for each of 3"),
    "columns of y": (lambda X, y: (X, y[:, :2]), ValueError, r"must be \(3, 3\)"),
    "strings": (lambda X, y: (X.astype(str), y), TypeError, "X has dtype <U"),
    "none": (lambda X, y: (None, y), TypeError, "X=None must be an array"),
}


@each("case", list(BAD))
def test_bad_batches(case):
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps(batch_size=4)
    steps(X[:3], y[:3])
    before = net.parameters.copy()
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=message), np.errstate(all="ignore"):
        steps(*change(X[:3], y[:3]))
    assert (net.parameters == before).all()
    assert steps.step == 1
    assert np.isfinite(steps(X[:3], y[:3]))


@each("labels, message", [([3], "labels in 3..3"), ([-1], "labels in -1..-1"),
                          ([2**33], "labels in"), ([0.5], "not whole numbers")])
def test_labels_out_of_range(labels, message):
    X, _, _ = problem()
    steps = fastnn.MLP((5, 9, 3), output="softmax", random_state=0).steps()
    with pytest.raises(ValueError, match=message):
        steps(X[:1], np.array(labels))


@each("output, loss, bad", [("sigmoid", None, 1.5), ("sigmoid", None, -0.5), ("exp", None, -1),
                            ("exp", "gamma", 0)])
def test_targets_that_the_loss_does_not_take(output, loss, bad):
    X, _, _ = problem()
    steps = fastnn.MLP((5, 9, 3), output=output, random_state=0).steps(loss=loss)
    with pytest.raises(ValueError, match="needs"):
        steps(X[:1], np.full((1, 3), bad, "float32"))


@each("settings, kind, message", [
    ({"optimizer": fastnn.LBFGS()}, ValueError, "LBFGS takes no steps along the gradient"),
    ({"optimizer": fastnn.EvolutionStrategy(0.1)}, ValueError, "takes no steps"),
    ({"optimizer": 3}, TypeError, "must be an Optimizer"),
    ({"optimizer": fastnn.SGD(lambda epoch: 0.1)}, ValueError, "single steps do not know"),
    ({"optimizer": fastnn.SGD(fastnn.schedules.Cosine(0.1))}, ValueError, "Cosine"),
    ({"alpha": -1.0}, ValueError, "alpha"),
    ({"clip_norm": 0.0}, ValueError, "clip_norm"),
    ({"batch_size": 0}, ValueError, "batch_size=0"),
    ({"loss": "cross_entropy"}, ValueError, "cross_entropy"),
])
def test_bad_settings(settings, kind, message):
    with pytest.raises(kind, match=message):
        NETS["narrow"]().steps(**settings)


# ---- the network between two steps ----

@each("net, optimizer", [(net, optimizer) for net in ("narrow", "wide", "norm")
                         for optimizer in ("adam", "average")])
def test_what_is_set_is_seen(net, optimizer):
    """A step from parameters that were set, in place or not, is one from there."""
    X, y, _ = problem()
    other = NETS[net]()
    other.fit(X, y, epochs=1)
    changes = {
        "set_weights": lambda net: net.set_weights(other.get_weights()),
        "in place": lambda net: net.parameters.__setitem__(slice(None), other.parameters),
        "fit": lambda net: net.fit(X, y, epochs=1, batch_size=4),
    }
    if optimizer == "average":
        del changes["in place"]  # that is the mean, which the optimizer does not go on from
    for name, change in changes.items():
        mine = NETS[net]()
        steps = mine.steps(OPTIMIZERS[optimizer])
        steps(X[:1], y[:1])
        change(mine)
        start = copy.deepcopy(mine)
        loss = steps(X[1:2], y[1:2])
        assert loss == start.steps(OPTIMIZERS[optimizer])(X[1:2], y[1:2]), name
        assert steps.step == 2
        assert not same(mine, start)


def test_predictions_see_each_step():
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps()
    vector = net.parameters
    for _ in range(3):
        before = net.predict(X)
        steps(X[:1], y[:1])
        assert (net.predict(X) != before).any()
        assert net.parameters is vector


def test_two_kinds_of_steps_take_turns():
    X, y, _ = problem()
    net, twin = NETS["narrow"](), NETS["narrow"]()
    a, b = net.steps(fastnn.SGD(0.1, 0.0)), net.steps(fastnn.SGD(0.01, 0.0))
    one = twin.steps(fastnn.SGD(0.1, 0.0))
    for i in range(4):
        (a, b)[i % 2](X[i:i + 1], y[i:i + 1])
        one.learning_rate = (0.1, 0.01)[i % 2]
        one(X[i:i + 1], y[i:i + 1])
    assert same(net, twin)


def test_learning_rates():
    X, y, _ = problem()
    rates = [0.1, 0.02, 0.3]
    by_step = NETS["narrow"]()
    steps = by_step.steps(fastnn.SGD(fastnn.schedules.ByStep(lambda step: rates[step])))
    by_hand = NETS["narrow"]()
    own = by_hand.steps(fastnn.SGD(1.0))
    for i, rate in enumerate(rates):
        assert steps.learning_rate == rate
        steps(X[i:i + 1], y[i:i + 1])
        own.learning_rate = rate
        own(X[i:i + 1], y[i:i + 1])
    assert same(by_step, by_hand)
    with pytest.raises(ValueError, match="learning_rate=0"):
        own.learning_rate = 0


def test_a_loss_that_is_not_finite_leaves_the_step_out():
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps(fastnn.SGD(0.1))
    steps(X[:1], y[:1])
    before = net.parameters.copy()
    with pytest.warns(fastnn.DivergenceWarning, match="step 1 has diverged"):
        loss = steps(X[:1], np.full((1, 3), 3e38, "float32"))
    assert not np.isfinite(loss)
    assert (net.parameters == before).all()
    assert steps.step == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps(X[:1], y[:1])


def test_penalties_that_are_not_finite_do_not_leave_it_out():
    """The warning said that they do."""
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps(fastnn.SGD(0.1), alpha=1e308)
    with pytest.warns(fastnn.DivergenceWarning, match="penalties of step 1 are .* step is done"):
        loss = steps(X[:1], y[:1])
    assert not np.isfinite(loss)
    assert steps.step == 1 and not np.isfinite(net.parameters).all()
    with pytest.warns(fastnn.DivergenceWarning, match="step 1 has diverged .* is left out"):
        steps(X[:1], y[:1])


def test_steps_are_not_copied():
    steps = NETS["narrow"]().steps()
    for function in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickle the network"):
            function(steps)
    assert "0 done" in repr(steps)


def test_copies_of_the_network_stay():
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps()
    steps(X[:1], y[:1])
    twins = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    steps(X[:1], y[:1])
    for twin in twins:
        assert not same(net, twin)


# ---- other callers ----

def test_steps_within_a_step_are_refused():
    X, y, _ = problem()
    found = []

    def value(y, z):
        with pytest.raises(RuntimeError, match="being taken"):
            steps(X[:1], y)
        found.append(True)
        return (z - y) ** 2

    loss = fastnn.losses.Custom(value, lambda y, z: 2 * (z - y))
    steps = NETS["narrow"]().steps(loss=loss)
    steps(X[:1], y[:1])
    assert found


@pytest.mark.parametrize("change", [lambda net: net.grow(n_out=net.sizes[-1] + 1),
                                    lambda net: net.set_weights(net.get_weights())])
@pytest.mark.parametrize("where", ["loss", "data"])
def test_a_network_that_is_changed_within_a_step_is_told(where, change):
    """The step went to weights that the network has no longer, without a word."""
    X, y, _ = problem()
    net, done = NETS["narrow"](), []

    def once():
        if not done:
            done.append(True)
            change(net)

    class Rows:
        def __array__(self, *_, **__):
            once()
            return X[:1]

    def value(y, z):
        once()
        return (z - y) ** 2

    loss = fastnn.losses.Custom(value, lambda y, z: 2 * (z - y)) if where == "loss" else None
    steps = net.steps() if loss is None else net.steps(loss=loss)
    with pytest.raises(RuntimeError, match="changed within this step"):
        steps(Rows() if where == "data" else X[:1], y[:1])
    assert done
    if change.__code__.co_names[0] == "set_weights":
        before = net.parameters.copy()
        steps(X[:1], y[:1])
        assert (net.parameters != before).any()


def test_steps_within_a_fit_are_refused():
    X, y, _ = problem()
    net = NETS["narrow"]()
    steps = net.steps()

    def callback(epoch, net, history):
        with pytest.raises(RuntimeError, match="being fitted already"):
            steps(X[:1], y[:1])

    history = net.fit(X, y, epochs=1, callback=callback)
    assert len(history.loss) == 1
    steps(X[:1], y[:1])


def test_threads_take_long_steps_one_at_a_time():
    """A long step lets other threads run: what they ask of it is refused, or done after it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 64)).astype("float32")
    net = fastnn.MLP((64, 256, 1), random_state=0)
    steps = net.steps(batch_size=256)
    done, refused = [], []

    def work():
        for _ in range(10):
            try:
                steps(X, X[:, :1])
                done.append(True)
            except RuntimeError:
                refused.append(True)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps.step == len(done)
    assert len(done) + len(refused) == 30
    assert np.isfinite(net.parameters).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer")
@each("rows, hidden", [(1, 20), (512, 700)])
def test_ctrl_c_ends_steps(rows, hidden):
    """Between two short steps, or within a long one; the next one goes on."""
    def handler(number, frame):
        raise KeyboardInterrupt

    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 50)).astype("float32")
    net = fastnn.MLP((50, hidden, hidden, 1), random_state=0)
    steps = net.steps(batch_size=rows)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            for _ in range(10**7):
                steps(X, X[:, :1])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.isfinite(net.parameters).all()
    done = steps.step
    assert np.isfinite(steps(X, X[:, :1]))
    assert steps.step == done + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_steps_go_on_in_a_child():
    X, y, _ = problem()
    net, twin = NETS["narrow"](), NETS["narrow"]()
    steps, other = net.steps(), twin.steps()
    steps(X[:1], y[:1]), other(X[:1], y[:1])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            steps(X[1:2], y[1:2])
            os.write(write, net.parameters.tobytes())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    before = net.parameters.copy()
    other(X[1:2], y[1:2])
    assert found == twin.parameters.tobytes()
    assert (net.parameters == before).all()


def test_the_example_of_the_class():
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(fastnn.Steps, "Steps", globs={}):
        runner.run(example)
    assert runner.summarize() == (0, 7)
