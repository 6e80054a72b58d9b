"""Models of tables as one C header, from numbers and categories as they are."""

import numpy as np

from fastnn.core.version import __version__
from fastnn.export import _c
from fastnn.export._c_text import check_prefix, comment, number_literals, string_literal, wrapped
from fastnn.files.container import check_place, write_atomically
from fastnn.prediction.predictor import Predictor
from fastnn.tabular.encoding import CLIP

__all__ = ["header"]

TOLERANCE = 1e-5
N_TEST_ROWS = 5

CODE = """\
/* The code of a category, for codes[column]; "" is a missing one. */
static inline int {p}_code(int column, const char *text) {{
    int i;
    if (!*text)
        return {p}_n_categories[column] + 1;
    for (i = {p}_first_text[column]; i < {p}_first_text[column + 1]; ++i) {{
        const char *known = {p}_texts[i], *given = text;
        while (*known && *known == *given)
            ++known, ++given;
        if (*known == *given)
            return {p}_code_of_text[i];
    }}
    return {p}_n_categories[column];
}}

/* The code of a row; one that no text has is unknown. */
static inline int {p}_at(const int *codes, int column) {{
    const int n = {p}_n_categories[column], code = codes[column];
    return code < 0 || code > n + 1 ? n : code;
}}
"""
# of a date's numbers, and of true and false
MEANINGS = {"boolean": "0 or 1", "month": "1 to 12", "weekday": "0 is Monday, 6 Sunday",
            "hour": "of the day, 0 to 24, with its fraction",
            "date": "days since 1970-01-01 UTC, with their fraction: 2024-05-01 is 19844"}

NUMBER = """\
/* The inputs of a number: its value, bent; its share of each bin; whether it is missing. */
static inline {real} *{p}_number(double v, const double *edges, int n_edges, const double *scale,
{indent}int seen, {real} *x) {{
    const int n_bins = n_edges > 2 ? n_edges - 1 : 0;
    int k;
    if (n_edges > 1) {{
        double w = v, z, share;
        w = w < edges[0] ? edges[0] : w > edges[n_edges - 1] ? edges[n_edges - 1] : w;
        z = w / scale[1] - scale[0] / scale[1];
        z = z < -1e100 ? -1e100 : z > 1e100 ? 1e100 : z;
        z = (z / sqrt(1 + (z / {clip}) * (z / {clip})) - scale[2]) / scale[3];
        *x++ = v != v ? 0 : ({real})z;
        for (k = 0; k < n_bins; ++k) {{
            share = (w - edges[k]) / (edges[k + 1] - edges[k]);
            *x++ = v != v ? 0 : ({real})(share < 0 ? 0 : share > 1 ? 1 : share);
        }}
    }}
    if (seen)
        *x++ = v != v;
    return x;
}}
"""

FIND = """\
/* The place of a number in a rising list, n where it is not there. */
static inline int {p}_find(double number, const double *known, int n) {{
    int low = 0, high = n;
    while (low < high) {{
        const int middle = low + (high - low) / 2;
        if (known[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }}
    return low < n && known[low] == number ? low : n;
}}
"""

FOREST = """\
/* What the trees of each fold come to. A split divides a leaf: rows whose value is above its
 * threshold go to a new leaf, whose number is that of the split plus one. */
static inline void {p}_forest(const double *numbers, const int *codes, double *out) {{
    const int *leaves = {p}_leaves, *columns = {p}_columns;
    const double *thresholds = {p}_thresholds, *values = {p}_leaf_values;
    int fold, tree = 0, i, j;
    for (fold = 0; fold < {n_folds}; ++fold, out += {n_out}) {{
        const double *ranks = {p}_ranks + fold * {n_ranks};
        for (j = 0; j < {n_out}; ++j)
            out[j] = {p}_base[fold * {n_out} + j];
        for (; tree < {p}_ends[fold]; ++tree) {{
            const int n = {p}_counts[tree];
            int leaf = 0;
            for (i = 0; i < n; ++i) {{
                const int c = columns[i] - {n_numbers};
                const double v = c < 0 ? numbers[columns[i]] : ranks[
                    {p}_first_rank[c] + {p}_at(codes, {p}_of_ranks[c])];
                if (leaf == leaves[i] && v > thresholds[i])
                    leaf = i + 1;
            }}
            for (j = 0; j < {n_out}; ++j)
                out[j] += values[leaf * {n_out} + j];
            leaves += n, columns += n, thresholds += n, values += (n + 1) * {n_out};
        }}
    }}
}}
"""

SORT = """\
    for (i = 1; i < {P}_N_OUTPUTS; ++i) { /* quantiles never cross */
        const double v = out[i];
        int j = i;
        for (; j > 0 && out[j - 1] > v; --j)
            out[j] = out[j - 1];
        out[j] = v;
    }
"""

