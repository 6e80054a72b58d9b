"""Small models of every kind that a file can hold, with rows to predict."""

import numpy as np

import fastnn

ROWS = np.random.default_rng(1).normal(size=(7, 3))


def network(n_out=2, output="softmax", dtype="float32", **more):
    """Weights are drawn; biases too, so that each counts."""
    net = fastnn.MLP((3, 4, n_out), "tanh", output, dtype=dtype, random_state=3, **more)
    rng = np.random.default_rng(5)
    net.set_weights([rng.normal(size=array.shape) for array in net.get_weights()])
    return net


def layers():
    """Everything that is more than a chain of dense layers."""
    net = fastnn.MLP.of(
        [fastnn.LayerNorm(), fastnn.Dense(4, "tanh"), fastnn.Dropout(0.25),
         fastnn.Residual([fastnn.LayerNorm(1e-3), fastnn.Activation("gelu"), fastnn.Dense(4)]),
         fastnn.Dense(2)], n_in=3, output="softmax", random_state=3)
    rng = np.random.default_rng(5)
    net.set_weights([rng.normal(size=array.shape) for array in net.get_weights()])
    return net


def _estimator(cls, y, **more):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(len(y), 3))
    est = cls(hidden_layer_sizes=(4,), max_iter=3, random_state=0, n_iter_no_change=3, **more)
    return est.fit(X, y)


def _classifier(y, **more):
    return _estimator(fastnn.MLPClassifier, np.resize(y, 24), **more)


def _multilabel():
    return _estimator(fastnn.MLPClassifier, np.random.default_rng(4).integers(0, 2, (24, 3)))


def _regressor(n_out=1, **more):
    y = np.random.default_rng(4).uniform(size=(24, n_out))
    return _estimator(fastnn.MLPRegressor, y[:, 0] if n_out == 1 else y, **more)


def _scaled(task, **more):
    scaler = fastnn.Scaler([1.0, -2.0, 0.5], [2.0, 0.1, 3.0], (-1.5, 1.5))
    return fastnn.Predictor(network(**more), task, scaler=scaler, feature_names=["a", "b", "é"],
                            classes=["no", "yes"] if task == "classification" else None)


def _table():
    """Numbers, one of them missing, and two categories."""
    import pandas

    frame = pandas.DataFrame({"n": [1.0, None, 3.0, 5.0], "c": ["x", "y", "x", "x"]})
    table = fastnn.TableEncoder().fit(frame)
    return fastnn.Predictor(network(), "classification", classes=[10, 20], table=table,
                            feature_names=table.feature_names)


def _encoder():
    """Rows of numbers, of one column as categories."""
    kinds = [fastnn.encoders.Numbers(4), fastnn.encoders.Numbers(3), fastnn.encoders.Categories()]
    encoder = fastnn.encoders.Encoder(kinds).fit(ROWS.round(1))
    net = fastnn.MLP((encoder.n_inputs, 4, 2), "tanh", "softmax", random_state=3)
    return fastnn.Predictor(net, "classification", classes=["no", "yes"], table=encoder)


# name -> function that makes the model; those of scikit-learn's kind warn of early ends
MODELS = {
    "mlp": network,
    "mlp_float64": lambda: network(dtype="float64", dropout=0.25),
    "mlp_layers": layers,
    "classifier_strings": lambda: _classifier(["blue", "green", "red"]),
    "classifier_objects": lambda: _classifier(np.array(["blue", "green"], dtype=object)),
    "classifier_integers": lambda: _classifier([-3, 7], early_stopping=True,
                                               class_weight={-3: 1.0, 7: 2.5}),
    "classifier_booleans": lambda: _classifier([True, False], dtype="float32", activation=["gelu"]),
    "classifier_floats": lambda: _classifier([0.0, 1.0, 2.0], n_threads=2, dtype=np.float32),
    "multilabel": _multilabel,
    "regressor": lambda: _regressor(solver="lbfgs"),
    "regressor_two": lambda: _regressor(2, solver="sgd", learning_rate="adaptive"),
    "regressor_poisson": lambda: _regressor(loss="poisson"),
    "predictor_table": _table,
    "predictor_encoder": _encoder,
    "predictor_scaled": lambda: _scaled("classification"),
    "predictor_values": lambda: _scaled("regression", n_out=1, output="identity"),
}


def answers(model):
    """What a model says of `ROWS`, as plain lists."""
    said = {"predict": model.predict(ROWS).tolist()}
    if hasattr(model, "classes_") and model.classes_ is not None:
        said["predict_proba"] = model.predict_proba(ROWS).tolist()
    return said
