"""Draws the pictures of README.md and of the site's first pages into docs/_static.

    python tools/draw_pictures.py

They are plain SVG, the same bytes for the same sources: two spirals, the network that was trained
on them, and the times of docs/speed.md.
"""

import re
from pathlib import Path

import numpy as np

import fastnn

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "docs" / "_static"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
CELL = "20-64-64-2, 64"  # the row of docs/speed.md that is drawn
COLOURS = {
    "light": {"text": "#1f2933", "muted": "#5b6770", "blue": (47, 127, 209),
              "orange": (226, 122, 44), "middle": (247, 248, 250), "bar": "#2f7fd1",
              "other": "#b4bcc4"},
    "dark": {"text": "#e6e9ec", "muted": "#a3adb6", "blue": (76, 150, 226),
             "orange": (234, 138, 64), "middle": (34, 40, 48), "bar": "#5aa2ea",
             "other": "#5f6b76"},
}


def spirals(n=400):
    """Points (n, 2) of two arms, and which arm it is."""
    rng = np.random.default_rng(4)
    angle = np.sqrt(rng.uniform(0.01, 1, n)) * 2.4 * np.pi
    y = np.arange(n) % 2
    turn = angle + np.pi * y
    X = angle[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]) / 7.8
    return X + rng.normal(scale=0.025, size=X.shape), y


def trained(X, y):
    net = fastnn.MLP((2, 12, 12, 1), activation="tanh", output="sigmoid", random_state=2)
    net.fit(X, y, optimizer=fastnn.AdamW(0.01, weight_decay=0.002), epochs=1500, batch_size=50)
    assert ((net.predict(X)[:, 0] > 0.5) == y).mean() > 0.99
    return net


def mix(colours, share):
    """From blue (0) over the middle (0.5) to orange (1)."""
    ends = (colours["blue"], colours["middle"]) if share < 0.5 else (
        colours["middle"], colours["orange"])
    at = 2 * share if share < 0.5 else 2 * share - 1
    return "#" + "".join(f"{round(a + (b - a) * at):02x}" for a, b in zip(*ends, strict=True))


def plane(net, X, y, colours, x0, y0, size, steps=84, levels=9):
    """The output of the network over the plane: runs of equal level, a path for each level."""
    axis = (np.arange(steps) + 0.5) / steps * 2.3 - 1.15
    grid = np.stack(np.meshgrid(axis, -axis), axis=-1).reshape(-1, 2)
    level = np.round(net.predict(grid)[:, 0] * (levels - 1)).astype(int).reshape(steps, steps)
    side, runs = size / steps, {}
    for row in range(steps):
        edges = [0, *(np.flatnonzero(np.diff(level[row])) + 1), steps]
        for begin, end in zip(edges, edges[1:], strict=False):
            runs.setdefault(level[row, begin], []).append(
                f"M{x0 + begin * side:.1f} {y0 + row * side:.1f}h{(end - begin) * side:.1f}"
                f"v{side + 0.15:.2f}h{-(end - begin) * side:.1f}z")
    parts = []
    for value, paths in sorted(runs.items()):
        pale = mix(colours, 0.25 + 0.5 * value / (levels - 1))  # points stand out
        parts.append(f'<path fill="{pale}" d="{"".join(paths)}"/>')
    for (px, py), label in zip(X, y, strict=True):
        if max(abs(px), abs(py)) < 1.12:
            parts.append(
                f'<circle cx="{x0 + (px + 1.15) / 2.3 * size:.1f}" '
                f'cy="{y0 + (1.15 - py) / 2.3 * size:.1f}" r="2.1" fill="{mix(colours, label)}" '
                f'stroke="{colours["text"]}" stroke-width=".5"/>')
    return parts


