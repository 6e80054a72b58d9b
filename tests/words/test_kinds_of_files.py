"""Files of another kind, and models of another library: the message names them, and who reads
them."""

import gzip
import io
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastnn

ROOT = Path(__file__).parents[2]


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"1234567890")
    return file.getvalue()


def saved_array():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


KINDS = {
    "m.pkl": (pickle.dumps([1, 2, 3, "four"]), "a pickle or joblib file: joblib.load(path)"),
    "m.pt": (zipped("archive/data.pkl"), "a PyTorch file: fastnn.from_torch(torch.load("),
    "m.keras": (zipped("model.weights.h5"), "a Keras file: fastnn.from_keras("),
    "m.skops": (zipped("schema.json"), "a skops file: skops.io.load("),
    "t.xlsx": (zipped("[Content_Types].xml"), "an Excel file (xlsx)"),
    "a.npz": (zipped("X.npy"), "a NumPy archive (npz): numpy.load(path)"),
    "a.npy": (saved_array(), "a NumPy file: numpy.load(path)"),
    "other.zip": (zipped("x"), "a zip archive"),
    "broken.zip": (b"PK\x03\x04" + bytes(20), "a zip archive"),
    "m.h5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
    "p.png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "a picture (PNG)"),
    "p.jpg": (b"\xff\xd8\xff\xe0" + bytes(20), "a picture (JPEG)"),
    "t.parquet": (b"PAR1" + bytes(20), "a Parquet file"),
    "t.feather": (b"ARROW1\0\0" + bytes(20), "a Feather file"),
    "m.gz": (gzip.compress(b"1234"), "a gzip file"),
    "m.onnx": (b"\x08\x0a\x12\x07pytorch" + bytes(20), "an ONNX file: fastnn.from_onnx(path)"),
    "t.csv": (b"a,b\n1,2\n" * 99, "a table as text (CSV)"),
    "t.json": (b'{"a": [1, 2, 3]}', "JSON"),
    "page.html": (b"<!DOCTYPE html><html>", "a web page or XML"),
    "p.txt": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
}


@pytest.mark.parametrize("name", KINDS)
def test_load_says_what_a_file_looks_like(tmp_path, name):
    content, text = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fastnn.ModelFormatError) as caught:
        fastnn.load(tmp_path / name)
    assert f"it looks like {text}" in str(caught.value), str(caught.value)


