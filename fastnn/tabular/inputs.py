"""A stand-in until `fastnn.tables` has its schema."""

import numpy as np


class Inputs:
    def __init__(self, numbers, codes, notes=()):
        self.numbers, self.codes, self.notes = numbers, codes, list(notes)

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, rows):
        return Inputs(self.numbers[rows], self.codes[rows], self.notes)


def _columns(X):
    if isinstance(X, dict):
        return {name: np.asarray(column) for name, column in X.items()}
    if hasattr(X, "columns"):
        return {name: np.asarray(X[name]) for name in X.columns}
    if isinstance(X, list) and X and isinstance(X[0], dict):
        return {name: np.array([row.get(name) for row in X], object) for name in X[0]}
    X = np.asarray(X)
    if X.dtype == object:
        def column(x):
            try:
                return x.astype(float)
            except (TypeError, ValueError):
                return x
        return {f"x{j}": column(x) for j, x in enumerate(X.T)}
    return {f"x{j}": column for j, column in enumerate(X.T)}


def _missing(value):
    return value is None or value != value


class Schema:
    def __init__(self, number_names, categories):
        self.number_names, self.categories = tuple(number_names), categories
        self.category_names = tuple(categories)
        self.category_sizes = tuple(len(one) for one in categories.values())
        self.notes = []
        self.names = (*self.number_names, *self.category_names)
        self.number_sources, self.category_sources = self.number_names, self.category_names

    @classmethod
    def learn(cls, table, *, categorical_features="auto"):
        numbers, categories = [], {}
        for name, column in _columns(table).items():
            if column.dtype.kind in "iufb":
                numbers.append(name)
            else:
                levels = sorted({str(v) for v in column.tolist() if not _missing(v)})
                categories[name] = {level: i for i, level in enumerate(levels)}
        return cls(numbers, categories)

    def apply(self, table, strict=False):
        columns = _columns(table)
        n = len(next(iter(columns.values())))
        numbers = np.empty((n, len(self.number_names)))
        codes = np.empty((n, len(self.categories)), np.int32)
        for j, name in enumerate(self.number_names):
            if name not in columns:
                raise ValueError(f"X has no column {name!r}")
            numbers[:, j] = columns[name].astype(float)
        for j, (name, known) in enumerate(self.categories.items()):
            k = len(known)
            codes[:, j] = [k + 1 if _missing(v) else known.get(str(v), k)
                           for v in columns[name].tolist()]
        return Inputs(numbers, codes)

    def settings(self):
        return {"names": list(self.number_names), "categories": self.categories}

    @classmethod
    def from_settings(cls, plain):
        return cls(plain["names"], plain["categories"])
