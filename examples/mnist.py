"""MNIST with a 784-256-128-10 network: at least 97.5 % right on the test images after 10 epochs.

GELU units, and a learning rate that falls to zero over the second half. scikit-learn has neither:
with --compare, the drop-in and scikit-learn train one network with ReLU and a constant rate.

    python examples/mnist.py                                    # fastnn.MLP, the bare network
    python examples/mnist.py --compare --threads 1 --rounds 3   # beside scikit-learn

The data is `mnist.npz` with uint8 arrays x_train (n, 784), y_train, x_test, y_test.
"""

from __future__ import annotations

import numpy as np
from _common import parse_arguments, print_table, race

import fastnn

HIDDEN = (256, 128)
BATCH_SIZE = 128
LEARNING_RATE = 2e-3


def load(path) -> tuple[np.ndarray, ...]:
    """Pixels in [0, 1] as float32, labels as integers."""
    with np.load(path) as archive:
        pixels = [archive[name].astype(np.float32) / 255 for name in ("x_train", "x_test")]
        labels = [archive[name].astype(np.int64) for name in ("y_train", "y_test")]
    return pixels[0], labels[0], pixels[1], labels[1]


def learning_rate(epoch: int, epochs: int) -> float:
    """Constant for half of the epochs, then linearly down to (nearly) zero."""
    return LEARNING_RATE * min(1, 2 * (epochs - epoch) / (epochs + 1))


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "mnist.npz", epochs=10)
    X_train, y_train, X_test, y_test = load(arguments.data)

    def network():
        net = fastnn.MLP(
            (X_train.shape[1], *HIDDEN, 10),
            activation="gelu",
            output="softmax",
            random_state=arguments.seed,
            n_threads=arguments.threads,
        )
        adam = fastnn.Adam(lambda epoch: learning_rate(epoch, arguments.epochs))
        net.fit(X_train, y_train, optimizer=adam, epochs=arguments.epochs, batch_size=BATCH_SIZE)
        return net

    contestants = {"fastnn.MLP": network}
    if arguments.compare:
        from sklearn.neural_network import MLPClassifier as ScikitLearnMLP

        parameters = {
            "hidden_layer_sizes": HIDDEN,
            "batch_size": BATCH_SIZE,
            "max_iter": arguments.epochs,
            "random_state": arguments.seed,
        }
        contestants["fastnn.MLPClassifier"] = lambda: fastnn.MLPClassifier(
            **parameters, n_threads=arguments.threads
        ).fit(X_train, y_train)
        contestants["scikit-learn"] = lambda: ScikitLearnMLP(**parameters).fit(X_train, y_train)
    fitted, seconds = race(contestants, rounds=arguments.rounds, threads=arguments.threads)

    def accuracy(model) -> float:
        probabilities = getattr(model, "predict_proba", model.predict)(X_test)
        return float(np.mean(probabilities.argmax(axis=1) == y_test))

    print(f"MNIST: {len(X_train)} training, {len(X_test)} test images, {arguments.epochs} epochs")
    scores = {name: accuracy(model) for name, model in fitted.items()}
    print_table("test accuracy", scores, seconds, "scikit-learn")


if __name__ == "__main__":
    main()
