"""Networks of thousands of layers: time in proportion to their number."""

import random

import numpy as np
from timing import check_in_proportion

import fastnn
from fastnn.network.lowering import Op, slots


def slots_by_search(ops):
    """The smallest number that no value has which is still to be read, one value after another."""
    last_read = {}
    for i, op in enumerate(ops):
        for value in (op.source, op.other) if op.kind == "add" else (op.source,):
            last_read[value] = i
    found = []
    for i in range(len(ops)):
        in_use = {found[value] for value in range(i) if last_read.get(value, -1) >= i}
        found.append(next(slot for slot in range(len(ops) + 1) if slot not in in_use))
    return found


def test_slots():
    rng = random.Random(0)
    for _ in range(3000):
        ops = [Op(rng.choice(["dense", "add"]), 1, 1, rng.randrange(-1, max(i, 1)) if i else -1,
                  rng.randrange(-1, i) if i else -1) for i in range(rng.randrange(1, 12))]
        assert slots(ops) == slots_by_search(ops), ops


def test_time_of_construction_and_steps():
    def use(n):
        net = fastnn.MLP([1] * (n + 1), random_state=0, n_threads=1)
        net.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=1)
        net.predict(np.ones((2, 1)))

    check_in_proportion(use, (500, 5000))
