"""`MLP.fit`: what it reports, what it leaves alone, what a seed decides."""

import warnings

import numpy as np
import pytest
import reference
import scipy.sparse
from each import each
from small_nets import data, make

import fastnn


def test_history():
    net = make()
    X, y = data()
    history = net.fit(X, y, epochs=7)
    assert len(history.loss) == 7
    assert all(type(value) is float for value in history.loss)
    assert history.loss[-1] < history.loss[0]
    assert history.val_loss is None
    assert "7 epochs" in repr(history)


def test_first_loss_of_a_full_batch_is_the_loss_before_the_step():
    net = make()
    X, y = data()
    before = net.loss(X, y, alpha=0.3)
    assert net.fit(X, y, epochs=1, alpha=0.3, batch_size=53, shuffle=False).loss == [
        pytest.approx(before, rel=1e-13, abs=0)]


def test_defaults_of_fit():
    """10 epochs of Adam() on batches of 128, or of all rows where there are fewer."""
    X, y = data(300)

    def fitted(**more):
        net = make()
        history = net.fit(X, y, **more)
        return history.loss, net.parameters.tobytes()

    wanted = fitted()
    assert len(wanted[0]) == 10
    assert fitted(loss="cross_entropy", optimizer=fastnn.Adam(1e-3), epochs=10, batch_size=128,
                  shuffle=True, sample_weight=None, alpha=0.0) == wanted
    X, y = data(53)
    assert fitted(batch_size=128) == fitted(batch_size=53)


def test_validation_loss():
    net = make(dropout=0.5)
    X, y = data()
    other = np.random.default_rng(1).normal(size=(20, 7)), np.random.default_rng(1).integers(
        0, 3, 20)
    seen = []
    history = net.fit(X, y, epochs=3, alpha=1.0, validation_data=other,
                      callback=lambda epoch, net, history: seen.append(net.loss(*other)))
    assert history.val_loss == seen
    assert all(type(value) is float for value in history.val_loss)


def test_callback_sees_each_epoch_and_can_stop():
    net = make()
    X, y = data()
    seen = []

    def callback(epoch, passed, history):
        seen.append((epoch, passed is net, len(history.loss), net.parameters.copy()))
        if epoch == 2:
            raise fastnn.StopFit

    history = net.fit(X, y, epochs=10, callback=callback)
    assert [entry[:3] for entry in seen] == [(0, True, 1), (1, True, 2), (2, True, 3)]
    assert len(history.loss) == 3
    assert (net.parameters == seen[-1][3]).all()
    assert not (seen[0][3] == seen[1][3]).all()


def test_error_in_a_callback_leaves_a_usable_model():
    net = make()
    X, y = data()

    def callback(epoch, net, history):
        if epoch == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        net.fit(X, y, epochs=5, callback=callback)
    other = make()
    other.fit(X, y, epochs=2)
    assert net.parameters.tobytes() == other.parameters.tobytes()
    net.fit(X, y, epochs=1)


def test_fit_goes_on_from_the_current_parameters():
    net = make()
    X, y = data()
    net.fit(X, y, epochs=30)
    low = net.loss(X, y)
    net.fit(X, y, epochs=1)
    assert net.loss(X, y) < low


def test_inputs_are_not_written_to(dtype):
    net = make(dtype=dtype)
    X, y = data()
    X, weights = X.astype(dtype), np.ones(53, dtype)
    targets = reference.one_hot(y, 3).astype(dtype)
    arrays = (X, targets, weights)
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    net.fit(X, targets, sample_weight=weights, epochs=2, validation_data=(X, targets))
    net.predict(X)
    net.loss_and_grad(X, targets, sample_weight=weights)
    for array, wanted in zip(arrays, copies, strict=True):
        assert array.tobytes() == wanted.tobytes()


def test_float64_data_trains_a_float32_network():
    X, y = data()
    one, other = make(dtype="float32"), make(dtype="float32")
    one.fit(X, y, epochs=2)
    other.fit(X.astype(np.float32), y.astype(np.int64), epochs=2)
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_targets_of_one_output_may_be_flat():
    X, _ = data()
    y = X[:, 0] * 2
    nets = make((7, 4, 1), output="identity"), make((7, 4, 1), output="identity")
    assert nets[0].fit(X, y, epochs=2).loss == nets[1].fit(X, y.reshape(-1, 1), epochs=2).loss


def test_sparse_training_is_dense_training():
    X, y = data()
    X[np.abs(X) < 0.7] = 0
    losses = [make().fit(form(X), y, epochs=3, batch_size=10).loss
              for form in (np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix)]
    assert losses[1] == losses[0]
    assert losses[2] == losses[0]


