"""``bench``: how fast this machine predicts and trains."""

import json
import statistics
import sys
import time

import numpy as np

from fastnn.cli.common import CommandError, Help, Progress, load_model, note
from fastnn.cli.train import thread_count

NETS = ((4, 16, 3), (20, 64, 64, 2), (784, 128, 10), (784, 512, 512, 10))
SECONDS = 12.0     # for all measurements together
BATCH = 128
ROWS = 10_000
ROUNDS = 5

EPILOG = """\
Each figure is the median of five rounds (the best of a few repeats in each), taken in turn with the
other figures so that a disturbance meets all of them; 'spread' is (largest - smallest) / median of
the worst figure of a line. A spread of more than a third says that something else was working on
this machine: close it and repeat.
"""


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "bench", help="measure predictions and training on this machine", formatter_class=Help,
        description="Measures in 20 seconds how fast this machine runs and trains a model, or\n"
                    "some typical networks, for one thread and more.", epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("model", nargs="?", help="model file (default: four typical networks)")
    parser.add_argument("--threads", type=thread_count, metavar="N",
                        help="most threads to measure (default: all that are allowed)")
    parser.add_argument("--json", action="store_true", help="the same for programs")


def run(options):
    """Measures and prints."""
    from fastnn.core.machine import configuration
    from fastnn.core.threads import default_threads
    from fastnn.mlp import MLP

    most = options.threads or default_threads()
    threads = sorted({1, *(2**i for i in range(1, 9) if 2**i < most), most})
    if options.model is not None:
        base = [load_model(options.model).net]
    else:
        base = [MLP(sizes, output="softmax", random_state=0) for sizes in NETS]
    cells = [Cell(net, n) for net in base for n in threads]
    progress = Progress(options.json)
    budget = SECONDS / (len(cells) * 3 * ROUNDS)
    for i in range(ROUNDS):
        progress.show(i + 1, f"round {i + 1} of {ROUNDS}")
        for cell in cells:
            cell.measure(budget)
    progress.close()
    found = [cell.figures() for cell in cells]
    machine = configuration()
    if options.json:
        json.dump({"machine": machine, "figures": found}, sys.stdout, indent=2)
        print()
        return
    print(f"fastnn {machine['fastnn']}, {machine['ISA']}, {machine['threads']} threads allowed, "
          f"{found[0]['dtype']}\n")
    print(f"{'network':18} {'threads':>7} {'1 row':>10} {'rows/s':>13} "
          f"{'step of ' + str(BATCH):>12} {'rows/s':>12} {'spread':>7}")
    print(f"{'':18} {'':7} {'predicted':>10} {'predicted':>13} {'trained':>12} {'trained':>12}")
    for line in found:
        trained = ("-", "-") if line["step_us"] is None else (
            f"{line['step_us']:,.1f} us", f"{line['trained_rows_per_s']:,.0f}")
        print(f"{line['network']:18} {line['threads']:7} {line['one_row_us']:7,.2f} us "
              f"{line['rows_per_s']:13,.0f} {trained[0]:>12} {trained[1]:>12} "
              f"{line['spread']:7.0%}")
    if max(line["spread"] for line in found) > 1 / 3:
        note("the rounds differ by more than a third: something else was working on this machine, "
             "so do not trust these figures")


class Cell:
    """A network with a number of threads, and its times so far."""

    def __init__(self, net, n_threads):
        from fastnn.mlp import MLP

        settings = {"output": net.output, "dtype": net.dtype.name, "n_threads": n_threads}
        rng = np.random.default_rng(0)
        self.net = MLP(net.sizes, net.activations, random_state=0, **settings)
        self.net.set_weights(net.get_weights())
        self.X = rng.standard_normal((ROWS, net.sizes[0]), net.dtype)
        self.out = np.empty((ROWS, net.sizes[-1]), net.dtype)
        # training goes on with a twin, whose weights may change
        self.twin = MLP(net.sizes, net.activations, random_state=0, **settings)
        self.rows = BATCH * max(2, min(64, int(1e8 / max(1, net.n_parameters) / BATCH / 6)))
        self.y = self._targets(rng)
        self.times = {"one": [], "many": [], "step": []}

    def _targets(self, rng):
        shape = (self.rows, self.net.sizes[-1])
        if self.net.output == "softmax":
            return rng.integers(0, shape[1], self.rows)
        return rng.random(shape, self.net.dtype)

    def measure(self, budget):
        """One round of each figure, about ``budget`` seconds each."""
        one, one_out = self.X[:1], self.out[:1]
        self.times["one"].append(_per_call(lambda: self.net.predict(one, one_out), budget))
        self.times["many"].append(
            _per_call(lambda: self.net.predict(self.X, self.out), budget) / ROWS)
        try:
            self.times["step"].append(self._step(budget))
        except (ValueError, CommandError):  # an output without a loss, such as step
            self.times["step"].append(None)

    def _step(self, budget):
        """Seconds of a training step: the median epoch, without setting up."""
        stamps = [time.perf_counter()]
        end = stamps[0] + budget

        def stop(epoch, net, history):
            stamps.append(time.perf_counter())
            if stamps[-1] > end and len(stamps) > 3:
                raise StopFit

        X = self.X[:self.rows] if self.rows <= ROWS else np.resize(self.X, (self.rows,
                                                                           self.X.shape[1]))
        from fastnn.training.history import StopFit
        from fastnn.training.optimizers import Adam

        self.twin.fit(X, self.y, optimizer=Adam(1e-5), epochs=10**6, batch_size=BATCH,
                      callback=stop)
        return statistics.median(np.diff(stamps[1:])) / (self.rows / BATCH)

    def figures(self):
        """Medians, as plain values."""
        medians, spreads = {}, []
        for name, times in self.times.items():
            if None in times:
                medians[name] = None
                continue
            medians[name] = statistics.median(times)
            spreads.append((max(times) - min(times)) / medians[name])
        step = medians["step"]
        return {
            "network": "-".join(map(str, self.net.sizes)),
            "dtype": self.net.dtype.name,
            "threads": self.net.n_threads,
            "one_row_us": medians["one"] * 1e6,
            "rows_per_s": 1 / medians["many"],
            "batch": BATCH,
            "step_us": None if step is None else step * 1e6,
            "trained_rows_per_s": None if step is None else BATCH / step,
            "spread": max(spreads),
        }


def _per_call(call, budget):
    """Seconds of a call: the best of some runs of equal length within the budget."""
    call()
    started = time.perf_counter()
    call()
    once = max(time.perf_counter() - started, 1e-7)
    repeats = max(1, int(budget / 5 / once))
    best = np.inf
    end = time.perf_counter() + budget
    while best == np.inf or time.perf_counter() + repeats * best < end:
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter() - started) / repeats)
    return best
