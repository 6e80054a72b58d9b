"""The kinds of operations that a network is lowered to, see network/lowering.py."""

cdef enum OpKind:
    DENSE
    LAYER_NORM
    COPY
    ADD
    PYTHON
    BATCH_NORM
    SCALE
    PRELU
    REPEAT
    HEADS
    EMBED
    GLU


cdef inline OpKind op_kind(name) except *:
    """The kind of that name; ValueError where there is none."""
    cdef int number = ("dense", "layer_norm", "copy", "add", "python", "batch_norm", "scale",
                       "prelu", "repeat", "heads", "embed", "glu").index(name)
    return <OpKind>number