def test_sparse_with_duplicates_unsorted_and_64_bit_indices():
    dense = np.array([[0.0, 3.0, 5.0], [7.0, 0.0, 0.0]])
    X = scipy.sparse.csr_array(
        (np.array([5.0, 1.0, 2.0, 7.0]), np.array([2, 1, 1, 0], np.int64),
         np.array([0, 3, 4], np.int64)), shape=(2, 3))
    kept = X.copy()
    y = [[1.0], [2.0]]
    nets = [fastnn.MLP((3, 2, 1), dtype="float64", random_state=0) for _ in range(2)]
    assert nets[0].fit(X, y).loss == nets[1].fit(dense, y).loss
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    np.testing.assert_array_equal(X.indices, kept.indices)
    np.testing.assert_array_equal(X.data, kept.data)


def test_plan_explains_itself():
    text = str(make((64, 100, 10), n_threads=2).plan(200))
    for word in ("64-100-10", "float64", "shard", "threads   2"):
        assert word in text


def test_what_a_callback_returns_does_not_end_the_fit():
    """tqdm's update returns True; who meant to end the fit is told once how to."""
    X, y = data()
    for returned, warns in ((True, True), (np.True_, True), (False, False), (None, False),
                            (1, False), ("stop", False), (np.ones(3), False)):
        net = make()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = net.fit(X, y, epochs=4, callback=lambda *_, found=returned: found)
        assert len(history.loss) == 4
        assert len(caught) == warns
        if warns:
            assert "raise fastnn.StopFit" in str(caught[0].message)
            assert caught[0].filename == __file__


def test_stop_fit_ends_the_fit_whose_callback_raises_it():
    """Not the fit around it; instances and subclasses end it as well."""
    class Enough(fastnn.StopFit):
        pass

    X, y = data()
    for stop in (fastnn.StopFit, fastnn.StopFit("enough"), Enough):
        inner = make()

        def callback(epoch, net, history, stop=stop, inner=inner):
            if net is inner:
                raise stop
            assert len(inner.fit(X, y, epochs=5, callback=callback).loss) == 1
            if epoch == 1:
                raise stop

        assert len(make().fit(X, y, epochs=5, callback=callback).loss) == 2


def test_two_networks_at_once_do_not_share_anything():
    X, y = data()
    a, b = make(), make()
    a.fit(X, y, epochs=1, callback=lambda *_: b.fit(X, y, epochs=1))
    assert a.parameters.tobytes() == b.parameters.tobytes()
    assert not np.shares_memory(a.parameters, b.parameters)


# ---- seeds ----


def fitted_bytes(random_state, fits=1, **more):
    net = make(random_state=random_state, dropout=0.3, **more)
    X, y = data()
    start = net.parameters.tobytes()
    for _ in range(fits):
        net.fit(X, y, epochs=2, batch_size=10)
    return start, net.parameters.tobytes()


@each("seed", [0, 1, 2**31, 2**63 + 5, np.int64(7)])
def test_same_seed_same_bytes(seed):
    assert fitted_bytes(seed) == fitted_bytes(seed)
    assert fitted_bytes(seed)[0] != fitted_bytes(12345)[0]
    assert fitted_bytes(seed)[1] != fitted_bytes(12345)[1]


def test_generators_as_seed():
    for make_generator in (np.random.default_rng, np.random.RandomState):
        assert fitted_bytes(make_generator(3)) == fitted_bytes(make_generator(3))
        generator = make_generator(3)
        assert fitted_bytes(generator) != fitted_bytes(generator)


def test_no_seed_is_another_one_each_time():
    assert fitted_bytes(None)[0] != fitted_bytes(None)[0]


def test_global_random_state_is_not_touched():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted_bytes(0)
    fitted_bytes(None)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_a_later_fit_shuffles_and_drops_anew():
    X, y = data()
    orders = []
    for fits in (1, 2):
        net = make()
        for _ in range(fits):
            start = net.get_weights()
            net.fit(X, y, epochs=1, batch_size=1, optimizer=fastnn.SGD(1e-6, momentum=0))
            moved = net.get_weights()
            orders.append([b - a for a, b in zip(start, moved, strict=True)])
            net.set_weights(start)
    # the same seed gives the same first epoch, the second epoch has another order of rows
    assert all((a == b).all() for a, b in zip(orders[0], orders[1], strict=True))
    assert not all((a == b).all() for a, b in zip(orders[1], orders[2], strict=True))
