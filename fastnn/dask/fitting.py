"""`fit`: a network on the workers of a Dask cluster."""

from fastnn.core import validation
from fastnn.core.notices import shown, suggests
from fastnn.core.threads import sole_fit
from fastnn.dask.cluster import Cluster
from fastnn.dask.judging import METRIC, Judge
from fastnn.dask.shards import Data, Shards, keeps, number_of_shards
from fastnn.dask.trainer import GradientTrainer, Marks, RoundState, RoundTrainer, losses_of
from fastnn.mlp import MLP
from fastnn.training.bound_losses import describe
from fastnn.training.callbacks import StepLimit, fit_hooks
from fastnn.training.checkpoint import Checkpoint, Progress, describe_fit
from fastnn.training.epochs import FitState, run_epochs
from fastnn.training.evaluations import Evaluations
from fastnn.training.fit_file import DATA, HELD_OUT
from fastnn.training.fitting import Settings, stand_of
from fastnn.training.history import History
from fastnn.training.lbfgs import LBFGS
from fastnn.training.optimizers import takes_steps
from fastnn.training.schedules import StepRates

__all__ = ["Plan", "fit", "run"]

ROUNDS = 8  # of an epoch, where nobody says how many steps a round has
LEAST_STEPS = 8  # of such a round
SYNC = "round", "gradient"
TO_JUDGE = {"class_weight": None, "passes": 1}  # how rows are encoded that are not learned from


