"""California housing in a scikit-learn Pipeline: R2 of at least 0.78 on held-out rows.

    python examples/housing.py
    python examples/housing.py --compare --threads 1 --rounds 3   # beside scikit-learn

The data is `housing.csv.gz`: 8 numeric columns, one of them with gaps, one column of categories,
and the target `median_house_value`. Every numeric column goes in twice: standardised, and as a
piecewise linear encoding (a spline of degree 1 between 16 quantiles), which lets a small network
bend sharply where the data is dense and is worth about 0.02 of R2 here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from _common import parse_arguments, print_table, race
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)

from fastnn import MLPRegressor

TARGET = "median_house_value"


def make_model(network) -> TransformedTargetRegressor:
    """The whole pipeline around `network`; the target is standardised as well."""
    numeric = make_column_selector(dtype_include="number")
    categories = make_column_selector(dtype_exclude="number")
    fill = SimpleImputer(strategy="median")
    bends = SplineTransformer(16, degree=1, knots="quantile", extrapolation="constant")
    columns = make_column_transformer(
        (make_pipeline(fill, StandardScaler()), numeric),
        (make_pipeline(fill, bends), numeric),
        (OneHotEncoder(handle_unknown="ignore"), categories),
        sparse_threshold=0,
    )
    single = FunctionTransformer(np.asarray, kw_args={"dtype": np.float32})
    return TransformedTargetRegressor(
        make_pipeline(columns, single, network), transformer=StandardScaler()
    )


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "housing.csv.gz", epochs=100)
    X = pd.read_csv(arguments.data)
    y = X.pop(TARGET)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

    parameters = {
        "hidden_layer_sizes": (64, 64),
        "batch_size": 128,
        "early_stopping": True,
        "max_iter": arguments.epochs,
        "random_state": arguments.seed,
    }
    network = MLPRegressor(**parameters, n_threads=arguments.threads)
    contestants = {"fastnn": lambda: make_model(network).fit(X_train, y_train)}
    if arguments.compare:
        from sklearn.neural_network import MLPRegressor as ScikitLearnMLP

        peer = ScikitLearnMLP(**parameters)
        contestants["scikit-learn"] = lambda: make_model(peer).fit(X_train, y_train)
    fitted, seconds = race(contestants, rounds=arguments.rounds, threads=arguments.threads)

    print(f"housing: {len(X_train)} training and {len(X_test)} test rows; the pipeline is timed")
    scores = {name: model.score(X_test, y_test) for name, model in fitted.items()}
    print_table("test R2", scores, seconds, "scikit-learn")


if __name__ == "__main__":
    main()
