"""What the caller has set is as before after import, fit, predict, save and load; and does not
decide what comes out of them.

Of MXCSR the control bits count: rounding, flushing of subnormals, masks. Its flags, which say what
has occurred, may be raised, as by any arithmetic.
"""

import os
import pickle
import random
import signal
import sys
import threading
import warnings

import callers_state
import numpy as np
import pytest
from callers_state import X86, changes, float_mode, set_float_mode, state
from threadpoolctl import threadpool_limits

import fastnn

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(700, 20)), rng.integers(0, 3, 700)
# of decaying size, so that subnormal numbers do occur
SMALL = (X[:50] * 1e-38).astype("float32")


def work(tmp_path, n_threads=2):
    """Everything once; returns bytes that must not depend on the caller's state."""
    found = []
    for dtype in ("float32", "float64"):
        for gemm in ("native", "blas"):
            net = fastnn.MLP((20, 32, 3), output="softmax", dtype=dtype, random_state=0, gemm=gemm,
                             n_threads=n_threads, dropout=0.1)
            net.fit(X, Y, epochs=3, batch_size=64, sample_weight=np.ones(700),
                    validation_data=(X[:50], Y[:50]))
            found += [net.parameters.tobytes(), net.predict(X).tobytes()]
        net.save(tmp_path / "net.safetensors")
        net = fastnn.load(tmp_path / "net.safetensors")
        found += [net.predict(X).tobytes(), net.predict(SMALL).tobytes()]
        scaled = fastnn.Predictor(net, scaler=fastnn.Scaler(np.ones(20), np.full(20, 3.0)))
        found.append(scaled.predict(X).tobytes())
        tiny = fastnn.MLP((20, 3), dtype=dtype, random_state=0)
        found.append(tiny.predict(SMALL).tobytes())
    for settings in ({"solver": "adam"}, {"solver": "sgd", "early_stopping": True},
                     {"solver": "lbfgs"}):
        model = fastnn.MLPClassifier((8,), max_iter=5, random_state=0, n_threads=n_threads,
                                     **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, Y)
        if settings["solver"] != "lbfgs":  # SciPy's L-BFGS is arithmetic of the caller's mode
            found.append(model.predict_proba(X).tobytes())
    return found


