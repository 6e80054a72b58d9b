"""``python -m fastnn playground``: its options. What it serves: tests/playground."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
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


@contextmanager
def playground(*arguments, **environment):
    """The program, and the line that it prints."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with subprocess.Popen(
            [sys.executable, "-m", "fastnn", "playground", *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment}) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_its_port_is_free_at_its_end():
    """It closes connections that pages hold open: their port stays taken for a minute."""
    port = "0"
    for _ in range(2):
        with playground("--no-browser", "--port", port) as (process, line):
            found = re.match(r"playground: http://127\.0\.0\.1:(\d+)(/[\w-]+/)", line)
            assert found, line + process.stderr.read()
            port, path = found.groups()
            page = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            page.request("GET", path)
            page.getresponse().read()
            process.send_signal(signal.SIGINT)
            process.wait(60)
            page.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a browser by its command")
def test_browsers_that_run_in_the_terminal(tmp_path):
    """webbrowser waits for their end, they for the page."""
    read = tmp_path / "read"
    browser = tmp_path / "browser.py"
    browser.write_text("import sys, urllib.request, pathlib\n"
                       "page = urllib.request.urlopen(sys.argv[1], timeout=60).read()\n"
                       f"pathlib.Path({str(read)!r}).write_bytes(page)\n")
    with playground(BROWSER=f"{sys.executable} {browser} %s") as (process, _):
        end = time.monotonic() + 60
        while not (read.exists() and read.stat().st_size) and time.monotonic() < end:
            time.sleep(0.05)
        assert b"fastnn playground" in read.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_an_address_that_nobody_reads():
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "fastnn", "playground", "--no-browser"], stdout=writer,
            stderr=subprocess.PIPE, timeout=60, env=ENVIRONMENT)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")
