"""Sweeps: every public attribute of every public class set to fifty wrong values, and every public
function called with some seventy kinds of arrays. Errors of documented types only, no crash."""

import pytest

WRONG = """
import inspect, itertools, pickle, sys, warnings
import numpy as np, fastnn
import scipy.sparse as sp

warnings.simplefilter("ignore")
np.seterr(all="ignore")
# MemoryError: more than there is; NotImplementedError: of objects that cannot be gone through
ERRORS = (TypeError, ValueError, AttributeError, MemoryError, NotImplementedError)
rng = np.random.default_rng(0)
ROWS = rng.normal(size=(12, 3)).astype("f")
LABELS = np.arange(12) % 2
VALUES = [
    None, True, False, 0, 1, -1, 2, 2**31, 2**40, 2**63, 2**64, -2**63, 0.0, 0.5, -0.5, 1.0, 2.5,
    1e300, float("nan"), float("inf"), -float("inf"), 1j, "", "relu", "softmax", "nonsense",
    "\\0", "x" * 10000, b"bytes", (), [], {}, set(), (1,), [0.3], [None], ("relu",), ("softmax",),
    (3, 2), (-3, 2), (3, 2**62), {"a": 1}, object(), int, len, lambda *_: None, np.array(3),
    np.array([]), np.zeros(3), np.zeros(3, "f"), np.zeros((3, 2)), np.zeros((2, 3), int),
    np.full(3, np.nan), np.zeros(3, object), np.array(["a"]), np.zeros(3, complex),
    np.zeros(6)[::2], np.dtype("int8"), np.dtype("float32"), np.float32, range(3), Ellipsis,
    [np.zeros((3, 2)), np.zeros((2, 2))], [np.zeros(2), np.zeros(2)],
]
"""

