"""`fit_many(checkpoint=path)`: each network goes on from the one file, to the same bytes."""

import copy
import errno
import os

import numpy as np
import pytest
from each import each
from ending_fits import ends

import fastnn
from fastnn import ModelFormatError, ensemble
from fastnn.files import container
from fastnn.training import fits_file

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
WEIGHT = RNG.uniform(0.5, 2.0, 150)
HELD = [np.arange(i, 150, 3) for i in range(3)]
FOLDS = [np.setdiff1d(np.arange(150), held) for held in HELD]


def hits(y, output):
    return (output.argmax(1) == y).mean()


SETTINGS = {"rows": FOLDS, "validation_rows": HELD, "epochs": 12, "batch_size": 32,
            "n_threads": 1, "sample_weight": WEIGHT, "metrics": {"hits": hits}}


class Stopped(BaseException):
    pass


def made(count=3):
    return [fastnn.MLP((6, 8, 8, 3), output="softmax", random_state=i, dropout=0.1)
            for i in range(count)]


def settings(**more):
    """Those of a fit; some have a state, so that each call needs its own."""
    return {**SETTINGS, "optimizer": fastnn.EMA(fastnn.Muon(0.02), 0.9),
            "callbacks": [[fastnn.EarlyStopping(patience=3, min_delta=0.02)] for _ in HELD],
            **more}


def fit(networks, **more):
    fastnn.fit_many(networks, X, Y, **settings(**more))
    return left(networks)


def left(networks):
    return [(net.parameters.tobytes(), net.history.loss, net.history.val_loss,
             net.history.metrics, net.history.stopped, net._epochs_done) for net in networks]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fits.checkpoint"


@pytest.fixture
def stop(monkeypatch):
    """Return a function: fits end after the file was given the state of a network so often."""
    return ends(monkeypatch, Stopped)


def test_networks_go_on(path, stop):
    """From whatever moment, again and again; and what has ended is not done again."""
    wanted = fit(made())
    for moment, threads in ((1, 1), (5, 2), (7, 1), (4, 3)):
        stop(moment)
        with pytest.raises(Stopped):
            fit(made(), checkpoint=path, checkpoint_seconds=0, n_threads=threads)
    stop(0)
    assert fit(made(), checkpoint=path) == wanted
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert fit(made(), checkpoint=path) == wanted
    assert path.read_bytes() == before and path.stat().st_mtime_ns == stamp
    assert len(os.listdir(path.parent)) == 1


def test_networks_that_have_been_trained_meanwhile(path, stop):
    """A cell of a notebook that is run again with the same objects, some of which had begun."""
    more = {"epochs": 4, "callbacks": None}
    wanted, networks = fit(made(), **more), made()
    for moment in (2, 8):  # in the second epoch of the first one, of the last one
        stop(moment)
        with pytest.raises(Stopped):
            fit(networks, checkpoint=path, checkpoint_seconds=0, **more)
    networks[2].fit(X, Y, epochs=1)
    stop(0)
    with pytest.warns(UserWarning, match=r"networks\[2\]: the network has been trained since"):
        assert fit(networks, checkpoint=path, **more) == wanted


def test_networks_without_a_seed(path, stop):
    """Those that had not begun have their first weights and their seed from the file, too."""
    def anew():
        return [fastnn.MLP((6, 8, 8, 3), output="softmax", dropout=0.1) for _ in HELD]

    stop(3)
    with pytest.raises(Stopped):
        fit(anew(), checkpoint=path, checkpoint_seconds=0)
    stop(0)
    saved = path.read_bytes()
    first = fit(anew(), checkpoint=path)
    path.write_bytes(saved)
    assert fit(anew(), checkpoint=path) == first


def test_more_epochs_and_a_limit_of_steps(path):
    wanted = fit(made())
    fit(made(), epochs=4, checkpoint=path)
    fit(made(), max_steps=[20, 17, 100], checkpoint=path)
    assert fit(made(), checkpoint=path) == wanted
    with pytest.raises(ModelFormatError, match="epochs count from the start"):
        fit(made(), epochs=2, checkpoint=path)


def test_the_file_is_written_in_time(path, monkeypatch):
    """Once in so many seconds at most; a network says twice as often where it stands."""
    now, written = [0.0], []
    monkeypatch.setattr(fits_file.time, "monotonic", lambda: now[0])
    write = container.write

    def noted(*arguments, **more):
        written.append(now[0])
        write(*arguments, **more)

    monkeypatch.setattr(container, "write", noted)

    class Clock(fastnn.Callback):
        def on_epoch_end(self, state):
            now[0] += 1.0

    networks = made(1)
    fastnn.fit_many(networks, X, Y, epochs=30, callbacks=[[Clock()]], checkpoint=path)
    assert written == [10.0, 20.0, 30.0]


@each("change, message", [
    (dict(alpha=0.1), r"networks\[0\]: alpha was 0.0, is 0.1 now"),
    (dict(batch_size=[32, 32, 50]), r"networks\[2\]: batch_size was 32, is 50 now"),
    (dict(rows=[FOLDS[0], FOLDS[0], FOLDS[2]]), r"networks\[1\]: rows was another one"),
    (dict(rows=None), r"networks\[0\]: rows was given"),
    (dict(validation_rows=[HELD[0], HELD[1], HELD[0]]),
     r"networks\[2\]: validation_data was another one"),
    (dict(sample_weight=None), r"networks\[0\]: X, y or sample_weight was another one"),
    (dict(callbacks=[None] * 3), r"networks\[0\]: EarlyStopping was 'there', is None now"),
    (dict(optimizer=fastnn.Muon(0.02)), r"networks\[0\]: optimizer was .*, is 'muon' now"),
])
def test_what_differs_is_named(change, message, tmp_path):
    path = tmp_path / "fits.checkpoint"
    if not path.exists():
        fit(made(), epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError, match=f"of another fit: {message}.* Delete the file"):
        fit(made(), checkpoint=path, **change)


