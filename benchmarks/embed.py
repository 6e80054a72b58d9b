"""What a model costs in a service, by library: start-up, memory, disk, latency of small calls.

    python benchmarks/embed.py                    # three to four minutes
    python benchmarks/embed.py --quick            # half a minute
    python benchmarks/embed.py --cells b,d --libraries fastnn,onnxruntime --rounds 9
    python benchmarks/embed.py --markdown --json figures.json

Each library has saved its model to a file of its own. In each round each starts a new interpreter
on one thread, which imports the library, loads the file, predicts a row, and then times single
rows and 64 rows. Jacobians come last, see jacobian.py. How to read the tables:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from importlib import metadata
from pathlib import Path

import jacobian
import measure
import numpy as np
import serving
import tables
from arguments import listing, output, positive
from benchmarks.grid import GRID
from compare import Worker, describe, note, thread_limits

CELLS = [key for key, cell in GRID.items() if cell.classifies and cell.dtype == "float32"]
DEFAULTS = {"cells": list("abcd"), "rounds": 5, "seconds": 0.2}
QUICK = {"cells": list("ad"), "rounds": 2, "seconds": 0.1}
ROWS = (1, 64)
TIMEOUT = 120  # seconds of one interpreter
TOLERANCE = 1e-4  # of a probability
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # whose name is not the library's
FASTNN_SERVES = ("numpy",)  # needed to load a model and to predict
FASTNN_NEEDS = (*FASTNN_SERVES, "scipy", "threadpoolctl")  # and what an installation brings


# ---- one interpreter ----

def start(name, cell, path, seconds):
    """Seconds and MiB at each stage of a fresh interpreter, and what it found later."""
    sizes = "-".join(map(str, cell.sizes))
    command = [sys.executable, Path(serving.__file__), name, sizes, path, seconds]
    # the one clock that two processes share; who reads the lines may be held up by others
    began, stages = time.time(), {}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **thread_limits(1)}) as process:
        clock = threading.Timer(TIMEOUT, process.kill)
        clock.start()
        try:
            for stage in ("started", "imported", "ready"):
                said = process.stdout.readline().split()
                if said[:1] != [stage]:
                    raise RuntimeError(f"ended before it was {stage}")
                stages[stage] = float(said[1]) - began, float(said[2])
            return stages, json.loads(process.stdout.read())
        finally:
            clock.cancel()
            process.kill()


def beyond_python(stages):
    """Columns of a start-up: of Python alone, and what the library takes beyond it."""
    bare_s, bare_mib = stages["started"]
    found = {"bare_s": bare_s, "bare_mib": bare_mib}
    for stage in ("imported", "ready"):
        seconds, mib = stages[stage]
        found |= {f"{stage}_s": seconds - bare_s, f"{stage}_ratio": seconds / bare_s,
                  f"{stage}_mib": mib - bare_mib}
    return found


def by_column(rounds):
    return {column: [each[column] for each in rounds] for column in rounds[0]}


class Embedding:
    """The files of all libraries, and what their interpreters say."""

    def __init__(self, settings, run, folder):
        self.settings, self.run, self.folder = settings, run, Path(folder)
        self.names, self.expected = list(settings.libraries), {}
        for name in settings.libraries:
            worker = Worker(1)
            try:
                run["versions"][name] = worker(measure.version, serving.library(name))
                for key in settings.cells:
                    self.expected[name, key] = worker(
                        serving.save, name, key, str(self.path(name, key)))
            except ImportError as error:
                note(f"{name} is not installed and left out ({error})")
                self.leave_out(name)
            finally:
                worker.close()

    def leave_out(self, name):
        self.names.remove(name)
        self.run["versions"].pop(name, None)

    def path(self, name, key):
        return self.folder / f"{name}-{key}.{serving.ENDINGS[name]}"

    def measure(self, key):
        """Adds the records of one network."""
        found = {}
        for _ in range(self.settings.rounds):
            for name in list(self.names):
                try:
                    one = start(name, GRID[key], self.path(name, key), self.settings.seconds)
                    self.check(name, key, one[1]["answers"])
                    found.setdefault(name, []).append(one)
                except (RuntimeError, ValueError) as error:  # a peer's fault must not end the run
                    note(f"{name} failed and is left out: {error}")
                    self.leave_out(name)
        for name in self.names:
            costs = [beyond_python(stages) for stages, _ in found[name]]
            self.run["startup"].append({"cell": key, "peer": name, **by_column(costs)})
            for rows in ROWS:
                slices = [later[str(rows)] for _, later in found[name]]
                self.run["inference"].append({"cell": key, "threads": 1, "rows": rows,
                                              "peer": name, **by_column(slices)})

    def check(self, name, key, answers):
        """What the file was saved with is what comes back."""
        error = np.abs(np.subtract(answers, self.expected[name, key])).max()
        if not error <= TOLERANCE:
            raise ValueError(f"its probabilities are {error:.1g} off after loading")


# ---- on disk ----

def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_sizes(names, needs=None):
    """{distribution: bytes} of these and of all they need beyond Python, where installed."""
    found, todo = {}, list(names)
    while todo:
        name = normal(todo.pop())
        if name in found:
            continue
        if name == "fastnn":  # may run from its clone, beside sources that an installation has not
            found[name] = sum(path.stat().st_size for path in fastnn_files())
            todo += FASTNN_NEEDS if needs is None else needs
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # needed on other systems
            continue
        paths = [Path(file.locate()) for file in distribution.files or ()
                 if "__pycache__" not in file.parts]
        found[name] = sum(path.stat().st_size for path in paths if path.is_file())
        todo += [re.match(r"[\w.-]+", line)[0] for line in distribution.requires or ()
                 if "extra ==" not in line]
    return found


def fastnn_files():
    folder = Path(importlib.util.find_spec("fastnn").submodule_search_locations[0])
    return [path for path in folder.rglob("*")
            if path.suffix in (".py", ".pyi", ".so", ".pyd", ".typed")]


def disk(names):
    """{library: {distribution: bytes}}; fastnn also as what serving alone needs."""
    sizes = {name: installed_sizes([DISTRIBUTIONS.get(name, name)])
             for name in names if name == serving.library(name)}
    if "fastnn" in sizes:
        sizes["fastnn, to serve"] = installed_sizes(["fastnn"], FASTNN_SERVES)
    return sizes


# ---- tables ----

def median(records, column):
    """Of all networks and rounds."""
    return statistics.median(value for record in records for value in record[column])


START_UP = ["start-up", "import: ms", "x Python", "first prediction: ms", "x Python",
            "memory: MiB", "package: MB", "with needs: MB"]


def start_up_lines(run):
    """Columns of START_UP."""
    every = run["startup"]
    lines = [["Python alone", "", "", tables.number(1e3 * median(every, "bare_s")), "1.00",
              tables.number(median(every, "bare_mib")), "", ""]]
    for name in run["versions"]:
        own = [record for record in every if record["peer"] == name]
        times = [(1e3 * median(own, f"{stage}_s"), median(own, f"{stage}_ratio"))
                 for stage in ("imported", "ready")]
        lines.append([name, *map(tables.number, [*times[0], *times[1], median(own, "ready_mib")]),
                      *size_texts(name, run["sizes"].get(name))])
        if name == "fastnn":
            sizes = run["sizes"]["fastnn, to serve"]
            lines.append(["fastnn, without SciPy", *[""] * 5, *size_texts(name, sizes)])
    return lines


def size_texts(name, sizes):
    if sizes is None:  # the same library once more
        return ["", ""]
    own = sizes[normal(DISTRIBUTIONS.get(name, name))]
    return [tables.number(own / 1e6), tables.number(sum(sizes.values()) / 1e6)]


def latency(records):
    """One network."""
    lines = [("library", "1 row: us", "p99", "fastnn is", "64 rows: us", "fastnn is", "spread")]
    for name in dict.fromkeys(record["peer"] for record in records):
        one, many = (tables.of_peer(of_rows(records, rows), name) for rows in ROWS)
        own_one, own_many = (tables.of_peer(of_rows(records, rows), "fastnn") for rows in ROWS)
        lines.append((
            name,
            tables.number(statistics.median(one["median_us"])),
            tables.number(statistics.median(one["p99_us"])),
            tables.times_text(own_one, one),
            tables.number(statistics.median(many["median_us"])),
            tables.times_text(own_many, many),
            tables.percent(max(tables.spread(tables.speed(each)) for each in (one, many))),
        ))
    head = f"{net(records)}, latency, 1 thread"
    return "\n".join(filter(None, [f"\n{head}", tables.disturbance(records),
                                   tables.aligned(lines)]))


def of_rows(records, rows):
    return [record for record in records if record["rows"] == rows]


def net(records):
    return "-".join(map(str, GRID[records[0]["cell"]].sizes))


def markdown(run):
    """The start-up as it is; latencies as ratios, fastnn over the best peer and each library."""
    parts = [tables.markdown_table(START_UP, start_up_lines(run), 1)]
    others = [name for name in run["versions"] if name != "fastnn"]
    lines = []
    for (_, rows), records in tables.grouped(run["inference"], "cell", "rows"):
        kinds = {"": tables.speed} | ({", p99": tables.p99_speed} if rows == 1 else {})
        for kind, speed in kinds.items():
            peers = [each for each in records if each["peer"] != "fastnn-scaler"]
            best = tables.ratios(peers, [], speed)
            each = tables.ratios(records, others, speed)[1:]
            lines.append([net(records), tables.rows_text(rows) + kind, *best, *each])
    parts.append(tables.markdown_table(["latency", "rows", "best peer", *others], lines, 2))
    return "\n\n".join([*parts, *footnotes(run)])


def footnotes(run):
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items()
                         if name == serving.library(name))
    paragraphs = [
        f"""Start-up: medians of {run["rounds"]} interleaved rounds of each network, file cache
        warm. Milliseconds and MiB of a library are beyond those of Python alone, x Python is the
        whole time over Python's. Needs: all that an installation brings beyond Python.""",
        """Latency: fastnn's speed as a multiple of the library's, on one thread. fastnn-scaler:
        predict_proba of a `Predictor` with a scaler, saved by a pipeline.""",
        f"""{run["cpu"]}, {run["system"]}, Python {run["python"]}; {versions}.""",
        tables.disturbance(run["inference"]),
        *(f"Warning: {warning}." for warning in run["warnings"]),
    ]
    return [textwrap.fill(" ".join(text.split()), 100) for text in paragraphs if text]


