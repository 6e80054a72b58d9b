"""The same bytes for 1, 2, 3 and 8 threads, with each feature of a fit switched on in turn."""

import numpy as np
import pytest
import scipy.sparse as sp
from each import each
from planning import use_rules

import fastnn
from fastnn import losses, schedules
from fastnn.core import _kernels
from fastnn.training import evolution
from fastnn.training.bound_losses import check_loss
from fastnn.training.optimizers import BY_NAME

THREADS = (1, 2, 3, 8)
RNG = np.random.default_rng(0)
ROWS = 600
X = RNG.normal(size=(ROWS, 6)).astype("float32")
LABELS = RNG.integers(0, 3, ROWS)
HELD_OUT = (X[:90] + np.float32(0.1), LABELS[:90])
VALUES = RNG.normal(size=(ROWS, 2))
POSITIVE = np.exp(VALUES / 2)
WEIGHT = RNG.uniform(0.5, 2, ROWS)

# name: (output, targets), and the losses that go with them
OUTPUTS = {
    "identity": (VALUES, ["squared_error", "absolute_error", losses.Huber(0.3), "log_cosh",
                          losses.Quantile(0.9), "gaussian_nll"]),
    "exp": (POSITIVE, ["poisson", "gamma", losses.Tweedie(1.3)]),
    "softmax": (LABELS, ["cross_entropy", losses.CrossEntropy(label_smoothing=0.1),
                         losses.Focal(1.5)]),
    "sigmoid": (VALUES > 0, ["binary_cross_entropy", "focal"]),
    "scores": (LABELS, ["hinge", "squared_hinge"]),
    "step": (VALUES > 0, ["perceptron"]),
}
FOURTH = losses.Custom(lambda y, output: (output - y) ** 4, lambda y, output: 4 * (output - y) ** 3)
LOSSES = {str(loss): {"output": output, "loss": loss}
          for output, (_, found) in OUTPUTS.items() for loss in (*found, FOURTH)
          if not (loss is FOURTH and output != "identity")}
OPTIMIZERS = {name: {"optimizer": name} for name in (
    "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "rprop", "lion",
    "muon")} | {
    "momentum": {"optimizer": fastnn.SGD(0.01, momentum=0.9)},
    "amsgrad": {"optimizer": fastnn.Adam(amsgrad=True)},
    "ema": {"optimizer": fastnn.EMA("adam", decay=0.9)},
    "ema of muon": {"optimizer": fastnn.EMA("muon", decay=0.9)},
    "lbfgs": {"optimizer": fastnn.LBFGS(max_iter=4)},
    "evolution": {"optimizer": fastnn.EvolutionStrategy(population=6)},
    "layers": {"optimizer": fastnn.Adam(layers={
        0: {"learning_rate": 1e-4, "l1": 0.01}, 1: {"weight_decay": 0.1, "max_norm": 0.5}})},
}
SCHEDULES = {schedule.describe(): {"optimizer": fastnn.SGD(schedule)} for schedule in (
    schedules.Constant(0.01), schedules.Step(0.1, step_size=1), schedules.Exponential(0.1),
    schedules.InverseScaling(0.1), schedules.Cosine(0.1, warmup=0.2, restarts=1),
    schedules.CosLog4(0.1), schedules.OneCycle(0.1), schedules.Polynomial(0.1),
    schedules.FlatThenCosine(0.1), schedules.ByStep(lambda step: 0.1 / (1 + step)),
    schedules.ByEpoch(lambda epoch: 0.1 / (1 + epoch)))} | {
    "function": {"optimizer": fastnn.SGD(lambda epoch: 0.1 / (1 + epoch))}}


def early():
    return [fastnn.EarlyStopping(patience=1, min_delta=0.1, restore_best=True),
            fastnn.ReduceOnPlateau(patience=0), fastnn.RecordPath()]


SETTINGS = {
    "plain": {}, "alpha": {"alpha": 0.1}, "l1": {"l1": 0.1}, "clip_norm": {"clip_norm": 0.05},
    "clip_value": {"clip_value": 0.001}, "max_norm": {"max_norm": 0.4},
    "weights": {"sample_weight": WEIGHT}, "in order": {"shuffle": False},
    "input_dropout": {"input_dropout": 0.2}, "input_noise": {"input_noise": 0.2},
    "mixup": {"mixup": 0.3}, "max_steps": {"max_steps": 7},
    "all of these": {"alpha": 0.1, "l1": 0.01, "clip_norm": 0.5, "clip_value": 0.1, "max_norm": 1.0,
                     "sample_weight": WEIGHT, "input_dropout": 0.2, "input_noise": 0.2,
                     "mixup": 0.3},
    "validation": {"validation_data": HELD_OUT, "metrics": {
        "hits": lambda y, output: (output.argmax(1) == y).mean()}},
    "stops early": {"validation_data": HELD_OUT, "callbacks": early, "epochs": 8},
    "frozen": {"freeze": (0,)},
}
NETS = {
    "narrow": {}, "dropout": {"dropout": 0.3}, "double": {"dtype": "float64"},
    "norm": {"norm": "layer", "residual": True}, "blas": {"gemm": "blas"},
    "custom": {"activation": fastnn.CustomActivation(np.sin, np.cos)},
}


