"""A service's latency: one row of twenty columns, by dict, through a saved model of a table.

    python benchmarks/table_row.py [--preset default] [--rows 3000] [--steps 0]

Prints the least and the median time of a call in microseconds, and of its parts, for one row again
and again and for different ones, whose weights are not in a cache; and the size of the file.
With ``--steps 12`` the target is of 144 rectangles in two columns, which asks for the largest trees
that the recipe has.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from arguments import at_least

import fastnn


def times(call, repeats=200, calls=50):
    """Return the least and the median of the mean times of some calls, in microseconds."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - start) / calls * 1e6)
    return min(found), statistics.median(found)


def table(n, rng, steps):
    """Return fourteen columns of numbers and six of categories, and a target."""
    numbers = {f"number{i}": rng.normal(size=n) for i in range(14)}
    words = {f"word{i}": rng.choice(np.array(list("abcdefg"), object), n) for i in range(6)}
    target = numbers["number0"] * numbers["number1"]
    if steps:
        places = (np.clip((numbers[f"number{i}"] + 2) / 4, 0, 1 - 1e-9) * steps for i in range(2))
        target = 2 * rng.normal(size=(steps, steps))[tuple(own.astype(int) for own in places)]
    return {**numbers, **words}, (target + (words["word0"] == "a") > 0.2).astype(int)


def main():
    """Fit, save, load, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="default", choices=("fast", "default", "best"))
    parser.add_argument("--rows", type=at_least(int, 100), default=3000)
    parser.add_argument("--steps", type=at_least(int, 0), default=0)
    options = parser.parse_args()
    X, y = table(options.rows, np.random.default_rng(0), options.steps)
    model = fastnn.TabularClassifier(options.preset, random_state=0).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.safetensors")
        size = (Path(folder) / "model.safetensors").stat().st_size
        loaded = fastnn.load(Path(folder) / "model.safetensors")
    rows = [dict(zip(X, values, strict=True))
            for values in zip(*(column[:500].tolist() for column in X.values()), strict=True)]
    row, others = rows[0], itertools.cycle(rows)
    inputs = loaded.schema.apply_row(row)
    sizes = ", ".join(sorted({"-".join(map(str, net.sizes)) for net in loaded.ensemble.networks}))
    print(f"{len(loaded.ensemble.networks)} networks: {sizes}; a file of {size / 1e6:.1f} MB")
    for name, call in (("predict_proba([row])", lambda: loaded.predict_proba([row])),
                       ("  schema", lambda: loaded.schema.apply_row(row)),
                       ("  networks", lambda: loaded.ensemble.outputs(inputs)),
                       ("  different rows", lambda: loaded.predict_proba([next(others)]))):
        least, median = times(call)
        print(f"{name:24} {least:8.1f} us least, {median:8.1f} us median")


if __name__ == "__main__":
    main()
