"""Models as one C header."""


import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import check_finite, dense_rows
from fastnn.core.rows import check_rows
from fastnn.core.version import __version__
from fastnn.export import _c_jacobian
from fastnn.export._c_jacobian import check_jacobian
from fastnn.export._c_rows import CALLS, USES
from fastnn.export._c_text import check_prefix, comment, number_literals, string_literal, wrapped
from fastnn.files.container import check_place, write_atomically
from fastnn.network.lowering import INPUT, Op, is_dense_chain, slots
from fastnn.prediction.predictor import as_predictor, check_exported

N_TEST_ROWS = 5
# relative to the larger of 1 and the answer; room for another order of sums and another libm
TOLERANCE = {"float": 1e-5, "double": 1e-9}

# One row per activation: f(z).  {f} is "f" where the network is float, so that the functions and
# constants of <math.h> are of its type.  Comparisons keep NaN, and infinity gives no 0 * inf.
ACTIVATIONS = {
    "identity": "z",
    "sigmoid": "1.0{f} / (1.0{f} + exp{f}(-z))",
    "tanh": "tanh{f}(z)",
    "relu": "z < 0.0{f} ? 0.0{f} : z",
    "leaky_relu": "z < 0.0{f} ? 0.01{f} * z : z",
    "elu": "z < 0.0{f} ? expm1{f}(z) : z",
    "gelu": "z < -40.0{f} ? 0.0{f} : 0.5{f} * z * erfc{f}(-0.70710678118654752440{f} * z)",
    "silu": "z < -800.0{f} ? 0.0{f} : z / (1.0{f} + exp{f}(-z))",
    "softplus": "(z > 0.0{f} ? z : 0.0{f}) + log1p{f}(exp{f}(-fabs{f}(z)))",
    "exp": "exp{f}(z)",
    "selu": "z < 0.0{f} ? 1.75809934084737685994{f} * expm1{f}(z) : 1.05070098735548049342{f} * z",
    "mish": "z < -800.0{f} ? 0.0{f} : z * tanh{f}((z > 0.0{f} ? z : 0.0{f})"
            " + log1p{f}(exp{f}(-fabs{f}(z))))",
    "hard_tanh": "z < -1.0{f} ? -1.0{f} : z > 1.0{f} ? 1.0{f} : z",
    "hard_sigmoid": "z < -3.0{f} ? 0.0{f} : z > 3.0{f} ? 1.0{f} : (z + 3.0{f}) / 6.0{f}",
    "relu6": "z < 0.0{f} ? 0.0{f} : z > 6.0{f} ? 6.0{f} : z",
    "step": "z >= 0.0{f} ? 1.0{f} : z < 0.0{f} ? 0.0{f} : z",
}

