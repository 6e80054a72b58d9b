"""Train on a Dask cluster of this machine: a worker is killed meanwhile, the model is the same.

    pip install ".[dask,sklearn]"
    python examples/dask_local.py

On a real cluster the one line that changes is that of the client: ``distributed.Client(address)``.
"""

import argparse
import os
import signal
import time

import dask.array as da
import distributed
import numpy as np
from sklearn.datasets import load_digits

import fastnn
import fastnn.dask


def network():
    return fastnn.MLP((64, 64, 10), output="softmax", random_state=0)


def kill_a_worker(client):
    pids = client.run(os.getpid)
    os.kill(sorted(pids.values())[0], signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[300:], order[:300]
    # in real life: da.from_zarr, dask.dataframe.read_parquet, a list of dask.delayed parts
    X_train = da.from_array(X[train], chunks=(400, 64))
    y_train = da.from_array(y[train], chunks=400)
    settings = dict(shards=4, optimizer=fastnn.Adam(4e-3), epochs=arguments.epochs,
                    local_steps=4, batch_size=32, progress=False)

    with distributed.LocalCluster(n_workers=arguments.workers, threads_per_worker=1,
                                  host="127.0.0.1", dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        undisturbed, disturbed = network(), network()
        begun = time.perf_counter()
        history = fastnn.dask.fit(undisturbed, X_train, y_train, **settings)
        print(f"{len(history.loss)} passes in {time.perf_counter() - begun:.1f} s, loss "
              f"{history.loss[0]:.3f} to {history.loss[-1]:.3f}")

        def callback(epoch, net, history):
            if epoch == 2:
                print("kill -9 of a worker")
                kill_a_worker(client)

        fastnn.dask.fit(disturbed, X_train, y_train, callback=callback, **settings)
    right = (disturbed.predict(X[test]).argmax(axis=1) == y[test]).mean()
    same = disturbed.parameters.tobytes() == undisturbed.parameters.tobytes()
    print(f"accuracy on {len(test)} other rows {right:.3f}, the same parameters to the byte: "
          f"{same}")
    if not same:
        raise SystemExit("the parameters differ")


if __name__ == "__main__":
    main()
