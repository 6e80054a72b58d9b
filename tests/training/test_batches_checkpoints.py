"""`fit_batches(checkpoint=path)`: a fit goes on at its last whole epoch, to the same bytes."""

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import ModelFormatError, schedules

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 5)).astype("float32")
Y = rng.integers(0, 3, 200)
WEIGHT = rng.uniform(0.5, 2, 200)
HELD_OUT = X[160:], Y[160:]
EPOCHS = 7


class Stopped(BaseException):
    pass


def source(epoch):
    """Batches of several sizes, others in each epoch; the largest is not the first."""
    order = np.random.default_rng(epoch).permutation(160)
    for size, at in ((10, 0), (40, 10), (30, 50), (70, 80), (10, 150)):
        rows = order[at:at + size]
        yield X[rows], Y[rows], WEIGHT[rows]


def made(**settings):
    return fastnn.MLP((5, 9, 8, 3), output="softmax", random_state=0, **settings)


CASES = {
    "adam": lambda: {},
    "dropout": lambda: {"shuffle": True, "batch_size": 16},
    "ema": lambda: {"optimizer": fastnn.EMA(fastnn.Muon(0.02), 0.9)},
    "evolution": lambda: {"optimizer": fastnn.EvolutionStrategy(population=6)},
    "schedule": lambda: {"optimizer": fastnn.Adam(schedules.Cosine(0.03)), "steps_per_epoch": 4},
    "by step": lambda: {"optimizer": fastnn.SGD(schedules.ByStep(lambda step: 0.1 / (1 + step)))},
    "control": lambda: {
        "validation_data": HELD_OUT, "metrics": {"size": lambda y, output: output.max(1).mean()},
        "callbacks": [fastnn.EarlyStopping(patience=5), fastnn.ReduceOnPlateau(patience=0)]},
    "ends": lambda: {"validation_data": HELD_OUT, "optimizer": fastnn.EMA(fastnn.Adam(0.05), 0.5),
                     "callbacks": [fastnn.EarlyStopping("loss", patience=1, min_delta=0.02)]},
    "noise": lambda: {"mixup": 0.3, "input_noise": 0.1, "l1": 1e-3, "clip_norm": 0.5},
}


def fit(name="adam", net=None, **more):
    net = made(dropout=0.2 if name == "dropout" else 0.0) if net is None else net
    history = net.fit_batches(**{"source": source, "epochs": EPOCHS, **CASES[name](), **more})
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped)


def stop_at(epoch):
    def callback(now, *_):
        if now == epoch:
            raise Stopped
    return callback


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@each("name", CASES)
def test_a_fit_goes_on(name, tmp_path):
    path, wanted = tmp_path / "fit.checkpoint", fit(name)
    assert len(wanted[2]) > 2 and (len(wanted[2]) < EPOCHS) == (name == "ends")
    for epoch in (0, 4):
        if epoch < len(wanted[2]):
            with pytest.raises(Stopped):
                fit(name, checkpoint=path, checkpoint_seconds=0, callback=stop_at(epoch))
    assert fit(name, checkpoint=path) == wanted
    path.unlink()


def test_the_source_is_asked_for_what_is_left(path):
    asked = []

    def counted(epoch):
        asked.append(epoch)
        return source(epoch)

    fit(source=counted, epochs=3, checkpoint=path)
    fit(source=counted, checkpoint=path)
    fit(source=counted, checkpoint=path)
    assert asked == list(range(EPOCHS))


def test_lists_can_be_gone_through_again(path):
    batches = list(source(0))
    wanted = fit(source=batches)
    fit(source=batches, epochs=4, checkpoint=path)
    assert fit(source=batches, checkpoint=path) == wanted


@each("make", [lambda: source(0), lambda: iter(list(source(0)))])
def test_what_can_be_gone_through_once_is_refused(make, tmp_path):
    path = tmp_path / "fit.checkpoint"
    with pytest.raises(ValueError, match="checkpoint=.* needs a source that can be begun anew"):
        fit(source=make(), epochs=1, checkpoint=path)
    assert not path.exists()


@each("steps", [2, 5, 7, 12, 30])
def test_an_epoch_that_was_cut_short_is_done_whole(steps, tmp_path):
    """Five steps are an epoch."""
    path, wanted = tmp_path / "fit.checkpoint", fit()
    for _ in range(2):
        assert fit(max_steps=steps, checkpoint=path, checkpoint_seconds=0) == fit(max_steps=steps)
    assert fit(checkpoint=path) == wanted
    path.unlink()


def test_a_limit_of_time(path):
    wanted = fit()
    for done in range(3):
        assert fit(max_time=1e-9, checkpoint=path)[1] == done + 1
    assert fit(checkpoint=path) == wanted


def test_a_source_that_fails(path):
    """What is left is the last whole epoch, and the file has it."""
    def fails(epoch):
        yield from source(epoch)
        if epoch == 3:
            raise OSError("no such shelf")

    wanted = fit()
    with pytest.raises(OSError, match="no such shelf"):
        fit(source=fails, checkpoint=path, checkpoint_seconds=0)
    assert fit(checkpoint=path) == wanted


def test_a_cell_that_is_run_again(path):
    wanted, net = fit(), made()
    for epoch in (2, 4):
        with pytest.raises(Stopped):
            fit(net=net, checkpoint=path, checkpoint_seconds=0, callback=stop_at(epoch))
    net.fit(X, Y, epochs=1)
    with pytest.warns(UserWarning, match="the network has been trained since"):
        assert fit(net=net, checkpoint=path) == wanted


@each("change, message", [
    (dict(batch_size=16), "batch_size was None, is 16 now"),
    (dict(shuffle=True), "shuffle was False, is True now"),
    (dict(steps_per_epoch=3), "steps_per_epoch was None, is 3 now"),
    (dict(optimizer=fastnn.SGD(0.1)), "optimizer was 'adam', is 'sgd' now"),
    (dict(validation_data=HELD_OUT), "validation_data was not given"),
    (dict(epochs=1), "the checkpoint of 2 epochs, this fit has epochs=1"),
])
def test_what_differs_is_named(change, message, tmp_path):
    path = tmp_path / "fit.checkpoint"
    if not path.exists():
        fit(epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError, match=message):
        fit(checkpoint=path, **change)
    with pytest.raises(ModelFormatError, match="is the checkpoint of another fit"):
        made().fit(X, Y, checkpoint=path)
