"""What takes time, judged so that a busy machine cannot fail a test.

Noise only ever adds: the least of several tries counts, of CPU time, without the collections of
garbage that everything else in this process has left.
"""

import gc
import itertools
import time

TRIES = 8


def seconds(operation, enough=0.0, tries=TRIES):
    """Return the least CPU time of a call; the first that takes less than ``enough`` ends it."""
    least = float("inf")
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(tries):
            start = time.process_time()
            operation()
            least = min(least, time.process_time() - start)
            if least < enough:
                break
    finally:
        if enabled:
            gc.enable()
    return least


def check_in_proportion(operation, sizes, factor=3, floor=0.01):
    """Assert that the time of ``operation(size)`` grows with the size, from each to the next at
    most ``factor`` times as fast; what takes less than ``floor`` seconds is not looked at more
    closely."""
    operation(sizes[0])  # what the first call of a process takes
    found = {sizes[0]: seconds(lambda: operation(sizes[0]), tries=3)}
    for before, size in itertools.pairwise(sizes):
        most = factor * size / before * max(found[before], floor)
        found[size] = seconds(lambda size=size: operation(size), enough=most)
        assert found[size] < most, found
    print(found)
