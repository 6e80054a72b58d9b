"""A cluster in this process, for all tests here; without Dask they are skipped."""

import pytest

try:
    import dask
    import distributed
except ImportError:
    dask = distributed = None  # each module is skipped


@pytest.fixture(scope="session")
def client():
    """Two workers as threads of this process."""
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1,
                            dashboard_address=None) as client:
        yield client


@pytest.fixture(scope="session")
def on_processes():
    """``with on_processes(n_workers, threads_per_worker=1, **settings) as client``: workers that
    are processes."""
    from contextlib import contextmanager, suppress

    @contextmanager
    def made(n_workers, threads_per_worker=1, **settings):
        # else a cluster gives up a worker that takes longer than 15 s to come again
        patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
        with patient:
            cluster = distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=threads_per_worker, processes=True,
                host="127.0.0.1", dashboard_address=None, **settings)
            try:
                with distributed.Client(cluster) as client:
                    yield client
            finally:
                # under load workers that got a kill -9 may be seen to end too late for Dask
                with suppress(TimeoutError):
                    cluster.close()

    return made
