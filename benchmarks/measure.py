"""What the processes of compare.py do: hold one library, and time slices of its work.

Those of embed.py time their predictions here too.
"""

from __future__ import annotations

import functools
import os
import time

import numpy as np
import tables
from benchmarks.grid import GRID, make_data
from peers import PEERS

PAUSE = 0.03  # seconds before a slice, in which threads of the library before stop to spin
TRIES = 2  # of a slice that other programs disturb; more would take ages on a busy machine
CALIBRATION = 4  # factor from one trial number of epochs to the next
MAX_CALLS = 100_000  # predictions in a slice

loaded = None  # the Peer of this process


class Stopwatch:
    """Seconds between entry and exit, and who kept the processors busy meanwhile.

    Attributes
    ----------
    seconds : float
    busy : dict
        Processors that were busy on average: with this process ("cores"), and with all else on
        those that this process may use ("others"; 0 where the system does not tell).
    """

    def __enter__(self):
        self.all, self.own = busy_seconds(), time.process_time()
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start
        own = time.process_time() - self.own
        others = max(0.0, busy_seconds() - self.all - own)
        self.busy = {"cores": own / self.seconds, "others": others / self.seconds}


def busy_seconds() -> float:
    """Processor time that all programs together have had on the processors of this one."""
    try:
        with open("/proc/stat") as file:
            lines = [line.split() for line in file if line.startswith("cpu")]
        mine = {f"cpu{i}" for i in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return 0.0
    # user, nice, system, idle, iowait, irq, softirq, steal: all but idle and iowait
    ticks = 0
    for name, *fields in lines:
        if name in mine:
            ticks += sum(map(int, fields[:8])) - int(fields[3]) - int(fields[4])
    return ticks / os.sysconf("SC_CLK_TCK")


def calm(take):
    """A slice; of some tries, the one that other programs disturbed least."""
    tries = []
    while len(tries) < TRIES:
        time.sleep(PAUSE)
        tries.append(take())
        if tries[-1]["others"] < tables.DISTURBED:
            break
    return min(tries, key=lambda found: found["others"])


# ---- a peer ----

def version(name):
    return PEERS[name].version()


def load(name, key, optimizer, n_threads):
    """Puts one cell into this process; the one before goes first, to have its memory back."""
    global loaded
    loaded = None
    loaded = PEERS[name](GRID[key], optimizer, n_threads)


def warm_up(seconds):
    """(how many epochs take about so long, loss of the first); compiles what has to be."""
    first_loss = float(loaded.fit(1))
    n_epochs = 1
    while True:
        start = time.perf_counter()
        loaded.fit(n_epochs)
        took = time.perf_counter() - start
        if took * CALIBRATION > seconds:
            return max(1, round(n_epochs * seconds / took)), first_loss
        n_epochs *= CALIBRATION


def train(n_epochs):
    """A slice of training, from the initial weights."""
    loaded.reset()
    with Stopwatch() as watch:
        loaded.fit(n_epochs)
    return {"samples_per_s": n_epochs * loaded.cell.n_samples / watch.seconds, **watch.busy}


def predict(n_rows, seconds):
    """A slice of predictions, each timed but for the first, which may compile."""
    cell = loaded.cell
    X = loaded.array(make_data(n_rows, cell.sizes[0], cell.sizes[-1], cell.dtype)[0])
    call, clock, times = loaded.predict, time.perf_counter, []
    call(X)
    with Stopwatch() as watch:
        deadline = clock() + seconds
        while True:
            start = clock()
            call(X)
            end = clock()
            times.append(end - start)
            if end > deadline or len(times) == MAX_CALLS:
                break
    median, p99 = np.percentile(times, [50, 99])
    return {"median_us": 1e6 * median, "p99_us": 1e6 * p99, **watch.busy}


# ---- the yardstick ----

def blas_name():
    """Library, version and kernels of SciPy's BLAS."""
    import scipy.linalg.blas  # noqa: F401 - loads it
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    # NumPy brings a BLAS of its own
    found = [info for info in found if "scipy.libs" in info["filepath"]] or found
    if not found:
        return "unknown"
    blas = found[0]
    return " ".join(str(blas.get(key, "")) for key in ("internal_api", "version", "architecture"))


@functools.cache
def square(size, dtype):
    return np.asfortranarray(np.random.default_rng(0).standard_normal((size, size)), dtype)


def blas_flops(dtype, size=2048):
    """Operations per second of SciPy's matrix product, the better of two."""
    from scipy.linalg import blas

    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    a = square(size, dtype)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        gemm(1.0, a, a)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
