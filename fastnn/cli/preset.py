"""``train`` by a preset: the networks of `fastnn.tabular`, which take the table as it is."""

import sys
import time
import warnings

import numpy as np

from fastnn.cli.checkpoint import CHECKPOINT_SECONDS, tell_checkpoint, tell_how_to_go_on
from fastnn.cli.common import CommandError, count, escaped, is_saved, near, note, tell_warnings
from fastnn.cli.predict import outputs_of
from fastnn.cli.report import write_report
from fastnn.cli.samples import class_weights, folds_of, naming_test
from fastnn.cli.scores import constant_of, judge, log_loss, print_scores
from fastnn.cli.tables import COLUMNS, drop_hint
from fastnn.tables.errors import TableError
from fastnn.tabular.metrics import metric_names, metric_of
from fastnn.tabular.model import fit_model
from fastnn.tabular.task import REGRESSION, Task
from fastnn.training.progress import is_watched

__all__ = ["train"]

SHOWN_IMPORTANCES = 10
MOST_CELLS = 10**9  # read for importances: some ten networks take 30 ns each


def train(options, goal, rows, learned, held, what, rng, say, output, report):
    """Train by a preset, print, save."""
    check_goal(options, goal)
    judged = None
    if options.cv is not None:
        judged = cross_validate(options, goal, rows, options.cv, rng, say, options.quiet)
    tell_checkpoint(options, say)
    started = time.perf_counter()
    try:
        model = learn(options, goal, learned, options.quiet, options.checkpoint)
    except KeyboardInterrupt:
        tell_how_to_go_on(options)
        raise
    model.save(output)  # first of all: a fault in what is told of it loses nothing
    with is_saved(output):
        _tell(options, goal, model, learned, held, judged, what, say, started, report)
    return False


def _tell(options, goal, model, learned, held, judged, what, say, started, report):
    """Print what was learned, and write the report."""
    kinds = ", ".join(f"{n} {COLUMNS[kind]}" for kind, n in model.schema.count().items())
    say(f"inputs: {kinds}")
    n = len(model.ensemble.networks)
    say(f"trained {count(n, 'network')} ({options.preset}) on {count(len(learned), 'row')} in "
         f"{time.perf_counter() - started:.1f} s")
    constant = constant_of(goal.classes, learned.truth, learned.weight)
    if judged is None or held is not None:  # of --cv, and --test
        with naming_test(options):
            judged = judged_rows(model, learned, held, options.quiet)
        if judged is not None:
            if held is None:
                what = (f"{count(len(judged[0]), 'row')}, each by networks that have not learned "
                        "from it")
            say(f"\nscores on {what}:")
            judge(goal.names, goal.classes, *judged, constant, say, options.quiet)
    importances = None if options.quiet and report is None else (
        tell_importances(model, say, options.quiet))
    if report is not None:
        write_report(report, f"{', '.join(goal.names)} of {options.data}", goal.names, goal.classes,
                     *(judged or (None, None)), constant, model, model.schema.notes, importances)


def check_goal(options, goal):
    """Refuse options that do not go with what is predicted."""
    if goal.classes is None:
        if options.loss is not None and options.loss not in REGRESSION:
            raise CommandError(f"--loss {options.loss!r} is not known"
                               f"{near(options.loss, REGRESSION)}")
    elif options.loss is not None:
        counts = goal.classes.dtype.kind in "iuf" and options.loss in REGRESSION
        cure = "; if its whole numbers are counts or amounts: --task regression" if counts else ""
        raise CommandError(f"--loss {options.loss} goes with numbers, and the target holds classes"
                           f"{cure}")
    if options.metric is not None:
        task = Task.of_classes(len(goal.classes)) if goal.classes is not None else (
            Task.of_numbers(goal.values))
        try:
            metric_of(options.metric, task)
        except ValueError:
            raise CommandError(f"--metric {options.metric!r} must be one of: "
                               f"{', '.join(metric_names(task))}") from None


def learn(options, goal, rows, quiet, checkpoint=None):
    """Return the model of some `Rows`."""
    weight, truth = rows.weight, rows.truth
    if goal.classes is not None:
        task = Task.of_classes(len(goal.classes))
        if options.class_weight == "balanced":
            weight = class_weights(truth, weight)
    else:
        try:
            task = Task.of_numbers(truth, options.loss or "squared_error", weight)
        except ValueError as error:
            raise CommandError(f"--loss: {error}") from None
    # A log has lines now and then, also where nobody has asked for them: fits take minutes.
    progress = None if is_watched(sys.stderr) else True
    if quiet:
        progress = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = fit_model(
                rows.table, truth, task, classes=goal.classes, preset=options.preset,
                categorical_features=options.categorical_features or "auto",
                sample_weight=weight, eval_metric=options.metric, seed=options.seed,
                n_threads=options.threads, time_limit=options.time_limit, progress=progress,
                checkpoint=checkpoint, checkpoint_seconds=CHECKPOINT_SECONDS,
                random_state=options.seed)
        except TableError as error:
            raise CommandError(drop_hint(error)) from None
    tell_warnings(caught, quiet)
    model.targets = tuple(goal.names)
    return model


