"""Predictions beside an event loop: the interpreter's lock is free while rows are computed."""

import asyncio

import numpy as np
import pytest

import fastnn

SIZES = (200, 1000, 1000, 10)  # 5000 rows take some tenths of a second


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).standard_normal((5000, SIZES[0]), dtype=np.float32)


@pytest.fixture(scope="module", params=["MLP", "Predictor"])
def model(request):
    net = fastnn.MLP(SIZES, output="softmax", random_state=0, n_threads=1)
    if request.param == "MLP":
        return net
    return fastnn.Predictor(net, scaler=fastnn.Scaler(np.zeros(200), np.ones(200)))


def test_the_event_loop_runs_meanwhile(model, rows):
    async def predict():
        task, n_ticks = asyncio.create_task(asyncio.to_thread(model.predict, rows)), 0
        while not task.done():
            await asyncio.sleep(0.001)
            n_ticks += 1
        return await task, n_ticks

    outputs, n_ticks = asyncio.run(predict())
    np.testing.assert_array_equal(outputs, model.predict(rows))
    # about 70 on a quiet machine; one or two were the lock held
    assert n_ticks >= 5


def test_many_at_once(model, rows):
    """Each gets its own answer; with different numbers of rows, large and small."""
    parts = [rows[i:i + n] for i, n in enumerate([1, 2, 64, 100, 500, 1, 7, 1000] * 4)]

    async def predict():
        return await asyncio.gather(*(asyncio.to_thread(model.predict, part) for part in parts))

    for part, outputs in zip(parts, asyncio.run(predict()), strict=True):
        np.testing.assert_array_equal(outputs, model.predict(part))
