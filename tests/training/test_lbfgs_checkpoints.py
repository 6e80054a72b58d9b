"""L-BFGS goes on from a file, by what SciPy has been told before."""

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import ModelFormatError
from fastnn.files import container
from fastnn.training import evaluations

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
HELD_OUT = X[90:], y[90:]
ITERATIONS = 25


class Stopped(BaseException):
    pass


def stop_at(iteration):
    def callback(epoch, *_):
        if epoch == iteration:
            raise Stopped
    return callback


def made(dtype="float64", **settings):
    return fastnn.MLP((4, 8, 2), "tanh", dtype=dtype, random_state=0, **settings)


def fit(net, max_iter=ITERATIONS, max_fun=15000, tol=1e-5, **settings):
    history = net.fit(X[:90], y[:90], optimizer=fastnn.LBFGS(max_iter, max_fun=max_fun, tol=tol),
                      **settings)
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped)


CASES = {
    "plain": lambda: {},
    "float32": lambda: {},
    "control": lambda: {
        "validation_data": HELD_OUT, "metrics": {"size": lambda y, output: np.abs(output).mean()},
        "callbacks": [fastnn.EarlyStopping(patience=20), fastnn.RecordPath()]},
    "ended": lambda: {"validation_data": HELD_OUT,
                      "callbacks": [fastnn.EarlyStopping("loss", min_delta=0.01, patience=1)]},
    "penalty": lambda: {"alpha": 0.1, "sample_weight": np.arange(1, 91)},
    "frozen": lambda: {},
    "converges": lambda: {"tol": 0.01},
}


