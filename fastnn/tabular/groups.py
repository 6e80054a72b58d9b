"""The columns of a table among the inputs of its schema."""

from typing import NamedTuple

import numpy as np

__all__ = ["Group", "groups_of", "joined", "replaced"]


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


def groups_of(schema, names):
    """Return a `Group` for each column of the table that a schema has learned from, in order.

    Parameters
    ----------
    schema : Schema
    names : sequence of str
        Of all columns; the schema may have left some of them out.
    """
    groups = {name: Group(name, [], []) for name in names}
    place = code = 0
    for column in schema.columns:
        if column.kind == "category":
            groups[column.name].codes.append(code)
            code += 1
            continue
        for _ in column.number_names:
            groups[column.name].numbers.append(place)
            place += 1
    return [groups[name] for name in names]


def joined(groups, origins, names):
    """Return a `Group` for each of other columns, of which those of groups were made.

    Parameters
    ----------
    groups : list of Group
    origins : list of int
        The number of the column that each of them was made of.
    names : sequence of str
        Of these columns.
    """
    found = [Group(name, [], []) for name in names]
    for group, origin in zip(groups, origins, strict=True):
        found[origin].numbers.extend(group.numbers)
        found[origin].codes.extend(group.codes)
    return found


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
