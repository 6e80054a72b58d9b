"""Measures what the rule about matrix products rests on: our own kernels beside SciPy's BLAS.

    python benchmarks/products.py                 # the layers of the usual nets
    python benchmarks/products.py --steps         # whole training steps of usual nets
    FASTNN_ISA=avx2 OPENBLAS_CORETYPE=Haswell python benchmarks/products.py  # with AVX2

(Mind OPENBLAS_CORETYPE: where it is set already, BLAS may run kernels of another processor.)

For each layer and batch: GFLOP/s of the three products of a training step, native / BLAS, one
thread. Rounds are interleaved; the best of each is shown, since noise only adds time.
`Rules.native_width` in fastnn/training/plan.py holds the rule; a processor where another
side wins deserves a row of its own there.
"""

import argparse
import time

import numpy as np
from arguments import positive
from scipy.linalg.blas import dgemm, sgemm

from fastnn import SGD
from fastnn.core import _kernels, _probes
from fastnn.core.threads import single_threaded_blas
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer

LAYERS = [  # n_in, n_out, batch
    (4, 16, 32),
    (16, 3, 32),
    (20, 64, 64),
    (64, 64, 256),
    (64, 100, 200),
    (100, 10, 200),
    (128, 10, 64),
    (784, 128, 64),
    (784, 256, 128),
    (512, 512, 256),
    (1024, 1024, 512),
]


def best_seconds(call, seconds):
    """Shortest time of a call, and a result."""
    call()
    best, deadline = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < deadline:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measure(n_in, n_out, batch, dtype, seconds, rounds):
    """{product: (native, blas)} in GFLOP/s; both pay for one result array per call."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, n_in)).astype(dtype)
    w = rng.standard_normal((n_in, n_out)).astype(dtype)
    dz = rng.standard_normal((batch, n_out)).astype(dtype)
    wt = np.ascontiguousarray(w.T)
    gemm = sgemm if dtype == "float32" else dgemm
    native = _probes.product
    calls = {  # row-major C = A B is column-major C' = B' A'
        "X W": (lambda: native(x, w), lambda: gemm(1, w.T, x.T)),
        "X' dZ": (lambda: native(x, dz, True), lambda: gemm(1, dz.T, x.T, trans_b=True)),
        "dZ W'": (lambda: native(dz, wt), lambda: gemm(1, w.T, dz.T, trans_a=True)),
    }
    best = {name: [float("inf")] * 2 for name in calls}
    for _ in range(rounds):
        for name, pair in calls.items():
            for i, call in enumerate(pair):
                best[name][i] = min(best[name][i], best_seconds(call, seconds / rounds))
    work = 2e-9 * batch * n_in * n_out
    return {name: [work / s for s in pair] for name, pair in best.items()}


NETS = [  # sizes, batch
    ((20, 64, 64, 2), 64),
    ((64, 100, 10), 200),
    ((784, 128, 10), 64),
    ((784, 256, 128, 10), 128),
    ((784, 512, 512, 10), 256),
    ((256, 1024, 1024, 1024, 10), 512),
    ((100, 2048, 2048, 1), 1024),
]


def measure_steps(sizes, batch, dtype, seconds, rounds):
    """Median seconds of a training step (native, blas), taken by turns."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8 * batch, sizes[0])).astype(dtype)
    y = rng.standard_normal((8 * batch, sizes[-1])).astype(dtype)
    trainers = []
    for gemm in ("native", "blas"):
        trainer = Trainer(NetworkSpec.chain(sizes, dtype=dtype), "squared_error",
                          optimizer=SGD(1e-4), batch_size=batch, n_threads=1, gemm=gemm)
        for w in trainer.weights:
            w[:] = rng.standard_normal(w.shape) / np.sqrt(w.shape[0])
        trainer.set_data(x, y)
        trainers.append(trainer)
    order = rng.permutation(len(x))
    times = [[], []]
    deadline = time.perf_counter() + 2 * seconds
    while time.perf_counter() < deadline or len(times[0]) <= rounds:  # the first is left out
        for trainer, found in zip(trainers, times, strict=True):
            start = time.perf_counter()
            trainer.run_epoch(order, learning_rate=1e-4)
            found.append((time.perf_counter() - start) / 8)
    return [float(np.median(found[1:])) for found in times]


def print_steps(arguments):
    print(f"{'net':>28}{'native us':>12}{'BLAS us':>12}{'BLAS / native':>15}")
    for sizes, batch in NETS:
        native, blas = measure_steps(
            sizes, batch, arguments.dtype, arguments.seconds, arguments.rounds)
        name = f"{'-'.join(map(str, sizes))} b{batch}"
        print(f"{name:>28}{1e6 * native:>12.1f}{1e6 * blas:>12.1f}{blas / native:>15.2f}",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seconds", type=positive(float), default=0.3,
                        help="for each product and side")
    parser.add_argument("--rounds", type=positive(int), default=3)
    parser.add_argument("--steps", action="store_true", help="whole training steps instead")
    arguments = parser.parse_args()
    if arguments.steps:
        print(f"{_kernels.isa()}, {arguments.dtype}, one thread\n")
        with single_threaded_blas():
            print_steps(arguments)
        return
    print(f"{_kernels.isa()}, {arguments.dtype}, one thread: GFLOP/s native / BLAS\n")
    print(f"{'layer':>16}{'X W':>14}{'X′ dZ':>14}{'dZ W′':>14}")
    with single_threaded_blas():
        for n_in, n_out, batch in LAYERS:
            found = measure(
                n_in, n_out, batch, arguments.dtype, arguments.seconds, arguments.rounds
            )
            cells = "".join(f"{native:>7.0f}/{blas:<6.0f}" for native, blas in found.values())
            print(f"{f'{n_in}x{n_out} b{batch}':>16}  {cells}", flush=True)


if __name__ == "__main__":
    main()
