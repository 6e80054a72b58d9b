"""Look-up codes beside the dense encoding that they stand for, on one thread.

    python benchmarks/codes.py [--quick]

8 numbers, 128 units, 1 output, batches of 128, SGD with momentum: processor time of a training step
and of the prediction of 10,000 rows, by the number of bins; medians of runs in turn. The table of
sums and the update of W grow with the bins, the look-ups do not.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import fastnn
from fastnn.core.threads import single_threaded_blas
from fastnn.encoders import Encoder, Numbers
from fastnn.training.bound_losses import check_loss

ROWS, COLUMNS, UNITS, BATCH = 10_240, 8, 128, 128


def steps_of(net, X, y, optimizer):
    """From nothing to an epoch: a function."""
    trainer = net._trainer((X, y, None), check_loss(None, "identity", 1), 0.0, net.parameters,
                           optimizer=optimizer, batch_size=BATCH)
    return lambda: trainer.run_epoch(learning_rate=0.001)


def in_turn(ours, theirs, tries):
    """Median seconds of both, and the median of theirs / ours."""
    ours(), theirs()
    pairs = []
    for _ in range(tries):
        start = time.process_time()
        ours()
        middle = time.process_time()
        theirs()
        pairs.append((middle - start, time.process_time() - middle))
    return (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs),
            statistics.median(b / a for a, b in pairs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    tries = 3 if parser.parse_args().quick else 15
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, COLUMNS))
    y = np.sin(X).sum(axis=1, keepdims=True).astype("float32")
    print(f"{'bins':>5}  {'':8}{'codes us':>10}{'dense us':>10}{'ratio':>7}")
    for bins in (16, 64, 256, 1024):
        encoder = Encoder(Numbers(bins)).fit(X)
        codes = encoder.transform(X)
        dense = codes.toarray()
        net = fastnn.MLP((encoder.n_inputs, UNITS, 1), random_state=0, n_threads=1)
        with single_threaded_blas():
            for name, optimizer in (("sgd", fastnn.SGD()), ("adam", fastnn.Adam())):
                found = in_turn(steps_of(net, codes, y, optimizer),
                                steps_of(net, dense, y, optimizer), tries)
                report(bins, name, found, ROWS / BATCH)
            found = in_turn(lambda net=net, X=codes: net.predict(X),
                            lambda net=net, X=dense: net.predict(X), tries)
            report(bins, "predict", found, 1)


def report(bins, name, found, times):
    ours, theirs, ratio = found
    print(f"{bins:5}  {name:8}{1e6 * ours / times:10.1f}{1e6 * theirs / times:10.1f}{ratio:7.1f}",
          flush=True)


if __name__ == "__main__":
    main()
