"""The Jacobian in a C header: values forward, then for each output adjoints back."""

import numpy as np

from fastnn.export._c_rows import BACK_CALLS, USES
from fastnn.network.lowering import INPUT, readers
from fastnn.prediction.derivatives import refuse

__all__ = ["check_jacobian", "jacobian_use", "parts"]

# of the self-test, relative to the larger of 1 and the answer
TOLERANCE = {"float": 1e-4, "double": 1e-9}

# One row per activation: f'(z), where a = f(z); see `_c.ACTIVATIONS`. At a kink, and of NaN, that
# of csrc/activations.def.
SLOPES = {
    "sigmoid": "a * (1.0{f} - a)",
    "tanh": "1.0{f} - a * a",
    "relu": "a <= 0.0{f} ? 0.0{f} : 1.0{f}",
    "leaky_relu": "a < 0.0{f} ? 0.01{f} : 1.0{f}",
    "elu": "a < 0.0{f} ? a + 1.0{f} : 1.0{f}",
    "gelu": "0.5{f} * erfc{f}(-0.70710678118654752440{f} * z)\n"
            "            + (fabs{f}(z) < 40.0{f} ? "
            "0.39894228040143267794{f} * z * exp{f}(-0.5{f} * z * z) : 0.0{f})",
    "silu": "1.0{f} / (1.0{f} + exp{f}(-z)) * (1.0{f} + z / (1.0{f} + exp{f}(z)))",
    "softplus": "1.0{f} / (1.0{f} + exp{f}(-z))",
    "exp": "a",
    "selu": "a <= 0.0{f} ? a + 1.7580993408473766{f} : 1.0507009873554805{f}",
    "mish": "tanh{f}(log1p{f}(exp{f}(z))) + z / (1.0{f} + exp{f}(-z))\n"
            "            * (1.0{f} - tanh{f}(log1p{f}(exp{f}(z))) * tanh{f}(log1p{f}(exp{f}(z))))",
    "hard_tanh": "a <= -1.0{f} || a >= 1.0{f} ? 0.0{f} : 1.0{f}",
    "hard_sigmoid": "a <= 0.0{f} || a >= 1.0{f} ? 0.0{f} : 0.16666666666666667{f}",
    "relu6": "a <= 0.0{f} || a >= 6.0{f} ? 0.0{f} : 1.0{f}",
}

# One row per kind of operation: its way back in C, without the name, and what it is called with.
# {x}: the value that it reads; {d}, {dx}: adjoints of its z and of x.
BACK = {
    "dense": (
        """\
/* dx = W d;  w (n_in, n_out), d (n_out), dx (n_in) */
{head}int n_in, int n_out, const {real} *w, const {real} *d, {real} *dx) {{
    int i, j;
    for (i = 0; i < n_in; ++i, w += n_out) {{
        dx[i] = 0.0{f};
        for (j = 0; j < n_out; ++j)
            dx[i] += w[j] * d[j];
    }}
}}
""", "{n_in}, {n_out}, {weight}, {d}, {dx}"),
    "layer_norm": (
        """\
/* dx, the adjoint of what is normalised;  all (n) */
{head}int n, const {real} *gain, double eps, const {real} *x,
{indent}const {real} *d, {real} *dx) {{
    double mean = 0.0, variance = 0.0, sum = 0.0, inner = 0.0, c, u, scale;
    int i;
    for (i = 0; i < n; ++i)
        mean += (double)x[i];
    mean /= n;
    for (i = 0; i < n; ++i) {{
        c = (double)x[i] - mean;
        u = (double)gain[i] * (double)d[i];
        variance += c * c;
        sum += u;
        inner += u * c;
    }}
    scale = 1.0 / sqrt(variance / n + eps);
    for (i = 0; i < n; ++i)
        dx[i] = ({real})(scale * ((double)gain[i] * (double)d[i] - sum / n
                         - ((double)x[i] - mean) * scale * scale * inner / n));
}}
""", "{n_out}, {gain}, {eps!r}, {x}, {d}, {dx}"),
    "batch_norm": (
        """\
/* dx, the adjoint of what is normalised;  all (n) */
{head}int n, const {real} *gain, const {real} *variance,
{indent}double eps, const {real} *d, {real} *dx) {{
    int i;
    for (i = 0; i < n; ++i)
        dx[i] = gain[i] * ({real})(1.0 / sqrt((double)variance[i] + eps)) * d[i];
}}
""", "{n_out}, {gain}, {variance}, {eps!r}, {d}, {dx}"),
    "scale": (
        """\
/* dx = gain d;  all (n) */
{head}int n, const {real} *gain, const {real} *d, {real} *dx) {{
    int i;
    for (i = 0; i < n; ++i)
        dx[i] = gain[i] * d[i];
}}
""", "{n_out}, {gain}, {d}, {dx}"),
    "prelu": (
        """\
/* dx = d, or slope d where x is not > 0;  all (n), slope one where step is 0 */
{head}int n, const {real} *slope, int step, const {real} *x,
{indent}const {real} *d, {real} *dx) {{
    int i;
    for (i = 0; i < n; ++i)
        dx[i] = x[i] > 0 ? d[i] : slope[i * step] * d[i];
}}
""", "{n_out}, {slope}, {step}, {x}, {d}, {dx}"),
    "embed": (None, None),  # see `BACK_CALLS`
    "glu": (None, None),
    "copy": (None, "{n_out}, {d}, {dx}"),
    "add": (None, "{n_out}, {d}, {dx}"),
}
# of one member: a factor of its own, and its own dense layer
BACK["repeat"] = (BACK["scale"][0], "{n_out}, {scale} + m * {n_out}, {d}, {dx}")
BACK["heads"] = (BACK["dense"][0], "{n_in}, {n_out}, {weight} + m * {size}, {d}, {dx}")

