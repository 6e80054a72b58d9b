"""Jacobians side by side: one row, and many, of fastnn, CasADi's generated C and torch.func.

    python benchmarks/jacobian.py
    python benchmarks/jacobian.py --sizes 20-64-64-2 --activation tanh --seconds 0.5

Libraries that are not installed are left out. Each round times all of them in turn, on one thread;
figures are medians over the rounds, those of fastnn's own products beside them for the many rows.
benchmarks/embed.py shows the same table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from arguments import positive, sizes

import fastnn

SIZES, ACTIVATION = (20, 64, 64, 2), "tanh"
MANY = 10_000
ROUNDS = 7


def network(sizes, activation, dtype):
    return fastnn.MLP(sizes, activation, dtype=dtype, random_state=0, n_threads=1)


def of_fastnn(sizes, activation, dtype="float32"):
    """A function of rows, and its dtype."""
    return network(sizes, activation, dtype).jacobian, dtype


def of_casadi(sizes, activation):
    """The generated C code, compiled, through its buffers: one row."""
    import casadi

    net = network(sizes, activation, "float64")
    x = casadi.MX.sym("x", sizes[0])
    a = x
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        a = casadi.mtimes(casadi.DM(w.T), a) + casadi.DM(b)
        if i < len(net.weights) - 1:
            a = {"tanh": casadi.tanh, "relu": lambda z: casadi.fmax(z, 0)}[activation](a)
    f = casadi.Function("f", [x], [casadi.densify(casadi.jacobian(a, x))])
    folder = tempfile.mkdtemp()
    generator = casadi.CodeGenerator("f.c")
    generator.add(f)
    generator.generate(folder + "/")
    subprocess.run(["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", "f.so", "f.c", "-lm"],
                   cwd=folder, check=True)
    compiled = casadi.external("f", str(Path(folder) / "f.so"))
    buffers, call = compiled.buffer()
    out = np.zeros((sizes[0], sizes[-1]))  # by columns

    def jacobian(X):
        buffers.set_arg(0, memoryview(X[0]))
        buffers.set_res(0, memoryview(out))
        call()
        return out.T[np.newaxis]

    return jacobian, "float64"


def of_torch(sizes, activation):
    """torch.func.jacrev, by vmap for many rows."""
    import torch

    torch.set_num_threads(1)
    net = network(sizes, activation, "float32")
    parameters = [torch.tensor(w) for w in net.get_weights()]
    f = {"tanh": torch.tanh, "relu": torch.relu}[activation]

    def apply(x):
        for i in range(0, len(parameters), 2):
            x = x @ parameters[i] + parameters[i + 1]
            x = f(x) if i < len(parameters) - 2 else x
        return x

    one = torch.func.jacrev(apply)
    many = torch.func.vmap(one)

    def jacobian(X):
        x = torch.from_numpy(X)
        return one(x[0])[None] if len(X) == 1 else many(x)

    return jacobian, "float32"


PEERS = {"fastnn": of_fastnn, "fastnn, float64": lambda *it: of_fastnn(*it, "float64"),
         "CasADi, generated C": of_casadi, "torch.func.jacrev": of_torch}
ONE_ROW = ("CasADi, generated C",)


def seconds_of(function, X, seconds):
    """Of a call, from as many as fit."""
    function(X)
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < seconds:
        for _ in range(max(1, 200 // len(X))):
            function(X)
            count += 1
    return (time.perf_counter() - began) / count


def of_products(sizes, dtype):
    """Seconds of the bare products of a Jacobian of many rows, as NumPy does them, and their
    number of operations."""
    jobs, flops = [], 0
    rng = np.random.default_rng(0)
    shapes = [(n_in, n_out, 1) for n_in, n_out in zip(sizes, sizes[1:], strict=False)]
    shapes += [(n_out, n_in, sizes[-1]) for n_in, n_out, _ in shapes[:-1]]
    for k, n, times in shapes:
        a, b = rng.normal(size=(MANY, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        jobs += [(a, b, np.empty((MANY, n), dtype))] * times
        flops += 2 * MANY * k * n * times

    def run(_):
        for a, b, out in jobs:
            np.matmul(a, b, out=out)

    return run, flops


def measure(sizes=SIZES, activation=ACTIVATION, seconds=0.1, rounds=ROUNDS, left_out=()):
    """{(name, rows): seconds of each round}; what is not installed is left out, too."""
    made = {}
    for name, make in PEERS.items():
        if name in left_out:
            continue
        try:
            made[name] = make(sizes, activation)
        except ImportError:
            continue
    rng = np.random.default_rng(0)
    X = rng.normal(size=(MANY, sizes[0]))
    right = made["fastnn, float64"][0](X[:1])
    found = {}
    for name, (function, dtype) in made.items():
        error = np.abs(np.asarray(function(X[:1].astype(dtype))) - right).max()
        if not error < 1e-4:
            raise ValueError(f"{name} is {error:.1g} off")
    for _ in range(rounds):
        for rows in (1, MANY):
            for name, (function, dtype) in made.items():
                if rows == 1 or name not in ONE_ROW:
                    given = np.ascontiguousarray(X[:rows], dtype)
                    found.setdefault((name, rows), []).append(seconds_of(function, given, seconds))
        run, _ = of_products(sizes, "float32")
        found.setdefault(("bare products by NumPy", MANY), []).append(
            seconds_of(run, X, seconds))
    return found


def table(found, sizes=SIZES, activation=ACTIVATION):
    """Text."""
    lines = [f"Jacobian of {'-'.join(map(str, sizes))}, {activation}, one thread",
             f"{'':26}{'1 row: us':>12}{'fastnn is':>12}{f'{MANY} rows: ms':>18}{'fastnn is':>12}"]
    middle = {key: statistics.median(values) for key, values in found.items()}
    for name in dict.fromkeys(name for name, _ in found):
        cells = []
        for rows, unit, width in ((1, 1e6, 12), (MANY, 1e3, 18)):
            value, own = middle.get((name, rows)), middle["fastnn", rows]
            cells.append(f"{value * unit:{width}.2f}{value / own:11.2f}x" if value
                         else " " * (width + 12))
        lines.append(f"{name:26}" + "".join(cells))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", type=sizes, default="-".join(map(str, SIZES)))
    parser.add_argument("--activation", default=ACTIVATION, choices=["tanh", "relu"])
    parser.add_argument("--seconds", type=positive(float), default=0.1, help="of each slice")
    parser.add_argument("--rounds", type=positive(int), default=ROUNDS)
    settings = parser.parse_args()
    found = measure(settings.sizes, settings.activation, settings.seconds, settings.rounds)
    print(table(found, settings.sizes, settings.activation))


if __name__ == "__main__":
    main()
