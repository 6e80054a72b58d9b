"""The same bytes on any workers, whatever comes, goes or is killed meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cluster_data import network, rows

import fastnn

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
import dask  # noqa: E402

import fastnn.dask  # noqa: E402

pytestmark = pytest.mark.slow
SETTINGS = dict(shards=5, optimizer=fastnn.Adam(0.01), epochs=2, local_steps=4)
LONG = {**SETTINGS, "epochs": 20}  # 40 rounds


def fitted(client=None, callback=None, **settings):
    """The bytes of a fit."""
    X, y = rows(1000)
    net = network()
    fastnn.dask.fit(net, da.from_array(X, chunks=(130, 5)), da.from_array(y, chunks=130),
                    client=client, callback=callback, **settings)
    return net.parameters.tobytes()


@pytest.fixture(scope="module")
def expected(client):
    """The bytes of the short fit and of the long one."""
    return fitted(client, **SETTINGS), fitted(client, **LONG)


def test_workers_threads_and_processes(on_processes, expected):
    for n_workers, threads in ((1, 1), (2, 1), (4, 1), (1, 3)):
        with on_processes(n_workers, threads) as client:
            assert fitted(client, **SETTINGS) == expected[0], (n_workers, threads)
        with distributed.Client(processes=False, n_workers=n_workers, threads_per_worker=threads,
                                dashboard_address=None) as client:
            assert fitted(client, **SETTINGS) == expected[0], (n_workers, threads, "threads")


def test_workers_that_come_and_go(on_processes, expected):
    with on_processes(1) as client:
        cluster = client.cluster

        def scale(epoch, net, history):
            cluster.scale({3: 3, 9: 2, 14: 1}.get(epoch, len(cluster.workers)))

        assert fitted(client, scale, **LONG) == expected[1]


def test_a_scheduler_under_load(on_processes, expected):
    with on_processes(2) as client:
        others = client.map(lambda i: sum(range(20_000)) + i, range(1000), pure=False)
        assert fitted(client, **SETTINGS) == expected[0]
        client.cancel(others)


def test_twenty_kills(on_processes, expected):
    """kill -9 of workers at random moments, until there were twenty; a new one comes for each."""
    rng, killed, ends = np.random.default_rng(0), [], threading.Event()

    def kill(cluster):
        while not ends.wait(rng.uniform(0.05, 1.0)) and len(killed) < 20:
            if len(cluster.scheduler.workers) == 3:
                nanny = cluster.workers[rng.choice(sorted(cluster.workers))]
                if nanny.pid is not None:
                    os.kill(nanny.pid, signal.SIGKILL)
                    killed.append(len(fits))

    fits = []
    with on_processes(3) as client:
        thread = threading.Thread(target=kill, args=(client.cluster,), daemon=True)
        thread.start()
        try:
            while len(killed) < 20 and len(fits) < 60:
                assert fitted(client, **LONG) == expected[1], killed
                fits.append(None)
        finally:
            ends.set()
            thread.join(30)
    assert len(killed) == 20


def test_no_worker_is_left(on_processes, expected):
    with on_processes(1) as client:
        cluster = client.cluster

        def lose(epoch, net, history):
            if epoch == 5:
                cluster.scale(0)
                threading.Timer(6.0, cluster.scale, [1]).start()

        with pytest.warns(UserWarning, match="no Dask worker is left: the fit waits for one"):
            assert fitted(client, lose, **LONG) == expected[1]


DRIVER = """
import sys, distributed, fastnn, fastnn.dask
import numpy as np
from cluster_data import network, rows
X, y = rows(1000)
net = network()
def told(epoch, net, history):
    print(epoch, flush=True)
fastnn.dask.fit(net, X, y, client=distributed.Client(sys.argv[1]), shards=5, local_steps=4,
                optimizer=fastnn.Adam(0.01), epochs=20, checkpoint=sys.argv[2],
                checkpoint_seconds=0, callback=told)
