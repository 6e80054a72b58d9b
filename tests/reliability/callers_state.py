"""What a caller has set up in its process and thread, as one dictionary to compare."""

import ctypes
import locale
import mmap
import os
import platform
import random
import signal
import sys
import threading
import warnings

import numpy as np

X86 = platform.machine().lower() in ("x86_64", "amd64") and sys.platform in ("linux", "darwin")
FLAGS = 0x3F  # of MXCSR: which exceptions have occurred; any arithmetic raises them
PLAIN = 0x1F80  # all exceptions masked, round to nearest, subnormals kept
ROUND_UP, FLUSH, ZERO = 0x4000, 0x8000, 0x0040

if X86:  # stmxcsr [rdi]; ret and ldmxcsr [rdi]; ret
    _CODE = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    _CODE.write(bytes.fromhex("0fae1fc3 0fae17c3"))
    _ADDRESS = ctypes.addressof(ctypes.c_char.from_buffer(_CODE))
    _call = ctypes.PYFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))
    _store, _load = _call(_ADDRESS), _call(_ADDRESS + 4)


def float_mode():
    """MXCSR of this thread."""
    if not X86:
        return None
    value = ctypes.c_uint32()
    _store(value)
    return value.value


def set_float_mode(value):
    """Sets it."""
    _load(ctypes.c_uint32(value))


def state():
    """All of it, apart from MXCSR's flags."""
    from threadpoolctl import threadpool_info

    mask = os.umask(0)
    os.umask(mask)
    legacy = np.random.get_state()  # noqa: NPY002
    return {
        "MXCSR": None if not X86 else float_mode() & ~FLAGS,
        "np.geterr": np.geterr(),
        "np.geterrcall": np.geterrcall(),
        "np.printoptions": {**np.get_printoptions()},
        "os.environ": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "locale": locale.setlocale(locale.LC_ALL),
        "random": random.getstate(),
        "np.random": (legacy[0], legacy[1].tobytes(), *legacy[2:]),
        "warnings.filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "BLAS": [(info["filepath"], info["num_threads"]) for info in threadpool_info()
                 if info["user_api"] == "blas"],
        "sys.path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook, sys.getswitchinterval(),
                  sys.getrecursionlimit(), sys.gettrace(), sys.getprofile()),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "umask": mask,
        "cwd": os.getcwd(),
        "affinity": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
    }


def changes(before, after):
    """The names of what is different."""
    return [name for name in before if before[name] != after[name]]
