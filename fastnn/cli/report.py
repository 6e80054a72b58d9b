"""A page about a model and its scores: HTML with inline SVG, no scripts, nothing from elsewhere."""

from html import escape

import numpy as np

from fastnn.cli.common import CommandError, check_output, escaped
from fastnn.cli.scores import confusion, print_scores
from fastnn.core.notices import shorten
from fastnn.drawing import COLORS, curves, table
from fastnn.files import container

__all__ = ["check_report", "write_report"]

BINS = 10  # of predicted probabilities
MOST_ROWS = 30  # of a table
MOST_CLASSES = 20
STYLE = """\
:root { color-scheme: light dark; --ink: #1c2430; --paper: #ffffff; --soft: #5b6675; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaf0; --paper: #14181f; --soft: #9aa4b2; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, figcaption { color: var(--soft); } figure { margin: 0; overflow-x: auto; }
pre { overflow-x: auto; font-size: 13px; }
"""


def check_report(options, *inputs):
    """Return the place of the report of the options, None where none is asked for."""
    if options.report is None:
        return None
    if not options.report.lower().endswith((".html", ".htm")):
        raise CommandError(f"--report {options.report!r} must end in .html")
    return check_output(options.report, options.force, *(name for name in inputs if name != "-"),
                        option="--report")


def write_report(path, title, names, classes, rows, found, constant, model=None, notes=(),
                 importances=None):
    """Write the page.

    Parameters
    ----------
    path : path
    title : str
    names : sequence of str
        Of the targets.
    classes : array or None
    rows : Rows or None
        Of the scores.
    found : array
        Probabilities or values of these rows.
    constant : array
        See `print_scores`.
    model : TabularModel or None, default=None
    notes : sequence of str, default=()
        What was said of the table.
    importances : tuple or None, default=None
        Names, importances and errors, in falling order.
    """
    parts = []
    if model is not None:
        parts.append(_section("The table", _columns(model), "What each column was taken for, and "
                              "how many categories it has."))
    if notes:
        items = "".join(f"<li>{escape(str(text))}</li>" for text in notes)
        parts.append(f"<section><h2>Notes</h2><ul>{items}</ul></section>")
    if rows is not None:
        lines = []
        print_scores(names, classes, rows.truth, found, constant, lines.append, rows.weight)
        parts.append(_section(f"Scores on {len(rows):,} rows", f"<pre>{escape(chr(10).join(lines))}"
                              "</pre>", "Beside those of an answer that is the same for every "
                              "row."))
        if classes is not None and len(classes) <= MOST_CLASSES:
            parts.append(_section("Confusion", _confusion(classes, rows.truth, found),
                                  "Rows of each class, and what they were taken for."))
        if classes is not None:
            parts.append(_section("Calibration", _calibration(classes, rows.truth, found),
                                  "Of the rows that were given a probability, how many were of the "
                                  "class. On the line both are the same."))
        else:
            parts += [_section(f"{name}: predicted and true", _scatter(rows.truth[:, i],
                                                                       found[:, i]),
                               "A dot for each row, of at most 1,000. On the line both are the "
                               "same.")
                      for i, name in enumerate(names) if i < found.shape[1]]
    if model is not None and (drawn := _histories(model)):
        parts.append(_section("Training", drawn, "Loss of the rows that each network was stopped "
                              "by."))
    if importances is not None and len(importances[0]):
        parts.append(_section("Importances", _bars(*importances), "By how much the loss grows "
                              "where a column is shuffled, with its standard error."))
    page = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
            '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(parts)}"
            "</body></html>\n")
    page = escaped(page, kept="\n")  # what would act on a terminal, or turns the text around
    with container.replacing(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def _section(title, inner, caption):
    return (f"<section><h2>{escape(title)}</h2><figure>{inner}<figcaption>{escape(caption)}"
            "</figcaption></figure></section>")


def _columns(model):
    sizes = dict(zip(model.schema.category_names, model.schema.category_sizes, strict=True))
    used = {column.name: column.kind for column in model.schema.columns}
    rows = [(shorten(name, 60), used.get(name, "left out"), sizes.get(name, ""))
            for name in model.names]
    shown = table(("column", "kind", "categories"), rows[:MOST_ROWS])
    more = len(rows) - MOST_ROWS
    return shown + (f"<p>and {more:,} more columns</p>" if more > 0 else "")


def _confusion(classes, truth, found):
    counts = confusion(truth, found, len(classes))
    names = [shorten(str(name), 30) for name in classes]
    rows = [(name, *(int(n) for n in row)) for name, row in zip(names, counts, strict=True)]
    return table(("", *names), rows)


def _histories(model):
    found = {}
    for i, net in enumerate(model.ensemble.networks):
        history = getattr(net, "history", None)
        values = list(getattr(history, "val_loss", None) or ())
        if values:
            found[f"network {i + 1}"] = values
    return curves(dict(list(found.items())[:len(COLORS)])) if found else ""


class _Plot:
    """A square picture of points in [low, high]²."""

    size, margin = 320, 92  # the margin has room for numbers as long as -12,340,000

    def __init__(self, low, high, xlabel, ylabel):
        self.low, self.high = low, high if high > low else low + 1
        a, b = self.margin, self.margin + self.size
        middle, width, height = (a + b) / 2, b + 40, self.size + 52
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" style="max-width:100%;height:auto" '
            f'aria-label="{escape(ylabel)} over {escape(xlabel)}" font-family="system-ui" '
            'font-size="11">',
            f'<path d="M{a} 10V{self.size + 10}H{b}" fill="none" stroke="currentColor" '
            'stroke-opacity=".5"/>',
            f'<path d="M{a} {self.size + 10}L{b} 10" stroke="currentColor" stroke-opacity=".4" '
            'stroke-dasharray="4 4"/>',
            _text(middle, self.size + 42, xlabel),
            f'<g transform="rotate(-90 12 {self.size / 2 + 10})">'
            f"{_text(12, self.size / 2 + 14, ylabel)}</g>"]
        for value in (self.low, (self.low + self.high) / 2, self.high):
            x, y = self.place(value, value)
            self.parts += [_text(x, self.size + 26, _short(value)),
                           _text(a - 4, y + 4, _short(value), "end")]

    def place(self, x, y):
        scale = self.size / (self.high - self.low)
        return (self.margin + (x - self.low) * scale,
                10 + self.size - (y - self.low) * scale)

    def dot(self, x, y, radius, color, opacity=1.0):
        x, y = self.place(x, y)
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}" '
                          f'fill-opacity="{opacity:g}"/>')

    def svg(self):
        return "".join(self.parts) + "</svg>"


