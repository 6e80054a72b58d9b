"""How well fastnn's presets predict tables, beside what is installed of other libraries.

    python benchmarks/tabular.py FOLDER                    # every *.csv, *.csv.gz: a table each
    python benchmarks/tabular.py FOLDER --models default,fast,lightgbm,catboost --splits 0,1,2
    python benchmarks/tabular.py FOLDER --only ames,bike --markdown > table.md

The target is the last column, or the one named ``target``. Text is a category, an empty field is
missing. A target of text, or of at most 20 different whole numbers, is one of classes; `--numbers`
names tables whose target is a number all the same. Where there is a column ``exposure``, the target
is a count: the rate is predicted, weighted by exposure.

Split s is ``train_test_split(test_size=0.2, random_state=s)``. Losses, of the test rows: log loss
with probabilities of at least 1e-7; RMSE in standard deviations of the target of training; mean
Poisson deviance. Seconds are CPU seconds of the fit, all preparation included. Each result is
appended to ``--results`` as soon as it is there, and what is in that file is not run again.
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = {
    "fast": "fastnn", "default": "fastnn", "best": "fastnn", "linear": "sklearn",
    "mlp": "sklearn", "histgb": "sklearn", "lightgbm": "lightgbm", "lightgbm_es": "lightgbm",
    "xgboost": "xgboost", "catboost": "catboost", "realmlp": "pytabkit", "tabm": "pytabkit"}
USUAL = "default,fast,lightgbm,lightgbm_es,catboost,linear"


@dataclass
class Task:
    """A table, split."""

    name: str
    kind: str  # "classes", "numbers" or "rates"
    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    train: np.ndarray
    test: np.ndarray

    @property
    def categories(self):
        """Names of the columns of text."""
        return [name for name in self.X if not np.issubdtype(self.X[name].dtype, np.number)]

    def part(self, rows):
        """X, y and weight of rows."""
        return self.X.iloc[rows], self.y[rows], None if self.weight is None else self.weight[rows]


def read(path, split, numbers=()):
    """Return the `Task` of a file; of tables named in ``numbers`` the target is no class."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    frame, name = pd.read_csv(path), path.name.removesuffix(".gz").removesuffix(".csv")
    target = "target" if "target" in frame else frame.columns[-1]
    y, X, weight = frame[target], frame.drop(columns=target), None
    train, test = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=split)
    for column in X:
        if not pd.api.types.is_numeric_dtype(X[column]) or X[column].dtype == bool:
            X[column] = X[column].astype(object).where(X[column].notna(), None)
    whole = pd.api.types.is_numeric_dtype(y) and (y == y.round()).all()
    if "exposure" in X and whole:
        weight = X.pop("exposure").to_numpy(float)
        kind, y = "rates", y.to_numpy(float) / weight
    elif not pd.api.types.is_numeric_dtype(y) or (
            whole and y.nunique() <= 20 and name not in numbers):
        kind, y = "classes", np.unique(y.astype(str), return_inverse=True)[1]
    else:
        y = y.to_numpy(float)
        kind, y = "numbers", (y - y[train].mean()) / y[train].std()
    return Task(name, kind, X, y, weight, train, test)


def loss(task, predicted):
    """Return the loss of the rows of the test."""
    _, y, weight = task.part(task.test)
    if task.kind == "classes":
        p = np.clip(predicted, 1e-7, 1 - 1e-7)
        return float(-np.log((p / p.sum(1, keepdims=True))[np.arange(len(y)), y]).mean())
    predicted = np.asarray(predicted, float).reshape(-1)
    if task.kind == "numbers":
        return float(np.sqrt(np.mean((predicted - y) ** 2)))
    predicted = np.maximum(predicted, 1e-9)
    deviance = 2 * (y * np.log(np.where(y > 0, y, 1) / predicted) - y + predicted)
    return float(np.average(deviance, weights=weight))


# ---- models: from a task and a number of threads to what fits, and predicts the test ----


def _fastnn(preset):
    def run(task, threads):
        import fastnn

        settings = {"preset": preset, "random_state": 0, "n_threads": threads}
        if task.kind == "classes":
            model = fastnn.TabularClassifier(**settings)
        else:
            kind = "poisson" if task.kind == "rates" else "squared_error"
            model = fastnn.TabularRegressor(loss=kind, **settings)
        X, y, weight = task.part(task.train)
        return _of(model, lambda: model.fit(X, y, weight), task)
    return run


def _of(model, fit, task, X=None):
    """Return the function that fits, and the one that predicts the rows of the test."""
    test = (task.X if X is None else X).iloc[task.test]

    def probabilities():
        # a class of few rows may be in the test alone
        found = np.zeros((len(test), task.y.max() + 1))
        found[:, np.asarray(model.classes_, int)] = model.predict_proba(test)
        return found
    return fit, probabilities if task.kind == "classes" else lambda: model.predict(test)


