"""Settings of a fit together that know nothing of each other."""

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import losses, schedules
from fastnn.training.scorers import answers_of

ROWS = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
VALUES = ROWS[:, :1] + 2


def net(n_out=1, **settings):
    return fastnn.MLP((4, 8, 8, n_out), random_state=0, **settings)


RATES_OF_LAYERS = [
    fastnn.Muon,
    lambda rate: fastnn.Adam(rate, layers={0: {"learning_rate": 0.02}}),
    lambda rate: fastnn.Adam(rate, layers={0: {"weight_decay": 0.1}}),
    lambda rate: fastnn.EMA(fastnn.Muon(rate)),
]


@each("make_optimizer", RATES_OF_LAYERS)
def test_schedules_that_are_functions_go_with_settings_of_layers(make_optimizer):
    found = []
    for rate in (0.01, lambda epoch: 0.01, schedules.ByStep(lambda step: 0.01),
                 schedules.ByEpoch(lambda epoch: 0.01), schedules.Constant(0.01)):
        one = net()
        one.fit(ROWS, VALUES, optimizer=make_optimizer(rate), epochs=2, batch_size=10)
        found.append(one.parameters.tobytes())
    assert set(found) == {found[0]}


def test_a_decay_of_a_layer_does_not_ask_for_a_rate_at_the_start():
    optimizer = fastnn.Adam(lambda epoch: 0.01 * epoch, layers={0: {"weight_decay": 0.1}})
    assert len(net().fit(ROWS, VALUES, optimizer=optimizer, epochs=2).loss) == 2


def test_rates_of_layers_in_proportion_to_none():
    for optimizer in (fastnn.Muon(lambda epoch: 0.01 * epoch),
                      fastnn.Adam(lambda epoch: 0.0, layers={0: {"learning_rate": 1.0}})):
        with pytest.raises(ValueError, match="at the start is 0"):
            net().fit(ROWS, VALUES, optimizer=optimizer)
    with pytest.raises(ValueError, match="Cosine has no learning_rate"):
        net().fit(ROWS, VALUES, optimizer=fastnn.Muon(adam=fastnn.Adam(schedules.Cosine())))


def test_the_range_test_takes_every_optimizer_that_steps():
    plain = fastnn.find_learning_rate(net(), ROWS, VALUES, batch_size=10)
    layers = {0: {"learning_rate": 1e-3}}  # that of all others: the same steps
    for optimizer in (fastnn.Adam(1e-3, layers=layers), fastnn.EMA("adam"),
                      fastnn.Adam(schedules.ByStep(lambda step: 0.0))):
        curve = fastnn.find_learning_rate(net(), ROWS, VALUES, optimizer=optimizer, batch_size=10)
        np.testing.assert_array_equal(curve.losses, plain.losses)
    with pytest.raises(ValueError, match="optimizer=LBFGS has no learning rate"):
        fastnn.find_learning_rate(net(), ROWS, VALUES, optimizer=fastnn.LBFGS())


def test_the_range_test_leaves_frozen_layers():
    frozen = net()
    frozen.freeze(0, 1, 2)
    curve = fastnn.find_learning_rate(frozen, ROWS, VALUES, batch_size=40)
    np.testing.assert_allclose(curve.losses, curve.losses[0], rtol=1e-6)


def test_muon_of_a_layer_without_matrix():
    with pytest.raises(ValueError, match=r"layers\[1\]\['muon'\]=True: layer 1 has no W"):
        net(norm="layer").fit(ROWS, VALUES, optimizer=fastnn.Muon(layers={1: {"muon": True}}))


def test_reduce_on_plateau_says_that_lbfgs_has_no_rate():
    with pytest.raises(ValueError, match=r"ReduceOnPlateau .* L-BFGS"):
        net().fit(ROWS, VALUES, optimizer=fastnn.LBFGS(), validation_data=(ROWS, VALUES),
                  callbacks=[fastnn.ReduceOnPlateau()])


def test_lbfgs_can_be_stopped_before_its_first_iteration():
    class Never(fastnn.Callback):
        def on_fit_begin(self, state):
            state.stop("never")

    one = net()
    before = one.parameters.tobytes()
    history = one.fit(ROWS, VALUES, optimizer=fastnn.LBFGS(), callbacks=[Never()])
    assert history.stopped == "never"
    assert history.loss == []
    assert one.parameters.tobytes() == before


def test_why_lbfgs_ended():
    one = net()
    with pytest.warns(fastnn.DivergenceWarning):
        history = one.fit(ROWS * 1e30, VALUES * 1e30, optimizer=fastnn.LBFGS())
    assert history.stopped == "diverged"
    assert np.isfinite(one.parameters).all()

    # a slope that leads upwards: no step along it is an improvement
    wrong = losses.Custom(lambda y, z: (z - y) ** 2, lambda y, z: 2 * (y - z))
    history = net().fit(ROWS, VALUES, loss=wrong, optimizer=fastnn.LBFGS())
    assert history.stopped == "the line search found no lower loss"


