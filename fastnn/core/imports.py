"""Imports in functions: of whole modules, whatever signals come meanwhile.

A module that is being imported lies in `sys.modules` half done. A signal handler or a finaliser
comes in between in the same thread, for which the lock of the import is open. It would find names
missing and, in a compiled module, functions that have no address yet.
"""

import os
import signal
import threading
from importlib import import_module
from types import ModuleType

from fastnn.core._signals import Guarded

_complete: dict[str, ModuleType] = {}
# A fork waits until no other thread imports: a child keeps the lock of a module that was half done,
# without the thread that would open it.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release,
                        after_in_child=_importing.release)


class _Held:
    """Handlers in Python, while a function that only notes which signals came stands in for
    them."""

    def __init__(self):
        self.handlers, self.came = {}, {}

    def note(self, number, frame):
        self.came[number] = True

    def hold(self):
        if threading.get_ident() != threading.main_thread().ident:
            return  # handlers run in the main thread alone
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self.note)

    def release(self):
        for number, handler in tuple(self.handlers.items()):
            if signal.getsignal(number) == self.note:  # else the module has set one of its own
                signal.signal(number, handler)
            self.handlers.pop(number, None)
        while self.came:
            signal.raise_signal(self.came.popitem()[0])


def held_back():
    """Return a context in which no signal handler written in Python runs: it runs at the end."""
    held = _Held()
    return Guarded(held.hold, held.release)


def imported(name):
    """Return the module of this name, imported to its end.

    Raises
    ------
    RuntimeError
        When the call comes from within its import, as that of a finaliser may.
    """
    module = _complete.get(name)
    if module is None:
        with _importing, held_back():
            module = import_module(name)
        if getattr(module.__spec__, "_initializing", False):
            raise RuntimeError(f"{name} is being imported by the code that this call interrupts; "
                               "call again after that")
        _complete[name] = module
    return module
