"""Writes digests.json: the SHA-256 of every golden case, for each instruction set that runs here.

    python tests/golden/make_digests.py

Only a change that is meant to change bytes runs this again, and its commit says why they changed.
Records of instruction sets that this processor lacks stay as they are.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fastnn.config import configuration

FILE = Path(__file__).with_name("digests.json")


def digest(case):
    """Return the SHA-256 of a case's bytes, in hexadecimal."""
    return hashlib.sha256(case()).hexdigest()


def available():
    """Return the instruction sets that run here."""
    return configuration()["ISA"].split("available: ")[1].rstrip(")").split(", ")


def main():
    if sys.argv[1:] == ["--print"]:  # in a process of the instruction set
        from golden_cases import CASES, environment

        digests = {name: digest(case) for name, case in CASES.items()}
        print(json.dumps({"environment": environment(), "digests": digests}))
        return
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for isa in available():
        start = time.perf_counter()
        run = subprocess.run([sys.executable, __file__, "--print"], check=True, text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "FASTNN_ISA": isa})
        found[isa] = json.loads(run.stdout)
        print(f"{isa}: {len(found[isa]['digests'])} digests, {time.perf_counter() - start:.0f} s")
    FILE.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
