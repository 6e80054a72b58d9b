"""Two workers of a Dask cluster beside one, and two plain processes beside one, in turns.

    python benchmarks/dask_workers.py [--repeats 3] [--steps 1000] [--batch 32] [--profile]

Networks 784-256-128-10, two shards, passes of three rounds (by default `fastnn.dask.fit` has eight)
of ``steps`` steps of ``batch`` rows. Each step reads and writes the weights, their gradient and
Adam's two moments, 4 MB, whatever its number of rows. The plain processes do the same steps by
`MLP.fit` and wait for each other after each round: what two cores of this machine come to without a
cluster. All four wait while it is not their turn, so that a machine whose cores are now faster, now
slower, is so to all; clusters are stopped meanwhile (SIGSTOP), as idle ones look at themselves many
times a second: beside two of them two processes were 1.64 and 1.60 times as fast as one, without
1.77 to 1.86. Dask's profile of what workers do, which takes a look at them every 10 ms, is off but
with ``--profile``.
"""

import argparse
import multiprocessing
import os
import signal
import time

import numpy as np

ROUNDS, SIZES = 3, (784, 256, 128, 10)
PAUSE = 0.5  # seconds after a cluster goes on, in which its parts find each other again


def made(number, rows):
    """Return rows and labels."""
    rng = np.random.default_rng(number)
    return rng.random((rows, SIZES[0]), dtype=np.float32), rng.integers(0, SIZES[-1], rows)


def plain(pipe, steps, batch, shards):
    """Do a round of some shards whenever the pipe says so."""
    import fastnn

    data = [made(shard, ROUNDS * batch * steps) for shard in range(shards)]
    net = fastnn.MLP(SIZES, output="softmax", random_state=0)
    settings = dict(optimizer=fastnn.Adam(), batch_size=batch)
    net.fit(*data[0], max_steps=10, **settings)
    pipe.send("ready")
    number = 0
    while pipe.recv():
        rows = slice(number % ROUNDS * batch * steps, (number % ROUNDS + 1) * batch * steps)
        for X, y in data:
            net.fit(X[rows], y[rows], epochs=1, **settings)
        number += 1
        pipe.send("done")


def on_a_cluster(pipe, steps, batch, n_workers, profile):
    """Do a pass on a cluster whenever the pipe says so."""
    import dask
    import distributed

    import fastnn
    import fastnn.dask

    os.setpgid(0, 0)  # all of the cluster, to be stopped

    def turn(epoch, net, history):
        pipe.send("done")
        if not pipe.recv():
            raise StopIteration

    dask.config.set({"distributed.worker.profile.enabled": profile})
    part = dask.delayed(made)
    with distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, host="127.0.0.1",
                                  dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        net = fastnn.MLP(SIZES, output="softmax", random_state=0)
        try:
            fastnn.dask.fit(net, [part(i, ROUNDS * batch * steps // 2) for i in range(4)],
                            client=client, shards=2, epochs=10_000, local_steps=steps,
                            batch_size=batch, optimizer=fastnn.Adam(), callback=turn)
        except StopIteration:
            pass


def seconds_of_round(pipes, cluster=None):
    """Let processes, or a cluster, do a pass; return how long a round took."""
    if cluster is not None:
        os.killpg(cluster.pid, signal.SIGCONT)
        time.sleep(PAUSE)
    begun = time.perf_counter()
    for _ in range(ROUNDS if cluster is None else 1):
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()
    took = (time.perf_counter() - begun) / ROUNDS
    if cluster is not None:
        os.killpg(cluster.pid, signal.SIGSTOP)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    names = ("one process", "two processes", "one worker", "two workers")
    pipes, running = {name: [] for name in names}, {name: [] for name in names}
    for name, target, *arguments in (
            (names[0], plain, 2), (names[1], plain, 1), (names[1], plain, 1),
            (names[2], on_a_cluster, 1, asked.profile), (names[3], on_a_cluster, 2, asked.profile)):
        here, there = context.Pipe()
        pipes[name].append(here)
        running[name].append(context.Process(target=target,
                                             args=(there, asked.steps, asked.batch, *arguments)))
        running[name][-1].start()
    clusters = {name: running[name][0] for name in names[2:]}
    found = {name: [] for name in names}
    try:
        for own in pipes.values():
            for pipe in own:
                pipe.recv()
        for cluster in clusters.values():
            os.killpg(cluster.pid, signal.SIGSTOP)
        for _ in range(asked.repeats):
            for name in names:
                found[name].append(seconds_of_round(pipes[name], clusters.get(name)))
    finally:
        for cluster in clusters.values():
            os.killpg(cluster.pid, signal.SIGCONT)
        for own in pipes.values():
            for pipe in own:
                pipe.send(False)
        for own in running.values():
            for process in own:
                process.join()
    for name in names:
        print(f"{name:14} a round takes {np.round(found[name], 3)} s, median "
              f"{np.median(found[name]):.3f}")
    ratios = [np.divide(found[f"one {what}"], found[f"two {whats}"])
              for what, whats in (("process", "processes"), ("worker", "workers"))]
    for what, ratio in zip(("processes", "workers"), ratios, strict=True):
        print(f"two {what} are {np.median(ratio):.2f} times one, in turns {ratio.round(2)}")
    print(f"workers beside processes {np.median(ratios[1]) / np.median(ratios[0]):.3f}, load "
          f"{' '.join(f'{one:.1f}' for one in os.getloadavg())}")


if __name__ == "__main__":
    main()
