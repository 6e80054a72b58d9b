"""What a save may take the place of, and who may read it meanwhile."""

import os
import socket
import stat
from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn.files import container

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no such files here")


def writers(net):
    """Each public way of writing a file: name and function of a path."""
    X, y = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    yield "save", net.save
    yield "header", lambda path: fastnn.export.c_header(net, path)
    yield "checkpoint", lambda path: net.fit(X, y, epochs=1, checkpoint=path)
    try:
        import onnx  # noqa: F401
    except ImportError:
        return
    yield "onnx", lambda path: fastnn.export.onnx(net, path)


def test_only_regular_files_are_replaced(tmp_path):
    """Devices, pipes and sockets, and links to them, stay what they are."""
    odd = {}
    os.mkfifo(tmp_path / "pipe")
    odd["pipe"] = "pipe"
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(tmp_path / "socket"))
    odd["socket"] = "socket"
    try:
        os.mknod(tmp_path / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        odd["device"] = "device"
    except PermissionError:
        pass
    (tmp_path / "link").symlink_to("pipe")
    odd["link"] = "pipe"
    before = {name: os.stat(tmp_path / name) for name in odd}
    for what, write in writers(fastnn.MLP((3, 2), random_state=0)):
        for name, kind in odd.items():
            with pytest.raises(FileExistsError, match=f"' is a {kind}; only a regular"):
                write(tmp_path / name)
                pytest.fail(f"{what} replaced {name}")
            now = os.stat(tmp_path / name)
            assert (now.st_mode, now.st_ino) == (before[name].st_mode, before[name].st_ino)
    server.close()
    assert sorted(os.listdir(tmp_path)) == sorted(odd)


def test_a_private_file_is_private_while_it_is_written(tmp_path, monkeypatch):
    """And a new one has the permissions that the umask leaves."""
    seen = []
    opened = os.open

    def noted(name, flags, mode=0o777, **more):
        descriptor = opened(name, flags, mode, **more)
        if ".fastnn-" in str(name):
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(container, "PRIVATE", partial(noted, mode=0o600))
    for what, write in writers(fastnn.MLP((3, 2), random_state=0)):
        before = os.umask(0o027)
        try:
            write(tmp_path / what)
            assert stat.S_IMODE(os.stat(tmp_path / what).st_mode) == 0o640, what
            for mode in (0o600, 0o644, 0o444, 0o660):
                seen.clear()
                os.chmod(tmp_path / what, mode)
                if what == "checkpoint":
                    container.write_atomically(tmp_path / what, b"abc")
                else:
                    write(tmp_path / what)
                assert seen == [0o600], what
                assert stat.S_IMODE(os.stat(tmp_path / what).st_mode) == mode, what
        finally:
            os.umask(before)


def test_what_fails_in_the_midst_leaves_the_old_file(tmp_path):
    """`replacing` is for those who write piece by piece."""
    path = tmp_path / "file"
    for old in (None, b"old"):
        if old is not None:
            path.write_bytes(old)
        for error in (OSError, KeyboardInterrupt):
            with pytest.raises(error), container.replacing(path) as file:
                file.write(b"half")
                file.flush()
                raise error
            assert os.listdir(tmp_path) == ([] if old is None else ["file"])
            assert old is None or path.read_bytes() == old
    with container.replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_what_no_reader_takes_is_not_written(tmp_path):
    """A network that has diverged took the place of a good file, and was refused when it was read.
    """
    net = fastnn.MLP.of([fastnn.Dense(3), fastnn.BatchNorm(), fastnn.Dense(2)], n_in=3,
                        random_state=0)
    path = tmp_path / "m.safetensors"
    net.save(path)
    before = path.read_bytes()
    for name, value, said in (("layers.0.weight", np.nan, "NaN"), ("layers.2.bias", np.inf, "inf"),
                              ("layers.1.variance", -1.0, "is a variance and holds -1.0")):
        array = net.named_parameters()[name].reshape(-1)
        was, array[0] = array[0], value
        assert name in net.named_parameters()
        for model in (net, fastnn.Predictor(net)):
            with pytest.raises(ValueError, match=f"the model cannot be saved: {name} .*{said}"):
                model.save(path)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
        array[0] = was
    net.save(path)
    assert path.read_bytes() == before


def test_names_that_no_file_can_have(tmp_path):
    """They were called no model of fastnn, or an embedded null byte."""
    net = fastnn.MLP((3, 2), random_state=0)
    for name, said in (("a\0b", r"path='.*a.x00b' holds '.x00'"),
                       ("a\ud800", r"path='.*a.ud800' holds '.ud800'")):
        path = f"{tmp_path}/{name}"
        for what, door in (*writers(net), ("load", fastnn.load)):
            message = said.replace("path=", "checkpoint=") if what == "checkpoint" else said
            with pytest.raises(ValueError, match=f"{message}, which no name of a file can hold"):
                door(path)
    assert not list(tmp_path.iterdir())