SELF_TEST = """\
/* 0 where all answers agree with fastnn's, within 1e-05 of the larger of 1 and the answer; else the
 * number of the first row that does not, from 1. */
static inline int {p}_self_test({real} *scratch) {{
    double out[{P}_N_OUTPUTS];
    int row, j;
    for (row = 0; row < {n}; ++row) {{
        {p}_predict({p}_test_numbers + row * {p_numbers}, {p}_test_codes + row * {q_codes}, out,
                    scratch);
        for (j = 0; j < {P}_N_OUTPUTS; ++j) {{
            const double right = {p}_test_out[row * {P}_N_OUTPUTS + j];
            const double size = fabs(right) > 1 ? fabs(right) : 1;
            if (!(fabs(out[j] - right) <= 1e-05 * size))
                return row + 1;
        }}
    }}
    return 0;
}}
"""


def export(model, path, prefix="model", test_rows=None, jacobian=False):
    """See `fastnn.export.c_header`, of a `TabularModel`."""
    path = check_place(path)
    if jacobian or test_rows is not None:
        raise ValueError("jacobian must be False and test_rows None for a model of tables")
    write_atomically(path, header(model, prefix, path.name).encode("ascii"))


def header(model, prefix="model", file_name="model.h"):
    """Return the header of a `TabularModel`, ASCII text."""
    check_prefix(prefix)
    if model.preparation is not None:
        raise ValueError("a C header cannot hold the steps of a pipeline before the model: export "
                         "the model that was fitted to their output")
    if not model.ensemble.parts:
        raise ValueError("a C header cannot hold a model that is constant")
    if len(model.ensemble.parts) > 1:
        raise ValueError("a C header cannot hold networks of several encodings")
    if model.reference is None:
        raise ValueError("a C header needs rows to test itself by, and the model has kept none")
    return _Writer(model, prefix, file_name).text()


