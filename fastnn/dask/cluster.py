"""The client: tasks with names, where they should run, and waiting for what they come to."""

import asyncio
import concurrent.futures
import itertools
import threading
import uuid
from contextlib import contextmanager, suppress

import dask
import distributed
from dask._task_spec import Task, TaskRef
from distributed.scheduler import KilledWorker
from distributed.threadpoolexecutor import thread_state

from fastnn.core.notices import shown, warn

__all__ = ["Cluster", "Graph", "Pins", "WithClient"]

POLL = 1.0  # seconds between two looks at the workers, while a result is waited for
IDLE = 30  # such looks, after which the fit says what it waits for, though there are workers
LOOKS = 3  # such looks, after which tasks that wait for no worker are started
MOST_WAITED = 256  # results that are waited for at once
CANCELLED = asyncio.CancelledError, concurrent.futures.CancelledError
_sends = threading.RLock()  # Dask's settings are those of all threads


class Cluster:
    """A running client, as one fit sees it.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        None: the one that runs.

    Raises
    ------
    TypeError, ValueError
        When it is none, is asynchronous, or is closed; when none runs.
    """

    def __init__(self, client=None):
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "no Dask client is running: make one, client = distributed.Client(...), or "
                    "give client=") from None
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client={shown(client)} must be a distributed.Client")
        if client.asynchronous:
            raise TypeError("client is asynchronous, must be one that waits: "
                            "distributed.Client(...) without asynchronous=True")
        # In a task of a worker: others' tasks are waited for, its thread must not be kept from them
        if getattr(thread_state, "proceed", False):
            distributed.secede()
        self.client, self.token = client, uuid.uuid4().hex
        self.rounds = itertools.count()  # of all shards: keys of tasks differ
        self.check()

    def check(self):
        """Raise unless the client is connected."""
        if self.client.status != "running":
            raise ValueError(f"the Dask client is {self.client.status}: make a new one")

    def workers(self):
        """Return the number of threads of each worker, by its address."""
        self.check()
        return dict(sorted(self.client.nthreads().items()))

    def memory(self):
        """Return the sum of the workers' memory limits in bytes; None where one has no limit."""
        workers = self.client.scheduler_info()["workers"].values()
        limits = [worker.get("memory_limit") for worker in workers]
        return sum(limits) if limits and all(limits) else None

    def submit(self, function, *arguments, name, number, worker=None, priority=0):
        """Return the future of a task.

        Parameters
        ----------
        function : callable
            Pure.
        arguments : futures, plain values
        name : str
            What the dashboard shows.
        number : tuple of int
            With the name it makes the key; the last one is that of the shard or the partition.
        worker : str or None, default=None
            Where it should run; it may run elsewhere.
        priority : int, default=0
            Higher ones run first.
        """
        key = self.key(name, number)
        where = {} if worker is None else {"workers": [worker], "allow_other_workers": True}
        with _unwarned():
            return self.client.submit(function, *arguments, key=key, pure=False,
                                      priority=priority, **where)

    def submit_all(self, function, rows, name):
        """Return the futures of many tasks, which go to the scheduler as one message.

        Parameters
        ----------
        function : callable
            Pure.
        rows : list of list
            The arguments of each: futures, plain values.
        name : str
            See `submit`; the number of a task is its place in the list.
        """
        graph = Graph()
        keys = [graph.add(self.key(name, (i,)), function, *(
            graph.ref(one.key) if isinstance(one, distributed.Future) else one for one in row))
            for i, row in enumerate(rows)]
        # in their order: where a worker dies, the first task that it had is the one that ran
        with dask.annotate(priority=_InOrder(len(rows))):
            return self.send(graph, keys)

    def key(self, name, number):
        """Return the key of a task: see `submit`."""
        return f"fastnn-{name}-{self.token}", *number

    def send(self, graph, ends):
        """Return the futures of some tasks of a graph, which goes to the scheduler at once.

        Parameters
        ----------
        graph : Graph
        ends : list of keys
            What is wanted: all else is dropped when it is used up, and given up with these.
        """
        self.check()
        with _unwarned(), dask.annotate(workers=graph.where, allow_other_workers=True):
            return self.client.get(graph.tasks, ends, sync=False)

    def wait(self, futures, seconds):
        """Wait until some futures are done, but no longer than some seconds."""
        with suppress(TimeoutError, asyncio.TimeoutError, *CANCELLED):
            self._wait(futures, seconds)

    def fetch(self, futures):
        """Return the results of some futures, in their order.

        While there is no worker it waits, and says so once. Where it does not come to its end it
        gives them up.

        Parameters
        ----------
        futures : list of Future

        Raises
        ------
        Exception
            What a task has raised, that of the first future.
        RuntimeError
            When workers died again and again at one task; when the scheduler is gone.
        """
        try:
            return self._results(list(futures))
        except BaseException:
            self.give_up(futures)
            raise

    def _results(self, futures):
        told, looks, coming, idle = False, 0, [], 0
        while True:
            try:
                waiting = [future for future in futures if not future.done()]
                while waiting and not coming:  # some at a time: to wait for thousands takes as long
                    self._wait(waiting[:MOST_WAITED], POLL)
                    self._raise_first(futures)
                    waiting = [future for future in waiting if not future.done()]
                self._raise_first(futures)
                # a result that is lost on its way is made again, which may wait for a worker, too
                return self.client.sync(self._gathered, futures, coming)
            except (TimeoutError, asyncio.TimeoutError):
                self._raise_first(futures)
                self.check()
                looks += 1
                if not self.workers():
                    if not told:
                        warn("no Dask worker is left: the fit waits for one")
                    told = True
                elif looks >= LOOKS:
                    idle = 0 if self._start_again() else idle + 1
                    if idle == IDLE:
                        self._tell_of(next((one for one in futures if not one.done()), futures[0]))
            except CANCELLED as error:
                self.check()
                key = next((future.key for future in futures if future.cancelled()),
                           futures[0].key)
                raise RuntimeError(f"the task {key!r} was cancelled: is the scheduler gone, or a "
                                   "future that it needs? With checkpoint=path the fit goes on "
                                   "from there") from error

    def _wait(self, futures, seconds):
        with self.client.as_current():  # Dask asks the client that runs, which may be none
            distributed.wait(futures, timeout=seconds)

    def _start_again(self):
        """Let tasks run that wait for a worker which will not come again; return whether any
        worker has anything to do.

        The scheduler leaves a task alone that was to run while there was no worker at all, and
        asks for one that is gone, though it may run elsewhere (distributed 2026.8)."""
        try:
            return self.client.run_on_scheduler(_start_unrunnable, self.token)
        except (OSError, TimeoutError, asyncio.TimeoutError):
            return True  # nobody knows

    def _tell_of(self, future):
        """Warn of what the fit waits for, though there are workers, which have nothing to do."""
        try:
            state = self.client.run_on_scheduler(_state_of, future.key)
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            state = f"unknown ({type(error).__name__})"
        warn(f"the fit waits for {future.key!r}, and none of {len(self.workers())} Dask workers "
             f"has anything to do; the scheduler says of it: {state}. With checkpoint=path another "
             "fit goes on from there")

    async def _gathered(self, futures, coming):
        """Return the results; raise TimeoutError where they take longer than one look.

        They go on coming: what is cancelled before it has begun is what Dask's client awaits with
        all further results of anybody, which fail then (distributed 2026.8).

        Parameters
        ----------
        futures : list of Future
        coming : list
            The task that gets them, from the first call on.
        """
        if not coming:
            coming.append(asyncio.ensure_future(self.client.gather(futures, asynchronous=True)))
            coming[0].add_done_callback(_looked_at)
        done, _ = await asyncio.wait(coming, timeout=POLL)
        if not done:
            raise TimeoutError
        try:
            return coming.pop().result()
        except asyncio.CancelledError as error:  # not one of this coroutine, which Dask cannot tell
            raise concurrent.futures.CancelledError from error

    @staticmethod
    def _raise_first(futures):
        """Raise what the first task of a list that has failed has raised."""
        for future in futures:
            if future.status == "error":
                try:
                    future.result()
                except KilledWorker as error:
                    raise RuntimeError(
                        f"the workers that ran {_told(error)} died, one after the other: are they "
                        "out of memory? Cut the data into more shards, or raise Dask's setting "
                        "distributed.scheduler.allowed-failures") from error

    @staticmethod
    def give_up(futures):
        """Give up tasks, and what only they need; what runs already runs to its end.

        Not `Client.cancel`: it fails on the scheduler where nobody waits for what a task of the
        list is needed for, and the client is lost (distributed 2026.8).
        """
        for future in futures:
            if future is not None:
                future.release()


