"""fastnn beside scikit-learn's own MLP on scikit-learn's bundled digits (`make demo`).

Same data, same parameters, same random_state: the same network is trained, so the accuracies agree.
"""

from __future__ import annotations

from _common import parse_arguments, print_table, race
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as ScikitLearnMLP

from fastnn import MLPClassifier


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], None, epochs=100)
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.25, random_state=0)
    parameters = {"random_state": arguments.seed, "max_iter": arguments.epochs}
    threads = {"n_threads": arguments.threads}
    contestants = {
        "scikit-learn": lambda: ScikitLearnMLP(**parameters).fit(X_train, y_train),
        "fastnn": lambda: MLPClassifier(**parameters, **threads).fit(X_train, y_train),
        "fastnn, float32": lambda: MLPClassifier(**parameters, **threads, dtype="float32").fit(
            X_train, y_train
        ),
    }
    fitted, seconds = race(contestants, rounds=max(3, arguments.rounds), threads=arguments.threads)

    rows, columns = X_train.shape
    print(f"digits: {rows} rows, {columns} pixels, one hidden layer of 100 units, Adam")
    scores = {name: model.score(X_test, y_test) for name, model in fitted.items()}
    print_table("test accuracy", scores, seconds, "scikit-learn")
    same = (fitted["scikit-learn"].predict(X_test) == fitted["fastnn"].predict(X_test)).sum()
    print(f"the first two predict the same class for {same} of {len(y_test)} test images")


if __name__ == "__main__":
    main()
