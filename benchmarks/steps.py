"""Learning row by row, side by side: fastnn's steps, scikit-learn's partial_fit, PyTorch, River.

    python benchmarks/steps.py
    python benchmarks/steps.py --sizes 20-64-2 --seconds 0.5

Libraries that are not installed are left out. Each round times all of them in turn, on one thread;
figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from arguments import positive, sizes

import fastnn

SIZES = (20, 64, 2)
ROUNDS = 7


def rows(sizes, n=256, dtype="float32"):
    X = np.random.default_rng(0).normal(size=(n, sizes[0])).astype(dtype)
    return X, np.ascontiguousarray(X[:, :sizes[-1]])


def of_steps(sizes, optimizer, dtype="float32"):
    """A function that learns a row."""
    X, Y = rows(sizes, dtype=dtype)
    steps = fastnn.MLP(sizes, dtype=dtype, random_state=0).steps(optimizer)
    batches = [(X[i:i + 1], Y[i:i + 1]) for i in range(len(X))]
    return steps, batches


def of_fit(sizes, optimizer):
    X, Y = rows(sizes)
    net = fastnn.MLP(sizes, random_state=0, n_threads=1)

    def learn(x, y):
        net.fit(x, y, optimizer=optimizer, epochs=1)

    return learn, [(X[i:i + 1], Y[i:i + 1]) for i in range(len(X))]


def of_partial_fit(sizes, optimizer, module="fastnn"):
    if module == "fastnn":
        from fastnn import MLPRegressor
    else:
        from sklearn.neural_network import MLPRegressor
    X, Y = rows(sizes, dtype="float64")
    est = MLPRegressor(hidden_layer_sizes=sizes[1:-1], solver=optimizer, random_state=0)
    return est.partial_fit, [(X[i:i + 1], Y[i:i + 1]) for i in range(len(X))]


def of_torch(sizes, optimizer):
    import torch

    torch.set_num_threads(1)
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    own = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](net.parameters(), lr=1e-3)
    X, Y = map(torch.from_numpy, rows(sizes))

    def learn(x, y):
        own.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        own.step()

    return learn, [(X[i:i + 1], Y[i:i + 1]) for i in range(len(X))]


def of_river(sizes):
    """River's linear regression, one output: it has no multilayer perceptron any more."""
    from river import linear_model

    X, Y = rows(sizes)
    batches = [({f"x{i}": float(value) for i, value in enumerate(x)}, float(y[0]))
               for x, y in zip(X, Y, strict=True)]
    return linear_model.LinearRegression().learn_one, batches


PEERS = {
    "steps, SGD": lambda sizes: of_steps(sizes, fastnn.SGD(1e-3, momentum=0.0)),
    "steps, Adam": lambda sizes: of_steps(sizes, fastnn.Adam(1e-3)),
    "steps, Adam, float64": lambda sizes: of_steps(sizes, fastnn.Adam(1e-3), "float64"),
    "MLP.fit, Adam": lambda sizes: of_fit(sizes, fastnn.Adam(1e-3)),
    "partial_fit, Adam": lambda sizes: of_partial_fit(sizes, "adam"),
    "scikit-learn's, Adam": lambda sizes: of_partial_fit(sizes, "adam", "sklearn"),
    "PyTorch, SGD": lambda sizes: of_torch(sizes, "sgd"),
    "PyTorch, Adam": lambda sizes: of_torch(sizes, "adam"),
    "River, a linear model": of_river,
}


def seconds_of(learn, batches, seconds):
    """Of a row."""
    learn(*batches[0])
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < seconds:
        for batch in batches[:64]:
            learn(*batch)
        count += len(batches[:64])
    return (time.perf_counter() - began) / count


def measure(sizes, seconds, rounds):
    made = {}
    for name, make in PEERS.items():
        try:
            made[name] = make(sizes)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    found = {name: [] for name in made}
    for _ in range(rounds):
        for name, (learn, batches) in made.items():
            found[name].append(seconds_of(learn, batches, seconds))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", type=sizes, default="-".join(map(str, SIZES)))
    parser.add_argument("--seconds", type=positive(float), default=0.1, help="of each slice")
    parser.add_argument("--rounds", type=positive(int), default=ROUNDS)
    settings = parser.parse_args()
    print(f"{'-'.join(map(str, settings.sizes))}, one row, one thread{'':8}us   least")
    for name, values in measure(settings.sizes, settings.seconds, settings.rounds).items():
        print(f"{name:28}{1e6 * statistics.median(values):12.2f}{1e6 * min(values):8.2f}")


if __name__ == "__main__":
    main()
