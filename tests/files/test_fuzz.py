"""Hostile files: whatever is in them, `load` gives the same model or `ModelFormatError`, soon.

`make fuzz` runs the slow part.
"""

import copy
import json
import os
import random
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from model_cases import MODELS, ROWS, answers, network
from safetensors.numpy import save_file
from timing import seconds

import fastnn
from fastnn.files import container as io
from fastnn.files.model_parts import expected_arrays

GOLDEN = {path.stem: path for path in
          sorted(Path(__file__).with_name("golden").glob("*/*.safetensors"))}
# seconds of CPU time until a bad file is refused; AddressSanitizer makes Python that much slower
LIMIT = 1.0 if "libasan" in os.environ.get("LD_PRELOAD", "") else 0.1
MODEL = fastnn.MLP | fastnn.Predictor | fastnn.MLPClassifier | fastnn.MLPRegressor


@pytest.fixture
def path(tmp_path):
    """A file in memory where there is such a folder: the tests below write it often."""
    folder = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    path = folder / f"fastnn-fuzz-{os.getpid()}.safetensors"
    yield path
    path.unlink(missing_ok=True)


def outcome(path, slowest):
    """The model of a file, or None where it is refused; ``slowest`` learns the time."""
    start = time.process_time()
    try:
        model = fastnn.load(path)
    except fastnn.ModelFormatError:
        model = None
    slowest[0] = max(slowest[0], time.process_time() - start)
    return model


def check_mutations(mutants, path, original):
    """Each is refused, or means the very same; all within the limits of time and memory."""
    expected, slowest, refused, total = answers(original), [0.0], 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in mutants:
        path.write_bytes(data)
        total += 1
        model = outcome(path, slowest)
        if model is None:
            refused += 1
        else:
            assert answers(model) == expected, data
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{refused} of {total} refused, the slowest after {slowest[0] * 1e3:.1f} ms, "
          f"{grown} KiB more memory")
    assert grown < 20_000
    # the median machine is quicker by far; one pause of a busy one should fail no test
    assert slowest[0] < 10 * LIMIT
    return refused


@pytest.mark.parametrize("name, stride", [
    ("mlp", 5), *(pytest.param(name, 1, marks=pytest.mark.slow)
                  for name in ("mlp", "predictor_values"))])
def test_every_single_bit(name, stride, path):
    """Or every so many of them."""
    data = GOLDEN[name].read_bytes()
    original = fastnn.load(GOLDEN[name])

    def flipped():
        for n in range(0, 8 * len(data), stride):
            i, bit = divmod(n, 8)
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1:]

    refused = check_mutations(flipped(), path, original)
    # but for padding, and for what a JSON string may spell
    assert refused > 7.9 * len(data) / stride


