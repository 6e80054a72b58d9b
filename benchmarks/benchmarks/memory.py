"""Peak memory of the process, and how much of it training needs beyond the data."""

from __future__ import annotations

import numpy as np

import fastnn

from .common import DTYPES, NETWORKS, THREADS

ROWS = 20_000


class Memory:
    params = [["20-64-64-2 b64", "784-256-128-10 b128"], DTYPES, THREADS]
    param_names = ["network", "dtype", "threads"]

    def setup(self, network, dtype, n_threads):
        sizes = NETWORKS[network].sizes
        # made without temporary arrays, which would hide what is measured
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((ROWS, sizes[0]), dtype=dtype)
        self.y = rng.integers(sizes[-1], size=ROWS)
        self.net = fastnn.MLP(
            sizes, output="softmax", dtype=dtype, random_state=0, n_threads=n_threads
        )

    def peakmem_data_only(self, network, dtype, n_threads):
        """The process with its imports and the data: subtract it from the two below."""

    def peakmem_fit(self, network, dtype, n_threads):
        self.net.fit(self.X, self.y, epochs=1, batch_size=NETWORKS[network].batch_size)

    def peakmem_predict(self, network, dtype, n_threads):
        self.net.predict(self.X)

    def track_growth(self, network, dtype, n_threads):
        """Bytes that resident memory grows by over ten more fits: a leak shows here."""
        import resource

        self.peakmem_fit(network, dtype, n_threads)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(10):
            self.peakmem_fit(network, dtype, n_threads)
        return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    track_growth.unit = "bytes"
