"""The libraries that compare.py sets beside fastnn: each a class that trains and predicts a cell.

A library is imported inside its class only, because each runs in a process of its own. Data and
initial weights are those of the grid, so all do the same work.
"""

from __future__ import annotations

import importlib
import tempfile
import warnings

import numpy as np
from benchmarks.grid import BETAS, EPSILON, LEARNING_RATE, MOMENTUM, initial_weights, make_data


class Peer:
    """A library with one cell loaded.

    Parameters
    ----------
    cell : Cell
    optimizer : {"sgd", "adam"} or None
        None: only predictions are asked for.
    n_threads : int
    """

    modules: tuple[str, ...] = ()  # what has to be installed; the version shown is the first one's
    trains = True

    def __init__(self, cell, optimizer, n_threads):
        self.cell, self.optimizer, self.n_threads = cell, optimizer, n_threads
        if optimizer is not None:
            shape = cell.n_samples, cell.sizes[0], cell.sizes[-1]
            self.X, self.y = make_data(*shape, cell.dtype, cell.loss)
        self.build()

    @classmethod
    def version(cls):
        """The library's version; ImportError when something is missing."""
        return [importlib.import_module(name) for name in cls.modules][0].__version__

    def initial(self):
        return initial_weights(self.cell.sizes, self.cell.dtype)

    def build(self):
        """Makes the network, with the initial weights and a fresh optimizer."""
        raise NotImplementedError

    def reset(self):
        """Brings back the initial weights and a fresh optimizer."""
        raise NotImplementedError

    def fit(self, n_epochs):
        """Trains with a new order of the rows each epoch; returns the last epoch's mean loss."""
        raise NotImplementedError

    def array(self, X):
        """X in the form that the library's users have it in."""
        return X

    def predict(self, X):
        """Probabilities or values of all rows, finished when it returns."""
        raise NotImplementedError


class Fastnn(Peer):
    modules = ("fastnn",)

    def build(self):
        import fastnn

        cell = self.cell
        self.net = fastnn.MLP(
            cell.sizes, output=cell.output, dtype=cell.dtype, n_threads=self.n_threads
        )
        self.rule = {
            None: None,
            "sgd": fastnn.SGD(LEARNING_RATE, momentum=MOMENTUM),
            "adam": fastnn.Adam(LEARNING_RATE, *BETAS, EPSILON),
        }[self.optimizer]
        self.reset()

    def reset(self):
        self.net.set_weights(self.initial())

    def fit(self, n_epochs):
        history = self.net.fit(
            self.X,
            self.y,
            loss=self.cell.loss,
            optimizer=self.rule,
            epochs=n_epochs,
            batch_size=self.cell.batch_size,
        )
        return history.loss[-1]

    def predict(self, X):
        return self.net.predict(X)


class FastnnLoaded(Fastnn):
    """Predictions only, of the model that a service loads from a file."""

    trains = False

    def build(self):
        super().build()
        import fastnn

        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.safetensors"
            self.net.save(path)
            self.model = fastnn.load(path, predictor=True)
        self.model.net.n_threads = self.n_threads

    def predict(self, X):
        return self.model.predict(X)


class ScikitLearn(Peer):
    """The public estimators. A call of `fit` trains all epochs, so its checks are paid once.

    With two classes scikit-learn has one logistic output in place of a softmax over two.
    """

    modules = ("sklearn",)

    def build(self):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        cell = self.cell
        self.model = (MLPClassifier if cell.classifies else MLPRegressor)(
            hidden_layer_sizes=cell.sizes[1:-1],
            solver=self.optimizer or "sgd",
            alpha=0,
            batch_size=cell.batch_size,
            learning_rate_init=LEARNING_RATE,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            beta_1=BETAS[0],
            beta_2=BETAS[1],
            epsilon=EPSILON,
            warm_start=True,
            n_iter_no_change=np.inf,
        )
        # a number of epochs is asked for, not convergence
        warnings.simplefilter("ignore", ConvergenceWarning)
        # the first fit only creates coefs_, from a row of each class
        classes = np.arange(cell.sizes[-1] if cell.classifies else 2)
        X = np.zeros((len(classes), cell.sizes[0]), cell.dtype)
        self.model.set_params(max_iter=1, batch_size=1)
        self.model.fit(X, classes if cell.classifies else classes.astype(cell.dtype))
        self.model.set_params(batch_size=cell.batch_size)
        if self.optimizer is not None and not cell.classifies:
            self.y = self.y.ravel()
        self.reset()

    def reset(self):
        arrays = self.initial()
        if self.cell.classifies and self.cell.sizes[-1] == 2:
            # softmax of (z0, z1) is the logistic function of z1 - z0
            arrays[-2:] = [np.diff(array) for array in arrays[-2:]]
        self.model.coefs_, self.model.intercepts_ = arrays[::2], arrays[1::2]

    def fit(self, n_epochs):
        self.model.set_params(max_iter=n_epochs).fit(self.X, self.y)
        return self.model.loss_

    def predict(self, X):
        return self.model.predict_proba(X) if self.cell.classifies else self.model.predict(X)