# One row per kind of operation: its function in C, without the name, and what it is called with.
# {x}, {y} and {z} are arrays, the other names are of the `Op` and of its parameters.
OPS = {
    "dense": (
        """\
/* z = x W + b;  x (n_in), w (n_in, n_out), b and z (n_out) */
{head}int n_in, int n_out, const {real} *w, const {real} *b,
{indent}const {real} *x, {real} *z) {{
    int i, j;
    for (j = 0; j < n_out; ++j)
        z[j] = b[j];
    for (i = 0; i < n_in; ++i, w += n_out)
        for (j = 0; j < n_out; ++j)
            z[j] += x[i] * w[j];
}}
""", "{n_in}, {n_out}, {weight}, {bias}, {x}, {z}"),
    "layer_norm": (
        """\
/* z = gain (x - mean) / sqrt(variance + eps) + bias;  all (n) */
{head}int n, const {real} *gain, const {real} *bias, double eps,
{indent}const {real} *x, {real} *z) {{
    double mean = 0.0, variance = 0.0, d, scale;
    int i;
    for (i = 0; i < n; ++i)
        mean += (double)x[i];
    mean /= n;
    for (i = 0; i < n; ++i) {{
        d = (double)x[i] - mean;
        variance += d * d;
    }}
    scale = 1.0 / sqrt(variance / n + eps);
    for (i = 0; i < n; ++i)
        z[i] = gain[i] * ({real})(((double)x[i] - mean) * scale) + bias[i];
}}
""", "{n_out}, {gain}, {bias}, {eps!r}, {x}, {z}"),
    "batch_norm": (
        """\
/* z = gain (x - mean) / sqrt(variance + eps) + bias;  all (n) */
{head}int n, const {real} *gain, const {real} *bias,
{indent}const {real} *mean, const {real} *variance, double eps,
{indent}const {real} *x, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = gain[i] * ((x[i] - mean[i]) * ({real})(1.0 / sqrt((double)variance[i] + eps)))
               + bias[i];
}}
""", "{n_out}, {gain}, {bias}, {mean}, {variance}, {eps!r}, {x}, {z}"),
    "scale": (
        """\
/* z = x gain;  all (n) */
{head}int n, const {real} *gain, const {real} *x, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = x[i] * gain[i];
}}
""", "{n_out}, {gain}, {x}, {z}"),
    "prelu": (
        """\
/* z = x, or slope x where it is not > 0;  x and z (n), slope (n) or one where step is 0 */
{head}int n, const {real} *slope, int step, const {real} *x,
{indent}{real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = x[i] > 0 ? x[i] : slope[i * step] * x[i];
}}
""", "{n_out}, {slope}, {step}, {x}, {z}"),
    "copy": (
        """\
/* z = x;  both (n) */
{head}int n, const {real} *x, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = x[i];
}}
""", "{n_out}, {x}, {z}"),
    "add": (
        """\
/* z = x + y;  all (n) */
{head}int n, const {real} *x, const {real} *y, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = x[i] + y[i];
}}
""", "{n_out}, {x}, {y}, {z}"),
    "repeat": (
        """\
/* z = scale x, the inputs of one member;  all (n) */
{head}int n, const {real} *scale, const {real} *x, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] = scale[i] * x[i];
}}
""", "{n_out}, {scale} + m * {n_out}, {x}, {z}"),
}
OPS["embed"] = OPS["dense"]  # a call of it for each column
OPS["glu"] = (
    """\
/* z = x z, a gate whose f(v) is there;  x and z (n) */
{head}int n, const {real} *x, {real} *z) {{
    int i;
    for (i = 0; i < n; ++i)
        z[i] *= x[i];
}}
""", "")
OPS["heads"] = (  # the dense one of a member
    OPS["dense"][0],
    "{n_in}, {n_out}, {weight} + m * {size}, {bias} + m * {n_out}, {x}, {z}")
FUNCTIONS = {"scale": "scaled"}  # kind -> its name in C, where a scaler's array has that one
# of parameters, before a layer's number
NAMES = {"weight": "W", "bias": "b", "gain": "gain", "slope": "slope", "mean": "mean",
         "variance": "variance", "scale": "scale"}

# Outputs that are no function of one z, as the body of f(int n, real *z), in place.
ROW_OUTPUTS = {
    "softmax": """\
    {real} top = z[0], sum = 0.0{f};
    int i;
    for (i = 1; i < n; ++i)
        if (z[i] > top)
            top = z[i];
    for (i = 0; i < n; ++i) {{
        z[i] = exp{f}(z[i] - top);
        sum += z[i];
    }}
    for (i = 0; i < n; ++i)
        z[i] /= sum;
""",
}

def export(model, path, prefix="model", test_rows=None, jacobian=False):
    """See `fastnn.export.c_header`."""
    path = check_place(path)
    text = header(check_exported(as_predictor(model), "a C header"), prefix, test_rows, path.name,
                  jacobian)
    write_atomically(path, text.encode("ascii"))


def header(predictor, prefix="model", test_rows=None, file_name="model.h", jacobian=False):
    """Return the header of a Predictor, ASCII text."""
    check_prefix(prefix)
    net = predictor.net
    net.spec.refuse_functions("a C header")
    for op in net._layout.ops:
        if op.kind not in OPS:
            raise ValueError(f"operation {op.kind!r} cannot be exported: it has no row in "
                             "fastnn/export/_c.py")
        for name in (op.activation, op.gate):
            if name not in ACTIVATIONS and name not in ROW_OUTPUTS:
                raise ValueError(f"activation {name!r} cannot be exported: it has no row in "
                                 "fastnn/export/_c.py")
    if validation.check_flag("jacobian", jacobian):
        check_jacobian(net._layout)
    parameters = {_name(block): view for block, view in zip(
        net._layout.blocks, net._layout.views(net.parameters), strict=True)}
    for name, array in parameters.items():
        check_finite(name, array, net.dtype)
    test = _test_rows(predictor, test_rows, jacobian)
    return _Writer(predictor, prefix, file_name, jacobian).text(parameters, *test)