def mutated(data, others, rng):
    """A file after one to four of the accidents and tricks below."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:i]
        elif kind == 1:
            del data[i:min(j, i + rng.choice([1, 4, 100]))]
        elif kind == 2:
            data[i:i] = rng.randbytes(rng.choice([1, 8, 64]))
        elif kind == 3:
            data[i:i + 8] = rng.choice([b"\0" * 8, b"\xff" * 8, (2**63).to_bytes(8, "little")])
        elif kind == 4:
            other = rng.choice(others)
            data[i:j] = other[i:j]
        elif kind == 5:
            data[i:i] = data[i:min(j, i + 200)]
        elif kind == 6:
            for old in (b"[3,4]", b"F32", b"layers", b"1.0", b'"', b":"):
                if rng.random() < 0.3:
                    data = data.replace(old, rng.choice(
                        [b"[9,9]", b"F64", b"[[[[", b"-1", b"9" * 30, b"", b"null"]), 1)
        elif i < len(data):
            data[i] ^= 1 << rng.randrange(8)
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("count", [2000, pytest.param(2_000_000, marks=pytest.mark.slow)])
def test_random_mutations(count, path):
    rng = random.Random(count)
    files = [file.read_bytes() for file in GOLDEN.values()]
    for name in ("mlp", "classifier_strings"):
        file = GOLDEN[name]
        data = file.read_bytes()
        mutants = (mutated(data, files, rng) for _ in range(count // 2))
        # what has all of another golden file in its place is that model
        mutants = (m for m in mutants if m not in files or m == data)
        check_mutations(mutants, path, fastnn.load(file))


# ---- files that are wrong on purpose, with a checksum that is right ----


def parts(name):
    arrays, settings, _ = io.read(GOLDEN[name], expected_arrays)
    return arrays, settings


def places(value, place=()):
    yield place
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, item in items:
        yield from places(item, (*place, key))


ODD = [None, True, -1, 0, 1, 2**31, 10**30, 0.5, -1e308, "", "relu", "softmax", "x" * 1000, [], [0],
       {}, {"a": 1}, {"float": "inf"}, {"float": 1}, {"dict": [[[], 1]]}, {"dict": 3}, [[[[]]]],
       ["relu", "tanh"], [3, 4, 2], [3, 2**40, 2], {"dtype": "str", "values": [1, 2]}]


@pytest.mark.parametrize("odd_values", [1, pytest.param(len(ODD), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_settings_that_mean_nothing(name, odd_values, path):
    """Every setting replaced by odd values: a whole model, or `ModelFormatError`."""
    arrays, settings = parts(name)
    slowest, loaded = [0.0], 0
    rng = random.Random(name)
    for place in places(settings):
        for odd in rng.sample(ODD, odd_values):
            changed = copy.deepcopy(settings)
            target = changed
            for key in place[:-1]:
                target = target[key]
            if place:
                target[place[-1]] = odd
            else:
                changed = odd
            io.write(path, arrays, changed)
            model = outcome(path, slowest)
            if model is not None:
                loaded += 1
                assert isinstance(model, MODEL)
                model.predict(ROWS)
    assert slowest[0] < 10 * LIMIT
    assert loaded < 600 * odd_values


@pytest.mark.parametrize("change, message", [
    (lambda a, s: a.pop("layers.0.bias"), "tensor 'layers.0.bias' is missing"),
    (lambda a, s: a.update(extra=np.zeros(1)), "tensor 'extra' is not expected"),
    (lambda a, s: a.update({"layers.0.bias": np.zeros(5, "f")}), r"shape \[5\], must be \[4\]"),
    (lambda a, s: a.update({"layers.0.bias": np.zeros(4)}), "F64, must be F32"),
    (lambda a, s: a.update({"layers.0.bias": np.full(4, np.nan, "f")}), "NaN"),
    (lambda a, s: a.update({"layers.0.bias": np.full(4, np.inf, "f")}), "infinity"),
    (lambda a, s: s["net"].update(sizes=[3, 2**30, 2**30, 2]), "more than an"),
    (lambda a, s: s["net"].update(sizes=[3, 4, 2, 2], activations=["tanh"] * 2, dropout=[0, 0]),
     "tensor 'layers.2.bias' is missing"),
    (lambda a, s: s["net"].update(sizes=[3, 4, 2, 2]), "1 entries, must have 2"),
    (lambda a, s: s["net"].update(sizes=[3, 2**30, 2]), r"shape \[.*\], must be \[.*1073741824"),
    (lambda a, s: s["net"].update(sizes=[3, 2**31, 2]), "beyond the 32-bit"),
    (lambda a, s: s["net"].update(sizes=[3, -4, 2]), "-4"),
    (lambda a, s: s["net"].update(activations=["relus"]), "relus"),
    (lambda a, s: s["net"].update(dtype="float16"), "float16"),
    (lambda a, s: s["net"].update(pickle="x"), "pickle"),
    (lambda a, s: s.update(pickle="x"), "unknown setting 'pickle'"),
    (lambda a, s: s.update(task="classification"), "classes=None must be given"),
    (lambda a, s: s.update(feature_names=[1, 2, 3]), "must be strings"),
    (lambda a, s: s.update(feature_names="abc"), "must be a list"),
    (lambda a, s: s["net"].update(n_threads=256), "unknown setting 'n_threads'"),
    (lambda a, s: s.update(task="classification", classes={"dtype": "str", "values": ["a", "a"]}),
     "must be different"),
    (lambda a, s: s.update(task="classification", classes={"dtype": "int8", "values": [0.5, 1]}),
     "of their dtype"),
    (lambda a, s: (s["net"].update(output="identity"), s.update(
        task="classification", classes={"dtype": "int8", "values": [0, 1]})), "no probabilities"),
    (lambda a, s: s.update(estimator={"class": "MLP"}), "class, params and fitted"),
    (lambda a, s: s.update(estimator={"class": "open", "params": [], "fitted": []}), "'open'"),
])
def test_a_right_checksum_of_a_wrong_model(change, message, path):
    arrays, settings = parts("mlp")
    change(arrays, settings)
    io.write(path, arrays, settings)
    with pytest.raises(fastnn.ModelFormatError, match=message):
        fastnn.load(path)


def raw(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


METADATA = {"fastnn": "{}", "fastnn_format": "1.0", "sha256": "0"}


@pytest.mark.parametrize("header, message", [
    (b"", "not a safetensors file"),
    (b"{", "not a safetensors file"),
    (b"[" * 100_000, "not a safetensors file"),
    (b'{"a":' * 20_000, "not a safetensors file"),
    (b" " * (1 << 21) + b" ", "header of 2097153 bytes"),
    ({}, "not a model of fastnn"),
    ({"__metadata__": {"a": "b"}}, "not a model of fastnn"),
    ({"__metadata__": {"fastnn": 1}}, "not a safetensors file"),
    ({"__metadata__": {**METADATA, "fastnn_format": "2.0"}}, "upgrade fastnn"),
    ({"__metadata__": {**METADATA, "fastnn_format": "99.1"}}, "upgrade fastnn"),
    ({"__metadata__": {**METADATA, "fastnn_format": "1"}}, "must be major.minor"),
    ({"__metadata__": {**METADATA, "fastnn_format": "9" * 5000 + ".0"}}, "must be major.minor"),
    ({"__metadata__": {**METADATA, "fastnn_format": "².0"}}, "must be major.minor"),
    ({"__metadata__": {**METADATA, "fastnn": "[" * 100_000}}, "not a model"),
    ({"__metadata__": {**METADATA, "fastnn": "9" * 100_000}}, "not a model"),
    ({"__metadata__": {**METADATA, "fastnn": '{"a":1,"a":2}'}}, "canonical"),
    ({"__metadata__": {**METADATA, "fastnn": '{"a":NaN}'}}, "not a model"),
    ({"__metadata__": METADATA}, "not a model"),
    ({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**63]}}, "not a model"),
    ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 0]}}, "not a model"),
])
def test_headers(header, message, path):
    raw(path, header)

    def refused():
        with pytest.raises(fastnn.ModelFormatError, match=message):
            fastnn.load(path)

    assert seconds(refused, enough=LIMIT) < LIMIT


def test_a_large_file_that_is_no_model(path, tmp_path):
    """Nothing of the data is read before the header has been understood."""
    save_file({"a": np.zeros(1)}, path)
    header = json.dumps({"a": {"dtype": "U8", "shape": [2**35], "data_offsets": [0, 2**35]}})
    sparse = tmp_path / "sparse"
    raw(sparse, header.encode())
    os.truncate(sparse, 8 + len(header) + 2**35)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def refused():
        with pytest.raises(fastnn.ModelFormatError, match="not a model of fastnn"):
            fastnn.load(sparse, max_bytes=2**40)

    assert seconds(refused, enough=LIMIT) < LIMIT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5000
    with pytest.raises(fastnn.ModelFormatError, match="max_bytes"):
        fastnn.load(sparse)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 50, -1, -9])
def test_truncated_files(cut, path):
    network().save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(fastnn.ModelFormatError, match="fuzz"):
        fastnn.load(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model file '.*none'"):
        fastnn.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="folder"):
        fastnn.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(FileNotFoundError, match="device"):
            fastnn.load(tmp_path / "fifo")
    (tmp_path / "text").write_text("not a model, but some lines of text")
    with pytest.raises(fastnn.ModelFormatError, match="text"):
        fastnn.load(tmp_path / "text")


# what takes little room in a header, and much in memory or time when it is believed
LONG = {
    "one long label": lambda s: s.update(task="classification", classes={
        "dtype": "str", "values": ["x" * 500_000, "a", "b"]}),
    "one long label of many": lambda s: s.update(task="classification", classes={
        "dtype": "str", "values": ["x" * 300_000, *map(str, range(3000))]}),
    "layers": lambda s: s["net"].update(sizes=[1] * 200_000),
    "floats": lambda s: s.update(classes={"dtype": "float64", "values": [0.1] * 100_000}),
    "digits": lambda s: s.update(classes={"dtype": "int64", "values": [10**4000] * 100}),
    "names": lambda s: s.update(feature_names=["n"] * 60_000),
    "nesting": lambda s: s.update(limits=json.loads("[" * 500 + "]" * 500)),
    "categories": lambda s: s.update(table={"columns": [
        {"name": "c" * 400_000, "kind": "category", "fill": 0.0, "missing_category": False,
         "missing_words": [], "categories": list(map(str, range(4096)))}], "targets": []}),
}


@pytest.mark.parametrize("change", LONG.values(), ids=LONG.keys())
def test_settings_that_grow(change, path):
    arrays, settings = parts("mlp")
    change(settings)
    io.write(path, arrays, settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def refused():
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(path)

    assert seconds(refused, enough=LIMIT) < LIMIT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_keys_that_stand_twice(path):
    network().save(path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8:8 + length].rstrip()
    twice = header.replace(b'"layers.0.bias":', b'"layers.0.bias":{},"layers.0.bias":', 1)
    path.write_bytes(len(twice).to_bytes(8, "little") + twice + data[8 + length:])
    with pytest.raises(fastnn.ModelFormatError, match="a key stands twice"):
        fastnn.load(path)


def test_a_large_file_is_refused_unless_expected(path):
    network().save(path)
    with pytest.raises(fastnn.ModelFormatError, match="max_bytes=100"):
        fastnn.load(path, max_bytes=100)


def test_a_newer_minor_version_may_say_more(path, monkeypatch):
    arrays, settings = parts("mlp")
    settings["net"]["fancy"] = 3
    monkeypatch.setattr(io, "PLAIN_FORMAT", (1, 3))
    io.write(path, arrays, {**settings, "colour": "blue"})
    monkeypatch.undo()
    assert answers(fastnn.load(path)) == answers(network())
