"""What can be saved can be loaded: the reader's limit is the writer's."""

import numpy as np
import pytest

import fastnn
from fastnn.files import container


def models():
    """One of each class that has `save`."""
    net = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
    yield net
    yield fastnn.Predictor(net, "classification", classes=["a", "b"])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    yield fastnn.MLPClassifier((4,), max_iter=200, tol=1e9).fit(X, X[:, 0] > 0)


def test_a_model_beyond_the_readers_limit_is_not_written(tmp_path, monkeypatch):
    """Unless the limit is given; then it is what the reader needs, too."""
    path = tmp_path / "model.safetensors"
    for model in models():
        path.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(container, "MAX_BYTES", 100)
            with pytest.raises(ValueError, match="max_bytes=100; give max_bytes=[0-9]+ here"):
                model.save(path)
            assert not path.exists()
            model.save(path, max_bytes=2**20)
        with pytest.raises(fastnn.ModelFormatError, match="max_bytes=100"):
            fastnn.load(path, max_bytes=100)
        loaded = fastnn.load(path, max_bytes=2**20)
        np.testing.assert_array_equal(loaded.predict(np.ones((2, 3))),
                                      model.predict(np.ones((2, 3))))


def test_writer_and_reader_have_one_limit(tmp_path):
    """A file of just the limit passes both, one byte more neither."""
    path = tmp_path / "model.safetensors"
    net = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
    net.save(path)
    size = path.stat().st_size
    for limit in (size, size - 1):
        for use in (net.save, fastnn.load):
            if limit == size:
                use(path, max_bytes=limit)
            else:
                with pytest.raises(ValueError, match="max_bytes"):
                    use(path, max_bytes=limit)
