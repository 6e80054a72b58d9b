"""What rounds on a Dask cluster cost and learn.

    python benchmarks/dask_rounds.py quality     # beside one machine: electricity, MNIST
    python benchmarks/dask_rounds.py messages    # what the scheduler does for each shard
    python benchmarks/dask_rounds.py large       # 20 million rows, workers of 1 GiB each
    python benchmarks/dask_rounds.py frames      # the same by an estimator, of a lazy data frame

Data sets are looked for in ../shared/data, or in the folder that FASTNN_DATA names.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

import fastnn

FOLDER = Path(os.environ.get("FASTNN_DATA",
                             Path(__file__).resolve().parents[2] / "shared" / "data"))


def electricity():
    """Return rows and labels to train on and to test with."""
    import pandas

    frame = pandas.read_csv(FOLDER / "tabular" / "electricity.csv.gz")
    y = pandas.factorize(frame.pop(frame.columns[-1]), sort=True)[0]
    X = pandas.get_dummies(frame).to_numpy("float32")
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = np.random.default_rng(0).permutation(len(X))
    X, y, n = X[order], y[order], len(X) * 4 // 5
    return X[:n], y[:n], X[n:], y[n:]


def mnist():
    """Return rows and labels to train on and to test with."""
    with np.load(FOLDER / "mnist.npz") as data:
        X = [(data[name].reshape(-1, 784) / 255).astype("float32")
             for name in ("x_train", "x_test")]
        return X[0], data["y_train"].astype(int), X[1], data["y_test"].astype(int)


def quality(client):
    """One machine beside 8 shards, the same number of passes."""
    for name, load, sizes, epochs in (("electricity", electricity, (64, 64, 2), 10),
                                      ("MNIST", mnist, (128, 10), 6)):
        X, y, X_test, y_test = load()
        for what, settings in (
                ("one machine", dict(optimizer=fastnn.Adam(1e-3), batch_size=128)),
                ("8 shards", dict(optimizer=fastnn.Adam(2e-3), batch_size=16)),
                ("8 shards", dict(optimizer=fastnn.Adam(4e-3), batch_size=32))):
            net = fastnn.MLP((X.shape[1], *sizes), output="softmax", random_state=0)
            begun = time.perf_counter()
            if what == "one machine":
                net.fit(X, y, epochs=epochs, **settings)
            else:
                history = fastnn.dask.fit(net, X, y, epochs=epochs, shards=8, **settings)
                what += f", {history.local_steps} steps a round"
            right = (net.predict(X_test).argmax(axis=1) == y_test).mean()
            print(f"{name:12} {what:28} batch {settings['batch_size']:4} rate "
                  f"{settings['optimizer'].learning_rate:g}: training loss {net.loss(X, y):.4f} "
                  f"test loss {net.loss(X_test, y_test):.4f} accuracy {right:.4f} "
                  f"({time.perf_counter() - begun:.1f} s)", flush=True)


def messages(shards=(50, 250), epochs=3):
    """What the scheduler and the driver do for each task: processor time of this process, beside
    two workers that are processes and whose steps are small."""
    import distributed

    from fastnn.dask import trainer

    found, used, before = [], [], trainer.RoundTrainer.set_state

    def set_state(self, *arguments):
        used.append((time.perf_counter(), time.process_time()))
        return before(self, *arguments)

    trainer.RoundTrainer.set_state = set_state
    try:
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1",
                                      dashboard_address=None) as cluster, \
                distributed.Client(cluster) as client:
            for n in shards:
                used.clear()
                rng = np.random.default_rng(0)
                X = rng.normal(size=(64 * n, 10)).astype("float32")
                net = fastnn.MLP((10, 8, 2), output="softmax", random_state=0)
                fastnn.dask.fit(net, X, (X[:, 0] > 0).astype(int), client=client, shards=n,
                                epochs=epochs, batch_size=8, local_steps=1)
                found.append(np.median(np.diff(used, axis=0), axis=0))
                print(f"{n} shards: a round takes {found[-1][0]:.3f} s, of which this process "
                      f"{found[-1][1]:.3f} s", flush=True)
    finally:
        trainer.RoundTrainer.set_state = before
    own = (found[1][1] - found[0][1]) / (shards[1] - shards[0])
    print(f"{1000 * own:.2f} ms of scheduler and driver for each shard")


def large(n_rows=20_000_000, n_columns=50, parts=200, epochs=1):
    """Rows that are made part by part, 4 GB as float32, by workers limited to 1 GiB."""
    import dask

    def made(i):
        rng = np.random.default_rng(i)
        X = rng.standard_normal((n_rows // parts, n_columns), dtype=np.float32)
        return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int32)

    task = dask.delayed(made)
    net = fastnn.MLP((n_columns, 32, 2), output="softmax", random_state=0)

    def fit(client):
        return fastnn.dask.fit(net, [task(i) for i in range(parts)], client=client, epochs=epochs,
                               local_steps=10_000, batch_size=64,
                               optimizer=fastnn.Adam(2e-3)).loss

    _in_a_gigabyte(fit, n_rows, n_columns)


def frames(n_rows=20_000_000, n_columns=50, parts=200, epochs=1):
    """The rows of `large` as a lazy data frame, by `fastnn.dask.MLPClassifier`."""
    # Dask asks for a package named sparse, and must not find the file beside this one
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]
    import dask.dataframe

    names = [f"x{i}" for i in range(n_columns)]

    def made(i):
        import pandas

        rng = np.random.default_rng(i)
        X = rng.standard_normal((n_rows // parts, n_columns), dtype=np.float32)
        return pandas.DataFrame(X, columns=names).assign(
            label=(X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int32))

    data = dask.dataframe.from_map(made, range(parts), meta=made(0)[:0])
    model = fastnn.dask.MLPClassifier((32,), max_iter=epochs, local_steps=10_000, batch_size=64,
                                      learning_rate_init=2e-3, random_state=0)

    def fit(client):
        model.client = client
        return model.fit(data, "label").loss_curve_

    _in_a_gigabyte(fit, n_rows, n_columns)


def _in_a_gigabyte(fit, n_rows, n_columns):
    """Fit by two workers of 1 GiB each; say how long it took, and how much of it they had."""
    import distributed

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GiB",
                                  host="127.0.0.1", dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        begun = time.perf_counter()
        loss = fit(client)
        most = client.run(lambda: __import__("resource").getrusage(
            __import__("resource").RUSAGE_SELF).ru_maxrss)
        print(f"{n_rows:,} rows x {n_columns}, {n_rows * n_columns * 4 / 1e9:.1f} GB: "
              f"{time.perf_counter() - begun:.0f} s, loss {loss}; most memory of a worker "
              f"{max(most.values()) / 1024:.0f} MiB")


def main():
    from arguments import positive

    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "messages", "large", "frames"))
    parser.add_argument("--rows", type=positive(int), default=20_000_000,
                        help="of large and frames")
    arguments = parser.parse_args()
    import distributed

    import fastnn.dask  # noqa: F401

    if arguments.what == "quality":
        with distributed.Client(processes=False, n_workers=2, threads_per_worker=1,
                                dashboard_address=None) as client:
            quality(client)
    elif arguments.what == "messages":
        messages()
    else:
        what = large if arguments.what == "large" else frames
        what(arguments.rows, parts=max(1, arguments.rows // 100_000))


if __name__ == "__main__":
    main()