HELPERS = """\
/* y = x;  both (n) */
static inline void {p}_set(int n, const {real} *x, {real} *y) {{
    int i;
    for (i = 0; i < n; ++i)
        y[i] = x[i];
}}

/* d = d slope;  both (n) */
static inline void {p}_times(int n, const {real} *slope, {real} *d) {{
    int i;
    for (i = 0; i < n; ++i)
        d[i] *= slope[i];
}}

/* dx += d;  both (n) */
static inline void {p}_plus(int n, const {real} *d, {real} *dx) {{
    int i;
    for (i = 0; i < n; ++i)
        dx[i] += d[i];
}}
"""

SOFTMAX = """\
/* From the Jacobian of the scores to that of p = softmax(scores), in place: diag(p) - p p' times
 * it;  p (n_out), jacobian (n_out, n_in) */
static inline void {p}_softmax_back(int n_out, int n_in, const {real} *p, {real} *jacobian) {{
    int i, j;
    for (i = 0; i < n_in; ++i) {{
        {real} mean = 0.0{f};
        for (j = 0; j < n_out; ++j)
            mean += p[j] * jacobian[j * n_in + i];
        for (j = 0; j < n_out; ++j)
            jacobian[j * n_in + i] = p[j] * (jacobian[j * n_in + i] - mean);
    }}
}}
"""


def check_jacobian(layout):
    """Raise ValueError where a network has no Jacobian that C can be told."""
    refuse(layout, logits=False)
    for op in layout.ops:
        if op.kind not in BACK:
            raise ValueError(f"jacobian=True cannot export operation {op.kind!r}: it has no row in "
                             "fastnn/export/_c_jacobian.py")
        for name in (op.activation, op.gate):
            if name not in SLOPES and name not in ("identity", "softmax"):
                raise ValueError(f"jacobian=True cannot export activation {name!r}: it has no row "
                                 "in fastnn/export/_c_jacobian.py")


def jacobian_use(w):
    """Return lines of the comment at the top."""
    return [f"{w.real} jacobian[{w.P}_N_OUTPUTS * {w.P}_N_INPUTS];",
            f"{w.real} room[{w.P}_JACOBIAN_SCRATCH];",
            f"{w.p}_jacobian(x, jacobian, room); // derivatives of out[0] first"]


def parts(w, slopes):
    """Return the functions of the Jacobian, and their self-test.

    Parameters
    ----------
    w : _Writer
    slopes : array (n_out, n_in)
        The Jacobian of the first row of the self-test.
    """
    return _Way(w).parts(slopes)