def _prepared(task, estimator):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in task.X if name not in task.categories]
    X = task.X.copy()
    for name in task.categories:
        X[name] = X[name].where(X[name].notna(), "(missing)").astype(str)
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True),
                                  StandardScaler()), numbers),
        ("categories", OneHotEncoder(handle_unknown="ignore"), task.categories)])
    model = make_pipeline(columns, estimator)
    _, y, weight = task.part(task.train)
    own = {} if weight is None else {f"{model.steps[-1][0]}__sample_weight": weight}
    return _of(model, lambda: model.fit(X.iloc[task.train], y, **own), task, X)


def _linear(task, threads):
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    return _prepared(task, {"classes": LogisticRegression(max_iter=1000), "numbers": Ridge(),
                            "rates": PoissonRegressor(alpha=1e-4)}[task.kind])


def _mlp(task, threads):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if task.kind == "classes":
        return _prepared(task, MLPClassifier(early_stopping=True, random_state=0))
    own = {"loss": "poisson"} if task.kind == "rates" else {}
    return _prepared(task, MLPRegressor(early_stopping=True, random_state=0, **own))


def _histgb(task, threads):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    X = _categorical(task, most=250)
    if task.kind == "classes":
        model = HistGradientBoostingClassifier(random_state=0, categorical_features="from_dtype")
    else:
        model = HistGradientBoostingRegressor(
            loss="poisson" if task.kind == "rates" else "squared_error", random_state=0,
            categorical_features="from_dtype")
    _, y, weight = task.part(task.train)
    return _of(model, lambda: model.fit(X.iloc[task.train], y, weight), task, X)


def _categorical(task, most=None):
    X = task.X.copy()
    for name in task.categories:
        column = X[name]
        if most is not None:
            kept = column.value_counts().index[:most]
            column = column.where(column.isna() | column.isin(kept), "(other)")
        X[name] = column.astype("category")
    return X


def _lightgbm(early):
    def run(task, threads):
        import lightgbm
        from sklearn.model_selection import train_test_split

        X, settings = _categorical(task), {"n_jobs": threads, "verbose": -1}
        if early:
            settings |= {"n_estimators": 2000, "learning_rate": 0.05}
        if task.kind == "rates":
            settings["objective"] = "poisson"
        kind = lightgbm.LGBMClassifier if task.kind == "classes" else lightgbm.LGBMRegressor
        model = kind(**settings)

        def weights(rows):
            return None if task.weight is None else task.weight[rows]

        def fit():
            if not early:
                model.fit(X.iloc[task.train], task.y[task.train], weights(task.train))
                return
            rows, held = train_test_split(task.train, test_size=0.15, random_state=0)
            model.fit(X.iloc[rows], task.y[rows], weights(rows),
                      eval_set=[(X.iloc[held], task.y[held])],
                      eval_sample_weight=None if task.weight is None else [weights(held)],
                      callbacks=[lightgbm.early_stopping(50, verbose=False)])
        return _of(model, fit, task, X)
    return run


def _xgboost(task, threads):
    import xgboost

    X, settings = _categorical(task), {"n_jobs": threads, "enable_categorical": True}
    if task.kind == "rates":
        settings["objective"] = "count:poisson"
    kind = xgboost.XGBClassifier if task.kind == "classes" else xgboost.XGBRegressor
    model = kind(**settings)
    _, y, weight = task.part(task.train)
    return _of(model, lambda: model.fit(X.iloc[task.train], y, sample_weight=weight), task, X)


def _catboost(task, threads):
    import catboost

    X = task.X.copy()
    for name in task.categories:
        X[name] = X[name].where(X[name].notna(), "(missing)").astype(str)
    settings = {"thread_count": threads, "verbose": False, "allow_writing_files": False,
                "cat_features": task.categories}
    _, y, weight = task.part(task.train)

    def fit():
        model.fit(X.iloc[task.train], y, sample_weight=weight)
    if task.kind == "rates":
        model = catboost.CatBoostRegressor(loss_function="Poisson", **settings)
        return fit, lambda: model.predict(X.iloc[task.test], prediction_type="Exponent")
    model = (catboost.CatBoostClassifier if task.kind == "classes" else
             catboost.CatBoostRegressor)(**settings)
    return _of(model, fit, task, X)


def _pytabkit(name):
    def run(task, threads):
        import pytabkit

        if task.kind == "rates":
            raise ValueError("it has no Poisson loss with weights")
        kind = "Classifier" if task.kind == "classes" else "Regressor"
        model = getattr(pytabkit, f"{name}_{kind}")(device="cpu", n_threads=threads)
        X, y, _ = task.part(task.train)
        own = {"cat_col_names": task.categories} if task.categories else {}
        return _of(model, lambda: model.fit(X, y, **own), task)
    return run


MODELS = {
    "fast": _fastnn("fast"), "default": _fastnn("default"), "best": _fastnn("best"),
    "linear": _linear, "mlp": _mlp, "histgb": _histgb, "lightgbm": _lightgbm(False),
    "lightgbm_es": _lightgbm(True), "xgboost": _xgboost, "catboost": _catboost,
    "realmlp": _pytabkit("RealMLP_TD"), "tabm": _pytabkit("TabM_D")}


