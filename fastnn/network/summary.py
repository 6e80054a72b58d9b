"""What a network consists of, as a table: layers, outputs, numbers of parameters."""

from fastnn.core.imports import imported
from fastnn.network.layers import GLU, N_PARAMETERS, Activation, Dense, Embed, Residual

__all__ = ["Summary"]

HEADER = ("layer", "what", "outputs", "parameters")
SHOWN = 60  # layers in HTML; the text has all


class Summary:
    """The layers of a network, printable; in a notebook a drawing and a table.

    Parameters
    ----------
    layout : ParameterLayout
    frozen : sequence of int, default=()
        Numbers of layers that training leaves as they are.

    Attributes
    ----------
    rows : list of (number, what, outputs, parameters)
        The number is that in the names of parameters (``layers.0.weight``), None for a layer
        without any; layers in a `Residual` are indented.
    n_parameters : int
    n_trainable : int
        Without those of frozen layers, and without running averages.
    """

    def __init__(self, layout, frozen=()):
        self.spec, self.frozen = layout.spec, tuple(frozen)
        counts = [0] * layout.n_layers
        self.n_trainable = 0
        for block in layout.blocks:
            counts[block.layer] += block.size
            if block.trainable and block.layer not in self.frozen:
                self.n_trainable += block.size
        self.n_parameters = sum(counts)
        self._counts, self._number, self._width = counts, 0, self.spec.n_in
        self.rows = [(None, "input", self.spec.n_in, 0)]
        self._add(self.spec.layers, "")
        if self.spec.output != "identity":
            self.rows.append((None, f"output {self.spec.output}", self.spec.n_out, 0))

    def _add(self, layers, indent):
        for layer in layers:
            self._width = layer._width(self._width)
            number, size = None, 0
            if layer.kind in N_PARAMETERS:
                number, size = self._number, self._counts[self._number]
                self._number += 1
            self.rows.append((number, indent + _described(layer, number in self.frozen),
                              self._width, size))
            if isinstance(layer, Residual):
                self._add(layer.layers, indent + "  ")

    def _name(self):
        return f"MLP {self.spec} {self.spec.dtype}"

    def __str__(self):
        rows = [HEADER, *(("" if number is None else str(number), what, f"{outputs:,}",
                           f"{size:,}" if size else "")
                          for number, what, outputs, size in self.rows),
                ("", "all", "", f"{self.n_parameters:,}")]
        if self.n_trainable < self.n_parameters:
            rows.append(("", "of which are trained", "", f"{self.n_trainable:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [f"{row[0]:>{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  "
                 f"{row[3]:>{widths[3]}}".rstrip() for row in rows]
        return "\n".join([self._name(), *lines])

    __repr__ = __str__

    def _repr_html_(self):
        """Return a drawing and a table, for notebooks."""
        return self.to_html(self._name())

    def to_html(self, title):
        """Return the same under a title."""
        drawing = imported("fastnn.drawing")
        rows = [["" if number is None else number, what.replace("  ", "\u2003"), outputs,
                 size or ""] for number, what, outputs, size in self.rows]
        if len(rows) > SHOWN:
            rows[SHOWN - 1:-1] = [["", f"… {len(rows) - SHOWN:,} more", "", ""]]
        last = ["", "all", "", self.n_parameters]
        if self.n_trainable < self.n_parameters:
            last = ["", f"all; {self.n_trainable:,} are trained", "", self.n_parameters]
        return drawing.page(title, self.drawing(), drawing.table(HEADER, rows, last))

    def drawing(self):
        """Return the SVG of the layers."""
        drawing = imported("fastnn.drawing")
        spec = self.spec
        names = [getattr(name, "name", name) for name in (*spec.activations, spec.output)]
        return drawing.network(spec.sizes, ["input", *names])


def _described(layer, frozen):
    """Return a layer as its user writes it."""
    if isinstance(layer, Residual):
        text = "Residual"
    elif isinstance(layer, Dense):
        activation = layer.activation
        text = f"Dense({layer.units})" if activation == "identity" else (
            f"Dense({layer.units}, {getattr(activation, 'name', activation)!r})")
    elif isinstance(layer, GLU):
        text = f"GLU({layer.activation!r})"
    elif isinstance(layer, Embed):
        text = f"Embed({layer.units}) of {len(layer.counts):,} columns"
    elif isinstance(layer, Activation):
        text = f"Activation({getattr(layer.name, 'name', layer.name)!r})"
    else:
        text = repr(layer)
    return text + ", frozen" * frozen
