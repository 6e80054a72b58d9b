"""Values of classes that say another thing each time they are asked, and results that are written
where the inputs lie."""

import sys
from types import ModuleType

import numpy as np
import pytest
from each import each

import fastnn
from fastnn.core import threads

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype("f"), RNG.normal(size=(40, 2)).astype("f")


class Text(str):
    """Equal to whatever it is compared with."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return True


class Number(int):
    """Compared as one number, turned into another one."""

    def __int__(self):
        return -5


@each("make", [
    lambda text: fastnn.MLP((3, 2), output=text), lambda text: fastnn.MLP((3, 4, 2), text),
    lambda text: fastnn.Dense(3, text), lambda text: fastnn.GLU(text), fastnn.Activation,
    lambda text: fastnn.MLP((3, 2), initializer=text), lambda text: fastnn.MLP((3, 2), gemm=text),
    lambda text: fastnn.MLP((3, 2)).fit(X, Y, loss=text),
    lambda text: fastnn.MLP((3, 2)).fit(X, Y, optimizer=text)])
def test_text_that_equals_everything(make):
    with pytest.raises(ValueError, match="'nonsense' must be one of"):
        make(Text("nonsense"))


def test_text_of_a_subclass_is_the_text():
    net = fastnn.MLP((3, 4, 2), np.str_("ReLU"), np.str_("softmax"), random_state=0)
    assert type(net.output) is type(net.activations[0]) is str
    assert (net.activations, net.output) == (("relu",), "softmax")


@each("make, name", [
    (lambda n: fastnn.MLP((3, 2)).fit(X, Y, batch_size=n), "batch_size"),
    (lambda n: fastnn.MLP((3, 2)).steps(batch_size=n), "batch_size"),
    (lambda n: fastnn.MLP((3, n, 2)), r"sizes\[1\]"), (fastnn.Dense, "units"),
    (lambda n: fastnn.MLP((3, 2), n_threads=n), "n_threads"),
    (lambda n: fastnn.find_learning_rate(fastnn.MLP((3, 2)), X, Y, batch_size=n), "batch_size")])
def test_numbers_that_become_others(make, name):
    with pytest.raises(ValueError, match=rf"{name}=3 must be >= 1"):
        make(Number(3))


@each("n", [2**63, 10**30])
def test_more_than_a_machine_counts(n):
    for make in (lambda: fastnn.MLP((3, 2)).steps(batch_size=n),
                 lambda: fastnn.find_learning_rate(fastnn.MLP((3, 2)), X, Y, n_steps=n)):
        with pytest.raises(ValueError, match="more than any memory holds"):
            make()


def test_no_metrics():
    for metrics in ([], (), None, {}):
        assert fastnn.MLP((3, 2)).fit(X, Y, epochs=1, metrics=metrics).val_loss is None


# ---- results in the place of inputs ----

@each("dtype", ["i1", "f2", "f8"])
def test_out_within_a_map_of_another_dtype(dtype, tmp_path):
    """Rows are converted some at a time: results must not overtake them."""
    net, rows = fastnn.MLP((64, 30), random_state=0), 40_000
    given = (RNG.normal(size=(rows, 64)) * 20).astype(dtype)
    given.tofile(tmp_path / "rows")
    wanted = net.predict(given)
    mapped = np.memmap(tmp_path / "rows", dtype, "r+", shape=given.shape)
    n = min(rows, mapped.nbytes // 4 // 30)
    out = np.asarray(mapped).reshape(-1).view("f4")[:n * 30].reshape(n, 30)
    assert net.predict(mapped[:n], out=out) is out
    assert out.tobytes() == wanted[:n].tobytes()


def test_out_within_the_values_of_a_sparse_matrix():
    sp = pytest.importorskip("scipy.sparse")
    net = fastnn.MLP.of([fastnn.LayerNorm(), fastnn.Dense(30)], n_in=300, random_state=0)
    rows = RNG.normal(size=(1000, 300)).astype("f")
    given = sp.vstack([sp.csr_matrix((7000, 300), dtype="f"), sp.csr_matrix(rows)], "csr")
    wanted = net.predict(given.copy())
    out = given.data[:8000 * 30].reshape(8000, 30)
    assert net.predict(given, out=out) is out
    assert out.tobytes() == wanted.tobytes()


# ---- what is half made, or made again ----

def test_steps_are_made_once():
    """A step of another thread may be under way, which points into what is there."""
    net = fastnn.MLP((3, 2), random_state=0)
    steps = net.steps(fastnn.SGD(0.1))
    steps(X[:1], Y[:1])
    before = net.parameters.copy()
    with pytest.raises(RuntimeError, match=r"made already: net\.steps"):
        steps.__init__(net, None, fastnn.SGD(), {}, 1, None)
    assert net.parameters.tobytes() == before.tobytes()
    assert steps.step == 1
    steps(X[:1], Y[:1])


@each("make", [lambda: fastnn.Dense(4), lambda: fastnn.GLU()])
@each("name", ["softmax", "nonsense", None, "logistic"])
def test_layers_changed_by_force(make, name):
    layer = make()
    object.__setattr__(layer, "activation", name)
    with pytest.raises(ValueError, match="activation"):
        fastnn.MLP.of([fastnn.Dense(8), layer, fastnn.Dense(2)], n_in=3).fit(X, Y, epochs=1)


def test_masked_arrays_while_another_thread_imports_them(monkeypatch):
    for names in ((), ("MaskedArray",)):
        half = ModuleType("numpy.ma")
        for name in names:
            setattr(half, name, getattr(np.ma, name))
        monkeypatch.setitem(sys.modules, "numpy.ma", half)
        fastnn.MLP((3, 2)).fit(X.tolist(), Y.tolist(), epochs=1)


@each("text, wanted", [("9" * 5000, None), ("0" * 5000, None), ("0" * 5000 + "1", 1), ("1", 1),
                       ("1" * 12, None), ("²", None), ("-1", None)])
def test_threads_of_the_environment(text, wanted, monkeypatch):
    """Python makes no int of 5,000 digits."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads.default_threads.cache_clear()
    without = threads.default_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    threads.default_threads.cache_clear()
    try:
        assert threads.default_threads() == (without if wanted is None else wanted)
    finally:
        threads.default_threads.cache_clear()
