"""A hundred settings of (learning rate, alpha, width) on digits: `fastnn.fit_many` in one call,
beside scikit-learn's GridSearchCV over its MLPClassifier.

    python benchmarks/settings_search.py
    python benchmarks/settings_search.py --folds 3 --epochs 40 --threads 2

Both see the same folds, train the same number of epochs with Adam and batches of 200, and score
accuracy on the fold that is left out. GridSearchCV has as many processes as the other has threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings

from arguments import at_least, positive

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
ALPHAS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
WIDTHS = (16, 32, 64, 128)
BATCH = 200


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--folds", type=at_least(int, 2), default=3)
    parser.add_argument("--epochs", type=positive(int), default=20)
    parser.add_argument("--threads", type=positive(int), default=len(os.sched_getaffinity(0)))
    parser.add_argument("--settings", type=positive(int), default=100,
                        help="only the first so many")
    return parser.parse_args()


def by_fastnn(X, y, folds, settings, epochs, threads):
    """Return (settings,) mean accuracies."""
    import numpy as np

    import fastnn

    nets, optimizers, alphas, rows = [], [], [], []
    for (rate, alpha, width), (train, _) in itertools.product(settings, folds):
        nets.append(fastnn.MLP((X.shape[1], width, 10), output="softmax", random_state=0))
        optimizers.append(fastnn.Adam(rate))
        alphas.append(alpha)
        rows.append(train)
    fastnn.fit_many(nets, X, y, optimizer=optimizers, alpha=alphas, rows=rows, epochs=epochs,
                    batch_size=BATCH, n_threads=threads)
    tests = itertools.cycle([test for _, test in folds])
    hits = [(net.predict(X[test]).argmax(axis=1) == y[test]).mean()
            for net, test in zip(nets, tests, strict=False)]
    return np.reshape(hits, (len(settings), len(folds))).mean(axis=1)


def by_grid_search(X, y, folds, settings, epochs, threads):
    """Return the same of GridSearchCV."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    grid = [{"learning_rate_init": [rate], "alpha": [alpha], "hidden_layer_sizes": [(width,)]}
            for rate, alpha, width in settings]
    model = MLPClassifier(max_iter=epochs, tol=0, n_iter_no_change=epochs, batch_size=BATCH,
                          random_state=0)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the processes: the fits end before they converge
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(model, grid, cv=folds, n_jobs=threads, refit=False).fit(X, y)
    return search.cv_results_["mean_test_score"]


def main():
    given = parse_arguments()
    os.environ.update(OMP_NUM_THREADS=str(given.threads), OPENBLAS_NUM_THREADS="1")

    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    folds = list(StratifiedKFold(given.folds, shuffle=True, random_state=0).split(X, y))
    settings = list(itertools.product(RATES, ALPHAS, WIDTHS))[:given.settings]
    print(f"{len(settings)} settings x {given.folds} folds, {given.epochs} epochs, "
          f"{given.threads} threads", flush=True)
    seconds = {}
    for name, search in (("fastnn.fit_many", by_fastnn), ("GridSearchCV", by_grid_search)):
        search(X, y, folds, settings[:2], 1, given.threads)  # imports, processes
        start = time.perf_counter()
        scores = search(X, y, folds, settings, given.epochs, given.threads)
        seconds[name] = time.perf_counter() - start
        best = settings[scores.argmax()]
        print(f"{name:16} {seconds[name]:7.2f} s, best mean accuracy {scores.max():.4f} at rate "
              f"{best[0]:g}, alpha {best[1]:g}, width {best[2]}", flush=True)
    print(f"ratio {seconds['GridSearchCV'] / seconds['fastnn.fit_many']:.1f}")


if __name__ == "__main__":
    main()
