"""fastnn beside whatever peers are installed, in training and in inference.

    python benchmarks/compare.py                       # two to four minutes
    python benchmarks/compare.py --quick               # below one minute
    python benchmarks/compare.py --cells d,e --threads 1,2 --peers fastnn,jax --rounds 7
    python benchmarks/compare.py --cells all --markdown --json figures.json
    python benchmarks/compare.py --many --threads 1,2  # many networks at once, see many.py

Each library with each number of threads has a process of its own, whose environment limits its
threads; only one works at a time. Rounds are interleaved: a matrix product of BLAS as yardstick,
then a slice of each library, and again. Cells: benchmarks/benchmarks/grid.py. How to read the
tables: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import many
import measure
import tables
from arguments import listing, output, positive, several
from benchmarks.grid import GRID, OPTIMIZERS
from peers import PEERS

INFERENCE = 0.4  # seconds of a slice of predictions, in those of training
DEFAULTS = {"cells": list("aceg"), "optimizers": list(OPTIMIZERS), "rounds": 5, "seconds": 0.25}
QUICK = {"cells": list("ace"), "optimizers": ["adam"], "rounds": 3, "seconds": 0.15}


class Worker:
    """A process that holds one library with so many threads."""

    def __init__(self, n_threads):
        # libraries read these when they are imported, so they stand before the interpreter starts
        os.environ.update(thread_limits(n_threads))
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self(os.getpid)  # starts it

    def __call__(self, function, *arguments):
        return self.process.submit(function, *arguments).result()

    def calm(self, function, *arguments):
        """The same for a slice, see `measure.calm`."""
        return measure.calm(lambda: self(function, *arguments))

    def close(self):
        self.process.shutdown()


def thread_limits(n_threads):
    """Environment variables by which libraries and their BLAS are held to so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    # XLA takes its pool's size from NPROC, and for one thread wants to be told not to use it
    eigen = str(n_threads > 1).lower()
    return {name: str(n_threads) for name in names} | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
    }


def note(text):
    print(text, file=sys.stderr, flush=True)


class Comparison:
    """The processes of one number of threads, and what to measure in them."""

    def __init__(self, settings, n_threads, run):
        self.rounds, self.seconds = settings.rounds, settings.seconds
        self.n_threads, self.run = n_threads, run
        self.blas = Worker(1)
        run["blas"] = self.blas(measure.blas_name)
        self.workers = {}
        for name in list(settings.peers):
            worker = Worker(n_threads)
            try:
                run["versions"][name] = worker(measure.version, name)
                self.workers[name] = worker
            except ImportError as error:
                note(f"{name} is not installed and left out ({error})")
                worker.close()
                settings.peers.remove(name)  # said once is enough

    def close(self):
        for worker in [self.blas, *self.workers.values()]:
            worker.close()

    def each(self, names, work):
        """{name: work(name, worker)}; who fails is left out from then on."""
        found = {}
        for name in names:
            try:
                found[name] = work(name, self.workers[name])
            except Exception as error:  # a peer's fault must not end the run
                note(f"{name} failed and is left out: {type(error).__name__}: {error}")
                self.workers.pop(name).close()
        return found

    def interleaved(self, cell, names, work):
        """(speeds of BLAS, {name: slices}) of all rounds."""
        peaks, slices = [], {}
        for _ in range(self.rounds):
            time.sleep(measure.PAUSE)
            peaks.append(self.blas(measure.blas_flops, cell.dtype))
            names = [name for name in names if name in self.workers]
            for name, found in self.each(names, work).items():
                slices.setdefault(name, []).append(found)
        return peaks, {name: slices[name] for name in slices if name in self.workers}

    def record(self, table, cell, peaks, slices, **facts):
        """Adds a record for each peer to a table of the run, and returns these."""
        added = []
        for name, found in slices.items():
            values = {key: [each[key] for each in found] for key in found[0]}
            if statistics.median(values["cores"]) > self.n_threads + 0.2:
                note(f"warning: {name} kept {max(values['cores']):.1f} processors busy, with "
                     f"{tables.threads_text(self.n_threads)}")
            added.append({"cell": cell.key, "threads": self.n_threads, **facts, "peer": name,
                          "blas_flops": peaks, **values})
        self.run[table] += added
        return added

    def training(self, cell, optimizer):
        def warm_up(name, worker):
            worker(measure.load, name, cell.key, optimizer, self.n_threads)
            return worker(measure.warm_up, self.seconds)

        def train(name, worker):
            return worker.calm(measure.train, warm[name][0])

        warm = self.each([name for name in self.workers if PEERS[name].trains], warm_up)
        peaks, slices = self.interleaved(cell, warm, train)
        records = self.record("training", cell, peaks, slices, optimizer=optimizer)
        for record in records:
            record["first_loss"] = warm[record["peer"]][1]
        return records

    def inference(self, cell):
        def load(name, worker):
            worker(measure.load, name, cell.key, None, self.n_threads)

        def predict(name, worker):
            return [worker.calm(measure.predict, rows, INFERENCE * self.seconds)
                    for rows in tables.ROWS]

        peaks, slices = self.interleaved(cell, self.each(list(self.workers), load), predict)
        records = []
        for i, rows in enumerate(tables.ROWS):
            part = {name: [found[i] for found in rounds] for name, rounds in slices.items()}
            records += self.record("inference", cell, peaks, part, rows=rows)
        return records


