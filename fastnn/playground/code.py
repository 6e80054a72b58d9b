"""The network of the playground as a script: what it trains is the same to the bit."""

import inspect

from fastnn.playground.data import DRAW, FORMULAS, MISSING
from fastnn.playground.settings import OPTIMIZERS, SCHEDULES

__all__ = ["optimizer_code", "script"]


def optimizer_code(settings):
    """Return the optimizer of settings as Python writes it."""
    rate = repr(settings.rate)
    schedule, others = SCHEDULES[settings.schedule]
    if schedule:
        rate = f"fastnn.schedules.{schedule}({rate}{_arguments(others(settings.horizon))})"
    name, others = OPTIMIZERS[settings.optimizer]
    return f"fastnn.{name}({rate}{_arguments(others)})"


def _arguments(named):
    return "".join(f", {name}={value!r}" for name, value in named.items())


def script(settings, points, epochs, separator=","):
    """Return a script that makes the same data and trains the same network.

    Parameters
    ----------
    settings : Settings
    points : Points
    epochs : int
    separator : str, default=","
        Of the CSV file.
    """
    lines = ["import numpy as np", "", "import fastnn"]
    if settings.data == "csv":
        lines.insert(0, "import csv\n")
        lines += ["", *_read(settings, points, separator)]
    else:
        source = inspect.getsource(DRAW[settings.data]).rstrip()
        lines += ["", "", source, "", "", f"rng = np.random.default_rng({settings.draw})",
                  f"x, y = {settings.data}(rng, n={settings.points}, noise={settings.noise!r})"]
    n_test = len(points.x) - points.n_train
    columns = ", ".join(FORMULAS[name] for name in settings.features)
    sizes = (len(settings.features), *settings.layers, 1)
    output = settings.output(points.classifies)
    model = [f"net = fastnn.MLP({sizes}, activation={settings.activation!r}, output={output!r},"]
    model.append(f"                 random_state={settings.seed}"
                 + (f", dropout={settings.dropout!r}" if settings.dropout and settings.layers
                    else "") + ")")
    penalties = "".join(f", {name}={value!r}" for name, value in (
        ("l1", settings.l1), ("alpha", settings.l2)) if value)
    lines += [
        "", f"# the first {n_test} of a random order are for the test",
        "order = rng.permutation(len(x))",
        f"test, train = order[:{n_test}], order[{n_test}:]",
        f"X = np.stack([{columns}], axis=1).astype(\"float32\")",
        "", *model,
        f"history = net.fit(X[train], y[train], loss={settings.loss!r},",
        f"                  optimizer={optimizer_code(settings)},",
        f"                  epochs={epochs}, batch_size={settings.batch}{penalties},",
        "                  validation_data=(X[test], y[test]))",
        'print(f"loss {history.loss[-1]:.4f}, of the test {history.val_loss[-1]:.4f}")']
    if points.classifies:
        border = 0.5 if output == "sigmoid" else 0
        lines.append(f"right = (net.predict(X[test])[:, 0] > {border}) == y[test]")
        lines.append('print(f"{right.mean():.1%} of the test are right")')
    return "\n".join(lines) + "\n"


def _read(settings, points, separator):
    """Return the lines that read the file."""
    x, y = points.names
    lines = ["with open(\"data.csv\", newline=\"\", encoding=\"utf-8-sig\") as file:",
             f"    lines = [[cell.strip() for cell in line] for line in csv.reader(file, "
             f"delimiter={separator!r})]",
             "names, *lines = [line for line in lines if any(line)]",
             "rows = [dict(zip(names, line)) for line in lines]"]
    if points.left_out:
        numbers = (x, y) if points.classifies else (x, y, settings.target)
        lines.append(f"# leave out the {points.left_out} rows in which a value is missing:\n"
                     f"missing = {MISSING!r}\n"
                     "rows = [row for row in rows if not any(\n"
                     f"    row[name].lower() in missing for name in ({x!r}, {y!r}, "
                     f"{settings.target!r}))]\n"
                     "rows = [row for row in rows if all(\n"
                     f"    np.isfinite(float(row[name])) for name in {numbers!r})]")
    lines += [f"x = np.array([[float(row[{x!r}]), float(row[{y!r}])] for row in rows])",
              "x = (x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0)) * 4 - 2"]
    if points.classifies:
        lines.append(f"y = np.array([int(row[{settings.target!r}] == {points.classes[1]!r}) "
                     "for row in rows])")
    else:
        lines += [f"y = np.array([float(row[{settings.target!r}]) for row in rows])",
                  "y = (y - y.min()) / (y.max() - y.min()) * 2 - 1"]
    lines.append(f"rng = np.random.default_rng({settings.draw})")
    return lines
