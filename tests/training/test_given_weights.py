"""Weights that callbacks give a network within its fit: training goes on from them."""

import threading

import numpy as np
import pytest
from each import each
from small_nets import data, make

import fastnn
from fastnn.training.callbacks import SMALL

X, Y = data(60)
HELD_OUT = X[40:], Y[40:]


def set_weights(net, weights):
    net.set_weights(weights)


def write(net, weights):
    for own, given in zip(net._layout.views(net.parameters), weights, strict=True):
        own[:] = given


class Gives(fastnn.Callback):
    """Gives other weights at an epoch; -1: at the beginning."""

    def __init__(self, at, give):
        self.at, self.give = at, give

    def on_fit_begin(self, state):
        if self.at == -1:
            self.give(state)

    def on_epoch_end(self, state):
        if self.at == state.epoch:
            self.give(state)


OTHER = make(random_state=5)
WAYS = {"set_weights": lambda state: set_weights(state.net, OTHER.get_weights()),
        "in place": lambda state: write(state.net, OTHER.get_weights()),
        "restore": lambda state: state.restore(OTHER.parameters)}


def fit(net, how="fit", **more):
    settings = {"epochs": 4, "optimizer": fastnn.SGD(0.1, 0.0), **more}
    if how == "fit":
        return net.fit(X, Y, batch_size=60, shuffle=False, **settings)
    if how == "fit_batches":
        return net.fit_batches([(X, Y)], **settings)
    return fastnn.fit_many([net], X, Y, batch_size=60, shuffle=False,
                           **{**settings, "callbacks": [settings["callbacks"]]})


@each("how", ["fit", "fit_batches", "fit_many"])
@each("way", sorted(WAYS))
@each("at", [-1, 1, 3])
def test_training_goes_on_from_weights_that_a_callback_gives(how, way, at):
    net, wanted, seen = make(), make(random_state=5), []
    after = fastnn.Callback()
    after.on_epoch_end = lambda state: seen.append(state.parameters.tobytes())
    fit(net, how, callbacks=[Gives(at, WAYS[way]), after])
    if at < 3:
        fit(wanted, epochs=3 - at)
    assert net.parameters.tobytes() == wanted.parameters.tobytes() == seen[-1]
    assert at == -1 or seen[at] == OTHER.parameters.tobytes()  # the next one sees them


@each("way", sorted(WAYS))
@each("optimizer", [fastnn.Adam(), fastnn.LBFGS(), fastnn.EMA(fastnn.SGD(0.1)),
                    fastnn.EvolutionStrategy(0.1)])
def test_a_stop_keeps_them(way, optimizer):
    def give(state):
        WAYS[way](state)
        raise fastnn.StopFit("given")

    net = make()
    history = net.fit(X, Y, optimizer=optimizer, epochs=20, callbacks=[Gives(1, give)])
    assert history.stopped == "given"
    assert net.parameters.tobytes() == OTHER.parameters.tobytes()


def test_the_mean_of_weights_begins_anew():
    net, seen = make(), []
    fit(net, optimizer=fastnn.EMA(fastnn.SGD(1e-12), decay=0.5),
        callbacks=[Gives(1, WAYS["set_weights"])])
    seen = np.abs(net.parameters - OTHER.parameters).max()
    assert seen < 1e-9


def test_what_goes_its_own_way_refuses_them():
    net = make()
    with pytest.raises(ValueError, match="a callback .Gives. has set weights: L-BFGS goes on from "
                                         "iterates of its own; end the fit"):
        net.fit(X, Y, optimizer=fastnn.LBFGS(), callbacks=[Gives(1, WAYS["set_weights"])])


@each("give, error, words", [
    (lambda state: state.net.parameters.fill(np.nan), ValueError, "parameters contains NaN"),
    (lambda state: state.restore([1.0]), ValueError, "parameters are <class 'list'>, must be"),
    (lambda state: state.parameters.fill(0), ValueError, "read-only"),
    (lambda state: setattr(state.net.parameters, "shape", (-1, 1)), ValueError,
     r"parameters are float64 \(\d+, 1\), must be")])
def test_wrong_weights_leave_those_of_the_epoch(give, error, words):
    net = make()
    with pytest.raises(error, match=words):
        fit(net, callbacks=[Gives(1, give)])
    wanted = make()
    fit(wanted, epochs=2)
    assert net.parameters.tobytes() == wanted.parameters.tobytes()