@suggests
def fit(net, X, y=None, *, sample_weight=None, client=None, sync=None, shards=None,
        local_steps=None, round_seconds=1.0, outer_learning_rate=1.0, outer_momentum=0.5,
        keep=None, loss=None, optimizer=None, epochs=10, batch_size=32, shuffle=True, alpha=0.0,
        l1=0.0, max_norm=None, clip_norm=None, clip_value=None, input_dropout=0.0, input_noise=0.0,
        mixup=0.0, validation_data=None, metrics=None, callback=None, callbacks=None,
        max_time=None, max_steps=None, progress=None, checkpoint=None, checkpoint_seconds=10.0):
    """Train a network on the workers of a Dask cluster.

    Rows are cut into shards, by the data alone. A round is one task for each shard, a pure function
    of (parameters, shard, round, seed); what they give is added up along a tree that the number of
    shards decides, and comes back to this process. So the result is the same to the byte for any
    number of workers, threads or processes, whatever is lost and done again, on processors of one
    kind.

    Parameters
    ----------
    net : MLP
        It goes on from its parameters, as in `MLP.fit`.
    X : dask.array (n_samples, n_in), dask.dataframe, list of delayed parts, path or array
        Parts may be futures. Each of a list is X, (X, y) or (X, y, sample_weight). A path is that
        of Parquet files, as `dask.dataframe.read_parquet` takes it; a list of paths is read in its
        order. Columns of a frame are numbers. Arrays of this process are sent to the cluster.
        Partitions may be empty, and lengths unknown.
    y : as X, or str or list of str, default=None
        Targets, as `MLP.fit` takes them, cut as X is; or the name of a column of X, or several.
    sample_weight : as y, default=None
        Weight of each row, or the name of the column of X that has them; None: 1 each.
    client : distributed.Client or None, default=None
        None: the one that runs.
    sync : {"round", "gradient"} or None, default=None
        "round": local steps on every shard, then an outer step with momentum (local SGD, Stich
        2019; DiLoCo, Douillard et al. 2023): with d the mean of the shards' changes,
        v = outer_momentum v + d, w += outer_learning_rate (d + outer_momentum v). States of the
        optimizer become the shards' mean. "gradient": the exact gradient over all rows, for
        `fastnn.LBFGS`. None: the one that goes with the optimizer.
    shards : int or None, default=None
        Number of pieces of equal size that the rows are cut into, in their order. It decides the
        result. None: one per 2**18 rows, at least 8, at most 64 unless one would be beyond 64 MiB;
        fewer for less than 512 rows.
    local_steps : int, "measured" or None, default=None
        Steps of a round on each shard. None: an eighth of a pass, at least 8. "measured": as many
        as take ``round_seconds``, by the time of the first round; then this number, which is
        ``history.local_steps``, belongs to what decides the result.
    round_seconds : float, default=1.0
        For ``local_steps="measured"``.
    outer_learning_rate : float, default=1.0
        Of the outer step.
    outer_momentum : float in [0, 1), default=0.5
        Both 1 and 0: the mean of the shards' parameters.
    keep : bool or None, default=None
        Whether workers hold the rows in memory. False: each round reads its parts, encodes them and
        drops them. None: hold them where they take at most 40 % of the workers' memory. It does not
        change the result.
    loss, optimizer : see `MLP.fit`
        As there, names or objects.
    epochs : int, default=10
        Passes over the rows.
    batch_size : int, default=32
        Rows of a step on one shard: a step of all of them sees ``shards`` times as many.
    shuffle : bool, default=True
        As for `MLP.fit`, within each shard.
    alpha, l1 : float, default=0.0
        As for `MLP.fit`.
    max_norm, clip_norm, clip_value : float or None, default=None
        As for `MLP.fit`.
    input_dropout, input_noise, mixup : float, default=0.0
        As for `MLP.fit`.
    validation_data : tuple (X, y), default=None
        Dask collections are evaluated on the workers, arrays in this process.
    metrics, callback, callbacks : see `MLP.fit`
        As there. Metrics need arrays as validation data.
    max_time : float or None, default=None
        Seconds, after which no epoch begins.
    max_steps : int or None, default=None
        Most steps on each shard.
    progress : bool or None, default=None
        As for `MLP.fit`.
    checkpoint : str, path or None, default=None
        As for `MLP.fit`; with ``sync="round"`` it is written after a round, too.
    checkpoint_seconds : float, default=10.0
        Time between two writes of the file at least.

    Returns
    -------
    History
        Also ``net.history``. ``history.local_steps`` is the number of steps of a round.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument; on parts that differ in columns or dtypes, or hold NaN, with the number
        of the partition; where no client runs, or it is closed.
    RuntimeError
        When driver and worker have different versions of fastnn; when workers die one after the
        other at the same task; when the scheduler is gone.
    ModelFormatError
        When the checkpoint is damaged, or one of a fit with other arguments or data.
    KeyboardInterrupt
        On Ctrl-C; the parameters are those of the last whole round.

    Warns
    -----
    DivergenceWarning
        As for `MLP.fit`.
    UserWarning
        When no worker is left: the fit waits. When workers have different instruction sets.

    Examples
    --------
    >>> import dask.array, distributed, fastnn, fastnn.dask
    >>> client = distributed.Client(processes=False, dashboard_address=None)
    >>> X = dask.array.random.default_rng(0).normal(size=(2000, 4), chunks=(500, 4))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastnn.MLP((4, 16, 2), output="softmax", random_state=0)
    >>> history = fastnn.dask.fit(net, X, y, optimizer=fastnn.Adam(0.01), shards=4, epochs=20)
    >>> bool((net.predict(X.compute()).argmax(axis=1) == y.compute()).mean() > 0.9)
    True
    >>> client.close()
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net={shown(net)} must be a fastnn.MLP")
    net._import_training()
    held_here = None
    if validation_data is not None and not _on_workers(validation_data):
        held_here = validation_data
    settings = Settings(
        net, net._bound(loss), optimizer=optimizer, epochs=epochs, alpha=alpha,
        penalties=(l1, clip_norm, clip_value, max_norm),
        inputs=(input_dropout, input_noise, mixup), validation_data=held_here, metrics=metrics,
        callback=callback, callbacks=callbacks, max_time=max_time, progress=progress)
    plan = Plan(net, settings, sync=sync, shards=shards, local_steps=local_steps,
                round_seconds=round_seconds, outer_learning_rate=outer_learning_rate,
                outer_momentum=outer_momentum, keep=keep, batch_size=batch_size, shuffle=shuffle,
                max_steps=max_steps)
    cluster = Cluster(client)
    wish = {"dtype": net.dtype.name, "n_in": net.sizes[0], "n_out": net.sizes[-1],
            "loss": settings.info.loss, "output": net.output, "classes": False,
            "digest": checkpoint is not None}
    data = Data(cluster, X, y, sample_weight, wish)
    held = None
    if validation_data is not None and held_here is None:
        held = Data(cluster, *validation_data, None, wish, name="validation_data")
    return run(net, settings, plan, cluster, data, held, {}, checkpoint, checkpoint_seconds)


def _on_workers(data):
    """Return whether validation data are for the workers."""
    import dask

    try:
        X, y = data
    except (TypeError, ValueError):
        raise ValueError("validation_data must be a pair (X, y)") from None
    lists = isinstance(X, list) and X and not isinstance(X[0], (int, float, list, tuple))
    return dask.is_dask_collection(X) or dask.is_dask_collection(y) or isinstance(X, str) or lists


class Plan:
    """The arguments of `fit` that `MLP.fit` has not, checked.

    Parameters
    ----------
    net : MLP
    settings : Settings
    sync, shards, local_steps, round_seconds, outer_learning_rate, outer_momentum, keep, \