def judged_rows(model, learned, held, quiet):
    """Return the `Rows` that a model is judged by, and what it says of them: held-out rows; where
    there are none, rows of training, by networks that have not learned from them. None where there
    are none of these either."""
    if held is not None:
        return held, model.numbers(outputs_of(model, held.table, quiet))
    outputs = model.ensemble.held_out
    if outputs is not None and len(outputs) < len(learned) and learned.weight is not None:
        learned = learned[learned.weight > 0]  # those that it has learned from
    there = None if outputs is None else np.isfinite(outputs).all(axis=1)
    if there is None or not there.any() or len(outputs) != len(learned):
        return None
    return learned[there], model.numbers(outputs[there])


def cross_validate(options, goal, rows, n_folds, rng, say, quiet):
    """Print the scores of models that each leave a fold out, over all rows, and their spread."""
    codes = None if goal.classes is None else rows.truth
    if n_folds > len(rows):
        raise CommandError(f"--cv {n_folds} is more than the {count(len(rows), 'row')} there are")
    folds = folds_of(len(rows), codes, n_folds, rng)
    name = "log loss" if goal.classes is not None else "RMSE"
    found, losses = None, []
    for i, fold in enumerate(folds):
        others = np.setdiff1d(np.arange(len(rows)), fold)
        if codes is not None and len(np.unique(codes[others])) < len(goal.classes):
            rare = np.setdiff1d(np.arange(len(goal.classes)), codes[others])[0]
            raise CommandError(f"--cv {n_folds}: without one fold no row of class "
                               f"{goal.classes[rare].item()!r} is left to learn from")
        model = learn(options, goal, rows[others], True)
        part = model.numbers(outputs_of(model, rows.table.rows(fold), True))
        if found is None:
            found = np.empty((len(rows), part.shape[1]))
        found[fold] = part
        losses.append(_loss(goal, rows.truth[fold], part))
        if not quiet:
            print(f"fold {i + 1}/{n_folds}: {name} {losses[-1]:.4g}", file=sys.stderr, flush=True)
    say(f"scores on all {count(len(rows), 'row')}, each by a model of the other "
         f"{n_folds - 1} of {n_folds} folds ({name} {np.mean(losses):.4g}, standard deviation over "
         f"the folds {np.std(losses, ddof=1):.2g}):")
    constant = constant_of(goal.classes, rows.truth, rows.weight)
    print_scores(goal.names, goal.classes, rows.truth, found, constant, say, rows.weight)
    return rows, found


def _loss(goal, truth, found):
    if goal.classes is not None:
        return log_loss(truth, found)
    return np.sqrt(np.mean((found - truth) ** 2))


def tell_importances(model, say, quiet):
    """Print how much the loss grows where a column is shuffled; return the names, the
    importances, and their errors, in falling order, or None."""
    if model.reference is None:
        return None
    used = [i for i, group in enumerate(model.groups) if not group.is_empty]
    repeats = 1 if len(model.names) > 50 else 3
    if len(used) ** 2 * len(model.reference) * repeats > MOST_CELLS:
        note(f"importances of {count(len(used), 'column')} take minutes, they are not measured: "
             "fastnn.load(FILE).importances()", quiet)
        return None
    started = time.perf_counter()
    means, errors = model.importances(repeats=repeats)
    order = sorted(used, key=lambda i: -means[i])
    names = [model.names[i] for i in order]
    means, errors = means[order], errors[order]
    shown = min(SHOWN_IMPORTANCES, len(used))
    if shown:
        width = min(30, max(len(escaped(name)) for name in names[:shown]))
        say(f"\nimportances (growth of the loss where a column is shuffled; "
             f"{time.perf_counter() - started:.1f} s):")
        for i in range(shown):
            say(f"  {escaped(names[i])[:width]:{width}}  {means[i]:9.4f} ± {errors[i]:.4f}")
        if len(used) > shown:
            say(f"  and {len(used) - shown} more")
    return names, means, errors