def test_a_directory_of_a_zip_archive_is_not_read_as_a_whole(tmp_path):
    """A file of 20 MB, all of it names, took 3 s and 0.2 GB."""
    entry = bytearray(46) + b"a"
    entry[:4], entry[28] = b"PK\1\2", 1
    entries = bytes(entry) * (20_000_000 // len(entry))
    end = b"PK\5\6" + bytes(4) + b"\xff" * 4 + struct.pack("<IIH", len(entries), 30, 0)
    (tmp_path / "m.zip").write_bytes(b"PK\3\4" + bytes(26) + entries + end)
    tracemalloc.start()
    with pytest.raises(fastnn.ModelFormatError, match="looks like a zip archive"):
        fastnn.load(tmp_path / "m.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_load_says_nothing_of_what_it_does_not_know(tmp_path):
    (tmp_path / "m.bin").write_bytes(bytes(range(128, 256)))
    with pytest.raises(fastnn.ModelFormatError, match="a part of one$"):
        fastnn.load(tmp_path / "m.bin")


def test_a_damaged_model_is_no_other_kind(tmp_path):
    path = tmp_path / "m.safetensors"
    fastnn.MLP((2, 1), random_state=0).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    with pytest.raises(fastnn.ModelFormatError, match="is cut off") as caught:
        fastnn.load(path)
    assert "looks like" not in str(caught.value)


def test_headers_of_models_are_no_pickles(tmp_path):
    """A header of 0x480 bytes begins as a pickle does, and a file cut within was called one."""
    path, cut = tmp_path / "m.safetensors", tmp_path / "cut.safetensors"
    path.write_bytes(struct.pack("<Q", 0x480) + b'{"' + bytes(2000))
    cut.write_bytes(path.read_bytes()[:900])
    with pytest.raises(fastnn.ModelFormatError, match="is cut off: it has 900 bytes, its head"):
        fastnn.load(cut)
    with pytest.raises(fastnn.ModelFormatError) as caught:
        fastnn.load(path)
    assert "looks like" not in str(caught.value)
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="is not an ONNX file: it looks like a safetensors file"):
        fastnn.from_onnx(path)


def test_from_onnx_says_so_too(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(list(range(100))))
    with pytest.raises(ValueError, match="is not an ONNX file: it looks like a pickle"):
        fastnn.from_onnx(tmp_path / "m.pkl")


def test_models_of_other_libraries(tmp_path):
    for call, text in (
            (lambda: fastnn.from_torch("m.pt"), "torch.load('m.pt', weights_only=True)"),
            (lambda: fastnn.from_keras("m.keras"), "keras.models.load_model('m.keras')")):
        with pytest.raises(TypeError, match=re.escape(text)):
            call()
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    pipe = make_pipeline(LogisticRegression())
    with pytest.raises(TypeError, match="register_skl2onnx.*then skl2onnx.to_onnx"):
        fastnn.export.c_header(pipe, tmp_path / "m.h")
    with pytest.raises(TypeError, match=re.escape("fastnn.from_sklearn(model)")):
        fastnn.export.c_header(MLPClassifier(), tmp_path / "m.h")
    with pytest.raises(TypeError, match=re.escape("its last step, pipe[-1]")):
        fastnn.from_sklearn(pipe)


def test_nobody_is_told_to_install_the_other_fastnn():
    """The name on the package index is fastnn-mlp; fastnn is another project there."""
    pattern = re.compile(r"""(pip3?|uv pip|uv|pipx|poetry)["', ]+(install|add)[^\n]*?"""
                         r"""[ "'=]fastnn(?!-mlp)(?=[\[ "'\n=<>~]|$)""", re.MULTILINE)
    assert pattern.search('pip install "fastnn[onnx]"') and pattern.search("pip install -U fastnn")
    assert not pattern.search('pip install "fastnn-mlp[onnx]"')
    places = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.rst"),
              *ROOT.glob("fastnn/**/*.py"), *ROOT.glob("fastnn/**/*.pyx"),
              *ROOT.glob("examples/*.py"), ROOT / "CONTRIBUTING.md"]
    assert len(places) > 100
    assert [path.name for path in places if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_a_source_tree_without_compiled_modules_says_so(tmp_path, run_python):
    import shutil

    shutil.copytree(ROOT / "fastnn", tmp_path / "fastnn",
                    ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    done = run_python("import sys; sys.path.insert(0, sys.argv[1]); import fastnn", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled modules of fastnn are missing in"), last
    assert "`make build`" in last and "start Python in another folder" in last


def test_what_stands_in_a_file_is_no_path(tmp_path):
    path = tmp_path / "m.safetensors"
    fastnn.MLP((20, 64, 1), random_state=0).save(path)
    with pytest.raises(TypeError, match="bytes, must be the path of a file: write them to one"):
        fastnn.load(path.read_bytes())


def test_a_file_that_is_cut_off(tmp_path):
    path = tmp_path / "m.safetensors"
    fastnn.MLP((20, 64, 1), random_state=0).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    with pytest.raises(fastnn.ModelFormatError, match="is cut off: it has .* bytes, its header"):
        fastnn.load(path)


def test_a_model_under_the_name_of_another_kind_of_file(tmp_path):
    net = fastnn.MLP((2, 1), random_state=0)
    with pytest.warns(fastnn.HintWarning, match="has the name of an ONNX file, and save writes a "
                                                "safetensors file"):
        net.save(tmp_path / "net.onnx")
    with pytest.warns(fastnn.HintWarning, match="has the name of a joblib file"):
        fastnn.Predictor(net, "regression").save(str(tmp_path / "net.JOBLIB"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("net.safetensors", "net", "net.model", ".h5"):
            net.save(tmp_path / name)
    assert fastnn.load(tmp_path / "net.onnx").sizes == (2, 1)