def _name(block):
    """Return the name of a block of parameters: W0, b0, gain1, ..."""
    _, number, kind = block.name.split(".")
    return NAMES[kind] + number


def _test_rows(predictor, given, jacobian):
    """Return inputs (n_rows, n_in) and outputs (n_rows, n_out) of the self-test, in the net's
    dtype, and the derivatives (n_out, n_in) of the first row, None without ``jacobian``."""
    dtype, scaler, n_in = predictor.net.dtype, predictor.scaler, predictor.n_features_in_
    if given is not None:
        rows = dense_rows(check_rows("test_rows", given, n_in, dtype))
        if len(rows) == 0:
            raise ValueError("test_rows must have a row")
        answers, slopes = _answers(predictor, rows, jacobian)
        check_finite("outputs of test_rows", answers, dtype)
        if jacobian:
            check_finite("the Jacobian (n_out, n_in) of the first of test_rows", slopes, dtype)
        return rows, answers, slopes
    normal = np.random.Generator(np.random.Philox(0)).standard_normal((N_TEST_ROWS, n_in))
    for size in (1, 1e-1, 1e-2, 1e-3, 0):  # an exponential output soon leaves the numbers
        rows = size * normal
        with np.errstate(over="ignore"):
            if scaler is not None:
                rows = scaler.mean + scaler.scale * rows
            rows = np.ascontiguousarray(rows, dtype)
        if np.isfinite(rows).all():
            answers, slopes = _answers(predictor, rows, jacobian)
            if np.isfinite(answers).all() and (slopes is None or np.isfinite(slopes).all()):
                return rows, answers, slopes
    what = "outputs and Jacobian" if jacobian else "outputs"
    raise ValueError(f"the self-test found no rows of {dtype} whose {what} are finite: give "
                     "test_rows=, rows of the data of which that is true")


def _answers(predictor, rows, jacobian):
    """Return the outputs of rows, and the Jacobian of the first one where it is wanted."""
    net, scaler = predictor.net, predictor.scaler
    with np.errstate(all="ignore"):
        scaled = rows if scaler is None else scaler.apply(rows, net.dtype)
        if not np.isfinite(scaled).all():  # which no prediction takes
            return np.full((len(rows), net.sizes[-1]), np.nan, net.dtype), None
        return net.predict(scaled), predictor.predict_jacobian(rows[:1])[0] if jacobian else None