# ---- command line ----

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer cells, rounds and seconds: below one minute")
    add("--cells", type=listing("cell", GRID), metavar="CELLS",
        help=f"comma-separated of {','.join(GRID)}, or all (default {','.join(DEFAULTS['cells'])})")
    add("--optimizers", type=listing("optimizer", OPTIMIZERS), metavar="NAMES",
        help="sgd, adam (default both)")
    add("--peers", type=listing("peer", PEERS), default="all", metavar="NAMES",
        help=f"of {','.join(PEERS)} (default all that are installed)")
    add("--tables", type=listing("table", ("training", "inference")), default="all",
        metavar="NAMES", help="training, inference (default both)")
    add("--threads", type=several(positive(int)), default="1", metavar="NUMBERS",
        help="such as 1,2 (default 1)")
    add("--rounds", type=positive(int), help=f"interleaved rounds (default {DEFAULTS['rounds']})")
    add("--seconds", type=positive(float),
        help="of each library in a round of training, if an epoch is not longer; predictions get "
        f"{INFERENCE} of it (default {DEFAULTS['seconds']})")
    add("--many", action="store_true",
        help="only: eight small networks in turn, by fit_many, and by JAX's vmap")
    add("--markdown", action="store_true",
        help="print ratios as Markdown; everything else goes to standard error")
    add("--json", type=output, metavar="FILE", help="write all rounds of all slices")
    settings = parser.parse_args()
    for name, value in (QUICK if settings.quick else DEFAULTS).items():
        if getattr(settings, name) is None:
            setattr(settings, name, value)
    return settings


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(settings):
    """Where and how is measured, with room for what."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    run = {
        "cpu": f"{processor()}, {available} of {os.cpu_count()} processors",
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "warnings": [],
        "versions": {},
        "training": [],
        "inference": [],
    }
    core = os.environ.get("OPENBLAS_CORETYPE")
    if core:
        run["warnings"].append(
            f"OPENBLAS_CORETYPE={core} was set: OpenBLAS runs that processor's kernels, which may "
            "be slower than this one's")
    if max(settings.threads) > available:
        run["warnings"].append(f"{available} processors for {max(settings.threads)} threads")
    return run


def main():
    settings = parse_arguments()
    run = describe(settings)
    out = sys.stderr if settings.markdown else sys.stdout

    def show(text):
        print(text, file=out, flush=True)
        if settings.json:  # after each table, so that an interrupted run leaves what it has
            settings.json.write_text(json.dumps(run, indent=1))

    for warning in run["warnings"]:
        note(f"warning: {warning}")
    if settings.many:
        show("\n".join(many.compare(Worker, settings, note)))
        return
    for n_threads in settings.threads:
        comparison = Comparison(settings, n_threads, run)
        try:
            if n_threads == settings.threads[0]:
                versions = ", ".join(" ".join(pair) for pair in run["versions"].items())
                show(f"{run['cpu']}; {run['system']}, Python {run['python']}\n"
                     f"{versions}; SciPy's BLAS: {run['blas']}")
            for key in settings.cells if "training" in settings.tables else ():
                for optimizer in settings.optimizers:
                    show(tables.training(comparison.training(GRID[key], optimizer)))
            for key in settings.cells if "inference" in settings.tables else ():
                show(tables.inference(comparison.inference(GRID[key])))
        finally:
            comparison.close()
    if settings.markdown:
        print(tables.markdown(run))


if __name__ == "__main__":
    main()