def network(net, colours, x0, y0, width, height):
    """Units as circles, weights as lines: width by size, colour by sign."""
    def place(layer, unit):
        n_units = net.sizes[layer]
        gap = height / max(n_units, 6)
        return (x0 + layer / (len(net.sizes) - 1) * width,
                y0 + height / 2 + (unit - (n_units - 1) / 2) * gap)

    parts = []
    for layer, weights in enumerate(net.weights):
        largest = np.abs(weights).max()
        for i, j in np.ndindex(weights.shape):
            share = abs(weights[i, j]) / largest
            if share < 0.12:
                continue
            (ax, ay), (bx, by) = place(layer, i), place(layer + 1, j)
            colour = mix(colours, float(weights[i, j] > 0))
            parts.append(f'<path stroke="{colour}" stroke-width="{0.3 + 1.9 * share:.1f}" '
                         f'stroke-opacity="{0.25 + 0.6 * share:.2f}" '
                         f'd="M{ax:.0f} {ay:.0f}L{bx:.0f} {by:.0f}"/>')
    for layer, n_units in enumerate(net.sizes):
        for unit in range(n_units):
            cx, cy = place(layer, unit)
            parts.append(f'<circle cx="{cx:.0f}" cy="{cy:.0f}" r="5" fill="{colours["text"]}"/>')
    return parts


def speeds():
    """{library: how many times as long as fastnn} of one row of docs/speed.md."""
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    head = re.search(r"^\| network, batch \|(.*)\|$", text, re.MULTILINE)[1]
    row = re.search(rf"^\| {re.escape(CELL)} \|(.*)\|$", text, re.MULTILINE)[1]
    found = dict(zip((name.strip() for name in head.split("|")),
                     (value.strip() for value in row.split("|")), strict=True))
    return {"fastnn": 1.0, **{name: float(found[name])
                              for name in ("JAX", "NumPy", "PyTorch", "scikit-learn")}}


def bars(colours, x0, y0, width, height):
    times = speeds()
    gap, label = height / len(times), 78
    longest = max(times.values())
    parts = []
    for number, (name, value) in enumerate(times.items()):
        y = y0 + number * gap
        length = value / longest * (width - label - 34)
        colour = colours["bar"] if name == "fastnn" else colours["other"]
        parts += [text(x0 + label - 8, y + gap / 2 + 4, name, colours["text"], 12, "end"),
                  f'<rect x="{x0 + label}" y="{y + 7:.1f}" width="{length:.1f}" '
                  f'height="{gap - 14:.1f}" rx="2" fill="{colour}"/>',
                  text(x0 + label + length + 6, y + gap / 2 + 4, f"{value:.3g}", colours["muted"],
                       12)]
    return parts


def text(x, y, words, colour, size, anchor="start", family=FONT):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="{size}" '
            f'font-family="{family}" text-anchor="{anchor}">{words}</text>')


def hero(colours, net, X, y):
    parts = [
        text(8, 18, "two spirals", colours["muted"], 13),
        *plane(net, X, y, colours, 8, 30, 232),
        text(282, 18, "the network that tells them apart", colours["muted"], 13),
        '<g fill="none">', *network(net, colours, 292, 32, 212, 228), "</g>",
        text(556, 18, "time of training, fastnn's being 1", colours["muted"], 13),
        *bars(colours, 550, 34, 302, 190),
        text(556, 246, "20-64-64-2, batches of 64, one thread,", colours["muted"], 11),
        text(556, 262, "float32; docs/speed.md has the rest", colours["muted"], 11),
    ]
    # fill="none" of the group is for the lines; circles have their own
    return svg(860, 272, "fastnn: two spirals, a network, times of training", parts)


def svg(width, height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img"><title>{title}</title>\n'
            + "\n".join(parts) + "\n</svg>\n")


def terminal():
    """The session of docs/command_line.md, as a terminal shows it."""
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    session = re.search(r"```console\n(\$ python -m fastnn train houses.*?)\n```", page, re.DOTALL)
    lines = session[1].split("\n")
    height = 24 + 19 * len(lines)
    parts = [f'<rect width="780" height="{height}" rx="8" fill="#1d232b"/>']
    for number, line in enumerate(lines):
        colour = "#f3c36b" if line.startswith("$") else (
            "#8fd18a" if line.startswith("  network") else "#d7dde3")
        parts.append(
            f'<text x="18" y="{28 + 19 * number}" fill="{colour}" font-size="13.5" '
            "font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" "
            f'xml:space="preserve">{line.replace("&", "&amp;").replace("<", "&lt;")}</text>')
    return svg(780, height, "A terminal with the output of python -m fastnn train", parts)


def main():
    X, y = spirals()
    net = trained(X, y)
    for name, colours in COLOURS.items():
        (STATIC / f"hero_{name}.svg").write_text(hero(colours, net, X, y), encoding="utf-8")
    (STATIC / "command_line.svg").write_text(terminal(), encoding="utf-8")


if __name__ == "__main__":
    main()
