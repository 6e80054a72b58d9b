"""Threads that work while a test does something else, and children that have to end in time."""

import os
import signal
import sys
import threading
import time

CHILD_SECONDS = 20


def during(work, n, body):
    """Calls ``body()`` while n threads do ``work()`` over and over, twice as often as they are many
    at the least. It may not raise, nor return what is false."""
    stop, wrong, done = threading.Event(), [], []

    def over_and_over():
        try:
            while not stop.is_set():
                if not work():
                    wrong.append("another result")
                    return
                done.append(1)
        except BaseException as error:
            wrong.append(repr(error))

    workers = [threading.Thread(target=over_and_over) for _ in range(n)]
    for worker in workers:
        worker.start()
    try:
        body()
        while len(done) < 2 * n and not wrong:
            time.sleep(0.01)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not wrong, wrong


def in_child(work):
    """Returns a child of this process that ends with 0 where ``work()`` returns what is true."""
    child = os.fork()
    if child == 0:
        signal.alarm(0)
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return child


def wait_for(child):
    """Waits for a child, which has to end with 0; one that hangs ends this process, too."""
    for _ in range(1000 * CHILD_SECONDS):  # naps, not the clock: both may have been stopped a while
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"child ended with {os.waitstatus_to_exitcode(status)}"
            return
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sys.exit("a child hangs")
