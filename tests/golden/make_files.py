"""Writes pickles and unfinished checkpoints to files/, with what they say in files/expected.json.

    python tests/golden/make_files.py

A file that is there is never written again, since all of them have to load for ever. What they say
is recorded for each instruction set that runs here.
"""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from golden_cases import (
    OPTIMIZERS,
    environment,
    estimator,
    estimator_data,
    inputs,
    isa,
    network,
    sparse,
    targets,
)
from make_digests import available

import fastnn

FOLDER = Path(__file__).with_name("files")
EXPECTED = FOLDER / "expected.json"

# ---- pickles ----


def _mlp(sizes=(6, 9, 5, 3), activation="tanh", output="softmax", epochs=2, **more):
    net = network(sizes, activation, output, **more)
    net.fit(*_rows_of(net), batch_size=20, epochs=epochs)
    return net


def _rows_of(net, n_rows=50):
    n_in, n_out = net.sizes[0], net.sizes[-1]
    return inputs(n_rows, n_in, net.dtype), targets(n_rows, n_out, net.dtype, net.output)


def _fitted(task, names=False, **settings):
    X, y = estimator_data(task, 60)
    est = estimator(task, **{"hidden_layer_sizes": (5,), "max_iter": 4, **settings})
    if names:
        import pandas

        X = pandas.DataFrame(X, columns=list("abcdef"))
    return est.fit(X, y)


def _begun(task):
    X, y = estimator_data(task, 60)
    est = estimator(task, hidden_layer_sizes=(5,), solver="sgd", learning_rate="invscaling")
    classes = {"classes": np.unique(y)} if task == "multiclass" else {}
    return est.partial_fit(X, y, **classes).partial_fit(X[:30], y[:30])


def _predictor(task="classification", **more):
    scaler = fastnn.Scaler(np.linspace(-1, 1, 6), np.linspace(0.5, 2, 6), (-2.0, 2.0))
    classes = ["blue", "green", "red"] if task == "classification" else None
    return fastnn.Predictor(_mlp(**more), task, scaler=scaler, classes=classes,
                            feature_names=list("abcdef"))


def _with_table():
    import pandas

    frame = pandas.DataFrame({"n": [1.0, None, 3.0, 5.0], "c": ["x", "y", "x", "x"],
                              "m": [2.0, 1.0, 0.0, 1.0], "d": ["p", "q", "q", "p"]})
    table = fastnn.TableEncoder().fit(frame)
    net = _mlp((table.n_inputs, 4, 2))
    return fastnn.Predictor(net, "classification", classes=[10, 20], table=table,
                            feature_names=table.feature_names)


def _history(validates):
    net = network((6, 4, 3), "tanh", "softmax")
    X, y = _rows_of(net)
    return net.fit(X, y, epochs=3, validation_data=(X[:9], y[:9]) if validates else None)


PICKLES = {  # kind/name -> function that makes the object
    "mlp/float32": _mlp,
    "mlp/float64": lambda: _mlp(dtype="float64"),
    "mlp/dropout": lambda: _mlp(dropout=0.3),
    "mlp/dropout_float64": lambda: _mlp(dropout=(0.0, 0.5), dtype="float64"),
    "mlp/mixed": lambda: _mlp(activation=("gelu", "sigmoid")),
    "mlp/mixed_float64": lambda: _mlp(activation=("relu", "silu"), output="exp", dtype="float64"),
    "mlp/linear": lambda: _mlp((6, 2), output="identity"),
    "mlp/one_output": lambda: _mlp((6, 4, 1), output="sigmoid"),
    "mlp/wide": lambda: _mlp((6, 130, 2), initializer="he_uniform"),
    "mlp/blas": lambda: _mlp(gemm="blas"),
    "mlp/untrained": lambda: network((6, 4, 2), "tanh", "identity"),
    "classifier/binary": lambda: _fitted("binary"),
    "classifier/multiclass": lambda: _fitted("multiclass", activation=["gelu"]),
    "classifier/multilabel": lambda: _fitted("multilabel", dtype="float32"),
    "classifier/sgd": lambda: _fitted("multiclass", solver="sgd", learning_rate="adaptive"),
    "classifier/lbfgs": lambda: _fitted("binary", solver="lbfgs"),
    "classifier/early_stopping": lambda: _fitted("binary", early_stopping=True),
    "classifier/class_weight": lambda: _fitted("binary", class_weight={"no": 2.0, "yes": 1.0}),
    "classifier/dropout": lambda: _fitted("multiclass", dropout=0.2),
    "classifier/random_state": lambda: _fitted("binary", random_state=np.random.RandomState(7)),
    "classifier/names": lambda: _fitted("multiclass", names=True),
    "classifier/partial": lambda: _begun("multiclass"),
    "regressor/one": lambda: _fitted("one"),
    "regressor/two": lambda: _fitted("two", dtype="float32", n_threads=2),
    "regressor/poisson": lambda: _fitted("poisson"),
    "regressor/sgd": lambda: _fitted("one", solver="sgd", learning_rate="invscaling"),
    "regressor/lbfgs": lambda: _fitted("two", solver="lbfgs"),
    "regressor/early_stopping": lambda: _fitted("one", early_stopping=True),
    "regressor/partial": lambda: _begun("one"),
    "plain/predictor_classes": _predictor,
    "plain/predictor_values": lambda: _predictor(
        "regression", sizes=(6, 4, 1), output="identity", dtype="float64"),
    "plain/predictor_table": _with_table,
    "plain/scaler": lambda: fastnn.Scaler(np.linspace(-1, 1, 6), np.linspace(0.5, 2, 6), (-1, 1)),
    "plain/optimizers": lambda: list(OPTIMIZERS.values()),
    "plain/history": lambda: _history(False),
    "plain/history_validation": lambda: _history(True),
}


