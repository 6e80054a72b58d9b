"""The columns of a table among the inputs of its schema."""

from typing import NamedTuple

import numpy as np

__all__ = ["Group", "groups_of", "replaced"]


class Group(NamedTuple):
    """What one column of a table became.

    Attributes
    ----------
    name : str
    numbers, codes : list of int
        Columns of ``Inputs.numbers`` and ``Inputs.codes``.
    """

    name: str
    numbers: list
    codes: list

    @property
    def is_empty(self):
        """Whether the schema leaves the column out."""
        return not self.numbers and not self.codes


def groups_of(schema):
    """Return a `Group` for each column of the table that a schema has learned from, in order."""
    names = list(schema.names)
    groups = {name: Group(name, [], []) for name in names}
    for i, name in enumerate(schema.number_sources):
        groups[name].numbers.append(i)
    for i, name in enumerate(schema.category_sources):
        groups[name].codes.append(i)
    return [groups[name] for name in names]


def replaced(inputs, group, others):
    """Return rows whose columns of a group are those of other rows."""
    numbers, codes = inputs.numbers, inputs.codes
    if group.numbers:
        numbers = numbers.copy()
        numbers[:, group.numbers] = others.numbers[:, group.numbers]
    if group.codes:
        codes = codes.copy()
        codes[:, group.codes] = others.codes[:, group.codes]
    return type(inputs)(np.asarray(numbers), np.asarray(codes))
