"""Two threads beside two processes: how much of what two cores have a fit gets.

    python benchmarks/two_threads.py                           # cells b, d, e, g, and fit_many
    python benchmarks/two_threads.py --cells e --tables FOLDER/bank.csv.gz,FOLDER/bike.csv.gz

In each round, one after the other: the work on one thread, the same work in two processes at once
on one thread each, and on two threads. Virtual processors may for a while be the two threads of one
core, and cores are slower where both work: then two processes are less than twice as fast as one,
too, and no library can be. So read the last column, and rounds in which two processes reach 1.9.

Work is a few epochs of a cell of the grid with Adam, eight networks of cell b by `fit_many`, or
``preset="default"`` of a table, as in tabular.py.
"""

import argparse
import functools
import multiprocessing
import time
from pathlib import Path

import measure
import numpy as np
import tabular
from arguments import positive
from benchmarks.grid import GRID
from many import Together
from peers import Fastnn

TRIAL = 0.3  # seconds of a cell, about
CELLS = (*GRID, "fit_many")


def cell_of(work, n_threads):
    """Return the peer that trains a cell, or eight networks."""
    kind, cell = (Together, "b") if work == "fit_many" else (Fastnn, work)
    return kind(GRID[cell], "adam", n_threads)


def epochs_of(work):
    """Return how many epochs take about `TRIAL` seconds on one thread."""
    measure.loaded = cell_of(work, 1)
    return measure.warm_up(TRIAL)[0]


def serve(pipe, work, n_epochs):
    """Do the work with so many threads as the pipe says, until it says 0."""
    fits, task = {}, tabular.read(Path(work), 0) if n_epochs is None else None
    for n_threads in (1, 2):
        if task is not None:
            fits[n_threads], _ = tabular.MODELS["default"](task, n_threads)
        else:
            fits[n_threads] = functools.partial(cell_of(work, n_threads).fit, n_epochs)
        fits[n_threads]()
    pipe.send("ready")
    while n_threads := pipe.recv():
        fits[n_threads]()
        pipe.send("done")


def seconds(pipes, n_threads=1):
    begun = time.perf_counter()
    for pipe in pipes:
        pipe.send(n_threads)
    for pipe in pipes:
        pipe.recv()
    return time.perf_counter() - begun


def compared(work, rounds):
    """Return the times of all rounds, (rounds, 3): one thread, two processes, two threads."""
    context = multiprocessing.get_context("spawn")
    n_epochs = epochs_of(work) if work in CELLS else None
    pairs = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=serve, args=(there, work, n_epochs)) for _, there in pairs]
    for process in processes:
        process.start()
    pipes = [here for here, _ in pairs]
    for pipe in pipes:
        pipe.recv()
    found = [(seconds(pipes[:1]), seconds(pipes), seconds(pipes[:1], 2)) for _ in range(rounds)]
    for pipe in pipes:
        pipe.send(0)
    for process in processes:
        process.join()
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", default="b,d,e,g,fit_many", help="of the grid, or fit_many")
    parser.add_argument("--tables", default="", help="files, separated by commas")
    parser.add_argument("--rounds", type=positive(int), default=9)
    asked = parser.parse_args()
    cells, files = ([word for word in text.split(",") if word]
                    for text in (asked.cells, asked.tables))
    if unknown := [cell for cell in cells if cell not in CELLS]:
        parser.error(f"--cells: {unknown[0]!r} is none of {', '.join(CELLS)}")
    if missing := [file for file in files if not Path(file).is_file()]:
        parser.error(f"--tables: there is no file {missing[0]}")
    print("               one, two processes, two threads: s | two processes (least, most) | "
          "two threads | over processes")
    for work in (*cells, *files):
        found = compared(work, asked.rounds)
        one, processes, threads = found.T
        doubled, shared = 2 * one / processes, one / threads
        times = " ".join(f"{value:8.3f}" for value in np.median(found, axis=0))
        print(f"{Path(work).name.partition('.')[0]:14} {times} | {np.median(doubled):.2f} "
              f"({doubled.min():.2f}, {doubled.max():.2f}) | {np.median(shared):.2f} "
              f"({shared.min():.2f}, {shared.max():.2f}) | "
              f"{np.median(shared / doubled):.2f}", flush=True)


if __name__ == "__main__":
    main()
