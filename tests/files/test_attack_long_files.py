"""What can be trained can be saved: long histories, many columns, many classes."""

import json
import tracemalloc

import numpy as np
import pytest
from timing import seconds

import fastnn
from fastnn.files import container, model_parts


def trained(curve_length, **settings):
    """An estimator with curves of that length, made up."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    est = fastnn.MLPClassifier((2,), random_state=0, max_iter=2, n_iter_no_change=10**6, **settings)
    with pytest.warns(UserWarning):
        est.fit(X, y, validation_data=(X, y))
    for name in model_parts.CURVES:
        if getattr(est, name, None) is not None:
            setattr(est, name, rng.normal(size=curve_length).tolist())
    return est


def header_of(path):
    content = path.read_bytes()
    return json.loads(content[8:8 + int.from_bytes(content[:8], "little")])


def settings_of(path):
    return json.loads(header_of(path)["__metadata__"]["fastnn"])


def test_thirty_thousand_epochs(tmp_path):
    """As arrays of the file; a short history stands in the header, as it always did."""
    path = tmp_path / "m.safetensors"
    for length in (999, 1000, 1001, 30_000):
        for more in ({}, {"early_stopping": True}):
            est = trained(length, **more)
            est.save(path)
            again = fastnn.load(path)
            for name in model_parts.CURVES:
                assert getattr(again, name) == getattr(est, name)
                assert type(getattr(again, name)) is type(getattr(est, name))
            assert ("history" in settings_of(path).get("needs", ())) == (length > 1000)
            assert len(json.dumps(header_of(path))) < 80_000
            assert fastnn.load(path, predictor=True).predict(np.ones((1, 2))).shape == (1,)


def test_histories_of_attackers_are_refused(tmp_path):
    """Lengths that are none, curves that nobody knows, or that stand twice."""
    path = tmp_path / "m.safetensors"
    est = trained(1001)
    est.save(path)
    settings = settings_of(path)
    arrays = {f"history.{name}": np.zeros(1001)
              for name in ("loss_curve_", "validation_loss_curve_")}
    arrays |= est._predictor().net.named_parameters()

    def changed(needs=("history",), estimator=True, fitted=(), **history):
        new = json.loads(json.dumps(settings))
        del new["needs"]
        new["history"] = {**new["history"], **history}
        if not estimator:
            del new["estimator"]
        else:
            new["estimator"]["fitted"]["dict"] += fitted
        container.write(path, arrays, new, needs=needs)

    changed()
    fastnn.load(path)
    for wrong in ({"needs": ()}, {"estimator": False}, {"fitted": [["loss_curve_", []]]},
                  {"loss_curve_": 1000}, {"loss_curve_": -1}, {"loss_curve_": 1 << 50},
                  {"loss_curve_": True}, {"loss_curve_": "1001"}, {"coefs_": 3}):
        changed(**wrong)
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(path)
            pytest.fail(f"was read: {wrong}")
    new = json.loads(json.dumps(settings))
    for odd in ([], "loss_curve_", 5, None):
        container.write(path, arrays, {**new, "history": odd}, needs=("history",))
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(path)


def test_many_columns_and_classes_fit(tmp_path):
    """12,000 columns of a table, 100,000 classes; what has no room is told before the training."""
    path = tmp_path / "m.safetensors"
    net = fastnn.MLP((2, 100_000), output="softmax", initializer="zeros")
    for classes in (np.arange(100_000), [f"class {i}" for i in range(100_000)]):
        net.save(path, classes=classes)
        assert fastnn.load(path).classes_[-1] == classes[-1]
    with pytest.raises(ValueError, match="take [0-9]+ bytes, a model file has room for"):
        net.save(path, classes=[f"{i:040}" for i in range(100_000)])
    names = [f"the column of number {i}" for i in range(12_000)]
    net = fastnn.MLP((12_000, 1), initializer="zeros")
    net.save(path, feature_names=names)
    assert list(fastnn.load(path).feature_names_in_) == names


def test_a_header_that_takes_long_is_not_parsed(tmp_path):
    """Bounds on what costs time: lists, dictionaries and values, in a header beyond 512 KiB."""
    path = tmp_path / "m.safetensors"
    for text, what in (("[" * 600_000, "lists"), ('{"a":' * 200_000, "lists"),
                       ("[" + "1," * 400_000, "values"), ("[" + '"",' * 300_000, "values")):
        header = text.encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))

        def refused(what=what):
            with pytest.raises(fastnn.ModelFormatError,
                               match=f"[0-9]+ {what}, a model file has room"):
                fastnn.load(path)

        assert seconds(refused, enough=0.1) < 0.1


@pytest.mark.parametrize("kind", ["encoder", "tabular"])
def test_a_text_that_takes_long_is_not_parsed(tmp_path, kind):
    """Settings that are an array: 60 MB of empty lists took 1.4 GB, and some 15 s."""
    text = np.frombuffer(b"[" + b"[]," * 2_000_000 + b"[]]", np.uint8)
    path = tmp_path / "m.safetensors"
    if kind == "encoder":
        X = np.random.default_rng(0).normal(size=(30, 2))
        encoder = fastnn.encoders.Encoder().fit(X)
        net = fastnn.MLP((encoder.n_inputs, 1), random_state=0)
        settings = {"net": model_parts.net_settings(net), "task": "outputs", "encoder": len(text)}
        arrays = {**net.named_parameters(), "encoder": text}
    else:
        stated = {"arrays": {"settings": ["uint8", [len(text)]]}, "classes": None}
        settings, arrays = {"tabular": stated}, {"settings": text}
    container.write(path, arrays, settings, needs=(kind,))
    tracemalloc.start()
    with pytest.raises(fastnn.ModelFormatError, match="settings of 2000002 lists, a file has room"):
        fastnn.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_texts_that_a_reader_refuses_are_not_written(monkeypatch):
    monkeypatch.setattr(model_parts, "MAX_TEXT_GROUPS", 3)
    with pytest.raises(ValueError, match="of the model take 4 lists, a file has room for 3"):
        model_parts.as_text([[], {}, []], "model")
    assert model_parts.from_text(model_parts.as_text([[], {}], "model")) == [[], {}]
    for odd in (b"NaN", b"[Infinity]"):
        with pytest.raises(ValueError, match="among the settings, which no model writes"):
            model_parts.from_text(np.frombuffer(odd, np.uint8))


def test_names_that_are_numbers_are_refused_with_a_reason(tmp_path):
    """NumPy's whole numbers were told to be no JSON."""
    net = fastnn.MLP((2, 2))
    for names in (np.arange(2), [np.int64(1), "b"], [0, 1], [None, "b"]):
        with pytest.raises(ValueError, match="feature_names must be strings, not .* give"):
            net.save(tmp_path / "m.safetensors", feature_names=names)
    net.save(tmp_path / "m.safetensors", feature_names=np.array(["a", "b"]))


@pytest.mark.slow
def test_odd_words_in_omp_num_threads(run_python):
    """What is a digit elsewhere is no number of threads."""
    for value in ("²", "٣", "1²", "", "-1", "x"):
        done = run_python("import fastnn, numpy as np; "
                          "print(fastnn.MLP((2, 2)).predict(np.ones((3, 2))).shape)",
                          OMP_NUM_THREADS=value)
        assert done.stdout == "(3, 2)\n", done.stderr
