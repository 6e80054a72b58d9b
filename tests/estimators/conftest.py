"""One thread unless a test says otherwise: the result is the same, and test workers share cores."""

import pytest
from threadpoolctl import threadpool_limits

from fastnn.core.threads import default_threads


@pytest.fixture(scope="session", autouse=True)
def one_thread_by_default():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        default_threads.cache_clear()
        yield
    default_threads.cache_clear()
