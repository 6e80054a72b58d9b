"""HTML and inline SVG of plain values, for notebooks: networks, tables, curves; axes of matplotlib.

No scripts, no style sheets, nothing from elsewhere. Text and lines have the colour of the page
around them (``currentColor``), and curves are of a middle lightness: the same picture is readable
on a light and on a dark page.
"""

import math
from html import escape

from fastnn.core.notices import shown

__all__ = ["COLORS", "curves", "network", "new_axes", "page", "pyplot", "table"]

COLORS = ("#3d85c6", "#e0772b", "#3f9c54", "#b25fc2", "#c2504f", "#8a7a3b")
SHOWN_UNITS = 8  # circles of a layer; of a larger one the first and the last
SHOWN_LAYERS = 8
SHOWN_POINTS = 400  # of a curve: what a picture of this width can show
LARGEST = 1e300  # of the values of curves, whose differences must be numbers
WIDE = 20.0  # ratio of the largest value of curves to the least from which the axis is logarithmic


def new_axes(ax, method):
    """Return axes of matplotlib: those that are given, or those of a new figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
    method : str
        Who asks, for the message.

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError
        When they are none.
    """
    if ax is not None:
        if not (hasattr(ax, "imshow") and hasattr(ax, "figure")):
            raise TypeError(f"ax={shown(ax)} must be axes of matplotlib, or None for those of a "
                            "new figure")
        return ax
    return pyplot(method).figure(layout="constrained").add_subplot()