print(net.parameters.tobytes().hex())
"""


def test_a_driver_that_is_killed(on_processes, expected, tmp_path):
    with on_processes(2) as client:
        command = [sys.executable, "-c", DRIVER, client.scheduler.address,
                   str(tmp_path / "fit.safetensors")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(
            [os.path.dirname(os.path.dirname(fastnn.__file__)), os.path.dirname(__file__)])}
        for last in (3, 9):
            with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE) as process:
                for line in process.stdout:
                    if line.strip() == str(last):
                        process.kill()
                        break
        done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=300,
                              check=True)
    assert int(done.stdout.split()[0]) > 3, "it went on"
    assert bytes.fromhex(done.stdout.split()[-1]) == expected[1]


def test_ctrl_c_leaves_the_cluster_usable(on_processes, expected, ctrl_c):
    with on_processes(2) as client:
        def interrupt(epoch, net, history):
            if epoch == 3:
                threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()

        X, y = rows(1000)
        net = network()
        with pytest.raises(KeyboardInterrupt):
            fastnn.dask.fit(net, X, y, client=client, callback=interrupt, **LONG)
        assert net.history.stopped == "interrupted" and 4 <= len(net.history.loss) < 20
        assert fitted(client, **SETTINGS) == expected[0]


def test_a_task_whose_workers_die(on_processes):
    """Its number is told, and the cluster goes on."""
    X, y = rows(100)

    def dies(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 2:
            time.sleep(0.5)  # until the scheduler knows that the part before has been read
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    data = da.from_array(X, chunks=(20, 5)).map_blocks(dies, dtype=X.dtype, meta=X[:0])
    once = dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with once, on_processes(1) as client:
        with pytest.raises(RuntimeError, match="the workers that ran survey 2 died"):
            fastnn.dask.fit(network(), data, da.from_array(y, chunks=20), client=client)
        assert len(fastnn.dask.fit(network(), X, y, client=client, epochs=1).loss) == 1


@pytest.fixture
def two_machines():
    """Two network namespaces with a link between them: their names and addresses."""
    names = [f"fastnn{os.getpid() % 10_000}{letter}" for letter in "ab"]
    links = [f"fn{os.getpid() % 10_000}{letter}" for letter in "ab"]
    addresses = "10.213.7.1", "10.213.7.2"

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
            for name, link, address in zip(names, links, addresses, strict=True):
                ip("link", "set", link, "netns", name)
                ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
                ip("-n", name, "link", "set", link, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("network namespaces cannot be made here")
        yield list(zip(names, addresses, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_machines(two_machines, expected, tmp_path):
    """A scheduler, a driver and a worker on one machine, a worker on another that is lost."""
    (here, address), (there, other) = two_machines
    scheduler = f"tcp://{address}:8786"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [os.path.dirname(os.path.dirname(fastnn.__file__)), os.path.dirname(__file__)])}
    running = []

    def start(machine, *words, **settings):
        process = subprocess.Popen(["ip", "netns", "exec", machine, sys.executable, *words],
                                   env=env, cwd=tmp_path, **settings)
        running.append(process)
        return process

    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        start(here, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard",
              **quiet)
        workers = [
            start(machine, "-m", "distributed.cli.dask_worker", scheduler, "--host", own,
                  "--nthreads", "1", "--no-dashboard", "--no-nanny", **quiet)
            for machine, own in ((here, address), (there, other))]
        driver = start(here, "-c", DRIVER.replace(
            "distributed.Client(sys.argv[1])", "client").replace(
            "X, y =", "client = distributed.Client(sys.argv[1], timeout=60)\n"
                      "client.wait_for_workers(2, timeout=60)\nX, y ="),
            scheduler, str(tmp_path / "fit.safetensors"), stdout=subprocess.PIPE, text=True)
        lines = []
        for line in driver.stdout:
            lines.append(line.strip())
            if line.strip() == "5":
                workers[1].kill()
        assert driver.wait(60) == 0
    finally:
        for process in running:
            process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
    assert bytes.fromhex(lines[-1]) == expected[1]