def load_pickle(name):
    """Return the object of a pickle."""
    with warnings.catch_warnings(action="ignore"):  # scikit-learn's, about other versions
        return pickle.loads((FOLDER / f"{name.replace('/', '_')}.pickle").read_bytes())


def say(kind, thing):
    """Return what a loaded object says, and says after it was trained on, as lists."""
    with warnings.catch_warnings(action="ignore"):
        return {"mlp": _mlp_says, "classifier": _estimator_says, "regressor": _estimator_says,
                "plain": _plain_says}[kind](thing)


def _digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def _mlp_says(net):
    X, y = _rows_of(net)
    said = {"loaded": _digest(net.parameters), "predict": net.predict(X[:4]).tolist()}
    history = net.fit(X, y, batch_size=20, epochs=2, optimizer=fastnn.AdamW(0.01))
    return said | {"losses": history.loss, "then": net.predict(X[:4]).tolist(),
                   "fitted": _digest(net.parameters)}


def _estimator_says(est):
    task = "binary"
    if est.n_outputs_ > 1:
        task = "multiclass" if est.out_activation_ == "softmax" else "multilabel"
    if isinstance(est, fastnn.MLPRegressor):
        task = "two" if est.n_outputs_ == 2 else "one"
        task = "poisson" if est.loss == "poisson" else task
    X, y = estimator_data(task, 60)
    said = {"loaded": _digest(*est.coefs_, *est.intercepts_),
            "predict": est.predict(X[:4]).tolist()}
    if hasattr(est, "predict_proba"):
        said["predict_proba"] = est.predict_proba(X[:4]).tolist()
    said["history"] = [est.n_iter_, est.t_, *getattr(est, "loss_curve_", [])]
    outputs = est.predict_proba if hasattr(est, "predict_proba") else est.predict
    if est.solver != "lbfgs" and not est.early_stopping:
        est.partial_fit(X[:30], y[:30])
        said["partial_fit"] = outputs(X[:4]).tolist()
    est.set_params(warm_start=True, max_iter=2)
    est.fit(X, y)
    return said | {"warm_start": outputs(X[:4]).tolist(),
                   "fitted": _digest(*est.coefs_, *est.intercepts_)}


def _plain_says(thing):
    if isinstance(thing, fastnn.Predictor):
        X = inputs(4, thing.n_features_in_, "float64")
        said = {"loaded": _digest(thing.net.parameters), "predict": thing.predict(X).tolist(),
                "shown": repr(thing)}
        if thing.classes_ is not None:
            said["predict_proba"] = thing.predict_proba(X).tolist()
        if thing.table is not None:
            said["table"] = [thing.table.n_inputs, *thing.table.feature_names]
        return said
    if isinstance(thing, fastnn.Scaler):
        return {"apply": thing.apply(inputs(4, 6, "float64"), "float32").tolist(),
                "shown": repr(thing)}
    if isinstance(thing, list):
        return {"names": [optimizer.name for optimizer in thing],
                "hyperparameters": [list(optimizer.hyperparameters) for optimizer in thing],
                "equal": thing == list(OPTIMIZERS.values()),
                "rates": [optimizer.learning_rate_at(2) for optimizer in thing]}
    return {"loss": thing.loss, "val_loss": thing.val_loss, "shown": repr(thing)}


# ---- checkpoints ----


