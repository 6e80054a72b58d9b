"""What rounds on a Dask cluster cost and learn.

    python benchmarks/dask_rounds.py quality     # beside one machine: electricity, MNIST
    python benchmarks/dask_rounds.py workers     # two workers beside one
    python benchmarks/dask_rounds.py simulate    # 50 workers in this process, tasks that sleep
    python benchmarks/dask_rounds.py large       # 20 million rows, workers of 1 GiB each

Data sets are looked for in ../shared/data, or in the folder that FASTNN_DATA names.
"""

import argparse
import os
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


def workers(repeats=3, steps=1000, parts=16, epochs=2):
    """784-256-128-10 on one worker and on two, rounds of about a second on two: two shards, an
    epoch of two rounds."""
    import dask
    import distributed

    from fastnn.dask import trainer

    def made(i):
        rng = np.random.default_rng(i)
        return (rng.standard_normal((4 * 32 * steps // parts, 784), dtype=np.float32),
                rng.integers(0, 10, 4 * 32 * steps // parts))

    found, times, before = {1: [], 2: []}, [], trainer.RoundTrainer.set_state

    def set_state(self, *arguments):
        times.append(time.perf_counter())
        return before(self, *arguments)

    trainer.RoundTrainer.set_state = set_state
    for _repeat in range(repeats):
        for n in (1, 2):
            with distributed.LocalCluster(n_workers=n, threads_per_worker=1, host="127.0.0.1",
                                          dashboard_address=None) as cluster, \
                    distributed.Client(cluster) as client:
                times.clear()
                net = fastnn.MLP((784, 256, 128, 10), output="softmax", random_state=0)
                fastnn.dask.fit(net, [dask.delayed(made)(i) for i in range(parts)], client=client,
                                shards=2, epochs=epochs, local_steps=steps, batch_size=32)
                taken = np.diff(times)
                found[n].append(float(np.median(taken)))
                load = " ".join(f"{one:.1f}" for one in os.getloadavg())
                print(f"{n} workers: rounds of {steps} steps on two shards take {taken.round(2)} "
                      f"s, load {load}", flush=True)
    ratios = np.divide(found[1], found[2])
    print(f"two workers are {np.median(ratios):.2f} times one (of each pair {ratios.round(2)})")


def simulate(n_workers=50, seconds=1.0, latency=0.0, epochs=3, sizes=(784, 256, 10)):
    """Workers in this process whose steps sleep: what the machinery of rounds costs.

    An epoch has eight rounds. What each worker's process does for itself (its memory, its profile)
    is off: here one process would do it for fifty.
    """
    import dask
    import distributed

    from fastnn.dask import tasks, trainer

    def sleeps(fit, state, shard, own):
        time.sleep(seconds + latency)
        return {"share": own["share"], "loss": 0.0, "isas": (),
                "vectors": (np.zeros_like(state["parameters"]), *state["states"])}

    times, used = [], []

    def set_state(self, *arguments):
        times.append(time.perf_counter())
        used.append(time.process_time())
        return before(self, *arguments)

    quiet = {f"distributed.worker.memory.{name}": False
             for name in ("target", "spill", "pause", "terminate")}
    quiet |= {"distributed.worker.profile.enabled": False,
              "distributed.worker.memory.monitor-interval": "60s",
              "distributed.admin.system-monitor.interval": "60s"}
    with dask.config.set(quiet), distributed.Client(
            processes=False, n_workers=n_workers, threads_per_worker=1,
            dashboard_address=None) as client:
        real, tasks.local_steps = tasks.local_steps, sleeps
        before, trainer.RoundTrainer.set_state = trainer.RoundTrainer.set_state, set_state
        try:
            rng = np.random.default_rng(0)
            X = rng.normal(size=(64 * n_workers, sizes[0])).astype("float32")
            y = rng.integers(0, sizes[-1], len(X))
            net = fastnn.MLP(sizes, output="softmax", random_state=0)
            fastnn.dask.fit(net, X, y, client=client, shards=n_workers, epochs=epochs,
                            batch_size=8, local_steps=1)
        finally:
            tasks.local_steps, trainer.RoundTrainer.set_state = real, before
    taken, busy = np.diff(times), np.diff(used)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{n_workers} workers, steps of {seconds} s, {net.n_parameters} parameters and two "
          f"states of Adam: {len(taken)} rounds take {np.median(taken):.3f} s (quartiles "
          f"{np.quantile(taken, 0.25):.3f} {np.quantile(taken, 0.75):.3f}), efficiency "
          f"{seconds / np.median(taken):.1%}; processor time of a round {np.median(busy):.3f} s; "
          f"load {load}")


def large(n_rows=20_000_000, n_columns=50, parts=200, epochs=1):
    """Rows that are made part by part, 4 GB as float32, by workers limited to 1 GiB."""
    import dask
    import distributed

    def made(i):
        rng = np.random.default_rng(i)
        X = rng.standard_normal((n_rows // parts, n_columns), dtype=np.float32)
        return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int32)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GiB",
                                  host="127.0.0.1", dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        task = dask.delayed(made)
        net = fastnn.MLP((n_columns, 32, 2), output="softmax", random_state=0)
        begun = time.perf_counter()
        history = fastnn.dask.fit(net, [task(i) for i in range(parts)], client=client,
                                  epochs=epochs, local_steps=10_000, batch_size=64,
                                  optimizer=fastnn.Adam(2e-3))
        most = client.run(lambda: __import__("resource").getrusage(
            __import__("resource").RUSAGE_SELF).ru_maxrss)
        print(f"{n_rows:,} rows x {n_columns}, {n_rows * n_columns * 4 / 1e9:.1f} GB: "
              f"{time.perf_counter() - begun:.0f} s, loss {history.loss}; most memory of a worker "
              f"{max(most.values()) / 1024:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "workers", "simulate", "large"))
    parser.add_argument("--rows", type=int, default=20_000_000, help="of large")
    arguments = parser.parse_args()
    import distributed

    import fastnn.dask  # noqa: F401

    if arguments.what == "quality":
        with distributed.Client(processes=False, n_workers=2, threads_per_worker=1,
                                dashboard_address=None) as client:
            quality(client)
    elif arguments.what == "workers":
        workers()
    elif arguments.what == "simulate":
        simulate()
    else:
        large(arguments.rows, parts=max(1, arguments.rows // 100_000))


if __name__ == "__main__":
    main()
