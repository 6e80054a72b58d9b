"""What XGBoost's, LightGBM's and fastnn's fits on Dask do when a worker is killed.

    python benchmarks/dask_kills.py [xgboost lightgbm fastnn] [--wait 120]

Two workers that are processes; one of them gets ``kill -9`` some five seconds after the training
began, and its nanny starts a new one. Told is what the fit does: a result, an error, or neither
``--wait`` seconds after the kill. A package that is not installed is left out.
"""

import argparse
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from arguments import positive

# else sparse.py of this folder is what XGBoost takes for the package sparse
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent.resolve()]

ROWS, COLUMNS, PARTS = 400_000, 20, 8
LOOKS = 25  # five times a second, in which a task runs that is the training then


def made(number):
    """Return a part of the rows: columns, of which the last is the label."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(ROWS // PARTS, COLUMNS)).astype("float32")
    return np.column_stack([X, X[:, 0] * X[:, 1] + X[:, 2] > 0])


def collections():
    """Return X and y as Dask arrays."""
    import dask
    import dask.array

    n = ROWS // PARTS
    whole = dask.array.concatenate([
        dask.array.from_delayed(dask.delayed(made)(i), (n, COLUMNS + 1), "float32")
        for i in range(PARTS)])
    return whole[:, :COLUMNS], whole[:, COLUMNS].astype(int)


def xgboost(client):
    """Fit `DaskXGBClassifier`."""
    from xgboost import dask as peer

    model = peer.DaskXGBClassifier(n_estimators=100_000, tree_method="hist")
    model.client = client
    model.fit(*collections())


def lightgbm(client):
    """Fit `DaskLGBMClassifier`."""
    from lightgbm import DaskLGBMClassifier

    DaskLGBMClassifier(n_estimators=100_000, client=client, verbosity=-1).fit(*collections())


def fastnn(client):
    """Fit a network, to its end."""
    import fastnn
    import fastnn.dask

    net = fastnn.MLP((COLUMNS, 64, 2), output="softmax", random_state=0)
    fastnn.dask.fit(net, *collections(), client=client, shards=8, epochs=3)


def tell(name, wait):
    """Print what a fit does when one of two workers is killed, and end this process: a fit that
    hangs would keep it."""
    import dask
    import distributed

    found = []

    def run():
        try:
            globals()[name](client)
            found.append("a result")
        except BaseException as error:
            found.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
    with patient, distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1",
            dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        looks, most = Counter(), 0
        while not found and most < LOOKS:  # the training is one long task, or rounds
            time.sleep(0.2)
            now = {str(task.key) for worker in list(cluster.scheduler.workers.values())
                   for task in list(worker.processing)}
            looks = Counter({key: looks[key] + 1 for key in now})
            most = max(looks.values(), default=0)
            if any("local-steps" in key for key in now):
                break
        version = importlib.import_module(name).__version__
        if found:
            end = f"before the kill: {found[0]}"
        else:
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            at = time.monotonic()
            thread.join(wait)
            end = (f"{found[0] if found else 'neither a result nor an error'}, "
                   f"{time.monotonic() - at:.1f} s after the kill")
        print(f"{name} {version}, Dask {distributed.__version__}: {end}", flush=True)
        os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    fits = "xgboost", "lightgbm", "fastnn"
    parser.add_argument("fits", nargs="*", default=list(fits))
    parser.add_argument("--wait", type=positive(float), default=120.0)
    asked = parser.parse_args()
    if unknown := set(asked.fits) - set(fits):
        parser.error(f"unknown fit {min(unknown)!r}; there are {', '.join(fits)}")
    for name in asked.fits:
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")
        elif len(asked.fits) > 1:
            subprocess.run([sys.executable, __file__, name, "--wait", str(asked.wait)])
        else:
            tell(name, asked.wait)


if __name__ == "__main__":
    main()