def _short(value):
    """Return a number of an axis: 434,400 rather than 4.344e+05."""
    text = f"{value:.4g}"
    return f"{float(text):,.0f}" if "e+" in text and abs(value) < 1e8 else text


def _text(x, y, text, anchor="middle"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">'
            f"{escape(text)}</text>")


def _calibration(classes, truth, found):
    """Return the picture of ten bins of probability; of two classes that of the second one, else
    of all of them together."""
    if len(classes) == 2:
        chance, right = found[:, 1], truth == 1
    else:
        chance, right = found.ravel(), (np.arange(len(classes)) == truth[:, None]).ravel()
    plot = _Plot(0.0, 1.0, "predicted probability", "share of the class")
    at = np.minimum((chance * BINS).astype(int), BINS - 1)
    for i in range(BINS):
        rows = at == i
        if rows.any():
            radius = 3 + 9 * np.sqrt(rows.mean())
            plot.dot(chance[rows].mean(), right[rows].mean(), radius, COLORS[0])
    return plot.svg()


def _scatter(truth, found):
    rows = np.linspace(0, len(truth) - 1, min(len(truth), 1000)).astype(int)
    low, high = np.quantile(np.concatenate([truth, found]), [0.005, 0.995])
    plot = _Plot(float(low), float(high), "true", "predicted")
    for x, y in np.clip(np.column_stack([truth, found])[rows], low, high):
        plot.dot(x, y, 2.2, COLORS[0], 0.45)
    return plot.svg()


def _bars(names, means, errors):
    n = min(len(names), MOST_ROWS)
    most = max(float((means[:n] + errors[:n]).max()), 1e-12)
    rows = []
    for i in range(n):
        width, error = 260 * max(means[i], 0) / most, 260 * errors[i] / most
        y = 22 * i
        shown = names[i] if len(names[i]) <= 20 else names[i][:19] + "…"
        rows.append(
            _text(170, y + 14, shown, "end")
            + f'<rect x="178" y="{y + 4}" width="{width:.1f}" height="13" fill="{COLORS[0]}"/>'
            + f'<path d="M{178 + max(width - error, 0):.1f} {y + 10.5}H{178 + width + error:.1f}" '
              'stroke="currentColor" stroke-width="1.5"/>'
            + _text(186 + width + error, y + 14, f"{means[i]:.3g}", "start"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 540 {22 * n + 6}" width="540" '
            f'height="{22 * n + 6}" role="img" aria-label="importances of the columns" '
            'style="max-width:100%;height:auto" font-family="system-ui" font-size="12">'
            + "".join(rows) + "</svg>")