class Torch(Peer):
    """Eager mode with fused optimizers, the fastest of torch's three kinds, and no DataLoader."""

    modules = ("torch",)
    # Small batches are gathered many at a time to save calls, large ones singly to stay in cache.
    GATHER = 2**20  # bytes

    def build(self):
        import torch

        self.torch = torch
        layers = []
        for n_in, n_out in zip(self.cell.sizes, self.cell.sizes[1:], strict=False):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1]).to(getattr(torch, self.cell.dtype))
        if self.optimizer is not None:
            self.X = torch.from_numpy(self.X)
            self.y = torch.from_numpy(self.y)
            self.y = self.y.long() if self.cell.classifies else self.y
        self.reset()

    def reset(self):
        torch = self.torch
        with torch.no_grad():
            for parameter, array in zip(self.net.parameters(), self.initial(), strict=True):
                parameter.copy_(torch.from_numpy(array.T))
        make = {
            None: lambda *_, **__: None,
            "sgd": lambda *a, **k: torch.optim.SGD(*a, momentum=MOMENTUM, **k),
            "adam": lambda *a, **k: torch.optim.Adam(*a, betas=BETAS, eps=EPSILON, **k),
        }[self.optimizer]
        self.rule = make(self.net.parameters(), lr=LEARNING_RATE, fused=True)

    def loss(self, x, y):
        functional = self.torch.nn.functional
        if self.cell.classifies:
            return functional.cross_entropy(self.net(x), y)
        return functional.mse_loss(self.net(x), y) / 2

    def fit(self, n_epochs):
        rows = self.cell.batch_size
        gathered = rows * max(1, self.GATHER // self.X[:rows].nbytes)
        for _ in range(n_epochs):
            losses = []
            for order in self.torch.randperm(len(self.X)).split(gathered):
                X, y = self.X.index_select(0, order), self.y.index_select(0, order)
                for batch in zip(X.split(rows), y.split(rows), strict=True):
                    self.rule.zero_grad()
                    loss = self.loss(*batch)
                    loss.backward()
                    self.rule.step()
                    losses.append(loss.detach())
            mean = self.torch.stack(losses).mean().item()
        return mean

    def array(self, X):
        return self.torch.from_numpy(X)

    def predict(self, X):
        with self.torch.inference_mode():
            z = self.net(X)
            return z.softmax(1) if self.cell.classifies else z


class Jax(Peer):
    """An epoch is one compiled call: lax.scan over the batches, with its state donated.

    The scan gathers each batch itself, which keeps it in cache: up to 1.4 times as fast as
    gathering before. NumPy draws the order of the rows: jax.random.permutation sorts, which takes
    longer.
    """

    modules = ("jax",)

    def build(self):
        import jax

        jax.config.update("jax_enable_x64", self.cell.dtype == "float64")
        self.jax = jax
        self.rng = np.random.default_rng(0)
        if self.optimizer is not None:
            self.X, self.y = jax.numpy.asarray(self.X), jax.numpy.asarray(self.y)
        self.epoch = jax.jit(self.scan_batches, donate_argnums=0)
        self.forward = jax.jit(self.output)
        self.reset()

    def reset(self):
        numpy, tree = self.jax.numpy, self.jax.tree
        weights = [numpy.array(array) for array in self.initial()]
        zeros = [tree.map(numpy.zeros_like, weights) for _ in range(2)]
        # weights, momentum (of SGD or Adam), second moment, number of steps
        self.state = weights, *zeros, numpy.zeros((), self.cell.dtype)

    def raw_output(self, weights, x):
        *hidden, last = zip(weights[::2], weights[1::2], strict=True)
        for w, b in hidden:
            x = self.jax.nn.relu(x @ w + b)
        return x @ last[0] + last[1]

    def output(self, weights, x):
        z = self.raw_output(weights, x)
        return self.jax.nn.softmax(z) if self.cell.classifies else z

    def loss(self, weights, x, y):
        z = self.raw_output(weights, x)
        if self.cell.classifies:
            log_p = self.jax.nn.log_softmax(z)
            return -self.jax.numpy.take_along_axis(log_p, y[:, None], 1).mean()
        return ((z - y) ** 2).mean() / 2

    def update(self, w, g, m, v, t):
        """One array of the state after a step: w, m, v."""
        if self.optimizer == "sgd":
            m = MOMENTUM * m + g
            return w - LEARNING_RATE * m, m, v
        beta1, beta2 = BETAS
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        root = self.jax.numpy.sqrt(v / (1 - beta2**t))
        return w - LEARNING_RATE / (1 - beta1**t) * m / (root + EPSILON), m, v

    def step(self, state, x, y):
        weights, m, v, t = state
        t = t + 1
        loss, gradient = self.jax.value_and_grad(self.loss)(weights, x, y)
        arrays = zip(weights, gradient, m, v, strict=True)
        weights, m, v = zip(*(self.update(*each, t) for each in arrays), strict=True)
        return (list(weights), list(m), list(v), t), loss

    def scan_batches(self, state, order, X, y):
        batches = order.reshape(self.cell.n_steps, self.cell.batch_size)
        state, losses = self.jax.lax.scan(
            lambda state, batch: self.step(state, X[batch], y[batch]), state, batches
        )
        return state, losses.mean()

    def fit(self, n_epochs):
        for _ in range(n_epochs):
            order = self.rng.permutation(len(self.X))
            self.state, loss = self.epoch(self.state, order, self.X, self.y)
        self.jax.block_until_ready(self.state)
        return float(loss)

    def array(self, X):
        return self.jax.numpy.asarray(X)

    def predict(self, X):
        return self.forward(self.state[0], X).block_until_ready()


class Numpy(Peer):
    """What care gets out of NumPy: no arrays made in the loop, all parameters in one vector."""

    modules = ("numpy",)
    BLOCK = 16384  # parameters that an update takes at a time, so that they stay in cache

    def build(self):
        sizes, dtype, rows = self.cell.sizes, self.cell.dtype, self.cell.batch_size
        self.rng = np.random.default_rng(0)
        total = sum(array.size for array in self.initial())
        self.parameters, self.gradient, self.m, self.v = np.zeros((4, total), dtype)
        self.scratch = np.empty(min(total, self.BLOCK), dtype)
        self.w, self.b = self.views(self.parameters)
        self.dw, self.db = self.views(self.gradient)
        # of the input, then of each layer
        self.a = [np.empty((rows, n), dtype) for n in sizes]
        self.dz = [None, *(np.empty((rows, n), dtype) for n in sizes[1:])]
        self.positive = [np.empty((rows, n), bool) for n in sizes]
        self.column = np.empty((rows, 1), dtype)
        self.ones, self.rows = np.ones(rows, dtype), np.arange(rows)
        self.reset()

    def views(self, vector):
        shapes = [array.shape for array in self.initial()]
        parts = np.split(vector, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        return arrays[::2], arrays[1::2]

    def reset(self):
        self.parameters[:] = np.concatenate([array.ravel() for array in self.initial()])
        self.m[:] = self.v[:] = self.n_updates = 0

    def fit(self, n_epochs):
        rows = self.cell.batch_size
        update = self.update_sgd if self.optimizer == "sgd" else self.update_adam
        for _ in range(n_epochs):
            order = self.rng.permutation(len(self.X))
            total = 0.0
            for start in range(0, len(order), rows):
                batch = order[start : start + rows]
                self.X.take(batch, axis=0, out=self.a[0], mode="clip")
                total += self.backpropagate(self.y[batch])
                update()
        return total / self.cell.n_steps

    def backpropagate(self, y):
        """Fills the gradient from a[0] and targets; returns the mean loss."""
        a, dz, last = self.a, self.dz, len(self.w)
        for i, (w, b) in enumerate(zip(self.w, self.b, strict=True), 1):
            np.matmul(a[i - 1], w, out=a[i])
            a[i] += b
            if i < last:
                np.maximum(a[i], 0, out=a[i])
        loss = (self.cross_entropy if self.cell.classifies else self.squared_error)(y)
        for i in range(last, 0, -1):
            np.matmul(a[i - 1].T, dz[i], out=self.dw[i - 1])
            np.matmul(self.ones, dz[i], out=self.db[i - 1])  # faster than dz.sum(axis=0)
            if i > 1:
                np.matmul(dz[i], self.w[i - 1].T, out=dz[i - 1])
                np.greater(a[i - 1], 0, out=self.positive[i - 1])
                dz[i - 1] *= self.positive[i - 1]
        return loss

    def cross_entropy(self, y):
        """Mean loss, and its derivative into dz[-1]."""
        z, dz, column = self.a[-1], self.dz[-1], self.column
        z -= z.max(axis=1, keepdims=True, out=column)
        np.exp(z, out=dz)
        dz.sum(axis=1, keepdims=True, out=column)
        loss = (np.log(column[:, 0]) - z[self.rows, y]).mean()
        column *= len(z)
        dz /= column
        dz[self.rows, y] -= 1 / len(z)
        return float(loss)

    def squared_error(self, y):
        dz = np.subtract(self.a[-1], y, out=self.dz[-1])
        loss = np.vdot(dz, dz) / dz.size / 2
        dz /= dz.size
        return float(loss)

    def blocks(self):
        for start in range(0, len(self.parameters), self.BLOCK):
            block = slice(start, start + self.BLOCK)
            w = self.parameters[block]
            yield w, self.gradient[block], self.m[block], self.v[block], self.scratch[: len(w)]

    def update_sgd(self):
        for w, g, m, _, scratch in self.blocks():
            m *= MOMENTUM
            m += g
            w -= np.multiply(m, LEARNING_RATE, out=scratch)

    def update_adam(self):
        self.n_updates += 1
        beta1, beta2 = BETAS
        # w -= rate / c1 m / (sqrt(v / c2) + eps), with the corrections taken out of the loop
        root = (1 - beta2**self.n_updates) ** 0.5
        rate = LEARNING_RATE * root / (1 - beta1**self.n_updates)
        for w, g, m, v, scratch in self.blocks():
            m *= beta1
            m += np.multiply(g, 1 - beta1, out=scratch)
            v *= beta2
            np.multiply(g, g, out=scratch)
            scratch *= 1 - beta2
            v += scratch
            np.sqrt(v, out=scratch)
            scratch += EPSILON * root
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            w -= scratch

    def predict(self, X):
        for w, b in zip(self.w[:-1], self.b[:-1], strict=True):
            X = X @ w
            X += b
            np.maximum(X, 0, out=X)
        z = X @ self.w[-1]
        z += self.b[-1]
        if self.cell.classifies:
            z -= z.max(axis=1, keepdims=True)
            np.exp(z, out=z)
            z /= z.sum(axis=1, keepdims=True)
        return z


class OnnxFile(Peer):
    """Predictions only, of a model that the package onnx writes."""

    trains = False

    def model(self):
        """The network as bytes; the number of rows is left open."""
        from onnx import TensorProto, helper, numpy_helper

        arrays = self.initial()
        names = [f"{'wb'[i % 2]}{i // 2}" for i in range(len(arrays))]
        n_layers = len(arrays) // 2
        nodes = []
        for i in range(n_layers):
            last = i + 1 == n_layers
            nodes.append(helper.make_node("Gemm", [f"a{i}", f"w{i}", f"b{i}"], [f"z{i}"]))
            f = "Relu" if not last else "Softmax" if self.cell.classifies else "Identity"
            nodes.append(helper.make_node(f, [f"z{i}"], [f"a{i + 1}"]))
        kind = TensorProto.FLOAT if self.cell.dtype == "float32" else TensorProto.DOUBLE
        x, y = (
            helper.make_tensor_value_info(f"a{i}", kind, ["rows", self.cell.sizes[i]])
            for i in (0, n_layers)
        )
        constants = map(numpy_helper.from_array, arrays, names)
        graph = helper.make_graph(nodes, "mlp", [x], [y], list(constants))
        # versions of some years ago, which any onnxruntime of today reads
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


class OnnxRuntime(OnnxFile):
    modules = ("onnxruntime", "onnx")

    def build(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # its threads are an option and not in the environment
        options.intra_op_num_threads = self.n_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.model(), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, X):
        return self.session.run(None, {"a0": X})[0]


class OpenVino(OnnxFile):
    """With the hint of latency, and of the cell's dtype: its default is bfloat16 where there is."""

    modules = ("openvino", "onnx")

    @classmethod
    def version(cls):
        return super().version().partition("-")[0]  # what follows is a build

    def build(self):
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if self.cell.dtype == "float32" else "f64",
            "INFERENCE_NUM_THREADS": self.n_threads,
        }
        compiled = core.compile_model(core.read_model(self.model()), "CPU", settings)
        self.request = compiled.create_infer_request()

    def predict(self, X):
        # X is read where it lies; the outputs are copied, as the next call writes over them
        return self.request.infer([X], share_inputs=True)[0]


PEERS = {
    "fastnn": Fastnn,
    "fastnn-loaded": FastnnLoaded,
    "sklearn": ScikitLearn,
    "torch": Torch,
    "jax": Jax,
    "numpy": Numpy,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}