def test_a_callback_cannot_restore_nan():
    class Restores(fastnn.Callback):
        def on_fit_end(self, state):
            state.restore(state.parameters * np.nan)

    one = net()
    with pytest.raises(ValueError, match="parameters contains NaN"):
        one.fit(ROWS, VALUES, epochs=1, callbacks=[Restores()])
    assert np.isfinite(one.parameters).all()


def test_a_search_without_data_knows_schedules_and_refuses_layers():
    def found(rate):
        strategy = fastnn.EvolutionStrategy(rate, population=4)
        return strategy.maximize(lambda x: -(x ** 2).sum(), np.ones(3), generations=4,
                                 random_state=0)[0].tolist()

    rates = schedules.Cosine(0.1).rates(0, 4, 4, 1)
    assert found(schedules.Cosine(0.1)) == found(lambda generation: rates[generation])
    with pytest.raises(ValueError, match="layers="):
        fastnn.EvolutionStrategy(layers={0: {"max_norm": 1.0}}).maximize(sum, np.ones(3))


def test_an_evolution_strategy_refuses_penalties_of_layers():
    for key in ("alpha", "l1"):
        with pytest.raises(ValueError, match=f"'{key}'.* is unknown"):
            fastnn.EvolutionStrategy(layers={0: {key: 0.1}})
    fastnn.EvolutionStrategy(layers={0: {"max_norm": 1.0}})


def test_a_loss_of_functions_may_change_what_it_gets():
    def value(y, output):
        output -= y
        return np.square(output, out=output)

    def derivative(y, output):
        output -= y
        output *= 2
        return output

    found = []
    for loss in (losses.Custom(value, derivative),
                 losses.Custom(lambda y, z: (z - y) ** 2, lambda y, z: 2 * (z - y))):
        one = net()
        history = one.fit(ROWS, VALUES, loss=loss, epochs=2)
        found.append((one.parameters.tobytes(), history.loss))
    assert found[0] == found[1]


@each("scale", [-1, float("nan"), "0.1"])
def test_a_callback_cannot_set_a_senseless_scale(scale):
    class Scale(fastnn.Callback):
        def on_epoch_end(self, state):
            state.learning_rate_scale = scale

    with pytest.raises((ValueError, TypeError), match="learning_rate_scale"):
        net().fit(ROWS, VALUES, callbacks=[Scale()])


def test_metrics_of_means_and_variances_see_targets_and_means():
    seen = []

    def shapes(y, output):
        seen.append((y.shape, output.shape))
        return 0.0

    one = net(4)
    y = np.column_stack([VALUES, -VALUES])
    history = one.fit(ROWS, y, loss="gaussian_nll", epochs=1, validation_data=(ROWS, y),
                      metrics=["r2", shapes])
    assert seen == [((40, 2), (40, 4))]
    means = one.predict(ROWS)[:, :2]
    wanted = 1 - ((means - y) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert history.val_r2[0] == pytest.approx(wanted.mean(), rel=1e-5)


def test_metrics_of_margins():
    labels = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0)
    one = net(3)
    history = one.fit(ROWS, labels, loss="hinge", epochs=1, validation_data=(ROWS, labels),
                      metrics=["accuracy"])
    assert history.val_accuracy[0] == (one.predict(ROWS).argmax(axis=1) == labels).mean()
    one = net(1)
    history = one.fit(ROWS, labels > 0, loss="squared_hinge", epochs=1,
                      validation_data=(ROWS, labels > 0), metrics=["accuracy", "roc_auc"])
    assert history.val_accuracy[0] == ((one.predict(ROWS)[:, 0] > 0) == (labels > 0)).mean()
    several = np.column_stack([labels > 0, labels > 1])
    one = net(2)
    history = one.fit(ROWS, several, loss="hinge", epochs=1, validation_data=(ROWS, several),
                      metrics=["accuracy", "f1_macro"])
    assert history.val_accuracy[0] == ((one.predict(ROWS) > 0) == several).all(axis=1).mean()


def test_margins_as_scorers_see_them():
    model, y = answers_of("identity", 3, np.eye(3), margins=True)
    assert y.tolist() == [0, 1, 2]
    assert model.predict(np.eye(3)).tolist() == [0, 1, 2]


@each("given, back", [(None, {}), ({"best": np.array(1.5)}, {"best": 1.5})])
def test_states_of_callbacks_without_entries_or_axes(tmp_path_factory, given, back):
    class Counts(fastnn.Callback):
        found = None

        def get_state(self):
            return given

        def set_state(self, state):
            self.found = state

    path, last = tmp_path_factory.mktemp("state") / "checkpoint", Counts()
    net().fit(ROWS, VALUES, epochs=1, callbacks=[Counts()], checkpoint=path)
    net().fit(ROWS, VALUES, epochs=2, callbacks=[last], checkpoint=path)
    assert last.found == back
