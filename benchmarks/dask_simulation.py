"""Fifty workers of a Dask cluster in this process: what a round costs beyond its steps.

    python benchmarks/dask_simulation.py [--workers 50] [--seconds 1] [--epochs 2] [--uvloop]

The scheduler, the workers and the rounds of `fastnn.dask.fit` are the real ones; the steps sleep.
What one process does not have is added, as it was measured a moment before on the loopback of this
machine between two processes, by Dask's own messages: the messages that follow one another in a
round take as long as they took, and each worker has a link, which what it sends and what it gets
take in turns. ``--bandwidth inf`` leaves the links out.

What fifty processes would each do beside the others, and what one process would do for them in a
row, is off: Dask's profile, its monitors, ticks and heartbeats, and the collection of garbage. All
fifty event loops share one interpreter all the same, which takes most of what is lost.

The efficiency is that of all rounds but the first two, the first ones of an epoch included.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import time

import numpy as np

SIZES = (784, 256, 10)
MESSAGES = 6  # in a row: to a shard's worker and back, to a node's and back, to the end's and back
QUIET = {"distributed.worker.profile.enabled": False,
         "distributed.worker.memory.monitor-interval": "60s",
         "distributed.admin.system-monitor.interval": "60s",
         "distributed.admin.tick.interval": "60s", "distributed.admin.tick.cycle": "60s",
         "distributed.scheduler.active-memory-manager.start": False,
         "distributed.scheduler.work-stealing": False,
         "distributed.scheduler.worker-ttl": None,
         "distributed.worker.memory.target": False, "distributed.worker.memory.spill": False,
         "distributed.worker.memory.pause": False, "distributed.worker.memory.terminate": False}

links = {}  # of each worker, by its address: when it is free
link = {"latency": 0.0, "bandwidth": np.inf}
row = {"seconds": 1.0, "latency": 0.0}  # of the steps, and of the messages of a round


def sleeps(state, shard, own):
    """Take the time of some steps; see `fastnn.dask.tasks.local_steps`."""
    end = time.perf_counter() + row["seconds"] + row["latency"]
    time.sleep(row["seconds"] / 2)
    moved = np.zeros_like(state["parameters"])
    time.sleep(max(0.0, end - time.perf_counter()))
    return {"share": own["share"], "loss": 0.0, "isas": (), "vectors": (moved, *state["states"])}


def linked_worker():
    """Return a class of workers whose data take their time on the way."""
    from distributed import Worker

    class Linked(Worker):
        async def start_unsafe(self):
            found = await super().start_unsafe()
            self.periodic_callbacks["heartbeat"].stop()  # the scheduler asks for none meanwhile
            return found

        async def get_data(self, comm, keys, who=None, **more):
            there = [self.state.tasks[key].nbytes or 0 for key in keys if key in self.state.tasks]
            now = time.perf_counter()
            end = max(now, links.get(self.address, 0.0), links.get(who, 0.0))
            end += sum(there) / link["bandwidth"]
            links[self.address] = links[who] = end
            await asyncio.sleep(end - now + 2 * link["latency"])
            return await super().get_data(comm, keys, who=who, **more)

    return Linked


def _answers(pipe):
    """Send back what comes, in a process of its own."""
    from distributed.comm import listen

    async def run():
        async def echo(comm):
            try:
                while True:
                    await comm.read()
                    await comm.write("thanks")
            except Exception:  # the other end is gone
                pass

        async with listen("tcp://127.0.0.1:0", echo) as listener:
            pipe.send(listener.contact_address)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(run())


def measured(repeats=30, nbytes=1 << 23):
    """Return the seconds of a small message of Dask between two processes, one way, and how many
    bytes of an array go in a second."""
    from distributed.comm import connect
    from distributed.protocol import to_serialize

    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_answers, args=(there,))
    process.start()
    address, small, large = here.recv(), [], []

    async def run():
        comm = await connect(address)
        for times, message in ((small, "x" * 1000), (large, to_serialize(np.ones(nbytes // 8)))):
            for _ in range(repeats):
                begun = time.perf_counter()
                await comm.write({"op": message})
                await comm.read()
                times.append(time.perf_counter() - begun)
        await comm.close()

    asyncio.run(run())
    here.send("end")
    process.join()
    trip = np.median(small)
    return trip / 2, nbytes / max(np.median(large) - trip, 1e-9)


def simulate(n_workers=50, seconds=1.0, epochs=2, sizes=SIZES, latency=None, bandwidth=None,
             uvloop=False):
    """Return the seconds of rounds, and the processor time of this process in them.

    Parameters
    ----------
    n_workers : int
    seconds : float
        That steps take.
    epochs : int
        Of eight rounds.
    sizes : tuple of int
        Of the network.
    latency, bandwidth : float
        Of a message in seconds, and of links in bytes a second; None: as measured.
    uvloop : bool
        Whether Dask has this event loop.
    """
    import dask
    import distributed

    import fastnn.dask
    from fastnn.dask import tasks, trainer

    if latency is None or bandwidth is None:
        found = measured()
        latency = found[0] if latency is None else latency
        bandwidth = found[1] if bandwidth is None else bandwidth
    links.clear()
    link.update(latency=latency, bandwidth=bandwidth)
    row.update(seconds=seconds, latency=MESSAGES * latency)
    settings = {**QUIET, **({"distributed.admin.event-loop": "uvloop"} if uvloop else {})}
    stamps, before = [], trainer.RoundTrainer.set_state

    def set_state(self, *arguments):
        stamps.append((time.perf_counter(), time.process_time()))
        return before(self, *arguments)

    real = tasks.local_steps
    with dask.config.set(settings), distributed.LocalCluster(
            processes=False, n_workers=n_workers, threads_per_worker=1, dashboard_address=None,
            worker_class=linked_worker()) as cluster, distributed.Client(cluster) as client:
        tasks.local_steps, trainer.RoundTrainer.set_state = sleeps, set_state
        try:
            rng = np.random.default_rng(0)
            X = rng.normal(size=(64 * n_workers, sizes[0])).astype("float32")
            net = fastnn.MLP(sizes, output="softmax", random_state=0)
            gc.collect()
            gc.disable()
            fastnn.dask.fit(net, X, rng.integers(0, sizes[-1], len(X)), client=client,
                            optimizer=fastnn.Adam(), shards=n_workers, epochs=epochs, batch_size=8,
                            local_steps=1)
        finally:
            gc.enable()
            tasks.local_steps, trainer.RoundTrainer.set_state = real, before
    taken, used = np.diff(stamps, axis=0)[1:].T
    print(f"{n_workers} workers, steps of {seconds} s, {net.n_parameters} parameters and two "
          f"states of Adam; a message takes {1000 * latency:.2f} ms, links "
          f"{bandwidth / 1e6:.0f} MB/s")
    print(f"rounds take {np.round(taken, 2)} s")
    print(f"mean {taken.mean():.3f} s, efficiency {seconds / taken.mean():.1%}; median "
          f"{np.median(taken):.3f} s, {seconds / np.median(taken):.1%}; processor time of a round "
          f"{used.mean():.3f} s; load {' '.join(f'{one:.1f}' for one in os.getloadavg())}")
    return taken, used


def main():
    from arguments import at_least, positive

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=positive(int), default=50)
    parser.add_argument("--seconds", type=positive(float), default=1.0)
    parser.add_argument("--epochs", type=positive(int), default=2)
    parser.add_argument("--latency", type=at_least(float, 0),
                        help="of a message, in seconds; else measured")
    parser.add_argument("--bandwidth", type=positive(float), help="of a link, in bytes a second")
    parser.add_argument("--uvloop", action="store_true")
    asked = parser.parse_args()
    simulate(asked.workers, asked.seconds, asked.epochs, latency=asked.latency,
             bandwidth=asked.bandwidth, uvloop=asked.uvloop)


if __name__ == "__main__":
    import dask_simulation  # functions of a module that is run would go with each task

    dask_simulation.main()
