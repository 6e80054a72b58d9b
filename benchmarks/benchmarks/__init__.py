"""asv benchmarks of fastnn, a file for each layer of the library; see ../README.md."""

import os

# asv starts a process for each benchmark; BLAS reads this when NumPy is imported, which is later.
# fastnn's own threads are a parameter of the benchmarks.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