class _Writer:
    """Puts the header together from its parts."""

    def __init__(self, model, prefix, file_name):
        self.model, self.p, self.P, self.file_name = model, prefix, prefix.upper(), file_name
        self.encoding, self.nets = model.ensemble.parts[0]
        self.real = "float" if self.nets[0].dtype == np.float32 else "double"
        self.names = {"p": self.p, "P": self.P, "real": self.real, "clip": f"{CLIP:.1f}",
                      "indent": " " * len(f"static inline {self.real} *{self.p}_number(")}
        self.categories = [column for column in model.schema.columns if column.kind == "category"]

    def text(self):
        parts = [self.top(), self.sizes(), self.labels()]
        scratch = []
        for i, net in enumerate(self.nets):
            text = _c.header(Predictor(net), f"{self.p}_net{i}", file_name=self.file_name)
            parts.append(text[text.index("*/\n") + 3:])
            scratch.append(f"{self.P}_NET{i}_SCRATCH")
        parts += [self.tables(), CODE.format(**self.names), NUMBER.format(**self.names)]
        if self.encoding.statistics is not None:
            parts.append(FIND.format(**self.names))
        forest = self.encoding.forest
        if forest is not None:
            parts.append(FOREST.format(
                p=self.p, n_numbers=forest.n_in, n_out=forest.n_out,
                n_folds=forest.n_numbers // forest.n_out,
                n_ranks=forest.tables["ranks"].shape[1]))
        parts += [self.encode(), self.predict(), self.decision(), self.self_test(),
                  f"#endif /* {self.P}_H */\n"]
        return "\n".join(part for part in parts if part)

    def top(self):
        p, P, schema = self.p, self.P, self.model.schema
        lines = [
            f"A model of a table, exported by fastnn {__version__}; not to be edited.", "",
            f"  task         {self.model.task.kind}",
            f"  networks     {len(self.nets)} of {'-'.join(map(str, self.nets[0].sizes))}", "",
            "Use:", "", f'  #include "{comment(self.file_name)}"',
            f"  double numbers[{P}_N_NUMBERS + 1], out[{P}_N_OUTPUTS]; // NAN where missing",
            f"  int codes[{P}_N_CATEGORIES + 1]; // codes[j] = {p}_code(j, \"text\")",
            "    // \"\" is a missing one; a text that training did not have is unknown",
            f"  {self.real} scratch[{P}_SCRATCH]; // one for each thread",
            f"  {p}_predict(numbers, codes, out, scratch);"]
        if self.model.classes is not None and self.model.task.kind != "multilabel":
            lines.append(f"  int label = {p}_class(out);")
        lines += ["", f"{p}_self_test(scratch) returns 0 where the code as compiled answers as "
                  "fastnn does.", "", "C99 or C++17. No allocation, no state, and nothing but "
                  "<math.h> (link with -lm).", ""]
        lines += [f"  numbers[{i}]  {text}" for i, text in enumerate(
            text for column in schema.columns for text in _described(column))]
        lines += [f"  codes[{i}]  {comment(name)}"
                  for i, name in enumerate(schema.category_names)]
        body = "\n".join(f" * {line}".rstrip() for line in lines)
        return f"/*\n{body}\n */\n#ifndef {P}_H\n#define {P}_H\n\n#include <math.h>\n"

    def sizes(self):
        P, schema = self.P, self.model.schema
        most = max(_scratch_of(net) for net in self.nets)
        n_in = self.encoding.n_inputs
        return (f"#define {P}_N_NUMBERS {len(schema.number_names)}\n"
                f"#define {P}_N_CATEGORIES {len(schema.category_names)}\n"
                f"#define {P}_N_OUTPUTS {self.model.task.n_out}\n"
                f"#define {P}_SCRATCH {n_in + self.model.task.n_out + most} /* {self.real}s */\n")

    def labels(self):
        classes = self.model.classes
        if classes is None or self.model.task.kind == "multilabel":
            return ""
        values = classes.tolist()
        if all(isinstance(value, str) for value in values):
            kind, words = "char *const", [string_literal(value) for value in values]
        elif all(isinstance(value, (bool, int)) and abs(int(value)) < 2**31 for value in values):
            kind, words = "int", [str(int(value)) for value in values]
        else:
            return ""
        return (f"static const {kind} {self.p}_classes[{len(values)}] = {{\n"
                f"{wrapped(words, '    ')}\n}};\n")

    def array(self, name, values, kind="double"):
        values = np.asarray(values).ravel()
        words = number_literals(values.astype(float), "") if kind == "double" else (
            [str(int(value)) for value in values])
        words = [{"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}.get(word, word)
                 for word in words] or ["0"]
        return (f"static const {kind} {self.p}_{name}[{len(words)}] = {{\n"
                f"{wrapped(words, '    ')}\n}};\n")

    def tables(self):
        e, known = self.encoding, [column.texts for column in self.categories]
        words = [string_literal(text) for one in known for text in one] or ['""']
        found = ["/* ---- what the columns become ---- */\n",
                 self.array("n_categories", [len(one.categories) for one in self.categories],
                            "int"),
                 self.array("first_text", np.cumsum([0, *map(len, known)]), "int"),
                 f"static const char *const {self.p}_texts[{len(words)}] = {{\n"
                 f"{wrapped(words, '    ')}\n}};\n",
                 self.array("code_of_text", [code for one in known for code in one.values()],
                            "int"),
                 self.array("edges", np.concatenate([np.zeros(0), *e.edges])),
                 self.array("first_edge", np.cumsum([0, *map(len, e.edges)]), "int"),
                 self.array("scales", e.scales), self.array("seen", e.seen, "int"),
                 self.array("places", np.concatenate([np.zeros(0, int), *e.maps]), "int"),
                 self.array("first_place", np.cumsum([0, *map(len, e.maps)])[:-1], "int"),
                 self.array("n_places", [int(one.max(initial=-1)) + 1 for one in e.maps], "int")]
        if e.statistics is not None:
            for i, (known, means) in enumerate(zip(e.statistics.known, e.statistics.means,
                                                   strict=True)):
                found += [self.array(f"known{i}", known),
                          self.array(f"means{i}", np.vstack([means, e.statistics.prior]))]
        if e.forest is not None:
            tables = e.forest.tables
            found += [self.array(name, tables[name], "int")
                      for name in ("ends", "counts", "leaves", "columns")]
            found += [self.array("of_ranks", tables["categories"], "int"),
                      self.array("first_rank", e.forest.first_ranks[:-1], "int")]
            found += [self.array(name, tables[name]) for name in ("ranks", "thresholds", "base")]
            found.append(self.array("leaf_values", tables["values"]))
        return "\n".join(found)

    def encode(self):
        p, e = self.p, self.encoding
        n, q = len(self.model.schema.number_names), len(self.categories)

        def number(value, place):
            return (f"x = {p}_number({value}, {p}_edges + {p}_first_edge[{place}],\n"
                    f"            {p}_first_edge[{place} + 1] - {p}_first_edge[{place}], "
                    f"{p}_scales + 4 * ({place}),\n            {p}_seen[{place}], x);")

        # where there are trees they read all numbers that stand before theirs
        all_numbers = e.forest is not None
        lines = [f"static inline void {p}_encode(const double *numbers, const int *codes, "
                 f"{self.real} *x) {{", "    int i, j;"]
        if all_numbers:
            lines += [f"    double all[{len(e.edges)}];", f"    for (j = 0; j < {n}; ++j)",
                      "        all[j] = numbers[j];"]
        lines += [f"    for (j = 0; j < {n}; ++j)", f"        {number('numbers[j]', 'j')}"]
        if e.statistics is not None:
            k = len(e.statistics.prior)
            for i, key in enumerate(e.statistics.keys):
                value = f"{p}_at(codes, {key[0]})"
                if len(key) > 1:
                    value = (f"(double){value} * {e.statistics.sizes[key[1]]} + "
                             f"{p}_at(codes, {key[1]})")
                lines += [f"    i = {p}_find({value}, {p}_known{i}, "
                          f"{len(e.statistics.known[i])});"]
                for j in range(k):
                    mean, place = f"{p}_means{i}[i * {k} + {j}]", n + i * k + j
                    lines += [f"    all[{place}] = {mean};"] if all_numbers else []
                    lines += [f"    {number(mean, place)}"]
        if all_numbers:
            first = e.forest.n_in
            lines += [f"    {p}_forest(all, codes, all + {first});",
                      f"    for (j = {first}; j < {len(e.edges)}; ++j)",
                      f"        {number('all[j]', 'j')}"]
        lines += [f"    for (j = 0; j < {q}; ++j) {{",
                  f"        const int place = {p}_places[{p}_first_place[j] + {p}_at(codes, j)];",
                  f"        for (i = 0; i < {p}_n_places[j]; ++i)",
                  "            *x++ = i == place;", "    }", "    (void)numbers;",
                  "    (void)codes;", "    (void)i;", "}", ""]
        return "\n".join(lines)

    def predict(self):
        p, P, task = self.p, self.P, self.model.task
        n_in = self.encoding.n_inputs
        lines = [f"/* The outputs of one row; arrays are the caller's: {P}_N_NUMBERS, "
                 f"{P}_N_CATEGORIES,", f" * {P}_N_OUTPUTS and {P}_SCRATCH long. */",
                 f"static inline void {p}_predict(const double *numbers, const int *codes, "
                 "double *out,",
                 " " * len(f"static inline void {p}_predict(") + f"{self.real} *scratch) {{",
                 f"    {self.real} *one = scratch + {n_in};", "    int i;",
                 f"    {p}_encode(numbers, codes, scratch);",
                 f"    for (i = 0; i < {P}_N_OUTPUTS; ++i)", "        out[i] = 0;"]
        for k in range(len(self.nets)):
            weight = float(self.model.ensemble.weights[k]).hex()
            lines += [f"    {p}_net{k}_predict(scratch, one, one + {P}_N_OUTPUTS);",
                      f"    for (i = 0; i < {P}_N_OUTPUTS; ++i)",
                      f"        out[i] += {weight} * (double)one[i];"]
        if task.kind == "regression":
            for i, (scale, center) in enumerate(zip(np.broadcast_to(task.scale, task.n_out),
                                                    np.broadcast_to(task.center, task.n_out),
                                                    strict=True)):
                lines.append(f"    out[{i}] = out[{i}] * {float(scale).hex()} + "
                             f"{float(center).hex()};")
            if len(task.levels) > 1:
                lines.append(SORT.replace("{P}", P).rstrip())
        return "\n".join([*lines, "}", ""])

    def decision(self):
        p, P, classes = self.p, self.P, self.model.classes
        if classes is None or self.model.task.kind == "multilabel":
            return ""
        head = f"/* Number of the class of the outputs of a row. */\n" \
               f"static inline int {p}_class(const double *out) {{\n"
        if self.model.task.kind == "binary":
            return head + "    return out[0] > 0.5;\n}\n"
        return head + ("    int i, best = 0;\n"
                       f"    for (i = 1; i < {P}_N_OUTPUTS; ++i)\n"
                       "        if (out[i] > out[best])\n            best = i;\n"
                       "    return best;\n}\n")

    def self_test(self):
        inputs = self.model.reference.inputs[:N_TEST_ROWS]
        outputs = self.model.ensemble.outputs(inputs)
        if self.model.task.kind == "regression":
            outputs = self.model.task.predictions(outputs)
        return "\n".join([
            "/* ---- self-test: rows and what fastnn answers to them ---- */\n",
            self.array("test_numbers", inputs.numbers),
            self.array("test_codes", inputs.codes, "int"), self.array("test_out", outputs),
            SELF_TEST.format(n=len(inputs), p_numbers=inputs.numbers.shape[1],
                             q_codes=inputs.codes.shape[1], **self.names)])


def _described(column):
    """Yield what stands in a comment of each number of a column."""
    for i, name in enumerate(column.number_names):
        meaning = MEANINGS.get(column.parts[i - 1] if i else column.kind)
        yield comment(name) + (f": {meaning}" if meaning else "")


def _scratch_of(net):
    return _c._Writer(Predictor(net), "x", "x.h").scratch
