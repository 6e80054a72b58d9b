"""What a file looks like that is not what it was taken for, and who reads it. Imported where
something is wrong."""

import os

from fastnn.core.notices import hint, shown

__all__ = ["by_name", "cure", "hint_of_name", "looks_like"]

HEAD, TAIL = 512, 1 << 20
# first bytes -> what it is; where several fit, the first one
BEGINNINGS = (
    (b"\x89PNG\r\n", "a picture (PNG)"), (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"), (b"BM", "a picture (BMP)"), (b"II*\0", "a picture (TIFF)"),
    (b"MM\0*", "a picture (TIFF)"), (b"%PDF", "a PDF file"), (b"PAR1", "a Parquet file"),
    (b"ARROW1", "a Feather file"), (b"FEA1", "a Feather file"), (b"ORC", "an ORC file"),
    (b"\x93NUMPY", "a NumPy file"), (b"\x89HDF\r\n", "an HDF5 file"), (b"\x1f\x8b", "a gzip file"),
    (b"\xfd7zXZ", "an xz file"), (b"BZh", "a bzip2 file"), (b"(\xb5/\xfd", "a zstd file"),
    (b"SQLite format 3\0", "an SQLite database"), (b"\x7fELF", "a program"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel file (xls)"), (b"GGUF", "a GGUF file"),
    *((b"\x80" + bytes([version]), "a pickle or joblib file") for version in (2, 3, 4, 5)),
    *((b"x" + bytes([level]), "a compressed joblib file") for level in (0x01, 0x5e, 0x9c, 0xda)),
)
# names inside of a zip archive: its end, or all of it
MEMBERS = (
    ("data.pkl", "a PyTorch file"), ("model.weights.h5", "a Keras file"),
    ("[Content_Types].xml", "an Excel file (xlsx)"), ("content.xml", "an OpenDocument file"),
    ("schema.json", "a skops file"), (".npy", "a NumPy archive (npz)"),
)
SAFETENSORS = "a safetensors file"
ENDINGS = {".onnx": "an ONNX file", ".tflite": "a TensorFlow Lite file"}
# names of models of other kinds: who opens such a file does not expect one of ours
NAMES = {
    ".onnx": "an ONNX file", ".pkl": "a pickle", ".pickle": "a pickle", ".joblib": "a joblib file",
    ".pt": "a PyTorch file", ".pth": "a PyTorch file", ".h5": "an HDF5 file",
    ".keras": "a Keras file", ".skops": "a skops file", ".tflite": "a TensorFlow Lite file",
    ".h": "a C header", ".c": "a C source",
}
CURES = {
    "an ONNX file": "fastnn.from_onnx(path)",
    "a PyTorch file": "fastnn.from_torch(torch.load(path, weights_only=True))",
    "a Keras file": "fastnn.from_keras(keras.models.load_model(path))",
    "an HDF5 file": "fastnn.from_keras(keras.models.load_model(path)), if it is of Keras",
    "a pickle or joblib file": "joblib.load(path) or pickle.load, if you trust who wrote it",
    "a compressed joblib file": "joblib.load(path), if you trust who wrote it",
    "a skops file": "skops.io.load(path, trusted=fastnn.SKOPS_TRUSTED)",
    "a table as text (CSV)": "fastnn.load takes models; python -m fastnn predict MODEL TABLE "
                             "takes both, in this order",
    "a NumPy file": "numpy.load(path)", "a NumPy archive (npz)": "numpy.load(path)",
    "a Parquet file": "fastnn.load takes models; pandas.read_parquet(path) a table",
    "a Feather file": "fastnn.load takes models; pandas.read_feather(path) a table",
    "an Excel file (xlsx)": "fastnn.load takes models; pandas.read_excel(path) a table",
    "an Excel file (xls)": "fastnn.load takes models; pandas.read_excel(path) a table",
}


def by_name(path):
    """Return which other kind of model a file is by its name, or None."""
    return NAMES.get(os.path.splitext(os.fsdecode(path))[1].lower())


def hint_of_name(path):
    """Hint where a model is saved under the name of another kind of file."""
    kind = by_name(path)
    if kind is not None:
        hint("name of file", f"{os.fsdecode(path)!r} has the name of {kind}, and save writes a "
                             "safetensors file, which fastnn.load reads whatever its name; "
                             "fastnn.export.onnx and c_header make ONNX and C")


def looks_like(path):
    """Return what a file looks like, such as "an ONNX file"; None where nothing tells.

    Parameters
    ----------
    path : str or path
    """
    if not os.path.isfile(path):  # a pipe can be read once: to open it again would wait for ever
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if _is_safetensors(head):  # whose first bytes may be those of a pickle
        return SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    for beginning, what in BEGINNINGS:
        if head.startswith(beginning):
            return what
    if _is_onnx(head):
        return "an ONNX file"
    ending = ENDINGS.get(os.path.splitext(os.fsdecode(path))[1].lower())
    return ending or _as_text(head)


def cure(path):
    """Return the end of a message: what the file looks like, and who reads it; or nothing."""
    what = looks_like(path)
    if what is None or what == SAFETENSORS:  # a damaged one: that is said
        return ""
    return f"; it looks like {what}" + (f": {CURES[what]}" if what in CURES else "")


def _archive(path):
    """Return what a zip archive is, by the first names of the directory at its end. `zipfile` would
    read all of a directory: 8 s and 0.4 GB for one of 50 MB."""
    with open(path, "rb") as file:
        file.seek(-min(TAIL, os.fstat(file.fileno()).st_size), os.SEEK_END)
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[end + 12:end + 16], "little") if end >= 0 else 0
    at, names = max(0, end - size - 200), []  # between both there may be records of zip64
    while (at := tail.find(b"PK\1\2", at)) >= 0 and len(names) < 1000:
        names.append(tail[at + 46:at + 46 + int.from_bytes(tail[at + 28:at + 30], "little")])
        at += 46
    for name, what in MEMBERS:
        if any(one.endswith(name.encode()) for one in names):
            return what
    return "a zip archive"


def _is_safetensors(head):
    """Whether these are the length of a header, in eight bytes, and the beginning of its JSON."""
    return head[8:10] == b'{"' and head[4:8] == bytes(4)


def _is_onnx(head):
    """Whether these may be the first fields of a ModelProto: ir_version, then the producer's name,
    an opset or a graph."""
    return (len(head) > 4 and head[0] == 0x08 and 3 <= head[1] <= 20
            and head[2] in (0x12, 0x3a, 0x42))


def _as_text(head):
    """Return what text looks like; None for other bytes."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else it is cut within a character
            return None
        text = head[:error.start].decode("utf-8-sig")
    if not text.strip() or any(ord(c) < 32 and c not in "\t\r\n\f" for c in text):
        return None
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return "JSON"
    if start.lower().startswith(("<!doctype html", "<html", "<?xml")):
        return "a web page or XML"
    if start.startswith("version https://git-lfs"):
        return "a pointer of Git LFS (run git lfs pull)"
    first = start.splitlines()[0]
    return "a table as text (CSV)" if any(c in first for c in ",;\t") else f"text ({shown(first)})"
