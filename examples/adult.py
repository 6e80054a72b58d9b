"""Adult census income in a scikit-learn Pipeline: at least 85 % right on held-out rows.

    python examples/adult.py
    python examples/adult.py --compare --threads 1 --rounds 3   # beside scikit-learn

The data is `adult.csv.gz`: 6 numeric columns, 8 columns of categories, the target `income`.
`fnlwgt` says how many people a row of the census sample stands for, not who the person is: it is
left out. The numeric columns go in standardised and once more cut into bins: capital gains, for
one, are 0 for most and decisive where they are not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from _common import parse_arguments, print_table, race
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    StandardScaler,
)

from fastnn import MLPClassifier

TARGET = "income"
# numeric columns and into how many bins each is cut (education_num has but 16 values)
BINS = {
    "age": 32,
    "education_num": 16,
    "capital_gain": 32,
    "capital_loss": 32,
    "hours_per_week": 32,
}


def make_model(network) -> Pipeline:
    """The whole pipeline around `network`."""
    numeric = list(BINS)
    categories = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer(
        (StandardScaler(), numeric),
        (KBinsDiscretizer(list(BINS.values()), strategy="kmeans", random_state=0), numeric),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20), categories),
        sparse_threshold=0,
    )
    single = FunctionTransformer(np.asarray, kw_args={"dtype": np.float32})
    return make_pipeline(columns, single, network)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "adult.csv.gz", epochs=40)
    X = pd.read_csv(arguments.data).drop(columns="fnlwgt")
    y = X.pop(TARGET)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

    parameters = {
        "hidden_layer_sizes": (64,),
        "batch_size": 128,
        "early_stopping": True,
        "n_iter_no_change": 5,
        "max_iter": arguments.epochs,
        "random_state": arguments.seed,
    }
    network = MLPClassifier(**parameters, n_threads=arguments.threads)
    contestants = {"fastnn": lambda: make_model(network).fit(X_train, y_train)}
    if arguments.compare:
        from sklearn.neural_network import MLPClassifier as ScikitLearnMLP

        peer = ScikitLearnMLP(**parameters)
        contestants["scikit-learn"] = lambda: make_model(peer).fit(X_train, y_train)
    fitted, seconds = race(contestants, rounds=arguments.rounds, threads=arguments.threads)

    print(f"adult: {len(X_train)} training and {len(X_test)} test rows; the pipeline is timed")
    scores = {name: model.score(X_test, y_test) for name, model in fitted.items()}
    print_table("test accuracy", scores, seconds, "scikit-learn")


if __name__ == "__main__":
    main()