def test_weights_cannot_be_set_within_an_epoch():
    net, before = make(), make()

    def source():
        net.set_weights(before.get_weights())
        yield X, Y

    words = "this MLP is being fitted already.*set weights in a callback"
    with pytest.raises(RuntimeError, match=words):
        net.fit_batches(source)

    def value(y, output):
        net.set_weights(before.get_weights())
        return (output - y) ** 2

    net = make(output="identity")
    loss = fastnn.losses.Custom(value, lambda y, output: 2 * (output - y))
    with pytest.raises(RuntimeError, match=words):
        net.fit(X, X[:, :3], loss=loss, epochs=2)

    def elsewhere(state):
        found = []

        def work():
            try:
                state.net.set_weights(before.get_weights())
            except RuntimeError as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        raise found[0]

    with pytest.raises(RuntimeError, match=words):
        fit(make(), callbacks=[Gives(1, elsewhere)])
    net.set_weights(before.get_weights())  # behind the fit


def test_a_checkpoint_holds_weights_that_were_given(tmp_path):
    path = tmp_path / "fit"

    def run(net, epochs, **more):
        gives = [Gives(-1, WAYS["set_weights"]), Gives(1, WAYS["in place"])]
        fit(net, optimizer=fastnn.SGD(0.1, momentum=0.9), callbacks=gives, epochs=epochs, **more)
        return net.parameters.tobytes()

    wanted = run(make(), 6)
    run(make(), 2, checkpoint=path, checkpoint_seconds=0)
    net = make()
    assert run(net, 6, checkpoint=path) == wanted
    run(net, 7, checkpoint=path)  # the network of that fit goes on from the file


@each("solver", ["sgd", "adam", "lbfgs"])
@each("way", ["in place", "other arrays", "restore"])
def test_estimators_take_them_too(solver, way):
    def give(state):
        est = state.net
        if way == "in place":
            for array in (*est.coefs_, *est.intercepts_):
                array[:] = 0.25
        elif way == "other arrays":
            est.coefs_ = [np.full(a.shape, 0.25) for a in est.coefs_]
            est.intercepts_ = [np.full(a.shape, 0.25) for a in est.intercepts_]
        else:
            state.restore(np.full_like(state.parameters, 0.25))
        if ends:
            raise fastnn.StopFit

    def run(at, max_iter):
        est = fastnn.MLPRegressor(hidden_layer_sizes=(4,), solver=solver, learning_rate_init=1e-9,
                                  max_iter=max_iter, callbacks=[Gives(at, give)],
                                  random_state=0, n_iter_no_change=50)
        return est.fit(X.astype("float32"), X[:, 0].astype("float32"))

    ends = True
    for array in (*run(1, 9).coefs_, *run(1, 9).intercepts_):
        assert (array == np.float32(0.25)).all() and array.dtype == np.float32
    ends = False
    if solver == "lbfgs":
        with pytest.raises(ValueError, match="L-BFGS goes on from iterates of its own"):
            run(1, 4)
        return
    for array in run(1, 4).coefs_:
        assert np.abs(array - 0.25).max() < 1e-6


@each("again", [lambda net: net.__init__((4, 5, 2)), lambda net: net.__init__((7, 12, 5, 3)),
                lambda net: net.__setstate__(make(random_state=3).__getstate__())])
def test_a_network_cannot_be_made_again_within_its_fit(again):
    net, wanted = make(), make()
    with pytest.raises(RuntimeError, match="this MLP is being fitted already"):
        fit(net, callbacks=[Gives(1, lambda state: again(state.net))])
    fit(wanted, epochs=2)
    assert net.parameters.tobytes() == wanted.parameters.tobytes()

    def source():
        again(net)
        yield X, Y

    with pytest.raises(RuntimeError, match="this MLP is being fitted already"):
        net.fit_batches(source)
    assert net.parameters.tobytes() == wanted.parameters.tobytes()
    again(net)  # behind the fit


@pytest.mark.parametrize("width", [4, 2000])  # which are compared in two ways
def test_networks_of_any_size_go_on_from_given_weights(width):
    net, X = fastnn.MLP((3, width, 1), random_state=0), np.zeros((8, 3), "f")
    assert (net.parameters.size < SMALL) == (width == 4)
    given = []

    def give(epoch, net, history):
        if epoch == 1:
            net.parameters[-1] += 1
            given.append(net.parameters.copy())

    net.fit(X, X[:, :1], epochs=2, callback=give)
    assert net.parameters.tobytes() == given[0].tobytes()