def diverge():
    """What the warning itself leaves in the filters: `pytest.warns` would put them back."""
    net = fastnn.MLP((20, 8, 3), output="softmax", random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = state()
        net.fit(X, Y, optimizer=fastnn.SGD(1e30))
        assert changes(before, state()) == []
    assert [warning.category for warning in caught] == [fastnn.DivergenceWarning]


def failures():
    """Errors of every kind, after the work has begun, too."""

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    net = fastnn.MLP((20, 8, 3), output="softmax", random_state=0, gemm="blas", n_threads=2)
    with pytest.raises(Stop):
        net.fit(X, Y, callback=stop)
    with pytest.raises(ValueError):
        net.fit(X * np.nan, Y)
    with pytest.raises(ValueError):
        net.predict(X[:, 1:])
    diverge()
    with pytest.raises(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fastnn.MLPRegressor(solver="sgd", learning_rate_init=1e30, random_state=0).fit(X, Y)
    with pytest.raises((ValueError, OSError)):
        fastnn.load(__file__)


@pytest.fixture(scope="module", autouse=True)
def two_threads_of_blas():
    """More than the one thread that fits want: otherwise nothing would have to be restored.

    SciPy brings a BLAS of its own, and scikit-learn changes the environment: both come first.
    """
    fastnn.MLPClassifier  # noqa: B018
    with threadpool_limits(2, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    before = state()
    found = work(tmp_path_factory.mktemp("wanted"))
    assert changes(before, state()) == []
    return found


@pytest.fixture
def unchanged():
    """Whatever the test does, and whatever it has set before it asks."""
    found = [state()]
    yield lambda: found.__setitem__(0, state())
    assert changes(found[0], state()) == []


def test_nothing_changes(unchanged, wanted, tmp_path):
    unchanged()
    assert work(tmp_path) == wanted


def test_nothing_changes_by_errors(unchanged):
    failures()


@pytest.fixture
def alarm():
    """Sets a handler, to be called every so many seconds (0: not yet)."""
    before = signal.getsignal(signal.SIGALRM)

    def start(handler, seconds):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["plain", "rounding up"])
def mode(request):
    """A float mode of this thread."""
    if request.param == "plain" or not X86:
        yield float_mode()
        return
    before = float_mode()
    set_float_mode(callers_state.PLAIN | callers_state.ROUND_UP)
    yield callers_state.PLAIN | callers_state.ROUND_UP
    set_float_mode(before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_nothing_changes_by_an_interrupt(alarm, mode, n_threads):
    def stop(*_):
        raise KeyboardInterrupt

    net = fastnn.MLP((20, 256, 256, 3), output="softmax", random_state=0, gemm="blas",
                     n_threads=n_threads)
    many = np.zeros((200_000, 20), "float32")  # some 300 ms
    alarm(stop, 0)
    before = state()
    for call in (lambda: net.fit(X, Y, epochs=10**6), lambda: net.predict(many)):
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(KeyboardInterrupt):
            call()
        assert changes(before, state()) == []


@pytest.mark.skipif(not (X86 and hasattr(signal, "setitimer")), reason="sets MXCSR; POSIX timers")
def test_a_handler_finds_the_callers_float_mode(alarm, mode):
    """In the midst of an epoch, whose bits do not change by it. As many epochs as it takes: alarms
    come late on a busy machine."""
    rows, labels = np.tile(X, (300, 1)).astype("float32"), np.tile(Y, 300).astype(np.int32)
    net = fastnn.MLP((20, 64, 3), "tanh", "softmax", random_state=0, n_threads=1)
    again, found = pickle.loads(pickle.dumps(net)), []

    def enough(*_):
        if len(found) >= 4:
            raise fastnn.StopFit

    alarm(lambda *_: found.append((float_mode() ^ mode) & ~callers_state.FLAGS), 0.004)
    history = net.fit(rows, labels, epochs=10_000, callback=enough)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(found) >= 4 and set(found) == {0}
    again.fit(rows, labels, epochs=len(history.loss))
    assert again.parameters.tobytes() == net.parameters.tobytes()


def test_nothing_changes_by_many_threads(unchanged, wanted, tmp_path):
    found = []

    def call(folder):
        folder.mkdir()
        before = float_mode()
        assert work(folder) == wanted
        if X86:
            assert (float_mode() ^ before) & ~callers_state.FLAGS == 0
        found.append(True)

    with warnings.catch_warnings():  # entering and leaving it in threads is the test's own doing
        warnings.simplefilter("ignore")
        workers = [threading.Thread(target=call, args=(tmp_path / str(i),)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert found == [True] * 4


@pytest.mark.skipif(not X86, reason="sets MXCSR")
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("bits", [callers_state.ROUND_UP, callers_state.FLUSH | callers_state.ZERO,
                                  callers_state.ROUND_UP | callers_state.FLUSH])
def test_results_do_not_depend_on_the_float_mode(bits, n_threads):
    """Another library may have left its own in this thread; it is neither used nor lost."""
    data, labels = X.astype("float32"), Y.astype(np.int32)

    def made():  # initial weights are drawn and scaled by NumPy
        nets = [fastnn.MLP((20, 64, 3), output="softmax", random_state=0, gemm=gemm,
                           n_threads=n_threads) for gemm in ("native", "blas")]
        return *nets, fastnn.MLP((20, 3), random_state=0, n_threads=n_threads)

    def passes(net, other, tiny):
        found = []
        for trained in (net, other):
            trained.fit(data, labels, epochs=2, batch_size=64, optimizer=fastnn.SGD(0.01))
            found += [trained.parameters.tobytes(), trained.predict(data).tobytes()]
        scaled = fastnn.Predictor(net, scaler=fastnn.Scaler(np.full(20, 0.1), np.full(20, 3.0)))
        return [*found, scaled.predict(data).tobytes(), tiny.predict(SMALL).tobytes()]

    expected, nets = passes(*made()), made()
    before = float_mode()
    set_float_mode(callers_state.PLAIN | bits)
    try:
        found = passes(*nets)
        after = float_mode()
    finally:
        set_float_mode(before)
    assert after & ~callers_state.FLAGS == callers_state.PLAIN | bits
    assert found == expected


@pytest.mark.skipif(not X86, reason="subnormals of float32 are flushed")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_all_threads_of_a_team_flush_subnormals(n_threads, teams):
    """In training: a weight whose inputs are subnormal has no gradient."""
    data = abs(np.tile(X, (10, 1))).astype("float32") * np.float32(1e-39)  # the sums are normal
    net = fastnn.MLP((20, 3), output="softmax", initializer="zeros", n_threads=n_threads)
    net.fit(data, np.zeros(len(data), int), epochs=9, batch_size=7000, optimizer=fastnn.SGD(1e3))
    assert teams[-1] == n_threads
    assert not net.weights[0].any() and net.biases[0].all()


def test_strict_settings_of_numpy_and_warnings(unchanged, wanted, tmp_path):
    """Neither errors of NumPy's arithmetic nor warnings that are errors come out of usual work."""
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = state()
        assert work(tmp_path) == wanted
        assert changes(before, state()) == []


def test_divergence_under_strict_settings():
    """It is our own warning, not a FloatingPointError."""
    net = fastnn.MLP((20, 8, 3), output="softmax", random_state=0)
    with np.errstate(all="raise"):
        with pytest.warns(fastnn.DivergenceWarning):
            net.fit(X, Y, optimizer=fastnn.SGD(1e30))
        with pytest.raises(ValueError, match="non-finite"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fastnn.MLPRegressor(solver="sgd", learning_rate_init=1e30, random_state=0).fit(X, Y)


def test_random_state_none_leaves_the_global_generators(unchanged):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    unchanged()
    fastnn.MLP((20, 8, 3), output="softmax").fit(X, Y, epochs=1)


IMPORT = """
import os, sys
for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
    os.environ.pop(name, None)  # perhaps of the fastnn that runs the tests
sys.path.insert(0, sys.argv[1])
import callers_state
from callers_state import changes, state, X86
import random, threading, numpy as np, threadpoolctl
if sys.argv[2] == "estimators":
    import scipy.optimize, sklearn.neural_network, sklearn.model_selection
if X86:
    callers_state.set_float_mode(callers_state.PLAIN | callers_state.ROUND_UP)
random.seed(1); np.random.seed(1); np.seterr(over="raise")
before, modules = state(), set(sys.modules)
import fastnn
fastnn.MLP, fastnn.load, fastnn.Adam, fastnn.Predictor
if sys.argv[2] == "estimators":
    fastnn.MLPClassifier
print(sorted({name.split(".")[0] for name in set(sys.modules) - modules}))
print(threading.active_count())
print(changes(before, state()))
"""


@pytest.mark.parametrize("doors", [
    "network", pytest.param("estimators", marks=pytest.mark.slow)])
def test_import(doors, run_python):
    """Of the estimators: beside scikit-learn and SciPy, which do change some of it."""
    done = run_python(IMPORT, os.path.dirname(__file__), doors)
    assert done.returncode == 0, done.stderr
    modules, active, changed = done.stdout.splitlines()
    surprising = set(eval(modules)) - {"fastnn"} - set(sys.stdlib_module_names)
    # empty modules that compiled code registers
    assert {name for name in surprising if "cython" not in name.lower()} == set()
    assert active == "1"
    assert changed == "[]"


@pytest.mark.skipif(not hasattr(os, "umask") or sys.platform == "win32", reason="POSIX modes")
def test_saved_files_follow_the_umask(tmp_path):
    net = fastnn.MLP((2, 2), random_state=0)
    before = os.umask(0o027)
    try:
        net.save(tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640
