"""Schedules: each against PyTorch's where it has one, to 1e-12, and against its formula."""

import math
import pickle

import numpy as np
import pytest
from each import each
from small_nets import data, make

import fastnn
from fastnn import schedules

N = 84  # 12 · (1 + 2 + 4)


def rates(schedule, total=N, per_epoch=1):
    return schedule.rates(0, total, total, per_epoch)


def of_torch(make_scheduler, rate=0.1, n=N):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    found = []
    for _ in range(n):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_against_pytorch():
    cases = {
        "StepLR": (schedules.Step(0.1, 7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
        "ExponentialLR": (schedules.Exponential(0.1, 0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
        "CosineAnnealingLR": (schedules.Cosine(0.1, final=0.02),
                              lambda s, o: s.CosineAnnealingLR(o, N, eta_min=0.002)),
        "CosineAnnealingWarmRestarts": (
            schedules.Cosine(0.1, restarts=2, growth=2, final=0.1),
            lambda s, o: s.CosineAnnealingWarmRestarts(o, 12, 2, eta_min=0.01)),
        "three equal cycles": (
            schedules.Cosine(0.1, restarts=2),
            lambda s, o: s.CosineAnnealingWarmRestarts(o, 28)),
        "OneCycleLR": (
            schedules.OneCycle(0.1),
            lambda s, o: s.OneCycleLR(o, 0.1, total_steps=N, cycle_momentum=False)),
        "PolynomialLR": (schedules.Polynomial(0.1, 2.5), lambda s, o: s.PolynomialLR(o, N, 2.5)),
    }
    for name, (schedule, make_scheduler) in cases.items():
        n = N - 1 if name == "OneCycleLR" else N  # it must not be stepped beyond its end
        wanted = of_torch(make_scheduler, n=n)
        found = schedule.rates(0, n, N, 1)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12, err_msg=name)
    last = schedules.OneCycle(0.1).rates(N - 1, 1, N, 1)
    assert last[0] == pytest.approx(4e-7, rel=1e-12)


def test_warm_up_and_cosine():
    found = rates(schedules.Cosine(0.1, warmup=0.25, final=0.1), 40)
    np.testing.assert_allclose(found[:10], 0.01 * np.arange(1, 11), rtol=1e-13)
    wanted = [0.1 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * i / 30))) for i in range(30)]
    np.testing.assert_allclose(found[10:], wanted, rtol=1e-12)
    part = rates(schedules.Cosine(0.1, warmup=0.3), 9)  # of a step that is not whole: left out
    np.testing.assert_allclose(part[:3], [0.05, 0.1, 0.1], rtol=1e-13)
    assert part[3] < 0.1


def test_coslog4():
    found = rates(schedules.CosLog4(2.0), 150)
    wanted = [2 * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * i / 150)))
              for i in range(150)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert found[[0, 10, 30, 70]] == pytest.approx(0, abs=1e-12)  # 1 + 15 t = 1, 2, 4, 8


def test_the_others():
    np.testing.assert_allclose(rates(schedules.Constant(0.3), 5), 0.3)
    np.testing.assert_allclose(rates(schedules.InverseScaling(0.3, 0.7), 5),
                               [0.3 / (1 + s) ** 0.7 for s in range(5)], rtol=1e-13)
    found = rates(schedules.FlatThenCosine(1.0, flat=0.5, final=0.2), 8)
    wanted = [1, 1, 1, 1, *(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4))]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    assert rates(schedules.ByStep(lambda step: step + 1.0), 4).tolist() == [1, 2, 3, 4]
    assert rates(schedules.ByEpoch(lambda epoch: epoch + 1.0), 6, 3).tolist() == [1, 1, 1, 2, 2, 2]
    # by epochs of several steps
    assert rates(schedules.Step(1.0, 2, 0.5), 12, 3).tolist() == [1.0] * 6 + [0.5] * 6
    assert rates(schedules.Exponential(1.0, 0.5), 7, 3)[[0, 3, 6]] == pytest.approx([1, 0.5, 0.25])


SETTINGS = [
    schedules.Constant(0.01), schedules.Step(0.01, 2), schedules.Exponential(0.01),
    schedules.InverseScaling(0.01), schedules.Cosine(0.01, warmup=0.2, restarts=1),
    schedules.CosLog4(0.01), schedules.OneCycle(0.01), schedules.Polynomial(0.01),
    schedules.FlatThenCosine(0.01), schedules.ByStep(lambda step: 0.01 / (1 + step)),
    schedules.ByEpoch(lambda epoch: 0.01 / (1 + epoch)),
]


