"""Two workers of a Dask cluster beside one, and two plain processes beside one, in turns.

    python benchmarks/dask_workers.py [--repeats 3] [--steps 1000] [--batch 32] [--defaults]

Networks 784-256-128-10, two shards, passes of three rounds (by default `fastnn.dask.fit` has eight)
of ``steps`` steps of ``batch`` rows. Each step reads and writes the weights, their gradient and
Adam's two moments, 4 MB, whatever its number of rows. The plain processes do the same steps by
`MLP.fit` and wait for each other after each round: what two cores of this machine come to without a
cluster. All four wait while it is not their turn, so that a machine whose cores are now faster, now
slower, is so to all. Dask's profile of what workers do, which takes a look at them every 10 ms, is
off, and its monitors and ticks are rarer, but with ``--defaults``: idle clusters with it cost the
plain processes a tenth, too. (Stopping the idle ones instead slows the first rounds after.)
"""

import argparse
import multiprocessing
import os
import time

import numpy as np

ROUNDS, SIZES = 3, (784, 256, 128, 10)
CALM = {"distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.interval": "60s",
        "distributed.admin.tick.interval": "2s",
        "distributed.worker.memory.monitor-interval": "5s"}


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


def on_a_cluster(pipe, steps, batch, n_workers, settings):
    """Do a pass on a cluster whenever the pipe says so."""
    import dask
    import distributed

    import fastnn
    import fastnn.dask

    def turn(epoch, net, history):
        pipe.send("done")
        if not pipe.recv():
            raise StopIteration

    dask.config.set(settings)
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


def seconds_of_round(pipes, cluster):
    """Let processes do a pass; return how long a round took."""
    begun = time.perf_counter()
    for _ in range(1 if cluster else ROUNDS):
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()
    return (time.perf_counter() - begun) / ROUNDS


def main():
    from arguments import positive

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=positive(int), default=3)
    parser.add_argument("--steps", type=positive(int), default=1000)
    parser.add_argument("--batch", type=positive(int), default=32)
    parser.add_argument("--defaults", action="store_true")
    asked = parser.parse_args()
    settings = {} if asked.defaults else CALM
    context = multiprocessing.get_context("spawn")
    running, names = [], ("one process", "two processes", "one worker", "two workers")
    pipes = {name: [] for name in names}
    for name, target, *arguments in (
            (names[0], plain, 2), (names[1], plain, 1), (names[1], plain, 1),
            (names[2], on_a_cluster, 1, settings), (names[3], on_a_cluster, 2, settings)):
        here, there = context.Pipe()
        running.append(context.Process(target=target,
                                       args=(there, asked.steps, asked.batch, *arguments)))
        running[-1].start()
        pipes[name].append(here)
    for own in pipes.values():
        for pipe in own:
            pipe.recv()
    found = {name: [] for name in names}
    for _ in range(asked.repeats):
        for name in names:
            found[name].append(seconds_of_round(pipes[name], name.endswith(("worker", "workers"))))
    for own in pipes.values():
        for pipe in own:
            pipe.send(False)
    for process in running:
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
