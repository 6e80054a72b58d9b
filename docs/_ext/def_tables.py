"""The rows of csrc/*.def as Markdown: formulas with their sources, and a picture of each."""

import re
from itertools import product
from pathlib import Path

import c_formula

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SYMBOLS = {"lr": r"eta", "momentum": "mu", "eps": "epsilon", "weight_decay": "lambda"}
REDUCTIONS = {"mean": "mean", "sum": "sum", "half": "mean over half as many targets"}
TARGETS = {"real": "any real y", "unit": "y in [0, 1]", "nonnegative": "y >= 0",
           "positive": "y > 0"}
FLAGS = ("nesterov", "step_velocity", "eps_hat")


def rows(name):
    """Yield (macro, arguments, comment before it) of a .def file."""
    text = (CSRC / name).read_text(encoding="utf-8")
    comment = ""
    at = text.index("*/") + 2  # after the heading
    pattern = re.compile(r"/\*(.*?)\*/|^(FNN_\w+)\(|^#.*?$", re.DOTALL | re.MULTILINE)
    while match := pattern.search(text, at):
        at = match.end()
        if match[1] is not None:
            comment = " ".join(line.strip(" *") for line in match[1].strip().splitlines())
        elif match[2] is not None:
            arguments, at = _arguments(text, at)
            yield match[2], arguments, comment
            comment = ""


def _arguments(text, at):
    """Return the arguments of a macro up to its closing bracket, and where that ends."""
    depth, parts = 1, [""]
    while depth:
        char = text[at]
        at += 1
        depth += (char in "({[") - (char in ")}]")
        if char == "," and depth == 1:
            parts.append("")
        elif depth:
            parts[-1] += char
    return [" ".join(part.split()) for part in parts], at


def math(*lines):
    """Return lines of LaTeX as one block of Markdown."""
    return "\n".join(f"```{{math}}\n{line}\n```\n" for line in lines)


# ---- activations ----

def activations():
    """Return the page's text for csrc/activations.def."""
    parts, aliases = [], {}
    found = list(rows("activations.def"))
    for macro, arguments, _ in found:
        if macro == "FNN_ACTIVATION_ALIAS":
            aliases.setdefault(arguments[1], []).append(arguments[0])
    for macro, arguments, comment in found:
        if macro != "FNN_ACTIVATION":
            continue
        name, _, value, slope = arguments
        also = "".join(f" Also called `{alias}`." for alias in aliases.get(name, ())
                       if alias not in comment)
        parts += [f"(activation-{name})=", f"### {name}", "",
                  math("f(z) = " + c_formula.latex(c_formula.parse(value)),
                       "f'(z) = " + c_formula.latex(c_formula.parse(slope))),
                  _picture_of_activation(name), "", _sentence(comment) + also, ""]
    return "\n".join(parts)


def _sentence(comment):
    """Return a comment as Markdown; one that begins with a word begins with a capital."""
    if not comment:
        return ""
    comment = re.sub(r"\bh: ", "Parameter: ", comment)
    comment = re.sub(r"([*_<>])", r"\\\1", comment)
    if re.match(r"[a-z]{3,} (?!cosh)", comment):
        comment = comment[0].upper() + comment[1:]
    return comment + ("" if comment[-1] in ".:" else ".")


def _picture_of_activation(name):
    import numpy as np

    import fastnn

    z = np.linspace(-4, 4, 161)[:, None]
    net = fastnn.MLP((1, 1), output=name, dtype="float64", initializer="zeros")
    net.set_weights([[[1.0]], [0.0]])
    value = net.predict(z)
    ends = None if name != "exp" else (z[:, 0] < 1.4)
    lines = [(z[:, 0], value[:, 0], "line")]
    if name != "step":  # which refuses to have a derivative
        lines.insert(0, (z[:, 0], net.jacobian(z)[:, 0, 0], "slope"))
    return picture(lines, f"{name} and its derivative", shown=ends)


def picture(lines, title, shown=None, width=260, height=150, low=-2.0, high=4.0):
    """Return curves as one inline SVG; its colours are those of the page."""
    def place(x, y):
        return (x + 4) / 8 * width, height - (y - low) / (high - low) * height

    paths = []
    for x, y, kind in lines:
        keep = (y >= low) & (y <= high)
        keep = keep if shown is None else keep & shown
        points = " ".join("{:.1f},{:.1f}".format(*place(*pair))
                          for pair in zip(x[keep], y[keep], strict=True))
        paths.append(f'<polyline class="{kind}" points="{points}"/>')
    left, bottom = place(-4, 0), place(0, low)
    axes = (f'<line class="axis" x1="0" y1="{left[1]:.1f}" x2="{width}" y2="{left[1]:.1f}"/>'
            f'<line class="axis" x1="{bottom[0]:.1f}" y1="0" x2="{bottom[0]:.1f}" y2="{height}"/>')
    return (f'<figure class="curve"><svg viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{title}">{axes}{"".join(paths)}</svg>'
            "</figure>\n")


# ---- losses ----