def _looked_at(task):
    """Take the error of a task that nobody waits for any more, or asyncio would tell of it."""
    if not task.cancelled():
        task.exception()


def _start_unrunnable(token, dask_scheduler=None):
    """Start the tasks of a fit that no worker was there for; return whether any worker has
    anything to do. This runs on the scheduler."""
    if dask_scheduler.running:
        keys = [task.key for task in dask_scheduler.unrunnable if task.loose_restrictions]
        own = {key: "processing" for key in keys
               if isinstance(key, tuple) and str(key[0]).endswith(token)}
        dask_scheduler.transitions(own, f"fastnn-start-again-{uuid.uuid4().hex}")
    return bool(dask_scheduler.queued) or any(
        worker.processing for worker in dask_scheduler.workers.values())


def _state_of(key, dask_scheduler=None):
    """Return what the scheduler says of a task, and of those that it waits for."""
    task = dask_scheduler.tasks.get(key)
    if task is None:
        return "unknown to it"
    waits = sorted(f"{one.key!r} ({one.state})" for one in task.waiting_on or ())
    return f"{task.state}, waits for {', '.join(waits[:3])}" if waits else str(task.state)


@contextmanager
def _unwarned():
    """While it lasts, Dask does not warn of what is large in a task: that what a worker loses can
    be made again is worth it."""
    with _sends, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        yield


