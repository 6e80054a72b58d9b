"""What each part of the recipe of tables gives: the table of docs/tabular.md.

    python benchmarks/ablation.py FOLDER --splits 1,2
    python benchmarks/ablation.py FOLDER --only phoneme,bike --without muon,average

A row for each part: the loss without it over the loss of the default, as the geometric mean and the
median over tables and splits, on how many of them it is worse, the median of seconds of CPU of the
fit over those of the default's, and the losses of the tables that ``--columns`` names. Splits are
those of `benchmarks/tabular.py`; choices are made by other ones than 0, which the report is of.
Resumable as that is.
"""

import argparse
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import tabular
from arguments import at_least, folder, several

from fastnn.tabular import recipe

WITHOUT = {
    "nothing": ("the recipe as it is", {}),
    "muon": ("AdamW for all weights", {"muon": False}),
    "average": ("no mean of the last steps", {"average": 0}),
    "values": ("bins alone, no raw values", {"values": False}),
    "bins": ("raw values alone, no bins", {"bins": 1}),
    "cuts": ("no edges where the target jumps", {"cuts": 0}),
    "calibration": ("no temperature of probabilities", {"calibration": False}),
    "folds": ("one network, stopped by a fifth of the rows", {"networks": 1, "folds": 5}),
    "decay": ("hardly any decay of weights", {"decay": 0.0}),
    "statistics": ("no statistics of categories", {"statistics": False}),
    "effects": ("means of ids in the place of effects", {"effects": False}),
    "linear": ("no linear part", {"linear": False}),
    "trees": ("no trees", {"trees": 0}),
    "patience": ("no stop: all steps, best epoch", {"patience": 10**6}),
}


def run(task, preset):
    """Return loss and seconds with the recipes in the place of the default's."""
    old = recipe.PRESETS["default"]
    recipe.PRESETS["default"] = preset
    try:
        fit, predict = tabular.MODELS["default"](task, 1)
        start = time.process_time()
        fit()
        seconds = time.process_time() - start
        return {"loss": tabular.loss(task, predict()), "seconds": seconds}
    finally:
        recipe.PRESETS["default"] = old


def line(name, rows, base, columns):
    """Return a row of the table."""
    both = [key for key in rows if key in base]
    ratios = np.array([rows[key]["loss"] / base[key]["loss"] for key in both])
    worse = int((ratios > 1.0005).sum())
    seconds = np.median([rows[key]["seconds"] / base[key]["seconds"] for key in both])
    own = [ratios[[key[0] == table for key in both]] for table in columns]
    means = [np.exp(np.log(one).mean()) if len(one) else None for one in (ratios, *own)]
    mean, *own = ["-" if one is None else f"{one:.3f}" for one in means]
    return " | ".join([f"| {WITHOUT[name][0]} | {mean} | {np.median(ratios):.3f} | {worse} of "
                       f"{len(both)} | {seconds:.2f}", *own]) + " |"


def main():
    """Run what is not in the results yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=folder)
    parser.add_argument("--splits", type=several(at_least(int, 0)), default="1")
    parser.add_argument("--only", help="names of tables")
    parser.add_argument("--columns", default="", help="names of tables")
    parser.add_argument("--without", default=",".join(WITHOUT))
    parser.add_argument("--results", type=Path, default=Path("ablation_results.jsonl"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    found, names = {}, [name for name in args.without.split(",") if name != "nothing"]
    if args.results.exists():
        for text in args.results.read_text().splitlines():
            one = json.loads(text)
            found.setdefault(one["without"], {})[one["table"], one["split"]] = one
    only = None if args.only is None else args.only.split(",")
    for split in args.splits:
        for path in sorted(args.folder.glob("*.csv*"), key=lambda path: path.stat().st_size):
            table = path.name.removesuffix(".gz").removesuffix(".csv")
            if only is not None and table not in only:
                continue
            task = tabular.read(path, split)
            for name in ("nothing", *names):
                if (table, split) in found.get(name, {}) or (
                        name in ("statistics", "effects") and not len(task.categories)):
                    continue
                preset = tuple(replace(one, **WITHOUT[name][1])
                               for one in recipe.PRESETS["default"])
                one = {"table": table, "split": split, "without": name, **run(task, preset)}
                found.setdefault(name, {})[table, split] = one
                with args.results.open("a") as file:
                    file.write(json.dumps(one) + "\n")
    columns = args.columns.split(",") if args.columns else []
    print(" | ".join(["| | loss, of the default's | median | worse on | time", *columns]), "|")
    print("|---" + "|---:" * (4 + len(columns)) + "|")
    for name in ("nothing", *names):
        if name in found:
            print(line(name, found[name], found["nothing"], columns))


if __name__ == "__main__":
    main()
