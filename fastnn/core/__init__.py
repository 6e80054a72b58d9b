"""The compiled ground: table of kernels, signals, threads, memory, checks of arguments."""