# ---- command line ----

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer cells, rounds and seconds: half a minute")
    add("--cells", type=listing("cell", CELLS), metavar="CELLS",
        help=f"of {','.join(CELLS)}, or all (default {','.join(DEFAULTS['cells'])})")
    add("--libraries", type=listing("library", serving.ENDINGS), default="all", metavar="NAMES",
        help=f"of {','.join(serving.ENDINGS)} (default all that are installed)")
    add("--rounds", type=positive(int), help=f"interleaved rounds (default {DEFAULTS['rounds']})")
    add("--seconds", type=positive(float),
        help=f"of a slice of predictions (default {DEFAULTS['seconds']})")
    add("--markdown", action="store_true",
        help="print Markdown; everything else goes to standard error")
    add("--json", type=output, metavar="FILE", help="write all rounds")
    settings = parser.parse_args()
    for name, value in (QUICK if settings.quick else DEFAULTS).items():
        if getattr(settings, name) is None:
            setattr(settings, name, value)
    settings.threads = [1]
    return settings


def main():
    settings = parse_arguments()
    run = describe(settings) | {"startup": []}
    del run["training"]
    show = functools.partial(print, file=sys.stderr if settings.markdown else sys.stdout,
                             flush=True)
    for warning in run["warnings"]:
        note(f"warning: {warning}")
    with tempfile.TemporaryDirectory() as folder:
        embedding = Embedding(settings, run, folder)
        run["sizes"] = disk(embedding.names)
        versions = ", ".join(" ".join(pair) for pair in run["versions"].items())
        show(f"{run['cpu']}; {run['system']}, Python {run['python']}\n{versions}")
        for key in settings.cells:
            embedding.measure(key)
            show(latency([each for each in run["inference"] if each["cell"] == key]))
    show("\n" + tables.aligned([START_UP, *start_up_lines(run)]))
    left_out = [] if "torch" in settings.libraries else ["torch.func.jacrev"]
    slices = jacobian.measure(seconds=settings.seconds / 4, rounds=settings.rounds,
                              left_out=left_out)
    show("\n" + jacobian.table(slices))
    if settings.json:
        settings.json.write_text(json.dumps(run, indent=1))
    if settings.markdown:
        print(markdown(run))


if __name__ == "__main__":
    main()
