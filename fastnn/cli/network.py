"""``train`` with options of a network: one plain network, its inputs made by a `TableEncoder`."""

import sys
import time
import warnings

import numpy as np

from fastnn.cli.checkpoint import CHECKPOINT_SECONDS, tell_checkpoint
from fastnn.cli.common import CommandError, Progress, count, is_saved, near, note
from fastnn.cli.report import write_report
from fastnn.cli.samples import class_weights, naming_test, split_rows
from fastnn.cli.scores import constant_of, judge
from fastnn.cli.tables import COLUMNS, drop_hint
from fastnn.core._kernels import ACTIVATIONS, ALIASES
from fastnn.prediction.predictor import Predictor
from fastnn.tables.encoder import TableEncoder
from fastnn.tables.errors import TableError
from fastnn.tables.learning import holds_numbers
from fastnn.training.epochs import Hook

__all__ = ["check_options", "train"]

EARLY_STOPPING_ROWS = 1000
VALIDATION_FRACTION = 0.1
MANY_COLUMNS = 10_000  # what they take in a file is counted before they are looked at
RARE = 0.1  # share of all classes but one, below which accuracy is best where nothing is learned


def check_options(options):
    """Refuse an activation that there is not."""
    name = options.activation
    if name not in (known := (*ACTIVATIONS, *ALIASES)):
        raise CommandError(f"--activation {name!r} is not known{near(name, known)}")


def train(options, goal, rows, learned, held, what, rng, tell, output, report):
    """Train one network of the options, print, save; return whether Ctrl-C has ended it."""
    quiet, targets = options.quiet, goal.names
    _check_width(options, goal, learned.table)
    table, X_train = _encode(learned.table, targets, options.dtype or "float32", quiet)
    tell("inputs: " + ", ".join(f"{n} {COLUMNS[kind]}" for kind, n in table.count().items())
         + f"; {count(len(table.feature_names), 'input')} of the network")
    dtype = goal.scale_targets(learned.truth, options.dtype)
    if X_train.dtype != dtype:
        note(f"trained in {dtype}: {targets[0]!r} varies little beside its size", quiet)
        X_train = X_train.astype(dtype)
    _check_room(options, goal, table, X_train.dtype)
    model, seconds, interrupted = _train(options, goal, X_train, learned, rng, tell)
    predictor = _predictor(model, goal, table)
    predictor.save(output)  # first of all: a fault in what is told of it loses nothing
    with is_saved(output):
        _tell(options, goal, model, predictor, learned, held, what, tell, seconds, report, quiet)
    return interrupted


def _tell(options, goal, model, predictor, learned, held, what, tell, seconds, report, quiet):
    """Print what was learned, and write the report."""
    targets, table = goal.names, predictor.table
    tell(f"trained {count(model.n_iter_, 'epoch')} in {seconds:.1f} s{_why(model, options)}")
    constant = constant_of(goal.classes, learned.truth, learned.weight)
    found = None
    if held is not None:
        tell(f"\nscores on {what}:")
        bare, told = Predictor(predictor.net, predictor.task, classes=predictor.classes_), []
        with naming_test(options):
            X_test = table.encode(held.table, predictor.net.dtype, scaled=True, notes=told)
        for text in told:
            note(f"{text}, in the held-out rows", quiet)
        found = bare.predict(X_test).reshape(len(held), -1) if goal.classes is None else (
            bare.predict_proba(X_test))
        found = found.astype(np.float64)
        judge(targets, goal.classes, held, found, constant, tell, quiet, "network")
    if report is not None:
        write_report(report, f"{', '.join(targets)} of {options.data}", targets, goal.classes, held,
                     found, constant, notes=table.notes)


def _encode(known, targets, dtype, quiet):
    """Return the encoder fitted to the rows for training, and their scaled inputs."""
    try:
        table = TableEncoder(targets=targets).fit(known)
    except TableError as error:
        raise CommandError(drop_hint(error)) from None
    for text in table.notes:
        note(text, quiet)
    return table, table.encode(known, dtype, scaled=True, notes=[])


def _check_width(options, goal, known):
    """Refuse what could not be saved for its numbers alone, before time is spent on each column.

    They are taken with the least that a file says of a column, so that nothing is refused here that
    `_check_room` would let pass.
    """
    from fastnn.prediction.scaler import Scaler
    from fastnn.tables.encoder import Column

    if len(known.names) < MANY_COLUMNS:
        return
    table = TableEncoder(targets=goal.names)
    table.columns = [Column(name, "number") for name in known.names
                     if holds_numbers(known.column(name))]
    if not table.columns:
        return
    table.scaler = Scaler(np.zeros(table.n_inputs), np.ones(table.n_inputs))
    _check_room(options, goal, table, np.dtype(options.dtype or "float32"))


def _check_room(options, goal, table, dtype):
    """Refuse now what could not be saved after the training."""
    from fastnn.files import model_parts
    from fastnn.mlp import MLP
    n_out = _n_outputs(goal)
    output = "identity" if goal.classes is None else "sigmoid" if n_out == 1 else "softmax"
    net = MLP((table.n_inputs, *options.hidden, n_out), activation=options.activation,
              output=output, dtype=dtype.name, initializer="zeros")
    try:
        model_parts.check_room(Predictor(
            net, "regression" if goal.classes is None else "classification", classes=goal.classes,
            feature_names=table.feature_names, scaler=table.scaler, table=table))
    except ValueError as error:
        raise CommandError(f"a model of this table could not be saved: {error}; --drop leaves out "
                           "columns") from None


