"""Settings of a table in which one thing is something else."""

from hypothesis import strategies as st


def spoilt(data, plain, junk, keys):
    """Return plain settings with junk somewhere: in the place of all, of one of the keys, of a
    column, of an entry of a column, or as one more entry.

    Parameters
    ----------
    data : hypothesis.strategies.DataObject
    plain : dict
        Good settings with a list ``columns``; changed in place.
    junk : object
    keys : list of str
        Of ``plain``.
    """
    where = data.draw(st.sampled_from(["all", *keys, "column", "entry", "extra"]))
    if where == "all":
        return junk
    if where in plain:
        plain[where] = junk
        return plain
    column = plain["columns"][data.draw(st.integers(0, len(plain["columns"]) - 1))]
    if where == "entry":
        column[data.draw(st.sampled_from(sorted(column)))] = junk
    elif where == "extra":
        column[data.draw(st.text(max_size=5))] = junk
    else:
        plain["columns"][0] = junk
    return plain