def pyplot(method):
    """Return ``matplotlib.pyplot``; raise ImportError where it is not installed."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f"{method} needs matplotlib: pip install matplotlib") from error
    return pyplot


def page(title, *parts):
    """Return the HTML of a title and of parts, each HTML itself, beside or below each other."""
    inner = "".join(f'<div style="margin:4px 24px 4px 0">{part}</div>' for part in parts if part)
    return ('<div style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.35">'
            f'<div style="font-weight:600;overflow-wrap:anywhere">{escape(title)}</div>'
            f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{inner}</div></div>')


def table(header, rows, last=None):
    """Return an HTML table.

    Parameters
    ----------
    header : sequence of str
        Names of the columns; none: without a header.
    rows : sequence of sequences
        Numbers stand on the right.
    last : sequence or None, default=None
        A row of sums.
    """
    rule = "border-bottom:1px solid rgba(128,128,128,.5)"
    parts = ['<table style="border-collapse:collapse;margin:0;font-size:inherit">']
    numeric = {i for row in rows for i, value in enumerate(row) if _is_number(value)}
    if header:
        cells = "".join(_cell("th", name, i in numeric, rule) for i, name in enumerate(header))
        parts.append(f"<thead><tr>{cells}</tr></thead>")
    parts.append("<tbody>")
    for row in rows:
        cells = "".join(_cell("td", value, _is_number(value)) for value in row)
        parts.append(f"<tr>{cells}</tr>")
    if last is not None:
        rule = "border-top:1px solid rgba(128,128,128,.5);font-weight:600"
        cells = "".join(_cell("td", value, _is_number(value), rule) for value in last)
        parts.append(f"<tr>{cells}</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(tag, value, right, style=""):
    text = f"{value:,}" if isinstance(value, int) else str(value)
    align = "right" if right else "left"
    return (f'<{tag} style="text-align:{align};vertical-align:top;padding:1px 12px 1px 0;'
            f'background:none;{style}">{escape(text)}</{tag}>')


def network(sizes, names):
    """Return the SVG of layers: a column of circles each, and lines between them.

    Parameters
    ----------
    sizes : sequence of int
        Units of the input and of each layer.
    names : sequence of str
        What stands below each of them, such as the activation.
    """
    columns = [*zip(sizes, names, strict=True)]
    if len(columns) > SHOWN_LAYERS:
        half = SHOWN_LAYERS // 2
        columns = [*columns[:half], None, *columns[-half:]]
    step, gap, top = 92, 18, 8
    most = min(max(column[0] for column in columns if column), SHOWN_UNITS)
    height = top + gap * most + 34
    circles, lines, before = [], [], None
    for i, column in enumerate(columns):
        x = 40 + i * step
        if column is None:
            circles.append(_text(x, top + gap * most / 2, "…", 18))
            before = None
            continue
        units, name = column
        places = _places(units, top + gap * most / 2, gap)
        here = [y for y in places if y is not None]
        circles += [f'<circle cx="{x}" cy="{y:g}" r="6"/>' for y in here]
        if len(here) < units:
            circles.append(_text(x, here[0] + gap * places.index(None) + 5, "⋮", 15))
        if before is not None:
            lines += [f'<path d="M{x - step + 7} {a:g}L{x - 7} {b:g}"/>' for a in before
                      for b in here]
        before = here
        foot = top + gap * most
        circles += [_text(x, foot + 12, f"{units:,}", 12), _text(x, foot + 27, name, 11)]
    width = 80 + (len(columns) - 1) * step
    return (f'{_svg(width, height, "network of " + "-".join(map(str, sizes)))}'
            f'<g stroke="currentColor" stroke-opacity=".3" stroke-width=".8">{"".join(lines)}</g>'
            f'<g fill="{COLORS[0]}">{"".join(circles)}</g></svg>')


def _places(units, middle, gap):
    """Return the heights of the circles of a layer, None for those that are left out."""
    shown = min(units, SHOWN_UNITS)
    first = middle - gap * (shown - 1) / 2
    found = [first + gap * i for i in range(shown)]
    if units > SHOWN_UNITS:
        found[SHOWN_UNITS // 2] = None
    return found


def _svg(width, height, label):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
            'style="max-width:100%;height:auto" font-family="system-ui,sans-serif">')


def _text(x, y, text, size=11, anchor="middle"):
    return (f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="currentColor">{escape(text)}</text>')


def curves(named, xlabel="epoch", start=1):
    """Return the SVG of curves over the numbers of their values.

    Parameters
    ----------
    named : dict of str to sequence of float
        NaN, infinities and what is beyond 1e300 leave a gap. The axis is logarithmic where all
        values are above 0 and of very different sizes.
    xlabel : str, default="epoch"
    start : int, default=1
        Number of the first value.
    """
    values = [value for curve in named.values() for value in curve if _is_shown(value)]
    n = max((len(curve) for curve in named.values()), default=0)
    if not values:
        return ""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > WIDE
    scale = math.log10 if logarithmic else float
    low, high = scale(low), scale(high)
    if high - low < 1e-12 * max(abs(high), 1e-300):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    width, height, left, foot = 360, 190, 56, 34
    plot_width, plot_height = width - left - 12, height - foot - 10

    def place(i, value):
        x = left + plot_width * (i / (n - 1) if n > 1 else 0.5)
        return x, 10 + plot_height * (high - scale(value)) / (high - low)

    parts = [_svg(width, height + 16 * len(named), ", ".join(named)),
             f'<path d="M{left} 10V{10 + plot_height}H{width - 12}" fill="none" '
             'stroke="currentColor" stroke-opacity=".5"/>']
    for value in _ticks(low, high, logarithmic):
        y = 10 + plot_height * (high - value) / (high - low)
        label = f"{10 ** value if logarithmic else value:.3g}"
        parts.append(f'<path d="M{left} {y:.1f}H{width - 12}" stroke="currentColor" '
                     f'stroke-opacity=".15"/>{_text(left - 6, y + 4, label, 11, "end")}')
    parts += [_text(left, height - foot + 18, f"{start:,}", 11),
              _text(width - 14, height - foot + 18, f"{start + n - 1:,}", 11, "end"),
              _text(left + plot_width / 2, height - foot + 18, xlabel, 11)]
    for number, (name, curve) in enumerate(named.items()):
        color = COLORS[number % len(COLORS)]
        parts.append(_line([place(i, value) if _is_shown(value) else None
                            for i, value in _thinned(curve)], color))
        y = height + 16 * number
        last = next((value for value in reversed(curve) if _is_shown(value)), None)
        label = name if last is None else f"{name}  {last:.5g}"
        parts.append(f'<path d="M{left} {y - 4}h18" stroke="{color}" stroke-width="2.5"/>'
                     f'{_text(left + 24, y, label, 12, "start")}')
    parts.append("</svg>")
    return "".join(parts)


def _thinned(curve):
    """Return pairs (number, value) of at most some points: of each stretch the least and the
    largest value, so that no peak is lost."""
    if len(curve) <= SHOWN_POINTS:
        return list(enumerate(curve))
    found, pieces = [], SHOWN_POINTS // 2
    for piece in range(pieces):
        first = piece * len(curve) // pieces
        stretch = [(i, value) for i, value in
                   enumerate(curve[first:(piece + 1) * len(curve) // pieces], first)
                   if _is_shown(value)]
        if stretch:
            found += sorted({min(stretch, key=_value), max(stretch, key=_value)})
        else:
            found.append((first, math.nan))
    return found


def _is_shown(value):
    """Whether a value is a number whose difference from another such one is finite."""
    return abs(value) <= LARGEST


def _value(pair):
    return pair[1]


def _line(points, color):
    """Return an SVG path through points; None is a gap."""
    steps, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        steps.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    if len(steps) == 1:
        steps.append("h.1")
    return (f'<path d="{"".join(steps)}" fill="none" stroke="{color}" stroke-width="1.6" '
            'stroke-linejoin="round" stroke-linecap="round"/>')


def _ticks(low, high, logarithmic):
    """Return three to six round values between two."""
    if logarithmic:
        whole = [float(i) for i in range(math.floor(low), math.floor(high) + 1)]
        if len(whole) > 3:
            return [value for value in whole if value >= low][::-(-len(whole) // 6)]
        fine = [ten + math.log10(digit) for ten in whole for digit in (1, 2, 5)]
        return [value for value in fine if low <= value <= high]
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next((factor for factor in (5, 2) if (high - low) / (step * factor) >= 3), 1)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]
