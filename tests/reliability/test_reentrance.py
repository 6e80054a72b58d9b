"""Signal handlers and finalisers that use the library while it is being imported or used."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

CODE = """
import collections, os, random, signal, sys, tempfile, time, traceback
import numpy as np

stage, children, alarms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if stage != "import":
    import fastnn
if stage == "fit":
    fastnn.MLP  # its module; the rest is imported by the first fit
X, y = np.ones((100, 5)), np.ones((100, 2))
with tempfile.TemporaryDirectory():  # Python takes a lock in the first one alone
    pass


def use(*_):
    global calls, busy
    if busy:  # else handlers that take longer than the time between two alarms never end
        return
    busy, calls = True, calls + 1
    import fastnn
    net = fastnn.MLP((5, 2), random_state=1)
    net.fit(X, y, epochs=1)
    net.predict(X)
    with tempfile.TemporaryDirectory() as folder:
        net.save(folder + "/model")
        fastnn.load(folder + "/model")
    busy = False


def outer():
    import fastnn
    net = fastnn.MLP((5, 2), random_state=0)
    loss = net.fit(X, y, epochs=3).loss
    output = net.predict(X)
    with tempfile.TemporaryDirectory() as folder:
        net.save(folder + "/model", scaler=(np.zeros(5), np.ones(5)))
        fastnn.load(folder + "/model")
    return repr(loss) + output.tobytes().hex()


def child(delay, interval):
    global calls, busy
    busy, calls = False, 0
    signal.signal(signal.SIGALRM, use)
    signal.setitimer(signal.ITIMER_REAL, delay, interval)
    result = outer()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return result, calls


def run(delay, interval):
    ours, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(its, repr(child(delay, interval)).encode())
        except BaseException as error:
            os.write(its, repr((type(error).__name__, traceback.format_exc()[-700:])).encode())
        finally:
            os._exit(0)
    os.close(its)
    with os.fdopen(ours, "rb") as file:
        found = file.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return eval(found) if code == 0 else (f"exit {code}", "")


spans = []
for _ in range(3):  # one that a busy machine has stretched would set most alarms too late
    start = time.perf_counter()
    wanted, _ = run(1000, 0)
    spans.append(time.perf_counter() - start)
span = min(spans)
rng, moments, failures = random.Random(0), 0, collections.Counter()
tried = 0
while tried < children or moments < children and tried < 20 * children:  # a busy one misses some
    tried += 1
    result, more = run(max(1e-4, rng.random() * span), rng.random() * 2 * span / alarms)
    if result == wanted:
        moments += more
    elif stage == "import" and result in ("AttributeError", "ImportError") and "partially" in more:
        failures["early"] += 1  # the handler came before the first lines of fastnn had run
    else:
        failures[result[:200] + more] += 1
early = failures.pop("early", 0)
assert not failures, failures
assert early <= tried / 10, early
print(moments)
"""


def moments(run_python, stage, children, alarms, timeout):
    done = run_python(CODE, stage, children, alarms, timeout=timeout, OMP_NUM_THREADS=2)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


@pytest.mark.slow
def test_handlers_at_moments_of_the_first_fit(run_python):
    """They were called while the module of the trainer was half done, and the process crashed."""
    assert moments(run_python, "fit", 3, 12, timeout=300) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fit", "module", "import"])
def test_handlers_at_a_thousand_moments(run_python, stage):
    """Of import, first fit, predict, save."""
    assert moments(run_python, stage, 350, 4, timeout=3000) >= 350


FINALISER = """
import sys
import numpy as np, fastnn

net, X, y = fastnn.MLP((5, 2), random_state=0), np.ones((9, 5)), np.ones((9, 2))
found = []


class Finder:
    '''Comes in between imports, as the garbage collector may.'''

    def find_spec(self, name, path=None, target=None):
        if not self.busy and "fastnn.training._trainer" in sys.modules:  # half done
            self.busy = True
            try:
                fastnn.MLP((5, 2), random_state=1).fit(X, y, epochs=1)
                found.append("fitted")
            except RuntimeError as error:
                assert "is being imported" in str(error), error
                found.append("refused")
            self.busy = False

    busy = False


sys.meta_path.insert(0, Finder())
net.fit(X, y, epochs=1)
sys.meta_path.pop(0)
net.fit(X, y, epochs=1)
assert found and np.isfinite(net.parameters).all()
print(*sorted(set(found)))
"""


def test_code_within_the_imports_of_a_fit_is_refused(run_python):
    done = run_python(FINALISER)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


HELD = """
import signal, sys
from fastnn.core.imports import held_back, imported

seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append("handler"))
before = signal.getsignal(signal.SIGUSR1)
with held_back():
    with held_back():
        signal.raise_signal(signal.SIGUSR1)
        seen.append("inside")
    seen.append("between")
assert seen == ["inside", "between", "handler"], seen
assert signal.getsignal(signal.SIGUSR1) is before
try:
    with held_back():
        signal.raise_signal(signal.SIGINT)
        seen.append("not yet")
    seen.append("never")
except KeyboardInterrupt:
    seen.append("interrupted")
assert seen[3:] == ["not yet", "interrupted"], seen
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
with held_back():  # a module may set a handler of its own
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
"""


def test_handlers_are_held_back_and_put_back(run_python):
    done = run_python(HELD)
    assert done.returncode == 0, done.stderr
