"""``python -m fastnn playground``: its options. What it serves: tests/playground."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import fastnn
from fastnn.cli import main

ENVIRONMENT = {"PYTHONPATH": str(Path(fastnn.__file__).parents[1])}


@pytest.mark.parametrize("arguments, message", [
    (["--port", "x"], "'x' is no port"),
    (["--port", "65536"], "'65536' is no port"),
    (["--port", "-1"], "is no port|expected one argument"),
    (["--settings", "data=spiral"], "did you mean spirals"),
    (["--settings", "http://127.0.0.1:1/x/#layers=9"], "layers=9 must be a whole number"),
])
def test_wrong_options(arguments, message, capsys):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    assert main(["playground", "--no-browser", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_what_is_not_installed(name, monkeypatch, capsys):
    for module in [module for module in sys.modules if module.startswith("fastnn.playground")
                   or module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("fastnn.playground", raising=False)
    assert main(["playground", "--no-browser"]) == 2
    assert "needs starlette and uvicorn: pip install starlette uvicorn" in capsys.readouterr().err


def test_a_port_that_is_taken(capsys):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["playground", "--no-browser", "--port", str(port)]) == 1
    assert f"port {port}: " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_it_answers_until_ctrl_c():
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with subprocess.Popen(
            [sys.executable, "-m", "fastnn", "playground", "--no-browser", "--settings",
             "http://127.0.0.1:1/old/#data=xor"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(
                r"playground: (http://127\.0\.0\.1:(\d+)/)([\w-]{22})/#data=xor\n", line)
            assert found, line
            root, port, token = found.groups()
            with urllib.request.urlopen(f"{root}{token}/", timeout=60) as page:
                assert b"fastnn playground" in page.read()
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"{root}x/", timeout=60)
            # no other address of the machine
            with socket.socket() as other:
                other.settimeout(5)
                assert other.connect_ex(("127.0.0.2", int(port))) != 0
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
        assert process.returncode in (0, 130)
        assert "Traceback" not in process.stderr.read()
