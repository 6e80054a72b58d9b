"""A service's latency: one row of twenty columns, by dict, through a saved model of a table.

    python benchmarks/table_row.py [--preset default] [--rows 3000]

Prints the least and the median time of a call in microseconds, and of its parts.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

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


def table(n, rng):
    """Return fourteen columns of numbers and six of categories, and a target."""
    numbers = {f"number{i}": rng.normal(size=n) for i in range(14)}
    words = {f"word{i}": rng.choice(np.array(list("abcdefg"), object), n) for i in range(6)}
    target = numbers["number0"] * numbers["number1"] + (words["word0"] == "a") > 0.2
    return {**numbers, **words}, target.astype(int)


def main():
    """Fit, save, load, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--rows", type=int, default=3000)
    options = parser.parse_args()
    X, y = table(options.rows, np.random.default_rng(0))
    model = fastnn.TabularClassifier(options.preset, random_state=0).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.safetensors")
        loaded = fastnn.load(Path(folder) / "model.safetensors")
    row = {name: column[:1].tolist()[0] for name, column in X.items()}
    inputs = loaded.schema.apply_row(row)
    sizes = ", ".join(sorted({"-".join(map(str, net.sizes)) for net in loaded.ensemble.networks}))
    print(f"{len(loaded.ensemble.networks)} networks: {sizes}")
    for name, call in (("predict_proba([row])", lambda: loaded.predict_proba([row])),
                       ("  schema", lambda: loaded.schema.apply_row(row)),
                       ("  networks", lambda: loaded.ensemble.outputs(inputs))):
        least, median = times(call)
        print(f"{name:24} {least:8.1f} us least, {median:8.1f} us median")


if __name__ == "__main__":
    main()