batch_size, shuffle, max_steps
        As for `fit`.
    split : float or None, default=None
        Share of the rows of each shard that is held out, to validate with.
    reduction : {None, "sum"}, default=None
        Over the outputs, for the gradient of steps; None is the loss's own.
    metric : callable or None, default=None
        See `Judge`: of rows that are held out, the curve "val_metric" beside their loss.
    marks : dict or None, default=None
        What else decides the result, plain values for the checkpoint.
    """

    def __init__(self, net, settings, *, shards, local_steps, outer_learning_rate, outer_momentum,
                 keep, batch_size, shuffle, sync=None, round_seconds=1.0, max_steps=None,
                 split=None, reduction=None, metric=None, marks=None):
        self.split, self.reduction, self.metric = split, reduction, metric
        self.marks = marks or {}
        optimizer = settings.optimizer
        self.whole = settings.whole is not None
        if sync is None:
            sync = "gradient" if self.whole else "round"
        self.sync = validation.check_name("sync", sync, SYNC)
        name = type(optimizer).__name__
        if self.whole and (sync == "round" or not isinstance(optimizer, LBFGS)):
            raise ValueError(f"optimizer={name} needs sync='gradient'")
        if not self.whole and sync == "gradient":
            raise ValueError(f"sync='gradient' needs optimizer=fastnn.LBFGS(), not {name}: use "
                             "sync='round'")
        if not self.whole and not takes_steps(optimizer):
            raise ValueError(f"optimizer={name} cannot be averaged over shards: use SGD, Adam or "
                             "another that steps along a gradient")
        if self.whole and max_steps is not None:
            raise ValueError(f"max_steps={max_steps} must be None with sync='gradient': see "
                             "LBFGS(max_iter=...)")
        self.shards = None if shards is None else validation.check_count("shards", shards)
        self.measured = isinstance(local_steps, str)
        if self.measured and local_steps != "measured":
            raise ValueError(f"local_steps={local_steps!r} must be a number, 'measured' or None")
        self.local_steps = local_steps
        if local_steps is not None and not self.measured:
            self.local_steps = validation.check_count("local_steps", local_steps)
        self.round_seconds = validation.check_positive("round_seconds", round_seconds)
        rate = validation.check_positive("outer_learning_rate", outer_learning_rate)
        self.outer = rate, validation.check_fraction("outer_momentum", outer_momentum)
        self.keep = None if keep is None else validation.check_flag("keep", keep)
        self.batch_size = validation.check_count("batch_size", batch_size)
        self.shuffle = validation.check_flag("shuffle", shuffle)
        self.max_steps = max_steps


def run(net, settings, plan, cluster, data, held, encoding, checkpoint=None,
        checkpoint_seconds=10.0):
    """Train a network on data that have been looked at; return the history.

    Parameters
    ----------
    net : MLP
    settings : Settings
    plan : Plan
    cluster : Cluster
    data, held : Data
        To train on, and to validate with or None.
    encoding : dict
        What `parts.encode` is told beside what ``data.wish`` says.
    checkpoint, checkpoint_seconds
        As for `fit`.
    """
    if data.width != net.sizes[0]:
        raise ValueError(f"X has {data.width} columns, must have {net.sizes[0]}")
    with sole_fit(net):
        wish = {**data.wish, **encoding}
        nbytes = data.nbytes(wish)
        n_shards = number_of_shards(plan.shards, data.n_rows, nbytes)
        kept = keeps(plan.keep, cluster, nbytes) or (data.computed and plan.keep is None)
        keys, held_shards = [net._key(2, s) for s in range(n_shards)], None
        split = plan.split and (plan.split, keys, False)
        shards = Shards(data, n_shards, encoding, kept, split)
        if split:
            held_shards = Shards(data, n_shards, {**encoding, **TO_JUDGE}, kept,
                                 (plan.split, keys, True))
        elif held is not None:
            held_shards = Shards(held, number_of_shards(
                plan.shards and min(plan.shards, held.n_rows), held.n_rows, held.nbytes(wish)),
                {**encoding, **TO_JUDGE}, kept)
        if held_shards is not None:
            settings.evaluate = losses_of(net, settings.info, held_shards)
            settings.history = History(True)
            if plan.metric is not None:
                _add_metric(net, settings, held_shards, plan.metric)
        if kept:
            data.parts = ()  # what only they need is dropped
        if plan.whole:
            return _run_whole(net, settings, plan, shards, data, held, checkpoint,
                              checkpoint_seconds)
        return _Rounds(net, settings, plan, shards, data, held).run(checkpoint, checkpoint_seconds)


def _add_metric(net, settings, shards, metric):
    """Let the history have a curve of a metric, which grows with the one of the loss."""
    loss_of, judge = settings.evaluate, Judge(net, settings.info, shards, metric)
    settings.history = History(True, [f"val_{METRIC}"])

    def evaluate(parameters):
        loss = loss_of(parameters)
        settings.history[f"val_{METRIC}"].append(judge(parameters))
        return loss

    settings.evaluate = evaluate


def _run_whole(net, settings, plan, shards, data, held, checkpoint, seconds):
    """Train with ``sync="gradient"``; return the history."""
    whole, history, file = settings.whole, settings.history, None
    callbacks, steps = settings.callbacks, StepLimit(None, settings.whole.epochs, 1, 1)
    seconds = validation.check_nonnegative("checkpoint_seconds", seconds)
    if checkpoint is not None:
        callbacks = [Marks({"shards": shards.n, **plan.marks}), *callbacks]
        description = describe_fit(
            net, describe(settings.info), whole, None, settings.held_out, total_steps=steps.total,
            callbacks=callbacks, metrics=tuple(settings.metrics), alpha=settings.alpha,
            **settings.penalties, **settings.inputs.plain())
        _add_digests(description, data, held)
        file = Checkpoint(checkpoint, seconds, description, net._layout, whole.n_states,
                          steps.epochs, whole.squares, callbacks, net._origins,
                          counted=whole.counted, evaluations=Evaluations(net._layout))
    stand = stand_of(net, history, file)
    trainer = GradientTrainer(net, settings.info, shards, alpha=settings.alpha)
    trainer.parameters[:] = stand.parameters
    net._layout.clear_gaps(trainer.parameters)
    state = FitState(trainer, net, history)
    state.all_done = (stand.stopped or "stopped") if stand.ended else "epochs"
    net._history = history
    hooks = fit_hooks(state, net._publish_copy, settings.evaluate, callbacks, file, stand,
                      metrics=settings.metrics, held_out=settings.held_out,
                      steps=None if file is None else steps, others=settings.others)
    try:
        whole.run(state, hooks, file and file.evaluations)
    finally:
        if file is not None:
            net._left = net._snapshot
    return history


def _add_digests(description, data, held):
    """Let the description of a fit name its rows."""
    description[DATA] = data.digest
    if held is not None:
        description[HELD_OUT] = held.digest


class _Rounds:
    """A fit with ``sync="round"``."""

    def __init__(self, net, settings, plan, shards, data, held):
        self.net, self.settings, self.plan, self.shards = net, settings, plan, shards
        self.data, self.held = data, held
        largest = max(shards.rows)
        self.batch_size = min(plan.batch_size, largest)
        self.steps = StepLimit(plan.max_steps, settings.epochs, largest, self.batch_size)
        self.local_steps = plan.local_steps
        if plan.measured:
            self.local_steps = None
        elif plan.local_steps is None:
            self.local_steps = max(LEAST_STEPS, -(-self.steps.per_epoch // ROUNDS))
        self.file = self.stand = self.state = None

    def run(self, checkpoint, checkpoint_seconds):
        """Train; return the history."""
        net, settings, plan = self.net, self.settings, self.plan
        history = settings.history
        rates = StepRates(settings.optimizer, self.steps)
        kept = RoundState({"shards": self.shards.n, "local_steps": plan.local_steps,
                           "outer": list(plan.outer), "split": plan.split,
                           **plan.marks})
        callbacks = [kept, *settings.callbacks] if checkpoint is not None else settings.callbacks
        self.stand = stand = Progress(net._seed, net._epochs_done, net.parameters)
        if checkpoint is not None:
            self.file = self.open(checkpoint, checkpoint_seconds, callbacks)
            self.stand = stand = self.file.read(history) or stand
            net._seed = stand.seed
        trainer = kept.trainer = RoundTrainer(
            net, settings.info, self.shards, settings.optimizer, batch_size=self.batch_size,
            shuffle=plan.shuffle, local_steps=self.local_steps, round_seconds=plan.round_seconds,
            outer=plan.outer, epochs_before=stand.epochs_before, steps=self.steps,
            after_round=self.after_round,
            settings={"alpha": settings.alpha, "inputs": settings.inputs,
                      "reduction": plan.reduction, **settings.penalties})
        trainer.parameters[:] = stand.parameters
        net._layout.clear_gaps(trainer.parameters)
        if stand.step:
            trainer.set_state(stand.states, stand.step)
        self.state = state = FitState(trainer, net, history)
        state.own_way = "rounds go on from what the workers have"
        state.all_done = (stand.stopped or "stopped") if stand.ended else self.steps.reason
        state.learning_rate_scale = stand.scale
        net._history = history
        hooks = fit_hooks(state, net._publish_copy, settings.evaluate, callbacks, self.file, stand,
                          metrics=settings.metrics, held_out=settings.held_out, steps=self.steps,
                          others=settings.others)
        try:
            run_epochs(state, stand.epochs if stand.ended else self.steps.epochs, order=int,
                       learning_rate=rates.of, first=stand.epochs, hooks=hooks,
                       stop_if_diverged=True)
        finally:
            trainer.drop()
            history.local_steps = trainer.local_steps
        return history

    def after_round(self):
        """Write the checkpoint in the middle of an epoch, where that is due."""
        if self.file is not None and self.file.is_due:
            self.stand.epochs = self.state.epoch
            self.file.write(self.stand, self.state.trainer, self.state.history,
                            self.state.learning_rate_scale)

    def open(self, path, seconds, callbacks):
        """Return the `Checkpoint` of this fit."""
        net, settings = self.net, self.settings
        seconds = validation.check_nonnegative("checkpoint_seconds", seconds)
        optimizer = settings.optimizer
        description = describe_fit(
            net, describe(settings.info), optimizer, None, settings.held_out,
            total_steps=self.steps.total, callbacks=callbacks,
            metrics=tuple(settings.metrics) if self.plan.metric is None else (METRIC,),
            batch_size=self.batch_size, shuffle=self.plan.shuffle, alpha=settings.alpha,
            **settings.penalties, **settings.inputs.plain())
        _add_digests(description, self.data, self.held)
        return Checkpoint(path, seconds, description, net._layout, optimizer.n_states + 1,
                          self.steps.epochs, optimizer.squares, callbacks, net._origins)