@each("schedule", SETTINGS)
def test_any_part_has_the_rates_of_the_whole(schedule):
    whole = schedule.rates(0, 30, 30, 7)
    assert whole.dtype == np.float64 and (whole >= 0).all() and whole.max() <= 0.01 * (1 + 1e-15)
    for first, n in ((0, 1), (7, 7), (28, 2)):
        assert schedule.rates(first, n, 30, 7).tolist() == whole[first:first + n].tolist()


@each("schedule", SETTINGS)
def test_a_fit_takes_them_step_by_step(schedule):
    """As single steps with these rates do; for one and three threads the same bytes."""
    X, y = data(50)
    bytes_ = []
    for n_threads in (1, 3):
        net = make(n_threads=n_threads)
        net.fit(X, y, epochs=3, batch_size=8, shuffle=False, optimizer=fastnn.SGD(schedule, 0.0))
        bytes_.append(net.parameters.tobytes())
    assert bytes_[0] == bytes_[1]
    other, wanted = make(), schedule.rates(0, 21, 21, 7)
    for step in range(21):
        rows = slice(step % 7 * 8, step % 7 * 8 + 8)
        _, grad = other.loss_and_grad(X[rows], y[rows])
        other.parameters[:] -= wanted[step] * grad
    found = np.frombuffer(bytes_[0])
    np.testing.assert_allclose(found, other.parameters, rtol=1e-9, atol=1e-12)


def test_a_constant_one_gives_the_bytes_of_a_number():
    X, y = data()
    nets = [make(), make(), make()]
    for net, rate in zip(nets, (0.01, schedules.Constant(0.01), lambda epoch: 0.01), strict=True):
        net.fit(X, y, epochs=3, batch_size=10, optimizer=fastnn.Adam(rate))
    assert len({net.parameters.tobytes() for net in nets}) == 1


def test_max_steps_is_the_end_of_a_schedule():
    X, y = data(50)
    seen = []
    schedule = schedules.Polynomial(0.1)

    class Watch(fastnn.Callback):
        def on_epoch_end(self, state):
            seen.append((state.step, state.learning_rate))

    history = make().fit(X, y, epochs=100, batch_size=8, max_steps=10, callbacks=[Watch()],
                         optimizer=fastnn.SGD(schedule))
    assert history.stopped == "steps"
    assert seen == [(7, pytest.approx(0.1 * 0.4)), (10, pytest.approx(0.1 * 0.1))]


@each("call, error, words", [
    (lambda: schedules.Cosine(0), ValueError, "learning_rate=0.0 must be finite and > 0"),
    (lambda: schedules.Cosine("x"), TypeError, "learning_rate='x' must be a number"),
    (lambda: schedules.Cosine(1.0, warmup=1), ValueError, r"warmup=1.0 must be in \[0, 1\)"),
    (lambda: schedules.Cosine(1.0, restarts=-1), ValueError, "restarts=-1"),
    (lambda: schedules.Step(1.0, 0), ValueError, "step_size=0"),
    (lambda: schedules.Exponential(1.0, math.inf), ValueError, "gamma=inf"),
    (lambda: schedules.ByStep(3), TypeError, "function=3 must be a function of the step"),
    (lambda: fit(schedules.Cosine()), ValueError, r"no learning_rate: .*schedules.Cosine\(1e-3\)"),
    (lambda: fit(schedules.Cosine), TypeError, "Cosine is a class, must be an object"),
    (lambda: fit(schedules.ByStep(lambda step: -1.0)), ValueError,
     "the learning rate of step 0 is -1.0"),
    (lambda: fit(schedules.ByEpoch(lambda epoch: "fast")), TypeError, "must be a number"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def fit(schedule):
    X, y = data()
    make().fit(X, y, optimizer=fastnn.Adam(schedule))


def test_values():
    """They compare, are pickled, and take a rate where they have none."""
    schedule = schedules.Cosine(warmup=0.1)
    assert pickle.loads(pickle.dumps(schedule)) == schedule != schedules.Cosine(warmup=0.2)
    assert schedule.with_rate(0.5).learning_rate == 0.5
    assert schedules.Cosine(0.1).with_rate(0.5).learning_rate == 0.1
    assert schedule.describe().startswith("Cosine(learning_rate=None, warmup=0.1")
