HAS_OPENMP: bool
pending: list[BaseException]