@dataclass(frozen=True)
class Fit:
    """A fit whose checkpoint is written after 3 epochs, or when its callback interrupts it.

    Its data follow from a seed.
    """

    net: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    validates: bool = False
    is_sparse: bool = False
    callback: object = None
    epochs: int = 3

    def run(self, path, epochs, callback=None):
        """Run the fit up to an epoch; return the network and its history."""
        net = network(**{"sizes": (6, 9, 5, 3), "activation": "tanh", "output": "softmax",
                         **self.net})
        X, y = _rows_of(net, 70)
        if self.validates:
            X, y, held = X[:50], y[:50], (X[50:], y[50:])
        history = net.fit(
            sparse(X) if self.is_sparse else X, y, checkpoint=path, checkpoint_seconds=0,
            epochs=epochs, callback=callback,
            validation_data=held if self.validates else None,
            **{"batch_size": 20, **self.settings})
        return net, history


def _interrupts(epoch, *_):
    if epoch == 3:
        raise KeyboardInterrupt


def _ends(epoch, *_):
    if epoch == 1:
        raise fastnn.StopFit


CHECKPOINTS = {
    **{name: Fit(settings={"optimizer": optimizer}) for name, optimizer in OPTIMIZERS.items()},
    "validation": Fit(validates=True),
    "validation_momentum": Fit(settings={"optimizer": OPTIMIZERS["momentum"]}, validates=True),
    "dropout": Fit({"dropout": 0.3}),
    "dropout_validation": Fit({"dropout": (0.2, 0.0), "dtype": "float64"}, validates=True),
    "float64": Fit({"dtype": "float64"}),
    "float64_nesterov": Fit({"dtype": "float64"}, {"optimizer": OPTIMIZERS["nesterov"]}),
    "weights": Fit(settings={"sample_weight": np.linspace(0, 2, 70), "alpha": 0.1}),
    "in_order": Fit(settings={"shuffle": False, "optimizer": OPTIMIZERS["rmsprop"]}),
    "sparse": Fit(is_sparse=True),
    "mixed": Fit({"activation": ("gelu", "sigmoid"), "output": "identity"}),
    "wide": Fit({"sizes": (6, 130, 2)}, {"optimizer": OPTIMIZERS["adamw"]}),
    "blas": Fit({"gemm": "blas"}),
    "interrupted": Fit(callback=_interrupts, epochs=9),
    "ended": Fit(callback=_ends, epochs=9),
    "complete": Fit(epochs=6),
}


def resume(name, folder):
    """Return what a fit says that was resumed from a copy of its checkpoint in a folder."""
    path = Path(folder, f"{name}.checkpoint")
    shutil.copy(FOLDER / path.name, path)
    return _resumed(name, path)


def start_over(name, folder):
    """Return what the same fit says when it is run from its beginning."""
    return _resumed(name, Path(folder, f"{name}.new"))


def _resumed(name, path):
    net, history = CHECKPOINTS[name].run(path, 6)
    return {"losses": history.loss, "val_losses": history.val_loss,
            "predict": net.predict(_rows_of(net)[0][:4]).tolist(),
            "fitted": _digest(net.parameters)}


# ---- writing ----


def _write():
    FOLDER.mkdir(exist_ok=True)
    for name, make in PICKLES.items():
        path = FOLDER / f"{name.replace('/', '_')}.pickle"
        if not path.exists():
            with warnings.catch_warnings(action="ignore"):
                path.write_bytes(pickle.dumps(make(), protocol=4))
            print(path.name)
    for name, fit in CHECKPOINTS.items():
        path = FOLDER / f"{name}.checkpoint"
        if not path.exists():
            try:
                fit.run(path, fit.epochs, fit.callback)
            except KeyboardInterrupt:
                pass
            print(path.name)


def _record():
    with tempfile.TemporaryDirectory() as folder:
        return {
            "environment": environment(),
            "pickles": {name: say(name.split("/")[0], load_pickle(name)) for name in PICKLES},
            "checkpoints": {name: resume(name, folder) for name in CHECKPOINTS},
        }


def main():
    if sys.argv[1:] == ["--print"]:  # in a process of the instruction set
        print(json.dumps(_record()))
        return
    found = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"written_with": isa()}
    _write()
    for instructions in available():
        run = subprocess.run([sys.executable, __file__, "--print"], check=True, text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "FASTNN_ISA": instructions})
        found[instructions] = json.loads(run.stdout)
    text = json.dumps(found, indent=0, sort_keys=True).replace(",\n", ", ").replace("\n", "")
    EXPECTED.write_text(text.replace('"losses"', '\n"losses"') + "\n")


if __name__ == "__main__":
    main()
