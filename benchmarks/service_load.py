"""Load for examples/service.py: some connections that ask all the time; latency and errors.

    python benchmarks/service_load.py                            # starts the example itself
    python benchmarks/service_load.py --rows 1,100 --connections 1,8 --seconds 5 --markdown
    python benchmarks/service_load.py --url 127.0.0.1:8000       # one that runs, on loopback

Each connection is a thread with a request under way and keep-alive. They all live in this one
process and take processor time from the service, so a faster client would see smaller numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "service.py"
TIMEOUT = 10  # seconds of any one answer
START = 60  # seconds until the service has to be there
STOP = 20  # and to be gone


# ---- the service ----

@contextlib.contextmanager
def service(model, workers=2, log=None):
    """Starts the example on a free port of loopback; yields (process, port), ends all workers.

    The process is the leader of a session of its own, so that nothing can stay behind. What it says
    goes to the file ``log``, if there is to be one.
    """
    command = [sys.executable, EXAMPLE, model, "--port", 0, "--workers", workers]
    place = tempfile.TemporaryFile("w+") if log is None else open(log, "w+")
    with place as log, subprocess.Popen(
            list(map(str, command)), stderr=log, stdout=log, start_new_session=True) as process:
        try:
            yield process, wait_for(process, log)
        finally:
            stop(process)


def wait_for(process, log):
    """The port, once the service answers there."""
    deadline = time.monotonic() + START
    port = None
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
        log.seek(0)
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read())
        if found:
            port = int(found[1])
            with contextlib.suppress(OSError):
                if Client(port).get("/health")[0] == 200:
                    return port
    log.seek(0)
    raise RuntimeError(f"the service does not answer, it said:\n{log.read()}")


def stop(process):
    """SIGTERM, as a supervisor does; whoever is still there later is killed."""
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# ---- its clients ----

class Client:
    """One connection that stays open."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body):
        return self.ask("POST", path, body)

    def ask(self, method, path, body=None):
        """(status, what the answer holds)."""
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self):
        self.connection.close()


class Load:
    """What some connections found, each asking until the time or the requests are used up.

    Parameters
    ----------
    port : int
    bodies : list of bytes
        Asked in turn.
    connections : int
    seconds : float
    requests : int or None
        Of all connections together, at most.
    check : callable or None
        Takes the index of a body and the answer; says whether it is right. It is not timed.

    Attributes
    ----------
    times : list of float
        Seconds of each request that was answered with 200.
    errors : list of str
    rate : float
        Answers per second.
    """

    def __init__(self, port, bodies, connections, seconds, requests=None, check=None):
        self.port, self.bodies, self.check = port, bodies, check
        self.times, self.errors = [], []
        each = None if requests is None else -(-requests // connections)
        threads = [threading.Thread(target=self.ask, args=(i, seconds, each), daemon=True)
                   for i in range(connections)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 2 * TIMEOUT)
        if any(thread.is_alive() for thread in threads):
            self.errors.append("a connection hangs")
        self.rate = len(self.times) / (time.perf_counter() - start)

    def ask(self, number, seconds, requests):
        client, clock = Client(self.port), time.perf_counter
        deadline, i = clock() + seconds, 0
        try:
            while clock() < deadline and i != requests:
                which = (number + i) % len(self.bodies)
                start = clock()
                status, answer = client.post("/predict", self.bodies[which])
                took = clock() - start
                i += 1
                if status != 200:
                    self.errors.append(f"{status}: {answer}")
                elif self.check and not self.check(which, answer):
                    self.errors.append(f"wrong answer to body {which}: {answer}")
                else:
                    self.times.append(took)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            client.close()


# ---- command line ----

def make_model(path, sizes):
    import fastnn

    net = fastnn.MLP(sizes, output="softmax", random_state=0)
    net.save(path, scaler=([0.0] * sizes[0], [1.0] * sizes[0]), classes=list(range(sizes[-1])))


def make_bodies(n_rows, n_in, how_many=16):
    import numpy as np

    X = np.random.default_rng(0).standard_normal((how_many, n_rows, n_in)).round(4)
    return [json.dumps({"rows": rows.tolist()}).encode() for rows in X]


def measure(port, settings):
    import numpy as np

    status, model = Client(port).get("/model")
    head = ["rows", "connections", "median, ms", "p99, ms", "requests/s", "rows/s", "errors"]
    lines = []
    for n_rows in settings.rows:
        bodies = make_bodies(n_rows, model["n_features"])
        for connections in settings.connections:
            Load(port, bodies, connections, settings.seconds / 5)  # warms up
            load = Load(port, bodies, connections, settings.seconds)
            median, p99 = 1e3 * np.percentile(load.times or [np.nan], [50, 99])
            lines.append([str(n_rows), str(connections), f"{median:.2f}", f"{p99:.2f}",
                          f"{load.rate:,.0f}", f"{load.rate * n_rows:,.0f}",
                          str(len(load.errors))])
            for error in load.errors[:3]:
                print(error, file=sys.stderr)
    return head, lines


def main():
    from arguments import positive, several, sizes

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--sizes", type=sizes, default="20-64-64-2",
        help="of the network that is served (default 20-64-64-2)")
    add("--workers", type=positive(int), default=2, help="processes of the service (default 2)")
    add("--url", help="host:port of a service that runs already, on this machine")
    add("--rows", type=several(positive(int)), default="1,100",
        help="rows of a request (default 1,100)")
    add("--connections", type=several(positive(int)), default="1,8",
        help="at a time (default 1,8)")
    add("--seconds", type=positive(float), default=5, help="of each line of the table (default 5)")
    add("--markdown", action="store_true")
    settings = parser.parse_args()
    if settings.url:
        head, lines = measure(int(settings.url.rpartition(":")[2]), settings)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            make_model(path, settings.sizes)
            with service(path, settings.workers) as (_, port):
                head, lines = measure(port, settings)
    import tables

    print(tables.markdown_table(head, lines, 0) if settings.markdown
          else tables.aligned([head, *lines]))


if __name__ == "__main__":
    main()
