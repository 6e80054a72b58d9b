"""What the examples share: the command line, where the data is, a fair clock and a table."""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def parse_arguments(description: str, file_name: str | None, epochs: int) -> argparse.Namespace:
    """Read the options that all examples have; `file_name` is the data set's default file."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    if file_name is not None:
        folder = Path(os.environ.get("FASTNN_DATA", ROOT.parent / "shared" / "data"))
        parser.add_argument("data", nargs="?", type=Path, default=folder / file_name)
    parser.add_argument("--epochs", type=int, default=epochs, help="passes over the data, at most")
    parser.add_argument("--threads", type=int, help="threads; none given: all that are allowed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", action="store_true", help="train scikit-learn's MLP too")
    parser.add_argument("--rounds", type=int, default=1, help="fits of each model, taken in turn")
    arguments = parser.parse_args()
    if file_name is not None and not arguments.data.is_file():
        parser.error(f"no file {arguments.data}: give the path of {file_name}, or set FASTNN_DATA")
    return arguments


def race(
    contestants: dict[str, Callable[[], Any]], *, rounds: int = 1, threads: int | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Fit every contestant `rounds` times, in turn, so that a disturbance meets all of them.

    Returns the fitted models and the median seconds of each.
    """
    # comes with scikit-learn; holds its matrix products and its own OpenMP loops to `threads`
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    fitted, seconds = {}, {name: [] for name in contestants}
    with threadpool_limits(threads), warnings.catch_warnings():
        # a given number of epochs is what the examples ask for
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(rounds):
            for name, fit in contestants.items():
                start = time.perf_counter()
                fitted[name] = fit()
                seconds[name].append(time.perf_counter() - start)
    return fitted, {name: statistics.median(times) for name, times in seconds.items()}


def print_table(
    metric: str, scores: dict[str, float], seconds: dict[str, float], reference: str
) -> None:
    """One line per model; the last column is the reference's time over the model's."""
    width = max(map(len, scores))
    compare = reference in scores
    head = f"{'':{width}}  {metric:>13}  {'fit, s':>8}"
    print(head + (f"  {'speed':>6}" if compare else ""))
    for name, score in scores.items():
        line = f"{name:{width}}  {score:13.4f}  {seconds[name]:8.2f}"
        print(line + (f"  {seconds[reference] / seconds[name]:5.1f}x" if compare else ""))