def test_rows_held_out_without_metrics(path):
    """Then the data are those of all networks, and the rows decide."""
    fastnn.fit_many(made(1), X, Y, validation_rows=HELD[0], epochs=1, checkpoint=path)
    with pytest.raises(ModelFormatError, match=r"networks\[0\]: validation_rows was another one"):
        fastnn.fit_many(made(1), X, Y, validation_rows=HELD[1], epochs=1, checkpoint=path)


def test_other_networks(path):
    fit(made(), epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError, match="it has 3 networks, this one 2. Delete the file"):
        fastnn.fit_many(made(2), X, Y, checkpoint=path)
    networks = made()
    networks[1].parameters[:] *= 2
    with pytest.raises(ModelFormatError, match=r"networks\[1\]: the network at the start was"):
        fit(networks, checkpoint=path)
    assert [net._epochs_done for net in networks] == [0, 0, 0]


def test_files_of_other_kinds(path, tmp_path):
    fit(made(), epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError, match="the checkpoint of several networks, of fit_many"):
        made()[0].fit(X, Y, checkpoint=path)
    with pytest.raises(ModelFormatError, match="is a checkpoint of several networks, not a model"):
        fastnn.load(path)
    own, model = tmp_path / "one.checkpoint", tmp_path / "model.safetensors"
    made()[0].fit(X, Y, epochs=1, checkpoint=own)
    made()[0].save(model)
    for other, message in ((own, "of one network, not of several"), (model, "is a model, not a")):
        with pytest.raises(ModelFormatError, match=message):
            fit(made(), checkpoint=other)


@each("change", [
    lambda fits: fits.pop("seed"), lambda fits: fits.update(seed=-1),
    lambda fits: fits.update(about=3), lambda fits: fits.update(networks=3),
    lambda fits: fits["networks"].__setitem__(1, 3),
    lambda fits: fits["networks"][1].pop("progress"),
    lambda fits: fits["networks"][1]["progress"].update(epochs=-1),
    lambda fits: fits["networks"][1]["progress"].update(step=1 << 60),
    lambda fits: fits["networks"][1].pop("control"),
    lambda fits: fits.update(common={}),
])
def test_settings_that_mean_nothing(change, tmp_path):
    """Under a right checksum."""
    path, write = tmp_path / "fits.checkpoint", container.write

    def changed(path, arrays, settings, **more):
        settings = copy.deepcopy(settings)
        change(settings["fits"])
        write(path, arrays, settings, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "write", changed)
        fit(made(), epochs=1, checkpoint=path)
    with pytest.raises(ModelFormatError):
        fit(made(), epochs=1, checkpoint=path)
    path.unlink()


def test_numbers_that_mean_nothing(path):
    """NaN, where the checksum is right: of a network that had begun and of one that had not."""
    for moment in (0, 1):
        networks = made()
        fit(networks, epochs=1 + moment, checkpoint=path)
        write = container.write

        def changed(path, arrays, settings, write=write, moment=moment, **more):
            arrays = {**arrays, f"{moment}.parameters": arrays[f"{moment}.parameters"] * np.nan}
            write(path, arrays, settings, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(container, "write", changed)
            fit(made(), epochs=3 + moment, checkpoint=path)
        networks = made()
        with pytest.raises(ModelFormatError, match="cannot be gone on with: parameters"):
            fit(networks, epochs=5, checkpoint=path)
        assert [net._epochs_done for net in networks] == [0, 0, 0]
        path.unlink()


def test_a_damaged_file(path):
    fit(made(), epochs=1, checkpoint=path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match="is damaged"):
        fit(made(), checkpoint=path)


def test_bad_arguments(tmp_path):
    for path, error in ((3, TypeError), (tmp_path, IsADirectoryError),
                        (tmp_path / "no" / "x", FileNotFoundError)):
        with pytest.raises(error):
            fit(made(), checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint_seconds"):
        fit(made(), checkpoint=tmp_path / "x", checkpoint_seconds=-1)
    with pytest.raises(ValueError, match="checkpoint must be None with 501 networks"):
        small = [fastnn.MLP((6, 3), output="softmax") for _ in range(501)]
        fastnn.fit_many(small, X, Y, checkpoint=tmp_path / "x")


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_full_disk(path, monkeypatch):
    """OSError; the file is the one of before, and networks keep their last whole epoch."""
    fit(made(), epochs=2, checkpoint=path)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    networks = made()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            fit(networks, checkpoint=path, checkpoint_seconds=0)
    assert path.read_bytes() == before and len(os.listdir(path.parent)) == 1
    assert [net._epochs_done for net in networks] == [3, 0, 0]
    assert fit(made(), checkpoint=path) == fit(made())


def test_not_on_workers(path):
    token = ensemble.elsewhere.set(lambda *arguments, **settings: pytest.fail("was called"))
    try:
        with pytest.raises(ValueError, match="checkpoint=.* must be None on workers"):
            fit(made(), checkpoint=path)
    finally:
        ensemble.elsewhere.reset(token)
