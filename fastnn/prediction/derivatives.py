"""Which networks have derivatives with respect to their inputs, and who computes them."""

from fastnn.prediction._derivatives import Derivatives

__all__ = ["derivatives_of", "refuse"]

# of operations whose derivative is known
KINDS = ("dense", "layer_norm", "batch_norm", "scale", "prelu", "copy", "add", "python", "repeat",
         "heads", "embed", "glu")


def derivatives_of(layout, logits):
    """Return the `Derivatives` of a layout; they are made once and kept by it.

    Parameters
    ----------
    layout : ParameterLayout
    logits : bool
        Whether the output's activation is left out.

    Raises
    ------
    ValueError
        When a layer has none.
    """
    key = "derivatives of logits" if logits else "derivatives"
    found = layout.made.get(key)
    if found is None:
        refuse(layout, logits)
        found = layout.made[key] = Derivatives(layout)
    return found


def refuse(layout, logits):
    """Raise ValueError where a layer has no derivative, or none that is known here."""
    ops = layout.ops
    for op in (*ops[:-1], ops[-1]._replace(activation="identity") if logits else ops[-1]):
        if "step" in (op.activation, op.gate):
            raise ValueError("activation 'step' has no derivative but 0, and none where it jumps: "
                             "give a network with 'sigmoid' in its place the same weights "
                             "(set_weights), or, where it is the output, take logits=True")
        if op.kind not in KINDS:
            raise ValueError(f"derivatives of a layer of kind {op.kind!r} are not known: fastnn "
                             f"has those of {', '.join(KINDS)}")
