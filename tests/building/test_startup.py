"""What a service pays before its first prediction, beside `import numpy`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

resource = pytest.importorskip("resource")  # of Unix

NUMPY = "import numpy"
SERVICE = ("import numpy, fastnn, sys\n"
           "fastnn.load(sys.argv[1]).predict(numpy.zeros((1, 20), 'f'))")
# ru_maxrss would start from that of the process that forked
PEAK = "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
ROUNDS = 5, 80  # at least, at most
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}


@pytest.fixture(scope="module", autouse=True)
def bytecode(tmp_path_factory):
    """As where it is installed: the sources are compiled once, also where the environment forbids
    to write beside them."""
    ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = ""
    ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("startup") / "model.safetensors"
    fastnn.MLP((20, 64, 64, 2), output="softmax", random_state=0).save(path)
    return path


def run(code, *arguments):
    """Seconds of CPU time that a fresh interpreter takes, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True,
                          capture_output=True, text=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime), done.stdout


def test_time_beside_numpy(model):
    """At most 1.6 times: the least of some runs in turn, which a busy machine disturbs least, and
    of some more where it is a very busy one."""
    seconds = {code: [] for code in ("pass", NUMPY, SERVICE)}
    for done in range(1, ROUNDS[1] + 1):
        for code, found in seconds.items():
            found.append(run(code, model)[0])
        bare, numpy, service = (min(found) for found in seconds.values())
        if done >= ROUNDS[0] and service - bare <= 1.6 * (numpy - bare):
            break
    print(f"numpy {numpy - bare:.3f} s, first prediction {service - bare:.3f} s")
    assert service - bare <= 1.6 * (numpy - bare)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_beside_numpy(model):
    numpy = int(run(NUMPY + PEAK)[1])
    service = int(run(SERVICE + PEAK, model)[1])
    print(f"{(service - numpy) / 1024:.1f} MiB more than numpy")
    assert service - numpy <= 12 * 1024