ATTRIBUTES = WRONG + """
net = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
scaler = fastnn.Scaler(np.zeros(3), np.ones(3))
names = sys.argv[1].split(",")


def fitted(name, *arguments, **settings):
    # only where it is asked for: the fits take longer than the sweep
    model = getattr(fastnn, name)(*arguments, **settings, random_state=0)
    return model.fit(ROWS, LABELS) if name in names else model


chosen = {
    "MLP": net, "Scaler": scaler, "NetworkSpec": net.spec, "Dense": fastnn.Dense(3),
    "Activation": fastnn.Activation("relu"), "LayerNorm": fastnn.LayerNorm(),
    "BatchNorm": fastnn.BatchNorm(), "Scale": fastnn.Scale(), "PReLU": fastnn.PReLU(),
    "Repeat": fastnn.Repeat(2), "Heads": fastnn.Heads(2, 2),
    "Embed": fastnn.Embed(2, (3, 4)), "GLU": fastnn.GLU("sigmoid"),
    "Dropout": fastnn.Dropout(0.1), "Residual": fastnn.Residual([fastnn.Dense(3)]),
    "Predictor": fastnn.Predictor(net, "classification", classes=["a", "b"], scaler=scaler),
    "Adam": fastnn.Adam(), "AdamW": fastnn.AdamW(), "SGD": fastnn.SGD(),
    "RMSprop": fastnn.RMSprop(), "Adagrad": fastnn.Adagrad(), "Adadelta": fastnn.Adadelta(),
    "AdaMax": fastnn.AdaMax(), "Nadam": fastnn.Nadam(), "Rprop": fastnn.Rprop(),
    "Lion": fastnn.Lion(), "Muon": fastnn.Muon(layers={1: dict(muon=True)}),
    "EMA": fastnn.EMA("adam"), "History": fastnn.History(),
    "LBFGS": fastnn.LBFGS(max_iter=3), "EvolutionStrategy": fastnn.EvolutionStrategy(population=4),
    "EarlyStopping": fastnn.EarlyStopping("loss"), "TimeLimit": fastnn.TimeLimit(60),
    "ReduceOnPlateau": fastnn.ReduceOnPlateau("loss"), "RecordPath": fastnn.RecordPath(),
    "MLPClassifier": fitted("MLPClassifier", (4,), max_iter=2),
    "MLPRegressor": fitted("MLPRegressor", hidden_layer_sizes=(4,), max_iter=2),
    "CustomActivation": fastnn.CustomActivation(np.sin, np.cos),
    "TabularClassifier": fitted("TabularClassifier", preset="fast"),
    "TabularRegressor": fitted("TabularRegressor", preset="fast"),
}
classes = {name for name in fastnn.__all__ if inspect.isclass(getattr(fastnn, name))
           and not issubclass(getattr(fastnn, name), Exception)} - {"TableEncoder"}
# what is no object of its own, and what would write files under odd names
classes -= {"Callback", "FitState", "CSVLogger", "Snapshots", "TensorBoard", "MLflowLogger",
            "OptunaPruning", "Steps"}
assert classes == set(chosen), classes ^ set(chosen)
states = {name: pickle.dumps(model) for name, model in chosen.items()}


def use(name, model):
    if name in ("MLPClassifier", "MLPRegressor"):
        yield lambda: model.predict(ROWS)
        yield lambda: model.predict_proba(ROWS) if name == "MLPClassifier" else None
        if attribute not in ("hidden_layer_sizes", "max_iter"):  # thousands of both are no error
            yield lambda: model.partial_fit(ROWS, LABELS)
            yield lambda: model.fit(ROWS, LABELS)
    elif name in ("TabularClassifier", "TabularRegressor"):
        yield lambda: model.predict(ROWS)
        yield lambda: model.predict_proba(ROWS) if name == "TabularClassifier" else None
    elif name == "MLP":
        yield lambda: model.predict(ROWS)
        yield lambda: model.fit(ROWS, LABELS, epochs=1)
        yield lambda: pickle.loads(pickle.dumps(model)).predict(ROWS)
    elif isinstance(model, fastnn.Callback):
        yield lambda: net.fit(ROWS, LABELS, epochs=2, callbacks=[model])
    elif name == "Scaler":
        yield lambda: model.apply(ROWS, "float32")
        yield lambda: fastnn.Predictor(net, scaler=model).predict(ROWS)
    elif name == "Predictor":
        yield lambda: model.predict(ROWS)
        yield lambda: model.predict_proba(ROWS)
    elif isinstance(model, (fastnn.training.optimizers.Optimizer, fastnn.LBFGS)):
        yield lambda: net.fit(ROWS, LABELS, epochs=1, optimizer=model)
    elif name == "NetworkSpec":
        yield lambda: fastnn.MLP.of(model.layers, n_in=model.n_in).predict(ROWS)


stride = int(sys.argv[2])
tried = tried_values = 0
for name in chosen:
    if name not in names:
        continue
    for attribute in [a for a in dir(chosen[name]) if not a.startswith("_")]:
        if callable(getattr(type(chosen[name]), attribute, None)):
            continue
        tried_values += 1
        for value in VALUES[tried_values % stride::stride]:
            model = pickle.loads(states[name])
            try:
                setattr(model, attribute, value)
            except ERRORS:
                pass
            for call in use(name, model):
                tried += 1
                try:
                    call()
                except ERRORS:
                    pass
                except Exception as error:
                    print("ODD", name, attribute, repr(value)[:40], type(error).__name__, error)
print("tried", tried)
"""

