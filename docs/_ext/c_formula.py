"""Expressions of C, as the rows of csrc/*.def have them, to LaTeX."""

import re

TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e-?\d+)?|[A-Za-z_]\w*|&&|\|\||[<>=!]=|[-+*/?:()<>,\[\]])")
GREEK = {"mu", "nu", "beta", "gamma", "delta", "rho", "alpha", "eta", "lambda", "epsilon"}
# constants that a reader knows by another name
CONSTANTS = {"0.16666666666666666667": r"\frac{1}{6}", "0.5": r"\frac{1}{2}",
             "0.69314718055994530942": r"\log 2",
             "1.7580993408473768599": r"1.7581", "1.0507009873554804934": "1.0507"}
COMPARE = {"<": "<", ">": ">", "<=": r"\le", ">=": r"\ge", "==": "=", "||": r"\;\text{or}\;",
           "&&": r"\;\text{and}\;"}
NEGATED = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Parser:
    """Recursive descent; a node is a tuple (kind, ...)."""

    def __init__(self, text):
        self.tokens, at = [], 0
        text = text.strip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"no token at {text[at:]!r}")
            self.tokens.append(match[1])
            at = match.end()
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *wanted):
        token = self.peek()
        if wanted and token not in wanted:
            raise ValueError(f"{token!r} where {wanted} was expected")
        self.at += 1
        return token

    def whole(self):
        node = self.choice()
        if self.peek() is not None:
            raise ValueError(f"{self.tokens[self.at:]} is left over")
        return node

    def choice(self):
        node = self.binary(0)
        if self.peek() != "?":
            return node
        self.take("?")
        yes = self.choice()
        self.take(":")
        return ("choice", node, yes, self.choice())

    LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/"))

    def binary(self, level):
        if level == len(self.LEVELS):
            return self.unary()
        node = self.binary(level + 1)
        while self.peek() in self.LEVELS[level]:
            operator = self.take()
            node = (operator, node, self.binary(level + 1))
        return node

    def unary(self):
        if self.peek() == "-":
            self.take()
            return ("neg", self.unary())
        token = self.take()
        if token == "(":
            node = self.choice()
            self.take(")")
            return node
        if token[0].isdigit():
            return ("number", token)
        if self.peek() == "(":
            self.take("(")
            arguments = [self.choice()]
            while self.peek() == ",":
                self.take()
                arguments.append(self.choice())
            self.take(")")
            return ("call", token, *arguments)
        if self.peek() == "[":
            self.take("[")
            index = self.take()
            self.take("]")
            return ("name", f"{token}[{index}]")
        return ("name", token)


def parse(text):
    """Return the simplified tree of an expression."""
    return simplify(Parser(text).whole())


def simplify(node):
    """Drop what is there for NaN, infinity and rounding only."""
    if node[0] in ("number", "name"):
        return node
    if node[0] == "call":
        name, *arguments = node[1:]
        arguments = [simplify(argument) for argument in arguments]
        if name in ("C", "BOUND"):
            return arguments[0]
        if name == "FMA":
            a, b, c = arguments
            return ("+", ("*", a, b), c)
        if name in ("EXPM1", "EXPM1_WIDE"):
            return ("-", ("call", "EXP", arguments[0]), ("number", "1"))
        if name == "LOG1P":
            return ("call", "LOG", ("+", ("number", "1"), arguments[0]))
        return ("call", name, *arguments)
    if node[0] == "choice" and node[3][0] == "choice":
        (comparison, *sides), other = node[1], node[3][1]
        # "x >= c ? a : x < c ? b : x": the last one is for NaN
        if comparison in NEGATED and other == (NEGATED[comparison], *sides):
            node = (*node[:3], node[3][2])
    node = (node[0], *map(simplify, node[1:]))
    if node[0] == "choice":
        condition, yes, no = node[1:]
        if yes == no:
            return yes
        return _choice(*node[1:])
    return node


def _choice(condition, yes, no):
    """Return a choice as max, min or sign, where it is one."""
    comparison, *sides = condition
    if comparison in ("<", ">") and {yes, no} == set(sides):
        return ("max" if (comparison == ">") == (yes == sides[0]) else "min", *sorted((yes, no)))
    if no[0] == "choice":
        other = no[1]
        if other[1:] == tuple(sides) and {comparison, other[0]} == {"<", ">"}:
            left, right = sides
            of = left if right == ("number", "0") else ("-", left, right)
            if comparison == ">" and yes == ("number", "1") and no[2] == ("neg", ("number", "1")):
                return ("sign", of)
            if no[3] == of:  # 0 where both are equal
                return ("choice", condition, yes, (*no[:3], ("number", "0")))
    return ("choice", condition, yes, no)


