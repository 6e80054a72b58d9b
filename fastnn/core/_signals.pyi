import os
from collections.abc import Callable
from types import TracebackType
from typing import final

pending: list[BaseException]

@final
class Guarded:
    def __init__(self, enter: Callable[[], object], leave: Callable[[], object]) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None, /) -> None: ...

def sync_folder(path: str | os.PathLike[str]) -> None: ...