def _train(options, goal, X, learned, rng, tell):
    """Return the fitted estimator, its seconds, and whether Ctrl-C has ended it."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    stopping = options.early_stopping
    if stopping is None:
        stopping = len(X) >= EARLY_STOPPING_ROWS
    if goal.classes is None:
        y = ((learned.truth - goal.mean) / goal.scale).astype(X.dtype)
        y = y[:, 0] if y.shape[1] == 1 else y
        kind = MLPRegressor
    else:
        y = learned.truth
        kind = MLPClassifier
    fit, held = np.arange(len(X)), None
    if stopping:
        codes = None if goal.classes is None else y
        fit, held = split_rows(len(X), codes, VALIDATION_FRACTION, rng)
        if len(held) < 2:
            raise CommandError("too few rows for --early-stopping; use --no-early-stopping")
    batch = options.batch_size or (32 if len(fit) < 5000 else 128 if len(fit) < 50000 else 256)
    model = kind(
        hidden_layer_sizes=options.hidden, activation=options.activation, alpha=options.alpha,
        batch_size=min(batch, len(fit)), learning_rate_init=options.learning_rate,
        max_iter=options.epochs, random_state=options.seed % 2**32, early_stopping=stopping,
        n_threads=options.threads)
    by_loss = goal.classes is not None and np.bincount(y).max() > (1 - RARE) * len(y)
    sizes = "-".join(map(str, (X.shape[1], *options.hidden, _n_outputs(goal))))
    tell(f"network: {sizes}, {options.activation}; {count(len(fit), 'row')} to learn from"
        + (f", {len(held):,} to stop by" if stopping else "")
         + (" (log loss: a class is rare)" if stopping and by_loss else ""))
    from fastnn.training.history import DivergenceWarning

    told = _Told(Progress(options.quiet), options.epochs, by_loss)
    validation = (X[held], y[held]) if stopping else None
    tell_checkpoint(options, tell)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rows = fit if stopping else slice(None)  # which copies nothing
            model._fit_with_hooks(X[rows], y[rows], [told], sample_weight=_weights_of(
                                      options, goal, learned, rows), validation_data=validation,
                                  stop_by_loss=by_loss, checkpoint=options.checkpoint,
                                  checkpoint_seconds=CHECKPOINT_SECONDS)
        except ValueError:
            if told.reason != "diverged":
                raise
            raise CommandError("training diverged: use a smaller --learning-rate", 1) from None
    seconds, interrupted = time.perf_counter() - started, told.reason == "interrupted"
    if interrupted and not (model.n_iter_ and _is_kept(model.n_iter_, options.quiet)):
        raise KeyboardInterrupt
    for warning in caught:
        if issubclass(warning.category, DivergenceWarning):
            note(str(warning.message), options.quiet)
    return model, seconds, interrupted


def _why(model, options):
    """Return why the training ended before the last epoch that was asked for, or nothing."""
    if model.n_iter_ >= options.epochs or model._no_improvement_count <= model.n_iter_no_change:
        return ""
    if model.early_stopping:
        return (f": the rows to stop by were predicted no better for {model.n_iter_no_change} "
                f"epochs; kept is epoch {model.best_epoch_}")
    return f": the loss fell by no more than {model.tol:g} in {model.n_iter_no_change} epochs"


def _weights_of(options, goal, learned, rows):
    """Return the weights of the rows to learn from, or None."""
    weight = learned.weight
    if options.class_weight == "balanced" and goal.classes is not None:
        weight = class_weights(learned.truth, weight)
    return None if weight is None else weight[rows]


def _is_kept(epochs, quiet):
    """Ask after Ctrl-C whether to save what has been learned; say so where nobody can answer."""
    text = f"interrupted after {count(epochs, 'epoch')}"
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        note(f"{text}: the model is saved as it is; Ctrl-C again to save nothing", quiet)
        return True
    print(f"{text}. Save the model as it is? [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()  # empty at the end of the input
    return answer != "" and answer.strip().lower() in ("", "y", "yes")


def _n_outputs(goal):
    if goal.classes is None:
        return len(goal.names)
    return len(goal.classes) if len(goal.classes) > 2 else 1


class _Told(Hook):
    """Tells of each epoch, and keeps why the fit ended."""

    def __init__(self, progress, epochs, by_loss):
        self.progress, self.epochs, self.by_loss, self.reason = progress, epochs, by_loss, None

    def on_epoch_end(self, state):
        """Show a line."""
        model = state.model
        text = f"epoch {model.n_iter_}/{self.epochs}, loss {model.loss_:.4f}"
        if model.validation_scores_:
            score = model.validation_scores_[-1]
            metric = "accuracy" if hasattr(model, "classes_") else "R2"
            if self.by_loss:
                metric, score = "log loss", -score
            text += f", {metric} {score:.4f}"
        self.progress.show(model.n_iter_, text)

    def on_fit_end(self, state):
        """Clear the line."""
        self.progress.close()
        finite = np.isfinite(state.trainer.parameters).all()
        self.reason = state.reason if finite else "diverged"


def _predictor(model, goal, table):
    """Return the network with everything around it; a regression's outputs in the target's own
    units."""
    net = model._predictor().net
    if goal.classes is None:
        arrays = net.get_weights()
        w, b = (array.astype(np.float64) for array in arrays[-2:])
        arrays[-2:] = w * goal.scale, b * goal.scale + goal.mean
        net.set_weights(arrays)
    return Predictor(net, "regression" if goal.classes is None else "classification",
                     classes=goal.classes, feature_names=table.feature_names, scaler=table.scaler,
                     table=table)