class _Way:
    """Where each operation has its buffers, and what is called in which order."""

    def __init__(self, w):
        self.w, self.ops = w, w.ops
        self.end = 0
        self.scaled = w.predictor.scaler is not None
        self.inputs = self.take(w.n_in) if self.scaled else "x"
        # that of one member, where a loop adds them up
        self.found = self.take(w.n_out * w.n_in) if w.loops else "jacobian"
        self.values = [self.take(op.n_out) for op in self.ops]
        self.adjoints = [self.take(op.n_out) for op in self.ops]
        self.slopes = [self.take(op.n_out) if op.activation in SLOPES else None
                       for op in self.ops]
        reads = readers(self.ops)
        # the first reader is the last one on the way back: then the sums are added
        self.sums = {}
        for i, op in enumerate(self.ops):
            if op.kind == "add":
                self.sums.setdefault(reads[op.other][0], []).append(i)

    def take(self, n):
        start, self.end = self.end, self.end + n
        return f"scratch + {start}"

    def value(self, number):
        return self.inputs if number == INPUT else self.values[number]

    def adjoint(self, number):
        return "row" if number == INPUT else self.adjoints[number]

    def parts(self, slopes):
        w = self.w
        names = dict.fromkeys(name for op in self.ops for name in (op.gate, op.activation))
        found = [f"#define {w.P}_JACOBIAN_SCRATCH {self.end} /* {w.real}s */\n",
                 HELPERS.format(p=w.p, real=w.real)]
        for kind in dict.fromkeys(
                kind for op in self.ops for kind in USES.get(op.kind, (op.kind,))):
            if BACK[kind][0]:
                head = f"static inline void {w.p}_{kind}_back("
                found.append(BACK[kind][0].format(head=head, indent=" " * len(head), real=w.real,
                                                  f=w.f))
        found += [self.slope(name) for name in names if name in SLOPES]
        if "softmax" in names:
            found.append(SOFTMAX.format(p=w.p, real=w.real, f=w.f))
        return [*found, self.function(), self.self_test(slopes)]

    def slope(self, name):
        """Return the function of the slopes of an activation, which come where its z were."""
        w = self.w
        return f"""\
static inline void {w.p}_{name}_slope(int n, const {w.real} *value, {w.real} *slope) {{
    int i;
    for (i = 0; i < n; ++i) {{
        const {w.real} z = slope[i], a = value[i];
        (void)z, (void)a;
        slope[i] = {SLOPES[name].format(f=w.f)};
    }}
}}
"""

    def forward(self, first, stop):
        """Return lines that compute the values and slopes of some operations."""
        w, lines = self.w, []
        for i, op in list(enumerate(self.ops))[first:stop]:
            place = self.values[i]
            lines.append(w.call(i, self.value(op.source), self.value(op.other), place))
            if self.slopes[i]:
                lines.append(f"    {w.p}_set({op.n_out}, {place}, {self.slopes[i]});")
            if op.activation != "identity":
                lines.append(f"    {w.p}_{op.activation}({op.n_out}, {place});")
            if self.slopes[i]:
                lines.append(f"    {w.p}_{op.activation}_slope({op.n_out}, {place}, "
                             f"{self.slopes[i]});")
        return lines

    def back(self):
        w, lines = self.w, []
        for i in range(len(self.ops) - 1, -1, -1):
            op, d = self.ops[i], self.adjoints[i]
            if self.slopes[i] and i < len(self.ops) - 1:  # the last ones are in the seeds
                lines.append(f"        {w.p}_times({op.n_out}, {self.slopes[i]}, {d});")
            names = {kind: f"{w.p}_{name}" for kind, name in w.names_of(i).items()}
            x, dx = self.value(op.source), self.adjoint(op.source)
            if op.kind in BACK_CALLS:
                lines += [f"        {line}" for line in BACK_CALLS[op.kind](
                    op, w.p, names, x, d, dx)]
            else:
                name = f"{op.kind}_back" if BACK[op.kind][0] else "set"
                arguments = BACK[op.kind][1].format(
                    x=x, d=d, dx=dx, size=op.n_in * op.n_out, step=int(not op.shared), **names,
                    **op._asdict())
                lines.append(f"        {w.p}_{name}({arguments});")
            for k in self.sums.get(i, ()):
                other = self.ops[k]
                lines.append(f"        {w.p}_plus({other.n_out}, {self.adjoints[k]}, "
                             f"{self.adjoint(other.other)});")
        return lines

    def function(self):
        w, last = self.w, self.adjoints[-1]
        n_out, n_in = w.n_out, w.n_in
        shared = w.repeat if w.loops else 0  # operations that all members have in common
        # a product with 0 would be NaN where the slope of another output is infinite
        seed = f"({self.slopes[-1]})[i]" if self.slopes[-1] else f"1.0{w.f}"
        own = self.forward(shared, None)
        own += [f"    for (j = 0; j < {n_out}; ++j) {{",
                f"        {w.real} *row = {self.found} + j * {n_in}, *d = {last};",
                f"        for (i = 0; i < {n_out}; ++i)",
                f"            d[i] = i == j ? {seed} : 0.0{w.f};",
                *self.back(), "    }"]
        if self.ops[-1].activation == "softmax":
            own.append(f"    {w.p}_softmax_back({n_out}, {n_in}, {self.values[-1]}, {self.found});")
        body = []
        if self.scaled:
            body += [line for line in w.scaling(f"({self.inputs})") if line != "    int i;"]
        body += self.forward(0, shared)
        body += self.summed(own) if w.loops else own
        if self.scaled:
            body += self.unscaled()
        lines = "\n".join(body)
        return f"""\
/* The derivatives of all outputs of one row, as {w.p}_predict gives them, with respect to its
 * inputs: jacobian[j * {w.P}_N_INPUTS + i] is that of output j and input i.
 * scratch: {w.P}_JACOBIAN_SCRATCH {w.real}s; none of the three may overlap. */
static inline void {w.p}_jacobian(const {w.real} *x, {w.real} *jacobian, {w.real} *scratch) {{
    int i, j{", m" if w.loops else ""};
{lines}
}}
"""

    def summed(self, own):
        """Return the lines of one member in a loop, and the mean of what they find."""
        w = self.w
        size = w.n_out * w.n_in
        return [f"    for (i = 0; i < {size}; ++i)",
                f"        jacobian[i] = 0.0{w.f};",
                f"    for (m = 0; m < {w.members}; ++m) {{",
                *(f"    {line}" for text in own for line in text.split("\n")),
                f"        for (i = 0; i < {size}; ++i)",
                f"            jacobian[i] += ({self.found})[i] / {w.members}.0{w.f};",
                "    }"]

    def unscaled(self):
        """Return lines that go through the scaler, whose slope is 0 where it cuts off."""
        w = self.w
        value = f"({self.inputs})[i]"
        inside = [f"{value} {sign} ({w.real}){limit!r}" for sign, limit in zip(
            "><", w.predictor.scaler.limits or (), strict=False) if np.isfinite(limit)]
        slope = f"1.0 / {w.p}_scale[i]"
        if inside:
            slope = f"{' && '.join(inside)} ? {slope} : 0.0"
        return [f"    for (i = 0; i < {w.n_in}; ++i) {{",
                f"        const {w.real} slope = ({w.real})({slope});",
                f"        for (j = 0; j < {w.n_out}; ++j)",
                f"            jacobian[j * {w.n_in} + i] *= slope;",
                "    }"]

    def self_test(self, slopes):
        w, f = self.w, self.w.f
        return f"""\
{w.array("test_jacobian", slopes)}
/* 0 where the Jacobian of the first row of the self-test agrees, within {TOLERANCE[w.real]} of the
 * larger of 1 and the answer; else the number of the first derivative that does not, from 1.
 * Takes the Jacobian and scratch from the stack. */
static inline int {w.p}_jacobian_self_test(void) {{
    {w.real} found[{w.P}_N_OUTPUTS * {w.P}_N_INPUTS], scratch[{w.P}_JACOBIAN_SCRATCH];
    int i;
    {w.p}_jacobian({w.p}_test_x, found, scratch);
    for (i = 0; i < {w.P}_N_OUTPUTS * {w.P}_N_INPUTS; ++i) {{
        const {w.real} right = {w.p}_test_jacobian[i];
        const {w.real} size = fabs{f}(right) > 1.0{f} ? fabs{f}(right) : 1.0{f};
        if (!(fabs{f}(found[i] - right) <= {TOLERANCE[w.real]}{f} * size)) /* NaN fails too */
            return i + 1;
    }}
    return 0;
}}
"""