def fit(settings, n_threads, X=X, **of_net):
    """Bytes of the network and its history after two epochs."""
    settings = {"epochs": 2, "batch_size": 200, **settings}
    output = settings.pop("output", "softmax")
    y = OUTPUTS[output][0]
    n_out = 3 if y.ndim == 1 else y.shape[1]
    net = fastnn.MLP((6, 20, 20, n_out), **{
        "activation": "gelu", "output": "identity" if output == "scores" else output,
        "random_state": 0, "n_threads": n_threads, **of_net})
    if settings.get("loss") == "gaussian_nll":
        y = y[:, :1]
    net.freeze(*settings.pop("freeze", ()))
    if callable(settings.get("callbacks")):
        settings["callbacks"] = settings["callbacks"]()
    start = net.parameters.tobytes()
    source = settings.pop("source", None)
    if source is None:
        history = net.fit(X, y, **settings)
    else:
        history = net.fit_batches(source, **settings)
    assert net.parameters.tobytes() != start
    return net.parameters.tobytes(), repr(vars(history)), net.predict(X[:100]).tobytes()


@pytest.fixture(params=["feature-major", "row-major"])
def layout(request, monkeypatch):
    """Work for many threads, however small it is: shards and chunks of a few rows."""
    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=1, shard_rows=4, block_rows=8,
              chunk=64, chunk_size=64, chunk_rows=4,
              **({"widest_feature_major": 0} if request.param == "row-major" else {}))
    monkeypatch.setattr(evolution, "MEMBER_FLOPS", 0)
    monkeypatch.setattr(evolution, "THREAD_FLOPS", 1)


def check(settings, teams, n_threads=THREADS, most=4, **more):
    """The bytes are those of one thread, where there have been more."""
    expected = fit(settings, 1, **more)
    for number in n_threads[1:]:
        teams.clear()
        assert fit(settings, number, **more) == expected, number
        assert max(teams) >= min(number, most)


@each("name", LOSSES)
def test_losses(name, layout, teams):
    custom = LOSSES[name]["loss"] is FOURTH
    check({"optimizer": fastnn.Adam(0.01), **LOSSES[name]}, teams, most=1 if custom else 4)


@each("name", OPTIMIZERS)
def test_optimizers(name, layout, teams):
    check(OPTIMIZERS[name], teams, most=1 if name == "evolution" else 4)


@each("name", SCHEDULES)
def test_schedules(name, layout, teams):
    check(SCHEDULES[name], teams)


@each("name", SETTINGS)
def test_settings(name, layout, teams):
    check(SETTINGS[name], teams)


@each("name", NETS)
def test_networks(name, layout, teams):
    # one shard: functions are called with the whole batch
    check({}, teams, most=1 if name == "custom" else 4, **NETS[name])


@each("kind", ["sparse", "uint8", "big-endian", "columns"])
def test_rows(kind, layout, teams, tmp_path):
    """Sparse, and maps of files that are converted batch by batch."""
    dense = np.where(X > 0, np.rint(X * 20), 0)
    if kind == "sparse":
        check({}, teams, X=sp.csr_matrix(dense.astype("float32")))
        return
    dtype = {"uint8": "uint8", "big-endian": ">i4", "columns": "float64"}[kind]
    rows = np.memmap(tmp_path / f"{kind}.map", dtype, "w+", shape=X.shape,
                     order="F" if kind == "columns" else "C")
    rows[:] = dense
    check({}, teams, X=rows)


@each("name", ["plain", "clip_norm", "max_norm", "mixup", "max_steps", "validation", "frozen"])
def test_batches(name, layout, teams):
    settings = {**SETTINGS[name], "steps_per_epoch": 4, "batch_size": 180, "shuffle": True,
                "optimizer": fastnn.EMA(fastnn.Adam(schedules.Cosine(0.02)), decay=0.9),
                "source": [(X[:400], LABELS[:400], WEIGHT[:400]),
                           (X[400:], LABELS[400:], WEIGHT[400:])]}
    check(settings, teams)


def test_nothing_is_missing():
    """A new row, optimizer or schedule belongs into the tables above."""
    rows = {check_loss(case["loss"], "identity" if case["output"] == "scores" else case["output"],
                       2).name for case in LOSSES.values()}
    assert rows >= set(_kernels.LOSSES)
    assert OPTIMIZERS.keys() >= BY_NAME.keys()
    kinds = {type(case["optimizer"].learning_rate).__name__ for case in SCHEDULES.values()}
    assert kinds >= set(schedules.__all__) - {"Schedule", "StepRates"}
