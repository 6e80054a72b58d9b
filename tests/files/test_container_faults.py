"""Model files: bytes that do not belong to them, and what is on the disk when a save returns."""

import json
import os
import stat

import numpy as np
import pytest

import fastnn


def saved(path):
    """A network in a file; returns the network."""
    net = fastnn.MLP((3, 4, 2), dtype="float64", random_state=0)
    net.save(path)
    return net


def parts(content):
    """Header, as text, and the data of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return content[8:8 + length].decode(), content[8 + length:]


def joined(header, data):
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + data


def test_bytes_that_no_tensor_owns_are_refused(tmp_path):
    """Behind the last tensor, before the first one and between two; one of them or many."""
    path = tmp_path / "m.safetensors"
    net = saved(path)
    content = path.read_bytes()
    header, data = parts(content)
    wrong = {}
    for n in (1, 8, 4096):
        for filling in (b"\0", b"x"):
            wrong[f"{n} more"] = content + n * filling
        wrong[f"{n} less"] = content[:-n]
        wrong[f"{n} more in the header"] = joined(header + n * " ", data + n * b"\0")
    tensors = json.loads(header)
    first_of_all = min(tensor["data_offsets"] for name, tensor in tensors.items()
                       if name != "__metadata__")
    for gap_before in {tuple(tensor["data_offsets"]) for name, tensor in tensors.items()
                       if name != "__metadata__"}:
        moved = json.loads(header)
        for name, tensor in moved.items():
            if name != "__metadata__" and tensor["data_offsets"][0] >= gap_before[0]:
                tensor["data_offsets"] = [at + 8 for at in tensor["data_offsets"]]
        at = gap_before[0]
        where = "before all" if list(gap_before) == first_of_all else f"at {at}"
        wrong[f"a gap {where}"] = joined(json.dumps(moved), data[:at] + bytes(8) + data[at:])
    for what, changed in wrong.items():
        path.write_bytes(changed)
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(path)
            pytest.fail(f"was read: {what}")
    path.write_bytes(joined(json.dumps(tensors), data))  # spaces in the header: the same file
    assert fastnn.load(path).parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced here")
def test_a_save_is_on_the_disk_when_it_returns(tmp_path, monkeypatch):
    """The file is synced before it takes its name, and the folder, which holds names, after it."""
    done = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        status = os.fstat(descriptor)
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        done.append((f"{kind} synced", status.st_ino))
        return fsync(descriptor)

    def noted_replace(source, target):
        done.append(("renamed", os.stat(source).st_ino))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    net = fastnn.MLP((3, 4, 2), random_state=0)
    X, y = np.ones((4, 3)), np.zeros((4, 2))
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "link.safetensors").symlink_to(other / "m.safetensors")
    for folder, name, save in [
        (tmp_path, "new.safetensors", net.save),
        (tmp_path, "new.safetensors", net.save),  # over an old file
        (other, "link.safetensors", net.save),
        (tmp_path, "fit", lambda path: net.fit(X, y, epochs=1, checkpoint=path)),
    ]:
        done.clear()
        save(tmp_path / name)
        file = os.stat(tmp_path / name).st_ino
        assert done == [("file synced", file), ("renamed", file),
                        ("folder synced", os.stat(folder).st_ino)], name
