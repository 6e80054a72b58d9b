"""Ctrl-C at a chosen moment, and how long it took to come through."""

import os
import subprocess
import sys
import time

SENDER = """
import os, select, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
pid = int(sys.argv[1])

def used():
    # seconds of CPU time of that process, by its clock on Linux
    return time.clock_gettime((~pid << 3) | 2) if sys.platform == "linux" else float("-inf")

while line := sys.stdin.readline():
    time.sleep(float(line))
    times = 0
    while True:
        sent = time.monotonic(), used()
        os.kill(pid, signal.SIGINT)
        times += 1
        if select.select([sys.stdin], [], [], 3)[0]:
            break
    sys.stdin.readline()
    print(*sent, times, flush=True)
"""


class Sender:
    """Another process that sends SIGINT to this one. (A thread of this one would want its GIL.)

    CPython loses what a handler raises while a `__del__` runs: it is then sent again, and counted
    in `lost`.
    """

    def __init__(self):
        self.lost = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(os.getpid())], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)

    def interrupt(self, operation, seconds):
        """Calls an operation again and again until Ctrl-C, that many seconds from now, has ended it
        or it has returned True.

        Returns
        -------
        latency : (float, float)
            Seconds from sending to here, and how many of them this process had a core, both
            threads of two counted: on a machine that is shared with others it says more.
        error : KeyboardInterrupt or None
            None where the operation has returned True.
        """
        found = None
        try:
            self.process.stdin.write(f"{seconds}\n")
            while not operation():
                pass
        except KeyboardInterrupt as error:
            found = error
        arrived = time.monotonic(), time.process_time()
        self.process.stdin.write("arrived\n")
        *sent, times = map(float, self.process.stdout.readline().split())
        self.lost += int(times) - 1
        try:
            return tuple(a - b for a, b in zip(arrived, sent, strict=True)), found
        finally:
            del found  # its traceback has this frame

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