class WithClient:
    """An estimator that has a client, the one that runs where it is None."""

    client = None  # no parameter: copies and files do not hold it

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("client", None)
        return state


def _told(error):
    """Return the name of the task whose workers died."""
    key = getattr(error, "task", None) or (error.args[0] if error.args else "a task")
    if isinstance(key, tuple):
        return f"{key[0].rpartition('-')[0].removeprefix('fastnn-')} {key[-1]}"
    return f"task {key!r}"


class Graph:
    """Tasks that go to the scheduler together.

    One message in the place of one for each task, and the scheduler sees their order.
    """

    def __init__(self):
        self.tasks, self.where = {}, _Places()

    def add(self, key, function, *arguments, worker=None):
        """Add a task; return its key.

        Parameters
        ----------
        key : tuple
            See `Cluster.key`.
        function : callable
            Pure.
        arguments : `ref` of other tasks, plain values
        worker : str or None, default=None
            Where it should run; it may run elsewhere.
        """
        task = self.tasks[key] = Task(key, function, *arguments)
        task._token = str(key)  # else Dask makes one of all that the arguments hold
        if worker is not None:
            self.where[key] = [worker]
        return key

    ref = staticmethod(TaskRef)


class _Places(dict):
    """Which worker a task asks for: what Dask calls, on the scheduler."""

    def __call__(self, key):
        return self.get(key, [])


class _InOrder:
    """The priority of a task, by its number: what Dask calls, on the scheduler."""

    def __init__(self, n):
        self.n = n

    def __call__(self, key):
        return 1 - key[-1] / self.n


class Pins:
    """Which shard should run on which worker: where it ran before, as long as that is fair.

    Parameters
    ----------
    n : int
        Number of shards.
    """

    def __init__(self, n):
        self.places, self.known = [None] * n, None

    def of(self, workers):
        """Return the address of each shard's worker.

        Parameters
        ----------
        workers : dict
            Threads by address; none: no shard has a place.
        """
        if workers != self.known:
            self.places, self.known = _spread(self.places, workers), dict(workers)
        return self.places


def _spread(places, workers):
    """Return a place for each shard: as many per thread everywhere, as few moves as that takes.

    Neighbours are together at first: nodes of the tree then find their children on one worker.
    """
    if not workers:
        return [None] * len(places)
    threads = sum(workers.values())
    if places.count(None) == len(places):
        seats = [address for address, own in workers.items() for _ in range(own)]
        return [seats[i * threads // len(places)] for i in range(len(places))]
    left = {}
    for address, own in workers.items():
        left[address] = -(-len(places) * own // threads)
    found = []
    for place in places:
        stays = left.get(place, 0) > 0
        found.append(place if stays else None)
        if stays:
            left[place] -= 1
    load = {address: found.count(address) for address in workers}
    for i, place in enumerate(found):
        if place is None:
            found[i] = min(workers, key=lambda address: (load[address] / workers[address], address))
            load[found[i]] += 1
    return found
