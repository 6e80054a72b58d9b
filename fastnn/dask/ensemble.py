"""`fit_many`: many networks on the workers of a Dask cluster, each by one of them."""

import functools
from contextlib import contextmanager

import dask
import numpy as np

from fastnn import ensemble
from fastnn.core import notices, validation
from fastnn.core.arrays import is_sparse
from fastnn.core.codes import is_codes
from fastnn.core.notices import shown
from fastnn.core.version import __version__
from fastnn.dask.cluster import Cluster
from fastnn.dask.tasks import check_version, keep
from fastnn.mlp import MLP

__all__ = ["fit_many", "on_workers"]


def fit_many(networks, X, y, *, client=None, **settings):
    """Train many networks on the same data, each by one worker; each ends with the bytes of a fit
    of its own, as `fastnn.fit_many` gives them.

    X and y are on each worker that trains once, whole: they have to fit into its memory. A network
    is one task, which another worker does again where one is lost.

    Parameters
    ----------
    networks : sequence of MLP
        Each goes on from its parameters.
    X, y : arrays or sparse matrix, or Dask collections
        Collections are put together on a worker.
    client : distributed.Client or None, default=None
        None: the one that runs.
    **settings
        The other arguments of `fastnn.fit_many`, but for a checkpoint: one value for all networks,
        or a list with one for each. Callbacks are copied to the worker, and what they keep stays
        there; ``n_threads`` are the threads of one task, 1 by default.

    Returns
    -------
    list of History
        One for each network, also its ``history``.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument, with the number of the network: ``networks[3]: ...``.
    RuntimeError
        When driver and worker have different versions of fastnn; when workers die one after the
        other at the same network.
    KeyboardInterrupt
        On Ctrl-C. Networks are as before then, as where one of them raises an error.

    Warns
    -----
    DivergenceWarning
        As for `MLP.fit`, with the number of the network.

    Examples
    --------
    >>> import distributed, fastnn, fastnn.dask
    >>> import numpy as np
    >>> client = distributed.Client(processes=False, dashboard_address=None)
    >>> X = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> nets = [fastnn.MLP((4, 8, 2), output="softmax", random_state=i) for i in range(3)]
    >>> histories = fastnn.dask.fit_many(nets, X, y, epochs=[5, 5, 10])
    >>> [len(history.loss) for history in histories]
    [5, 5, 10]
    >>> client.close()
    """
    networks = ensemble.check_networks(networks)
    ensemble.refuse_checkpoint(settings.pop("checkpoint", None))
    settings.pop("checkpoint_seconds", None)
    MLP._import_training()
    cluster = Cluster(client)
    columns = {name: ensemble.spread(name, value, len(networks))
               for name, value in settings.items() if name != "n_threads"}
    threads = validation.check_count("n_threads", settings.get("n_threads") or 1)
    data = [_sent(cluster, name, value) for name, value in (("X", X), ("y", y))]
    futures = []
    for i, net in enumerate(networks):
        own = {name: column[i] for name, column in columns.items()}
        futures.append(cluster.submit(
            train, net, *data, own, threads, i, __version__,
            name="network", number=(i,), priority=_cost(net, own)))
    results = cluster.fetch(futures)
    histories = []
    for i, (net, (parameters, epochs_done, history, told)) in enumerate(
            zip(networks, results, strict=True)):
        net._publish_copy(parameters, epochs_done)
        net._history = history
        histories.append(history)
        for message, category in told:
            notices.warn(message.replace("networks[0]", f"networks[{i}]", 1), category)
    return histories


@contextmanager
def on_workers(client=None):
    """While it lasts, `fastnn.fit_many` trains on the workers, and what calls it: the members of
    `fastnn.TabularClassifier`, for example.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        None: the one that runs.

    Yields
    ------
    None
        Nothing; what is done meanwhile counts.

    Examples
    --------
    >>> import distributed, fastnn, fastnn.dask
    >>> import numpy as np
    >>> X, y = np.eye(8, dtype="float32"), np.arange(8) % 2
    >>> nets = [fastnn.MLP((8, 4, 2), output="softmax", random_state=i) for i in range(2)]
    >>> with distributed.Client(processes=False, dashboard_address=None):
    ...     with fastnn.dask.on_workers():
    ...         histories = fastnn.fit_many(nets, X, y, epochs=3)
    >>> [len(history.loss) for history in histories]
    [3, 3]
    """
    client = Cluster(client).client
    before = ensemble.elsewhere.set(functools.partial(fit_many, client=client))
    try:
        yield
    finally:
        ensemble.elsewhere.reset(before)


def _sent(cluster, name, value):
    """Return the future of an array that the scheduler holds, or that workers put together."""
    if dask.is_dask_collection(value):
        return cluster.client.compute(value)
    if not (is_sparse(value) or is_codes(value)):
        value = np.asarray(value)
        if value.dtype == object:
            raise TypeError(f"{name}={shown(value)} must be an array of numbers")
    return cluster.submit(keep, value, name=f"{name}-of-all", number=(0,))


def _cost(net, settings):
    """Return a priority: the networks with the most work first."""
    epochs = settings.get("epochs", 10)
    return net._layout.training_flops * (epochs if isinstance(epochs, int) else 1)


def train(net, X, y, settings, n_threads, number, version):
    """Train a network on a worker; return its parameters, epochs, history and warnings."""
    check_version(version)
    told = []
    try:
        with notices.kept(told):
            history, = ensemble.fit_many([net], X, y, n_threads=n_threads, **{
                name: [value] for name, value in settings.items()})
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (error.args[0].replace("networks[0]", f"networks[{number}]", 1),
                          *error.args[1:])
        raise
    return np.array(net.parameters), net._epochs_done, history, told