ARRAYS = WRONG + """
import decimal, fractions, mmap, sys
good = np.ones((12, 3))
kinds = [*VALUES, good.astype("f2"), good.astype("longdouble"), good.astype(">f8"),
         good.astype("i1"), good.astype("u8"), good.astype(bool), good.astype(complex),
         good.astype(object), good.astype("U3"), good.astype("S3"), good.astype("M8[s]"),
         good.astype("m8[s]"), np.asfortranarray(good), np.repeat(good, 2, 1)[:, ::2],
         good[::-1], np.broadcast_to(np.ones(3), (12, 3)), good[None], good[:, :2], good[:0],
         good.tolist(), [[1, 2, 3], [1, 2]], np.matrix(good), np.ma.masked_equal(good, 1),
         np.zeros(12, [("a", "f4"), ("b", "f4"), ("c", "f4")]), np.full((12, 3), np.nan),
         np.full((12, 3), 1e300), np.full((12, 3), 10**400, object),
         np.frombuffer(bytearray(12 * 12 + 1), np.uint8)[1:].view("f4").reshape(12, 3),
         sp.csr_matrix(good), sp.csc_matrix(good), sp.coo_matrix(good), sp.lil_matrix(good),
         sp.dok_matrix(good), sp.bsr_matrix(good), sp.dia_matrix(good), sp.csr_array(good),
         sp.csr_matrix(good.astype(complex)), sp.csr_matrix((12, 5)), memoryview(good),
         [[decimal.Decimal(1)] * 3] * 12, [[fractions.Fraction(1, 2)] * 3] * 12, iter([[1, 2, 3]])]
net = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
scaler = fastnn.Scaler(np.zeros(3), np.ones(3))
predictor = fastnn.Predictor(net, "classification", classes=["a", "b"], scaler=scaler)
plain = fastnn.Predictor(net)
model = fastnn.MLPClassifier((4,), max_iter=2, random_state=0).fit(ROWS, LABELS)
value = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(ROWS, LABELS)
calls = {
    "predict": net.predict, "out": lambda a: net.predict(ROWS, out=a),
    "activations_of": net.activations_of, "fit": lambda a: net.fit(a, LABELS, epochs=1),
    "fit y": lambda a: net.fit(ROWS, a, epochs=1), "loss": lambda a: net.loss(a, LABELS),
    "fit weight": lambda a: net.fit(ROWS, LABELS, sample_weight=a, epochs=1),
    "grad": lambda a: net.loss_and_grad(ROWS, a), "deltas": lambda a: net.deltas(a, LABELS),
    "validation": lambda a: net.fit(ROWS, LABELS, validation_data=(a, a), epochs=1),
    "set_weights": lambda a: net.set_weights([a, a, a, a]), "set_weights list": net.set_weights,
    "apply": lambda a: scaler.apply(a, "float64"), "Scaler": lambda a: fastnn.Scaler(a, a),
    "limits": lambda a: fastnn.Scaler([0.0], [1.0], a), "Predictor": predictor.predict,
    "proba": predictor.predict_proba, "plain": plain.predict,
    "plain out": lambda a: plain.predict(ROWS, out=a),
    "classes": lambda a: fastnn.Predictor(net, "classification", classes=a),
    "names": lambda a: fastnn.Predictor(net, feature_names=a),
    "classifier": model.predict, "its proba": model.predict_proba, "regressor": value.predict,
    "classifier fit": lambda a: fastnn.MLPClassifier((4,), max_iter=2).fit(a, LABELS),
    "classifier y": lambda a: fastnn.MLPClassifier((4,), max_iter=2).fit(ROWS, a),
    "classifier weight": lambda a: fastnn.MLPClassifier((4,), max_iter=2).fit(ROWS, LABELS, a),
    "regressor y": lambda a: fastnn.MLPRegressor(max_iter=2).fit(ROWS, a),
}
tried, stride = 0, int(sys.argv[1])
for i, (name, call) in enumerate(calls.items()):
    for kind in kinds[i % stride::stride]:
        tried += 1
        try:
            call(kind)
        except ERRORS:
            pass
        except Exception as error:
            print("ODD", name, repr(kind)[:60], type(error).__name__, str(error)[:200])
print("tried", tried)
"""


def check(done, least):
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    odd = [line for line in done.stdout.splitlines() if line.startswith("ODD")]
    assert not odd, "\n".join(odd[:30])
    assert int(done.stdout.split()[-1]) >= least


NETWORKS = ("MLP,Scaler,Predictor,NetworkSpec,Adam,AdamW,SGD,RMSprop,Adagrad,LBFGS,"
            "EvolutionStrategy,History,Dense,EarlyStopping,ReduceOnPlateau,TimeLimit,RecordPath")
OPTIMIZERS = "Adadelta,AdaMax,Nadam,Rprop,Lion,Muon,EMA"
SLOW = pytest.mark.slow


@pytest.mark.parametrize("names, stride, least", [
    (f"{NETWORKS},{OPTIMIZERS}", 48, 60), pytest.param(NETWORKS, 1, 2000, marks=SLOW),
    pytest.param(OPTIMIZERS, 1, 1000, marks=SLOW),
    ("TabularClassifier,TabularRegressor", 96, 8),
    pytest.param("TabularClassifier,TabularRegressor", 4, 200, marks=SLOW),
    pytest.param("MLPClassifier,MLPRegressor", 1, 4000, marks=SLOW)])
def test_attributes(run_python, names, stride, least):
    """Every ``stride``-th value, the next attribute starting with the next one."""
    pytest.importorskip("sklearn")
    # under a sanitizer a whole sweep takes many minutes
    check(run_python(ATTRIBUTES, names, stride, timeout=1800, OMP_NUM_THREADS=2), least)


@pytest.mark.parametrize("stride, least", [(3, 500), pytest.param(1, 1500, marks=SLOW)])
def test_arrays(run_python, stride, least):
    """Every ``stride``-th kind, the next call starting with the next one."""
    pytest.importorskip("sklearn")
    check(run_python(ARRAYS, stride, timeout=1800, OMP_NUM_THREADS=2), least)
