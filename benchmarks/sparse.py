"""Sparse X: prediction and training beside scikit-learn, in turn, on one thread.

    python benchmarks/sparse.py [--quick] [--dtype float32] [--threads 1] [--in-a-row 1]
    python benchmarks/sparse.py --only predict

4,000 rows with 40 to 100 values each, one hidden layer of 50 units, 2 classes; fits of three
epochs in batches of 200. Each line: the columns; processor time of scikit-learn and of fastnn, the
medians of runs in turn; the median of the ratios. "sgd" is plain: without momentum and penalty,
where rows of W without entries in a batch are not touched; "sgd, penalty" has the latter, "sgd as
it is" both, as is scikit-learn's default. With one run in a row each finds caches
that the other has filled, with five those of its own. Adam's update reads and writes all of W
and of its two states: on the right, what that alone takes, 6 passes over the memory of W (bytes /
the speed of a copy).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import scipy.sparse
from arguments import positive
from sklearn.neural_network import MLPClassifier

import fastnn
from fastnn.core.threads import single_threaded_blas

ROWS, UNITS, EPOCHS, COLUMNS = 4000, 50, 3, (2_000, 20_000, 100_000)


def make_rows(n_columns, dtype, seed=0, rows=ROWS):
    """CSR rows with 40 to 100 values each, and labels."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(40, 101, rows)
    start = np.r_[0, counts.cumsum()].astype(np.int32)
    columns = rng.integers(0, n_columns, start[-1]).astype(np.int32)
    values = rng.normal(size=start[-1]).astype(dtype)
    X = scipy.sparse.csr_matrix((values, columns, start), (rows, n_columns))
    X.sum_duplicates()
    return X, rng.integers(0, 2, rows)


def in_turn(ours, theirs, method, arguments, tries, in_a_row=1):
    """Median seconds of both, and the median of theirs / ours."""
    ours, theirs = getattr(ours, method), getattr(theirs, method)
    ours(*arguments), theirs(*arguments)
    pairs = [(seconds(ours, arguments, in_a_row), seconds(theirs, arguments, in_a_row))
             for _ in range(tries)]
    return (statistics.median(b for _, b in pairs), statistics.median(a for a, _ in pairs),
            statistics.median(b / a for a, b in pairs))


def seconds(function, arguments, in_a_row):
    """Of one call, the mean of so many in a row."""
    start = time.process_time()
    for _ in range(in_a_row):
        function(*arguments)
    return (time.process_time() - start) / in_a_row


def models(settings, threads):
    common = {"hidden_layer_sizes": (UNITS,), "random_state": 0, "batch_size": 200,
              "max_iter": EPOCHS,
              **settings}
    return (fastnn.MLPClassifier(**common, n_threads=threads), MLPClassifier(**common))


FITS = {
    "fit, adam": {"solver": "adam"},
    "fit, sgd": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.0},
    "fit, sgd, penalty": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False},
    "fit, sgd as it is": {"solver": "sgd"},
}


def copy_speed():
    """Bytes per second that a copy reads and writes."""
    a = np.ones(2**23)
    b = np.empty_like(a)
    least = float("inf")
    for _ in range(5):
        start = time.process_time()
        np.copyto(b, a)
        least = min(least, time.process_time() - start)
    return 2 * a.nbytes / least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--threads", type=positive(int), default=1)
    parser.add_argument("--in-a-row", type=positive(int), default=1,
                        help="runs of each, then of the other")
    parser.add_argument("--only", default="", help="predict, or words of a fit's name")
    arguments = parser.parse_args()
    if not any(arguments.only in name for name in ("predict", *FITS)):
        parser.error(f"--only: {arguments.only!r} is in none of predict, {', '.join(FITS)}")
    warnings.simplefilter("ignore")
    print(f"{'':20}{'columns':>9}{'sklearn ms':>12}{'fastnn ms':>12}{'ratio':>8}")
    with single_threaded_blas():
        for n_columns in COLUMNS:
            measure(n_columns, arguments)


def measure(n_columns, arguments):
    tries = 3 if arguments.quick else 7
    X, y = make_rows(n_columns, arguments.dtype)
    ours, theirs = models({}, arguments.threads)
    if arguments.only in "predict":
        ours.fit(X, y), theirs.fit(X, y)
        report("predict", n_columns, in_turn(ours, theirs, "predict", (X,), 3 * tries,
                                             arguments.in_a_row))
    for name, settings in FITS.items():
        if arguments.only not in name:
            continue
        ours, theirs = models(settings, arguments.threads)
        found = in_turn(ours, theirs, "fit", (X, y), tries, arguments.in_a_row)
        bound = ""
        if "adam" in name:
            passes = 6 * n_columns * UNITS * X.dtype.itemsize * EPOCHS * ROWS / 200
            bound = f"   W and state: {1e3 * passes / copy_speed():.1f} ms"
        report(name, n_columns, found, bound)


def report(name, n_columns, found, bound=""):
    theirs, ours, ratio = found
    print(f"{name:20}{n_columns:>9,}{1e3 * theirs:12.2f}{1e3 * ours:12.2f}{ratio:8.1f}{bound}",
          flush=True)


if __name__ == "__main__":
    main()
