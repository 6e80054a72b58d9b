"""X of more than 2**31 elements: every index is 64 bits wide, and X is read where it lies."""

import os
import shutil
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="sparse files, /proc"),
    # pages of the file that were read are memory too, given back where the file is on a disk
    pytest.mark.skipif(
        sys.platform == "linux"
        and os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 12 * 2**30,
        reason="needs 12 GB of memory"),
]

START = """
import os, sys, threading, time
import numpy as np, scipy.sparse
import fastnn

COLUMNS = int(sys.argv[2])
ROWS = 2**31 // COLUMNS + 3
assert ROWS * COLUMNS > 2**31
X = np.memmap(sys.argv[1], np.float32, "w+", 0, (ROWS, COLUMNS))  # a hole as long as the file
rng = np.random.default_rng(0)
boundary = 2**31 // COLUMNS
places = np.unique(np.r_[0, 1, boundary - 1, boundary, boundary + 1, ROWS - 1,
                         rng.integers(0, ROWS, 40), 2**20, 2**20 - 1])
few = rng.normal(size=(len(places), COLUMNS)).astype("f")
few[:, 20:] = 0
X[places] = few
X.flush()
X = np.memmap(sys.argv[1], np.float32, "r", 0, (ROWS, COLUMNS))
y = np.zeros(ROWS, np.int32)
y[places] = 1

def made():
    return fastnn.MLP((COLUMNS, 4, 2), "tanh", "softmax", random_state=0, n_threads=2)

def anonymous():
    return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) / 2**10

made().fit(few, y[places], epochs=1)
peak = [anonymous()]
def watch():
    while True:
        peak.append(anonymous())
        time.sleep(0.02)
begin = peak[0]
threading.Thread(target=watch, daemon=True).start()
"""

PREDICT = START + """
net = made()
out = net.predict(X)
assert out.shape == (ROWS, 2)
assert out[places].tobytes() == net.predict(few).tobytes()
rest = np.ones(ROWS, bool)
rest[places] = False
assert (out[rest] == net.predict(np.zeros((1, COLUMNS), "f"))).all()
model = fastnn.Predictor(net)
assert model.predict(X).tobytes() == out.tobytes()
print(max(peak) - begin)
"""

FIT = START + """
more = {"epochs": 1, "batch_size": 2048, "optimizer": fastnn.SGD(0.5)}
net = made()
net.fit(X, y, **more)
grown = max(peak) - begin
# the same rows in the same order, as a sparse matrix
start = np.zeros(ROWS + 1, np.int64)
start[places + 1] = 20
csr = scipy.sparse.csr_array(
    (few[:, :20].ravel(), np.tile(np.arange(20), len(places)), np.cumsum(start)),
    shape=(ROWS, COLUMNS))
other = made()
other.fit(csr, y, **more)
before = made()
moved = abs(net.weights[0] - before.weights[0])
assert (moved[:20] > 0).all() and (moved[20:] == 0).all()
for mine, its in zip(net.get_weights(), other.get_weights()):
    np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
# a value out of bounds is found wherever it is
bad = np.memmap(sys.argv[1], np.float32, "r+", 0, (ROWS, COLUMNS))
bad[ROWS - 1, 7] = np.nan
try:
    net.fit(X, y, **more)
except ValueError as error:
    assert f"column 7 (first in row {ROWS - 1})" in str(error), error
else:
    raise AssertionError("NaN was taken")
print(grown)
"""


@pytest.fixture
def file(tmp_path):
    if shutil.disk_usage(tmp_path).free < 12 * 2**30:
        pytest.skip("needs room for a file of 8 GB, though it is a hole")
    yield tmp_path / "X"
    (tmp_path / "X").unlink(missing_ok=True)


@pytest.mark.parametrize("columns, most", [(1024, 500), (64, 1500)], ids=["wide", "narrow"])
@pytest.mark.parametrize("code", [PREDICT, FIT], ids=["predict", "fit"])
def test_more_than_31_bits(code, columns, most, file, run_python):
    """Row-major and, for few columns, feature-major, where outputs and order of the rows take
    some 100 MiB each."""
    done = run_python(code, file, columns, timeout=900)
    assert done.returncode == 0, done.stderr
    grown = float(done.stdout)
    print(f"{grown:.0f} MiB beside X, which has {2**33 / 2**20:.0f}")
    assert grown < most
