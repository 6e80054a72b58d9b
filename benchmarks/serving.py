"""A model in a service, by library: to a file, and back in a fresh interpreter. Used by embed.py.

    python benchmarks/serving.py numpy 784-128-10 model.npz 0.2

says when the interpreter runs, when the library is imported and when the first row is predicted,
each with the time of day and the peak memory until then; at last, as JSON, what came after.

Nothing is imported here before it is needed: what a library brings along is for its own account.
"""

import sys
import time

# what embed.py measures; the ending that each library's files have
ENDINGS = {
    "fastnn": "safetensors",
    "fastnn-scaler": "safetensors",
    "numpy": "npz",
    "onnxruntime": "onnx",
    "openvino": "onnx",
    "torch": "pt",
    "sklearn": "pickle",
}


def library(name):
    """fastnn for fastnn-scaler, and so on."""
    return name.partition("-")[0]


# ---- to a file ----

def save(name, key, path):
    """Writes the model of a cell; returns its answers to `some_rows`."""
    import pickle

    import numpy as np
    from benchmarks.grid import GRID
    from peers import PEERS

    cell = GRID[key]
    if name == "fastnn-scaler":
        predict = save_pipeline(cell, path)
    else:
        peer = PEERS[name](cell, None, 1)
        if name == "fastnn":
            peer.net.save(path)
        elif name == "numpy":
            np.savez(path, *peer.initial())
        elif name == "torch":
            peer.torch.save(peer.net.state_dict(), path)
        else:
            data = peer.model() if ENDINGS[name] == "onnx" else pickle.dumps(peer.model)
            with open(path, "wb") as file:
                file.write(data)

        def predict(X):
            return peer.predict(peer.array(X))

    return np.asarray(predict(some_rows(cell.sizes))).tolist()


def save_pipeline(cell, path):
    """A fitted scaler and estimator in one file; returns the pipeline's predict_proba."""
    import warnings

    from benchmarks.grid import make_data
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastnn import MLPClassifier

    estimator = MLPClassifier(cell.sizes[1:-1], max_iter=1, random_state=0, n_threads=1)
    pipeline = make_pipeline(StandardScaler(), estimator)
    warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch will do
    pipeline.fit(*make_data(cell.n_samples, cell.sizes[0], cell.sizes[-1], cell.dtype))
    estimator.save(path, pipeline=pipeline)
    return pipeline.predict_proba


def some_rows(sizes):
    from benchmarks.grid import make_data

    return make_data(64, sizes[0], sizes[-1], "float32")[0]


# ---- and back, as a service would write it: imports; then predict, and the form its rows have ----

def as_it_is(x):
    return x


def serve_fastnn(path, sizes):
    import numpy  # noqa: F401 - whoever predicts has arrays

    import fastnn
    yield
    net = fastnn.load(path)
    net.n_threads = 1
    yield net.predict, as_it_is


def serve_fastnn_scaler(path, sizes):
    import numpy  # noqa: F401

    import fastnn
    yield
    model = fastnn.load(path, predictor=True)
    model.net.n_threads = 1
    yield model.predict_proba, as_it_is


def serve_numpy(path, sizes):
    import numpy as np
    yield
    with np.load(path) as file:
        arrays = list(file.values())
    *hidden, (w_last, b_last) = zip(arrays[::2], arrays[1::2], strict=True)

    def predict(x):
        for w, b in hidden:
            x = x @ w
            x += b
            np.maximum(x, 0, out=x)
        z = x @ w_last
        z += b_last
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    yield predict, as_it_is


def serve_onnxruntime(path, sizes):
    import numpy  # noqa: F401
    import onnxruntime
    yield
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    yield lambda x: session.run(None, {"a0": x})[0], as_it_is


def serve_openvino(path, sizes):
    import numpy  # noqa: F401
    import openvino
    yield
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    yield lambda x: request.infer([x], share_inputs=True)[0], as_it_is


def serve_torch(path, sizes):
    import numpy  # noqa: F401
    import torch
    yield
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(1))
    net.load_state_dict(torch.load(path, weights_only=True))

    def predict(x):
        with torch.inference_mode():
            return net(x)

    yield predict, torch.from_numpy


def serve_sklearn(path, sizes):
    import pickle

    import numpy  # noqa: F401
    import sklearn.neural_network  # noqa: F401
    yield
    with open(path, "rb") as file:
        yield pickle.load(file).predict_proba, as_it_is


# ---- the fresh interpreter ----

def peak_memory():
    """Most memory that this process has held so far, in MiB."""
    try:
        with open("/proc/self/status") as file:  # ru_maxrss starts from that of the parent
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def say(stage):
    print(stage, time.time(), peak_memory(), flush=True)


def later(predict, array, sizes, seconds):
    """Answers to `some_rows`, and times of calls that are not the first."""
    from types import SimpleNamespace

    import measure
    import numpy as np

    cell = SimpleNamespace(sizes=sizes, dtype="float32")
    measure.loaded = SimpleNamespace(cell=cell, predict=predict, array=array)
    one, many = (measure.calm(lambda rows=rows: measure.predict(rows, seconds))
                 for rows in (1, 64))
    return {"1": one, "64": many, "answers": np.asarray(predict(array(some_rows(sizes)))).tolist()}


def main():
    say("started")
    name, sizes, path, seconds = sys.argv[1:]
    sizes = [int(n) for n in sizes.split("-")]
    steps = globals()["serve_" + name.replace("-", "_")](path, sizes)
    next(steps)
    say("imported")
    predict, array = next(steps)
    import numpy

    predict(array(numpy.zeros((1, sizes[0]), "float32")))
    say("ready")

    import json

    print(json.dumps(later(predict, array, sizes, float(seconds))))


if __name__ == "__main__":
    main()