def run(model, task, threads):
    """Return loss and seconds of a model."""
    fit, predict = MODELS[model](task, threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, wall = time.process_time(), time.perf_counter()
        fit()
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
        return {"loss": loss(task, predict()), "seconds": seconds, "wall": wall}


# ---- the table ----


def rows_of(results, models):
    """Return rows for each (table, split): its name and the losses and seconds of the models."""
    found = {}
    for one in results:
        if one["model"] in models and "loss" in one:
            found.setdefault((one["table"], one["split"]), {})[one["model"]] = one
    return found


def summary(found, models):
    """Return lines: mean rank, shares of tables won, and median seconds."""
    whole = {key: row for key, row in found.items() if all(name in row for name in models)}
    lines = [f"{len(whole)} tables and splits that all models have come through:"]
    ranks = {name: [] for name in models}
    for row in whole.values():
        losses = np.array([row[name]["loss"] for name in models])
        for name, own in zip(models, losses, strict=True):
            ranks[name].append(1 + (losses < own).sum() + ((losses == own).sum() - 1) / 2)
    ours = [name for name in models if LIBRARIES[name] == "fastnn"]
    for name in sorted(models, key=lambda name: np.mean(ranks[name] or [0])):
        rows = [row for row in found.values() if name in row]
        line = (f"  {name:12} mean rank {np.mean(ranks[name] or [np.nan]):5.2f}, median "
                f"{np.median([row[name]['seconds'] for row in rows] or [np.nan]):7.2f} s")
        for own in ours:
            both = [row for row in rows if own in row]
            if own != name and both:
                better = sum(row[own]["loss"] < row[name]["loss"] for row in both)
                line += f"; {own} is better on {better} of {len(both)}"
        lines.append(line)
    return lines


def table(found, models, markdown):
    """Return lines: a row for each table and split, the least loss marked."""
    widths = [22] + [17] * len(models)
    lines = [["table, split", *models]]
    for (name, split), row in found.items():
        best = min((one["loss"] for one in row.values()), default=None)
        cells = [f"{name}, {split}"]
        for model in models:
            one = row.get(model)
            text = "-" if one is None else f"{one['loss']:.4f}, {one['seconds']:.1f} s"
            mark = "**" if markdown else "*"
            cells.append(mark + text + mark * markdown if one and one["loss"] == best else text)
        lines.append(cells)
    if markdown:
        lines.insert(1, ["---"] * len(widths))
        return ["| " + " | ".join(cells) + " |" for cells in lines]
    return ["".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
            for cells in lines]


def main():
    """Run what is not in the results yet, and print the table."""
    from arguments import at_least, folder, positive, several

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=folder)
    parser.add_argument("--models", default=USUAL, help=f"of {', '.join(MODELS)}")
    parser.add_argument("--splits", type=several(at_least(int, 0)), default="0")
    parser.add_argument("--only", help="names of tables")
    parser.add_argument("--numbers", default="", help="names of tables whose target is a number, "
                        "though it has few different values, all whole")
    parser.add_argument("--threads", type=positive(int), default=1)
    parser.add_argument("--results", type=Path, default=Path("tabular_results.jsonl"))
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    models = []
    for name in args.models.split(","):
        if name not in MODELS:
            parser.error(f"--models: {name!r} must be one of {', '.join(MODELS)}")
        if find_spec(LIBRARIES[name]) is None:
            print(f"{name}: {LIBRARIES[name]} is not installed")
        else:
            models.append(name)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    results = []
    if args.results.exists():
        results = [json.loads(line) for line in args.results.read_text().splitlines()]
    done = {(one["table"], one["split"], one["model"], one["threads"]) for one in results}
    paths = sorted((*args.folder.glob("*.csv"), *args.folder.glob("*.csv.gz")),
                   key=lambda path: path.stat().st_size)
    only = None if args.only is None else args.only.split(",")
    for split in args.splits:
        for path in paths:
            name = path.name.removesuffix(".gz").removesuffix(".csv")
            left = [model for model in models if (name, split, model, args.threads) not in done]
            if not left or only is not None and name not in only:
                continue
            task = read(path, split, args.numbers.split(","))
            for model in left:
                one = {"table": name, "split": split, "model": model, "threads": args.threads}
                try:
                    one |= run(model, task, args.threads)
                except Exception as error:  # of another library: the others go on
                    one["error"] = f"{type(error).__name__}: {error}"
                results.append(one)
                with args.results.open("a") as file:
                    file.write(json.dumps(one) + "\n")
                if not args.markdown:
                    said = one.get("error") or f"{one['loss']:.4f}, {one['seconds']:.1f} s"
                    print(f"{name}, split {split}, {model}: {said}", flush=True)
    found = rows_of([one for one in results if one["threads"] == args.threads], models)
    if only is not None:
        found = {key: row for key, row in found.items() if key[0] in only}
    print("\n".join(table(found, models, args.markdown)))
    print("\n" + "\n".join(summary(found, models)))


if __name__ == "__main__":
    main()