def losses():
    """Return the page's text for csrc/losses.def."""
    parts, known = [], {}
    for macro, arguments, comment in rows("losses.def"):
        name, link, reduction, targets, *rest = arguments
        names, comment = _parameters(comment)
        known[name] = names = names or known.get(name.removeprefix("binary_"), [])
        if names:
            comment = f"With {' and '.join(names)}. {comment}"
        parts += [f"(loss-{name})=", f"### {name}", ""]
        if macro != "FNN_ROW_LOSS":
            value, slope = rest[-2:]
            replaced = {f"h{i}": ("name", SYMBOLS.get(name, name)) for i, name in enumerate(names)}
            trees = [c_formula.substitute(c_formula.parse(text), replaced)
                     for text in (value, slope)]
            parts.append(math(r"\ell(z, y) = " + c_formula.latex(trees[0]),
                              r"\frac{\partial \ell}{\partial z} = " + c_formula.latex(trees[1])))
        parts += [_sentence(comment), "",
                  f"Output `{link}`; over the outputs of a row the {REDUCTIONS[reduction]}; "
                  f"{TARGETS[targets]}.", ""]
    return "\n".join(parts)


def _parameters(comment):
    """Return what a comment names as h[], and the rest of it."""
    match = re.match(r"h: ([\w ,]+)\.\s*", comment)
    if match is None:
        match = re.match(r"h: (\w+)(?: p)? in \([^)]*\)\.\s*", comment)
    if match is None:
        return [], comment
    return [name.strip() for name in match[1].split(",")], comment[match.end():]


# ---- optimizers ----

def optimizers():
    """Return the page's text for csrc/optimizers.def."""
    parts, known = [], {}
    for _, (name, n_state, coefficients, *update), comment in rows("optimizers.def"):
        names, comment = _parameters(comment)
        if names and names[0].startswith("as "):
            names = known[names[0][3:]]
        known[name] = names
        update = ", ".join(update)
        parts += [f"(optimizer-{name})=", f"### {name}", "", _sentence(comment), ""]
        flags = [flag for flag in names if flag in FLAGS]
        seen = []
        for values in product((False, True), repeat=len(flags)):
            if sum(values) > 1:
                continue
            steps = _steps(coefficients, update, names, dict(zip(flags, values, strict=True)))
            if steps is None or steps in seen:
                continue
            if any(values):
                parts += [f"With `{flags[values.index(True)]}=True`:", ""]
            seen.append(steps)
            parts.append(math(*steps))
        if not seen:  # a loop, which stays what it is
            parts += ["The coefficients of step t, in C, where `h` holds "
                      + ", ".join(f"`{name}`" for name in names) + ":", "",
                      "```c", _laid_out(coefficients), "", _laid_out(update), "```", ""]
        states = {"0": "No state", "1": "One vector of state, $s_0$", "2": "Two, $s_0$ and $s_1$",
                  "3": "Three, $s_0$, $s_1$ and $s_2$"}[n_state]
        parts += [f"{states}. $g$ is the gradient, $w$ the weight"
                  + (r", $\eta$ the learning rate, $t$ the number of the step from 1." if seen
                     else "."), ""]
    return "\n".join(parts)


def _laid_out(code):
    lines, depth = [], 0
    for line in re.findall(r"\s*for \(.*?\) \{|[^;{}]+[;{]|\}", code.strip(" {}") + ";"):
        depth -= line == "}"
        lines.append("    " * depth + line.strip())
        depth += line.endswith("{")
    return "\n".join(line for line in lines if line != ";")


def _steps(coefficients, update, names, flags):
    """Return the steps of an update as LaTeX, coefficients put in; None where there is a loop."""
    if "for (" in coefficients:
        return None
    known = {"lr": ("name", SYMBOLS["lr"])}
    for i, name in enumerate(names):
        known[f"h[{i}]"] = (("number", str(int(flags[name]))) if name in flags
                            else ("name", SYMBOLS.get(name, name)))
    for name, text in re.findall(r"(?:double )?(\w+(?:\[\d\])?) = ([^;]+);", coefficients):
        known[name] = _decided(c_formula.substitute(c_formula.parse(text), known))
    for i in range(8):
        known[f"c{i}"] = known.get(f"c[{i}]", ("name", f"c{i}"))
    steps = []
    for statement in update.strip(" {}").split(";"):
        if not statement.strip():
            continue
        for part in re.split(r",\s*(?=\w+ =)", re.sub(r"^\s*R ", "", statement)):
            target, change, text = re.match(r"\s*(\w+) (-?)= (.*)", part).groups()
            tree = _decided(c_formula.substitute(c_formula.parse(text), known))
            if change:
                tree = ("-", ("name", "w"), tree)
            steps.append(rf"{c_formula.latex(('name', target))} \leftarrow {c_formula.latex(tree)}")
    return steps


def _decided(tree):
    """Take the branch of a flag, and leave out what is multiplied by 0 or 1."""
    if tree[0] in ("number", "name"):
        return tree
    if tree[0] == "call":
        return (*tree[:2], *map(_decided, tree[2:]))
    kind, *parts = tree
    parts = [_decided(part) for part in parts]
    if kind == "choice" and parts[0][0] == "number":
        return parts[1] if parts[0][1] != "0" else parts[2]
    zero, one = ("number", "0"), ("number", "1")
    if kind == "*" and zero in parts:
        return zero
    if kind == "*" and one in parts:
        return parts[1] if parts[0] == one else parts[0]
    if kind == "+" and zero in parts:
        return parts[1] if parts[0] == zero else parts[0]
    return (kind, *parts)
