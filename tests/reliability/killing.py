"""Fits in processes of their own that are killed at random moments."""

import os
import signal
import time

import numpy as np


def version(path):
    """Another one for each file that has been at a place."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def killed(pid, path, writes, seconds):
    """Kills a process some seconds after it has written the file so many times; its status."""
    before = version(path)
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        now = version(path)
        writes, before = writes - (now != before), now
        if writes <= 0:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        time.sleep(0.0002)


def kill_again_and_again(child, path, kills, epochs):
    """Call ``child(n_threads)`` in processes that are killed at random moments, each after few
    writes of the file, and any moment of the next epoch; with one thread and two in turn.

    On a busy machine a process may have ended before: what it wrote is taken back, and another one
    goes on from the same file. Returns how many different files were there after a kill.
    """
    contents = path.read_bytes() if path.exists() else None
    found, random = {contents}, np.random.default_rng(kills)
    for i in range(kills):
        status, tries = 0, 0
        while status == 0 and tries < 10:
            tries += 1
            if contents is not None:
                path.write_bytes(contents)
            else:
                path.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                try:
                    child(1 + i % 2)
                    os._exit(0)
                finally:
                    os._exit(1)
            status = killed(pid, path, random.integers(0, max(2, epochs // kills + 1)),
                            random.uniform(0, 0.01))
            assert status in (0, signal.SIGKILL)
        contents = path.read_bytes() if path.exists() else None
        found.add(contents)
    return len(found)