class _Writer:
    """Puts the header together from its parts."""

    def __init__(self, predictor, prefix, file_name, jacobian=False):
        self.jacobian = jacobian
        net = predictor.net
        self.predictor, self.net, self.file_name = predictor, net, file_name
        self.block_names = None  # of the parameters of each operation
        self.p, self.P = prefix, prefix.upper()
        self.real, self.f = ("float", "f") if net.dtype == np.float32 else ("double", "")
        self.ops = net._layout.ops
        self.n_in, self.n_out, self.members = net.sizes[0], self.ops[-1].n_out, net.spec.members
        # the operation where a loop over the members of an ensemble begins
        self.repeat = next((i for i, op in enumerate(self.ops) if op.kind == "repeat"), None)
        self.loops = self.repeat is not None
        self.places, self.scratch = self._places()
        self.labels = self._labels()

    def _places(self):
        """Where the value of each operation stands, that of INPUT too, and the length of the
        scratch."""
        ops, before = self.ops, self.predictor.scaler is not None
        if self.loops:
            return self._places_of_a_member()
        if before:  # the scaled inputs are a value, too
            ops = (Op("copy", self.n_in, self.n_in, INPUT),
                   *(op._replace(source=op.source + 1, other=op.other + 1) for op in ops))
        found = slots(ops)
        widths = [0] * (max(found) + 1)
        for slot, op in zip(found[:-1], ops, strict=False):
            widths[slot] = max(widths[slot], op.n_out)
        starts = [f"scratch + {sum(widths[:slot])}" if slot else "scratch" for slot in found]
        places = dict(enumerate(starts, INPUT if before else 0))
        places.setdefault(INPUT, "x")
        places[len(self.ops) - 1] = "out"
        return places, max(1, sum(widths))

    def _places_of_a_member(self):
        """Return the same of an ensemble: what the members read stays, and out is a sum over the
        members."""
        found = slots(self.ops)
        widths = [0] * (max(found) + 1)
        for slot, op in zip(found, self.ops, strict=True):
            widths[slot] = max(widths[slot], op.n_out)
        places = {i: f"scratch + {sum(widths[:slot])}" for i, slot in enumerate(found)}
        places[INPUT], end = "x", sum(widths)
        if self.predictor.scaler is not None:
            places[INPUT], end = f"scratch + {end}", end + self.n_in
        if self.repeat > 0:
            source = self.ops[self.repeat].source
            places[source], end = f"scratch + {end}", end + self.ops[source].n_out
        return places, end

    def text(self, parameters, rows, answers, slopes):
        parts = [self.top(), self.size_macros()]
        if self.predictor.classes_ is not None and self.predictor.task == "classification":
            parts.append(self.classes())
        gains = ", gain (n_out)" if any("gain" in name for name in parameters) else ""
        parts.append(f"/* ---- parameters: W (n_in, n_out) row by row, b (n_out){gains} ---- */\n")
        if self.predictor.scaler is not None:
            parts.append(self.scaler_arrays())
        for i in range(len(self.ops)):
            parts.append("".join(self.array(name, parameters[name])
                                 for name in self.names_of(i).values()))
        parts.append("/* ---- one row through the network ---- */\n")
        parts += [self.operation(kind) for kind in dict.fromkeys(
            kind for op in self.ops for kind in USES.get(op.kind, (op.kind,)))]
        parts += [self.activation(name) for name in dict.fromkeys(
            name for op in self.ops for name in (op.gate, op.activation)) if name != "identity"]
        parts += [self.predict(), self.decision(), self.self_test(rows, answers)]
        if self.jacobian:
            parts.append("/* ---- derivatives with respect to the inputs ---- */\n")
            parts += _c_jacobian.parts(self, slopes)
        parts.append(f"#endif /* {self.P}_H */\n")
        return "\n".join(part for part in parts if part)

    def array(self, name, values):
        kind, f = ("float", "f") if values.dtype == np.float32 else ("double", "")
        body = wrapped(number_literals(values, f), "    ")
        return f"static const {kind} {self.p}_{name}[{values.size}] = {{\n{body}\n}};\n"

    # ---- the comment at the top ----

    def top(self):
        p, P, real = self.p, self.P, self.real
        layers = " -> ".join(map(str, self.net.sizes))
        scaled = ", inputs scaled first" if self.predictor.scaler is not None else ""
        use = [f"{real} x[{P}_N_INPUTS], out[{P}_N_OUTPUTS];",
               f"{real} scratch[{P}_SCRATCH]; // one for each thread",
               "... fill x ...",
               f"{p}_predict(x, out, scratch);"]
        if self.predictor.task == "classification":
            kind, label = "int ", f"{p}_class(out)"
            if self.labels:
                kind, label = f"{self.labels[0]} ", f"{p}_classes[{label}]"
            kind = kind.replace("char *const ", "const char *")
            use.append(f"{kind}label = {label};")
        elif self.predictor.task == "multilabel":
            use += [f"int labels[{P}_N_OUTPUTS];", f"{p}_labels(out, labels);"]
        if self.jacobian:
            use += _c_jacobian.jacobian_use(self)
        lines = [
            f"A multilayer perceptron, exported by fastnn {__version__}; not to be edited.",
            "",
            f"  layers       {layers}{scaled}",
            *self.what_it_does(),
            f"  type         {real}",
            f"  outputs      {self.meaning()}",
            "",
            "Use:",
            "",
            f'  #include "{comment(self.file_name)}"',
            *(f"  {line}" for line in use),
            "",
            f"{p}_self_test() returns 0 where the code as compiled answers as fastnn does.",
            "",
            "C99 or C++17, for the hexadecimal floats. No allocation, no state, and nothing but",
            "<math.h> (link with -lm). Several source files may include it.",
        ]
        if self.predictor.feature_names_in_ is not None:
            lines += ["", "Inputs:", ""]
            lines += [f"  x[{i}]  {comment(name)}"
                      for i, name in enumerate(self.predictor.feature_names_in_)]
        body = "\n".join(f" * {line}".rstrip() for line in lines)
        guard = f"#ifndef {P}_H\n#define {P}_H\n\n#include <math.h>\n"
        return f"/*\n{body}\n */\n{guard}"

    def what_it_does(self):
        """Lines on the operations of a network."""
        names = [op.activation for op in self.ops]
        members = [f"  members      {self.members}, whose outputs are averaged"] * self.loops
        if not is_dense_chain(self.ops):
            names = [op.kind if name == "identity" else f"{op.kind} {name}"
                     for op, name in zip(self.ops, names, strict=True)]
            lines = wrapped(names, " " * 17).rstrip(",").split("\n")
            return [*members, "  operations   " + lines[0].strip(),
                    *(line[2:] for line in lines[1:])]
        return [f"  activations  {', '.join(names)}"]

    def meaning(self):
        task, classes = self.predictor.task, self.predictor.classes_
        if task == "classification":
            if self.n_out == 1:
                return f"probability of the class {comment(classes[-1])}"
            order = f", in the order of {self.p}_classes" if self.labels else ""
            return f"probability of each class{order}"
        if task == "multilabel":
            return "probability of each label"
        return "probabilities" if self.net.output in ("sigmoid", "softmax") else "values"

    def size_macros(self):
        return (f"#define {self.P}_N_INPUTS {self.n_in}\n"
                f"#define {self.P}_N_OUTPUTS {self.n_out}\n"
                f"#define {self.P}_SCRATCH {self.scratch} /* {self.real}s */\n")

    # ---- classes ----

    def _labels(self):
        """C type and literals of the classes; None where C has no such type."""
        classes = self.predictor.classes_
        if classes is None or self.predictor.task != "classification":
            return None
        values = classes.tolist()
        if all(isinstance(value, str) for value in values):
            return "char *const", [string_literal(value) for value in values]
        if all(isinstance(value, (bool, int)) for value in values):
            values = [int(value) for value in values]
            if all(abs(value) < 2**31 for value in values):
                return "int", [str(value) for value in values]
            if all(abs(value) < 2**63 for value in values):
                return "long long", [f"{value}LL" for value in values]
        elif all(isinstance(value, float) for value in values) and np.isfinite(values).all():
            return "double", [float.hex(value) for value in values]
        return None

    def classes(self):
        n = len(self.predictor.classes_)
        text = f"#define {self.P}_N_CLASSES {n}\n"
        if self.labels is None:
            return text
        kind, literals = self.labels
        return (f"{text}\nstatic const {kind} {self.p}_classes[{n}] = {{\n"
                f"{wrapped(literals, '    ')}\n}};\n")

    # ---- functions ----

    def scaler_arrays(self):
        scaler = self.predictor.scaler
        return self.array("mean", scaler.mean) + self.array("scale", scaler.scale)

    def names_of(self, i):
        """Kinds and names of the parameters of an operation."""
        if self.block_names is None:
            self.block_names = {}
            for block in self.net._layout.blocks:
                self.block_names.setdefault(block.op, {})[block.kind] = _name(block)
        return self.block_names.get(i, {})

    def operation(self, kind):
        head = f"static inline void {self.p}_{FUNCTIONS.get(kind, kind)}("
        return OPS[kind][0].format(head=head, indent=" " * len(head), real=self.real)

    def call(self, i, x=None, y=None, z=None):
        """Return the call that computes the value of an operation, or several; the places are
        those of `predict` unless they are given."""
        op, place = self.ops[i], self.places
        names = {kind: f"{self.p}_{name}" for kind, name in self.names_of(i).items()}
        if op.kind in CALLS:
            return "\n".join(f"    {line}" for line in CALLS[op.kind](
                op, self.p, names, x or place[op.source], z or place[i]))
        arguments = OPS[op.kind][1].format(
            x=x or place[op.source], y=y or place[op.other], z=z or place[i],
            size=op.n_in * op.n_out, step=int(not op.shared), **names,
            **op._asdict())
        return f"    {self.p}_{FUNCTIONS.get(op.kind, op.kind)}({arguments});"

    def activation(self, name):
        head = f"static inline void {self.p}_{name}(int n, {self.real} *a) {{\n"
        if name in ROW_OUTPUTS:
            body = ROW_OUTPUTS[name].format(f=self.f, real=self.real)
            return head.replace("*a)", "*z)") + body + "}\n"
        return f"""\
{head}    int i;
    for (i = 0; i < n; ++i) {{
        const {self.real} z = a[i];
        a[i] = {ACTIVATIONS[name].format(f=self.f)};
    }}
}}
"""

    def predict(self):
        p, P, real = self.p, self.P, self.real
        body = self.scaling() if self.predictor.scaler is not None else []
        indent, end = "", []
        if self.loops:
            body.insert(0, "    int j, m;")
            value = self.places[len(self.ops) - 1]
            end = [f"        for (j = 0; j < {self.n_out}; ++j)",
                   f"            out[j] += ({value})[j];", "    }",
                   f"    for (j = 0; j < {self.n_out}; ++j)",
                   f"        out[j] /= {self.members}.0{self.f};"]
        if not any("scratch" in place for place in self.places.values()):
            body.append("    (void)scratch;")
        for i, op in enumerate(self.ops):
            if i == self.repeat:
                body += [f"    for (j = 0; j < {self.n_out}; ++j)",
                         f"        out[j] = 0.0{self.f};",
                         f"    for (m = 0; m < {self.members}; ++m) {{"]
                indent = "    "
            body += [indent + line for line in self.call(i).split("\n")]
            if op.activation != "identity":
                body.append(f"{indent}    {p}_{op.activation}({op.n_out}, {self.places[i]});")
        lines = "\n".join(body + end)
        return f"""\
/* The outputs of one row.  x, out and scratch are the caller's and must not overlap:
 * {P}_N_INPUTS, {P}_N_OUTPUTS and {P}_SCRATCH {real}s. */
static inline void {p}_predict(const {real} *x, {real} *out, {real} *scratch) {{
{lines}
}}
"""

    def scaling(self, place=None):
        p = self.p
        lines = ["    int i;",
                 f"    for (i = 0; i < {self.n_in}; ++i) {{"]
        lines.append(f"        double z = ((double)x[i] - {p}_mean[i]) / {p}_scale[i];")
        for sign, limit in zip("<>", self.predictor.scaler.limits or (), strict=False):
            if np.isfinite(limit):
                lines.append(f"        z = z {sign} {limit!r} ? {limit!r} : z;")
        place = place or (f"({self.places[INPUT]})" if self.loops else "scratch")
        lines += [f"        {place}[i] = ({self.real})z;", "    }"]
        return lines

    def decision(self):
        p, P, real, half = self.p, self.P, self.real, f"0.5{self.f}"
        if self.predictor.task == "multilabel":
            return f"""\
/* labels ({P}_N_OUTPUTS): 1 where the outputs of {p}_predict say so, else 0 */
static inline void {p}_labels(const {real} *out, int *labels) {{
    int i;
    for (i = 0; i < {P}_N_OUTPUTS; ++i)
        labels[i] = out[i] > {half};
}}
"""
        if self.predictor.task != "classification":
            return ""
        if len(self.predictor.classes_) == 1:
            body = "    (void)out;\n    return 0;\n"
        elif self.n_out == 1:
            body = f"    return out[0] > {half};\n"
        else:
            body = f"""\
    int i, best = 0;
    for (i = 1; i < {P}_N_OUTPUTS; ++i)
        if (out[i] > out[best])
            best = i;
    return best;
"""
        where = f"; its label is {p}_classes[number]" if self.labels else ""
        return f"""\
/* Number of the class, from the outputs of {p}_predict{where}. */
static inline int {p}_class(const {real} *out) {{
{body}}}
"""

    def self_test(self, rows, answers):
        p, P, real, f = self.p, self.P, self.real, self.f
        tolerance = f"{TOLERANCE[real]}{f}"
        return f"""\
/* ---- self-test: rows and what fastnn answers to them ---- */

{self.array("test_x", rows)}{self.array("test_out", answers)}
/* 0 where all answers agree, within {TOLERANCE[real]} of the larger of 1 and the answer; else the
 * number of the first row that does not, from 1.  Takes out and scratch from the stack. */
static inline int {p}_self_test(void) {{
    {real} out[{P}_N_OUTPUTS], scratch[{P}_SCRATCH];
    const {real} *x = {p}_test_x, *right = {p}_test_out;
    int row, j;
    for (row = 1; row <= {len(rows)}; ++row, x += {P}_N_INPUTS, right += {P}_N_OUTPUTS) {{
        {p}_predict(x, out, scratch);
        for (j = 0; j < {P}_N_OUTPUTS; ++j) {{
            const {real} size = fabs{f}(right[j]) > 1.0{f} ? fabs{f}(right[j]) : 1.0{f};
            if (!(fabs{f}(out[j] - right[j]) <= {tolerance} * size)) /* NaN fails too */
                return row;
        }}
    }}
    return 0;
}}
"""