def substitute(node, names):
    """Replace names by other trees."""
    if node[0] == "name":
        return names.get(node[1], node)
    if node[0] == "number":
        return node
    if node[0] == "call":
        return (*node[:2], *(substitute(part, names) for part in node[2:]))
    return simplify((node[0], *(substitute(part, names) for part in node[1:])))


def _number(text):
    return CONSTANTS.get(text, text)


def _name(text):
    match = re.fullmatch(r"([a-zA-Z]+?)_?(\d+|minus|plus|min|max)?", text)
    if match is None:
        return r"\mathrm{" + text.replace("_", r"\_") + "}"
    stem, index = match.groups()
    stem = "\\" + stem if stem in GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    if stem == r"\epsilon":
        stem = r"\varepsilon"
    index = {"minus": "-", "plus": "+"}.get(index, index)
    if index is None:
        return stem
    return stem + "_{" + (index if len(index) < 2 else rf"\mathrm{{{index}}}") + "}"


FUNCTIONS = {"LOG": r"\log", "TANH": r"\tanh", "SIGMOID": r"\sigma", "NORMCDF": r"\Phi",
             "NORMPDF": r"\varphi"}
STRENGTH = {"choice": 0, "||": 1, "&&": 2, "<": 4, ">": 4, "<=": 4, ">=": 4, "==": 4,
            "+": 5, "-": 5, "neg": 6, "*": 7, "/": 9, "number": 9, "name": 9, "call": 9,
            "max": 9, "min": 9, "sign": 9}


def _within(node, least):
    text = latex(node)
    return text if STRENGTH[node[0]] >= least else rf"\left({text}\right)"


def _call(name, arguments):
    first = latex(arguments[0])
    if name == "EXP":
        return f"e^{{{first}}}"
    if name == "FABS":
        return rf"\left|{first}\right|"
    if name in ("SQRT", "sqrt"):
        return rf"\sqrt{{{first}}}"
    if name == "pow":
        return f"{_within(arguments[0], 9)}^{{{latex(arguments[1])}}}"
    if name == "SOFTPLUS":
        return rf"\log\left(1 + e^{{{first}}}\right)"
    if name == "TANH_SOFTPLUS":
        return rf"\tanh\left(\log\left(1 + e^{{{first}}}\right)\right)"
    if name == "SECH_SOFTPLUS":
        return rf"\frac{{1}}{{\cosh\left(\log\left(1 + e^{{{first}}}\right)\right)}}"
    return rf"{FUNCTIONS[name]}\left({first}\right)"


def latex(node):
    """Return a tree as LaTeX."""
    kind = node[0]
    if kind == "number":
        return _number(node[1])
    if kind == "name":
        return _name(node[1])
    if kind == "call":
        return _call(node[1], node[2:])
    if kind == "neg":
        return "-" + _within(node[1], 7)
    if kind in ("max", "min"):
        return rf"\{kind}\left({latex(node[1])}, {latex(node[2])}\right)"
    if kind == "sign":
        return rf"\mathrm{{sign}}\left({latex(node[1])}\right)"
    if kind == "choice":
        rows = []
        while node[0] == "choice":
            rows.append(rf"{latex(node[2])} & \text{{if }} {latex(node[1])}")
            node = node[3]
        rows.append(rf"{latex(node)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"
    left, right = node[1:]
    if kind == "/":
        return rf"\frac{{{latex(left)}}}{{{latex(right)}}}"
    if kind == "*":
        if left == right:
            return f"{_within(left, 9)}^{{2}}"
        if left[0] == "*" and left[2] == right:  # a b b
            return f"{_within(left[1], 7)} \\, {_within(right, 9)}^{{2}}"
        one = _within(left, 6 if left[0] == "neg" else 7)
        two = _within(right, 7)
        dot = r" \cdot " if right[0] == "number" else r" \, "
        return one + dot + two
    if kind in ("+", "-"):
        return f"{_within(left, 5)} {kind} {_within(right, 6 if kind == '-' else 5)}"
    return f"{_within(left, STRENGTH[kind])} {COMPARE[kind]} {_within(right, STRENGTH[kind])}"