def net_of(name):
    net = made("float32" if name == "float32" else "float64")
    if name == "frozen":
        net.freeze(0)
    return net


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@each("name", CASES)
def test_a_fit_goes_on(name, tmp_path):
    path, wanted = tmp_path / "fit.checkpoint", fit(net_of(name), **CASES[name]())
    last = len(wanted[2]) - 1
    assert last > 1 and (wanted[-1] == "epochs") == (name not in ("ended", "converges")), wanted
    for iteration in (0, last // 2, last):
        with pytest.raises(Stopped):
            fit(net_of(name), checkpoint=path, checkpoint_seconds=0, callback=stop_at(iteration),
                **CASES[name]())
    for _ in range(2):
        assert fit(net_of(name), checkpoint=path, **CASES[name]()) == wanted
    path.unlink()


def test_what_was_computed_is_not_computed_again(path, monkeypatch):
    count = []
    add = evaluations.Evaluations.add

    def counted(self, *arguments):
        count.append(1)
        add(self, *arguments)

    monkeypatch.setattr(evaluations.Evaluations, "add", counted)
    wanted = fit(made(), checkpoint=path, checkpoint_seconds=0)
    straight = len(count)
    assert straight >= ITERATIONS
    path.unlink()
    count.clear()
    for iteration in (5, 15, None):
        try:
            found = fit(made(), checkpoint=path, checkpoint_seconds=0, callback=stop_at(iteration))
        except Stopped:
            continue
    # and no more than the iterations that were stopped before they were written
    assert found == wanted and straight <= len(count) <= straight + 4


def test_more_iterations(path):
    wanted = fit(made())
    fit(made(), max_iter=7, checkpoint=path)
    fit(made(), max_iter=12, checkpoint=path)
    assert fit(made(), checkpoint=path, checkpoint_seconds=0) == wanted
    with pytest.raises(ModelFormatError, match="the checkpoint of 25 epochs, .* max_iter=12"):
        fit(made(), max_iter=12, checkpoint=path)
    net = made()
    with pytest.raises(ValueError, match="of 25 iterations, max_fun=4 evaluations are enough for"):
        fit(net, max_fun=4, checkpoint=path)


def test_evaluations_beyond_the_room_are_computed_again(path, monkeypatch):
    monkeypatch.setattr(evaluations, "MOST_BYTES", 8 * made()._layout.size * 8)
    wanted = fit(made(), checkpoint=path, checkpoint_seconds=0)
    assert wanted == fit(made())
    assert path.stat().st_size < 9 * made().parameters.nbytes + 20000
    path.unlink()
    for iteration in (3, 12, 20):
        with pytest.raises(Stopped):
            fit(made(), checkpoint=path, checkpoint_seconds=0, callback=stop_at(iteration))
    assert fit(made(), checkpoint=path) == wanted


def test_a_cell_that_is_run_again(path):
    """The network has been trained meanwhile; it begins where the first fit did."""
    wanted, net = fit(made()), made()
    for iteration in (4, 9):
        with pytest.raises(Stopped):
            fit(net, checkpoint=path, checkpoint_seconds=0, callback=stop_at(iteration))
    assert fit(net, checkpoint=path) == wanted


def test_ctrl_c_while_it_is_told_again(path, monkeypatch):
    """The network has what the file has."""
    fit(made(), max_iter=10, checkpoint=path)
    wanted = made()
    fit(wanted, max_iter=10)

    def interrupted(self, point):
        if self.asked == 5:
            raise KeyboardInterrupt
        return following(self, point)

    following = evaluations.Evaluations.next
    monkeypatch.setattr(evaluations.Evaluations, "next", interrupted)
    net = made()
    with pytest.raises(KeyboardInterrupt):
        fit(net, checkpoint=path)
    assert net.parameters.tobytes() == wanted.parameters.tobytes() and net._epochs_done == 10


@each("change, message", [
    (dict(tol=1e-3), "optimizer.tol was 1e-05, is 0.001 now"),
    (dict(alpha=0.5), "alpha was 0.0, is 0.5 now"),
    (dict(sample_weight=np.arange(1, 91)), "X, y or sample_weight was another one"),
])
def test_what_differs_is_named(change, message, tmp_path):
    path = tmp_path / "fit.checkpoint"
    if not path.exists():
        fit(made(), max_iter=3, checkpoint=path)
    with pytest.raises(ModelFormatError, match=message):
        fit(made(), checkpoint=path, **change)
    with pytest.raises(ModelFormatError, match="optimizer was 'lbfgs', is 'adam' now"):
        made().fit(X[:90], y[:90], checkpoint=path)


def test_settings_of_batches_may_differ(path):
    wanted = fit(made())
    fit(made(), max_iter=5, checkpoint=path)
    assert fit(made(), checkpoint=path, batch_size=7, epochs=3, shuffle=False) == wanted


@each("change", [
    lambda arrays: arrays["evaluations.points"].__setitem__(3, 1.0),
    lambda arrays: arrays["evaluations.start"].__setitem__(0, 0.5),
    lambda arrays: arrays["parameters"].__setitem__(0, 0.5),
    lambda arrays: arrays["evaluations.gradients"].__setitem__(2, 0.5),
])
def test_other_steps_are_refused(change, tmp_path):
    """As of another SciPy: nothing of the fit is there then."""
    path, write = tmp_path / "fit.checkpoint", container.write

    def changed(path, arrays, settings, **more):
        arrays = {name: np.array(array) for name, array in arrays.items()}
        change(arrays)
        write(path, arrays, settings, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "write", changed)
        fit(made(), max_iter=6, checkpoint=path)
    with pytest.raises(ModelFormatError, match="L-BFGS takes other steps than where it was writ"):
        fit(made(), checkpoint=path)
    path.unlink()


@each("count", [-1, 3, 1 << 40, None, "x"])
def test_counts_that_mean_nothing(count, tmp_path):
    path, write = tmp_path / "fit.checkpoint", container.write

    def changed(path, arrays, settings, **more):
        write(path, arrays, {**settings, "evaluations": count}, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "write", changed)
        fit(made(), max_iter=6, checkpoint=path)
    with pytest.raises(ModelFormatError, match="is not a checkpoint of fastnn"):
        fit(made(), checkpoint=path)
    path.unlink()


def test_several_networks(path):
    """One by L-BFGS, one by an evolution strategy: both in the file of `fit_many`."""
    def nets():
        return [made(), made(), made("float32")]

    def train(networks, epochs=6, **more):
        fastnn.fit_many(networks, X, y, epochs=epochs, batch_size=120, n_threads=1, optimizer=[
            fastnn.LBFGS(8), fastnn.EvolutionStrategy(population=6), fastnn.LBFGS(5)], **more)
        return [(net.parameters.tobytes(), net.history.loss) for net in networks]

    wanted = train(nets())
    for index in (0, 1, 2):
        class At(fastnn.Callback):
            def on_epoch_end(self, state):
                if state.epoch == 3:
                    raise Stopped

        with pytest.raises(Stopped):
            train(nets(), checkpoint=path, checkpoint_seconds=0,
                  callbacks=[[At()] if i == index else None for i in range(3)])
    assert train(nets(), checkpoint=path) == wanted
