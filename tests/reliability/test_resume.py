"""A fit that was killed goes on from its checkpoint, to the same bytes as if nothing had been."""

import errno
import os
import pickle
import sys
import threading
import warnings
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from each import each
from killing import kill_again_and_again, version

import fastnn
from fastnn import ModelFormatError
from fastnn.files import container as io

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 30)).astype("float32")
y = rng.integers(0, 4, 3000)
weight = rng.uniform(0.5, 2, 3000)
EPOCHS = 30


def falling(epoch):
    return 0.01 / (1 + epoch)


CASES = {
    "adam": {},
    "dropout": {"net": {"dropout": 0.3}, "optimizer": fastnn.AdamW(2e-3)},
    "momentum": {"net": {"dtype": "float64"}, "optimizer": fastnn.SGD(falling, nesterov=True)},
    "one state": {"optimizer": fastnn.RMSprop(), "shuffle": False},
    "weights": {"sample_weight": weight, "alpha": 1e-3, "batch_size": 77},
    "validation": {"validation_data": (X[:500], y[:500])},
    "sparse": {"X": scipy.sparse.csr_array(np.where(X > 1, X, 0))},
    "row-major": {"net": {"sizes": (30, 300, 4)}, "epochs": 10},
    "blas": {"net": {"sizes": (30, 300, 4), "gemm": "blas"}, "epochs": 10},
    "control": {
        "validation_data": (X[:500], y[:500]), "metrics": ["accuracy"],
        "optimizer": fastnn.Adam(fastnn.schedules.Cosine(0.02, warmup=0.1, restarts=2)),
        "callbacks": [fastnn.EarlyStopping("val_accuracy", patience=25),
                      fastnn.ReduceOnPlateau(patience=2, factor=0.5), fastnn.RecordPath()]},
}


def made(net=None, **_):
    return fastnn.MLP(**{"sizes": (30, 40, 20, 4), "output": "softmax", "random_state": 0,
                         "n_threads": 1, **(net or {})})


def fit(trained, /, **case):
    settings = {"epochs": EPOCHS, "batch_size": 50, **case}
    settings.pop("net", None)
    return trained.fit(settings.pop("X", X), settings.pop("y", y), **settings)


def result(net, history):
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name, kills", [
    *((name, 6) for name in ("dropout", "sparse")),
    *(pytest.param(name, 100, marks=pytest.mark.slow) for name in CASES)])
def test_killed_fits_go_on(name, kills, path):
    """kill -9 at random moments, each in a new process, with one thread and two in turn."""
    case = CASES[name]
    net = made(**case)
    wanted = result(net, fit(net, **case))

    def child(n_threads):
        net = made(**case)
        net.n_threads = n_threads
        fit(net, **case, checkpoint=path, checkpoint_seconds=0)

    found = kill_again_and_again(child, path, kills, case.get("epochs", EPOCHS))
    net = made(**case)
    assert result(net, fit(net, **case, checkpoint=path)) == wanted
    assert found > 2, "the kills do fall into the work"


def test_a_fit_that_has_ended_is_not_run_again(path):
    net = made()
    wanted = result(net, fit(net, checkpoint=path))
    before = path.stat().st_mtime_ns
    for _ in range(2):
        net = made()
        history = fit(net, checkpoint=path, callback=lambda *_: pytest.fail("an epoch was run"))
        assert result(net, history) == wanted
        assert path.stat().st_mtime_ns == before


def test_more_epochs(path):
    net = made()
    wanted = result(net, fit(net))
    fit(made(), epochs=10, checkpoint=path)
    net, epochs = made(), []
    history = fit(net, checkpoint=path, callback=lambda epoch, *_: epochs.append(epoch))
    assert result(net, history) == wanted
    assert epochs == list(range(10, EPOCHS))
    with pytest.raises(ValueError, match=f"the checkpoint of {EPOCHS} epochs, .* epochs=10"):
        fit(made(), epochs=10, checkpoint=path)


def stop_after_five(epoch, *_):
    if epoch == 4:
        raise fastnn.StopFit


def test_what_a_callback_has_ended_has_ended(path):
    net = made()
    history = fit(net, checkpoint=path, callback=stop_after_five)
    wanted = result(net, history)
    assert len(history.loss) == 5
    net = made()
    assert result(net, fit(net, epochs=100, checkpoint=path)) == wanted


def test_a_second_fit_of_a_net(path):
    """Random numbers go on where the first fit ended, and so does the resumed second one."""

    def twice(epochs):
        net = made(net={"dropout": 0.2})
        fit(net, epochs=3)
        return result(net, fit(net, epochs=epochs, checkpoint=path))

    wanted = twice(9)
    path.unlink()
    twice(4)
    assert twice(9) == wanted


def test_networks_without_a_seed(path):
    """Each starts with other parameters: those of the file count, and its random numbers."""
    unseeded = {"random_state": None, "dropout": 0.2}
    first = made(net=unseeded)
    wanted = made(net=unseeded)
    wanted.__setstate__(first.__getstate__())
    history = fit(wanted)
    fit(first, epochs=5, checkpoint=path)
    second = made(net=unseeded)
    assert result(second, fit(second, checkpoint=path)) == result(wanted, history)
    fit(first, epochs=1)
    fit(second, epochs=1)  # with the seed of the file from then on, but other parameters
    assert first._seed == second._seed


@pytest.mark.parametrize("seed", [0, None])
def test_a_cell_of_a_notebook_that_is_run_again(seed, path):
    """After Ctrl-C the network is beyond the file; the same call goes on from the file."""

    def stop(epoch, *_):
        if epoch == 7:
            raise KeyboardInterrupt

    net, straight = made(net={"random_state": seed}), made(net={"random_state": seed})
    straight.__setstate__(net.__getstate__())
    wanted = result(straight, fit(straight))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(net, epochs=3, checkpoint=path)
        with pytest.raises(KeyboardInterrupt):
            fit(net, checkpoint=path, checkpoint_seconds=10, callback=stop)
        assert net._epochs_done == 8
        for _ in range(2):
            assert result(net, fit(net, checkpoint=path)) == wanted


@pytest.mark.parametrize("seed", [0, None])
def test_a_net_that_has_been_trained_since(seed, path):
    """It goes back to the file, and says so; a second fit with a file of its own follows."""
    second = path.with_name("second")
    net = made(net={"random_state": seed})
    wanted = result(net, fit(net, epochs=3, checkpoint=path))
    after = result(net, fit(net, epochs=2, checkpoint=second))
    with warnings.catch_warnings():  # all cells once more: their work is in the files
        warnings.simplefilter("error")
        assert result(net, fit(net, epochs=3, checkpoint=path)) == wanted
        assert result(net, fit(net, epochs=2, checkpoint=second)) == after
    fit(net, epochs=2)
    with pytest.warns(UserWarning, match="what was learned since is dropped"):
        assert result(net, fit(net, epochs=3, checkpoint=path)) == wanted


def test_a_net_that_comes_from_elsewhere(path):
    """A copy, or other weights: refused, with what to do."""
    net = made()
    fit(net, epochs=3, checkpoint=path)
    copy = pickle.loads(pickle.dumps(net))
    net.set_weights(net.get_weights())
    for other in (copy, net):
        before = other.parameters.tobytes()
        with pytest.raises(ModelFormatError, match="another one. Make it as for the first fit"):
            fit(other, epochs=3, checkpoint=path)
        assert other.parameters.tobytes() == before


def test_given_weights_of_a_net_without_a_seed(path):
    """They are no accident: other ones are another fit."""
    given = made().get_weights()

    def fitted(weights, epochs):
        net = made(net={"random_state": None, "dropout": 0.2})
        net.set_weights(weights)
        return result(net, fit(net, epochs=epochs, checkpoint=path))

    fitted(given, 2)
    with pytest.raises(ModelFormatError, match="the network at the start was another one"):
        fitted([-w for w in given], 4)
    assert fitted(given, 4)[1] == 4


def test_ctrl_c(path):
    net = made()
    wanted = result(net, fit(net))

    def stop(epoch, *_):
        if epoch == 7:
            raise KeyboardInterrupt

    net = made()
    with pytest.raises(KeyboardInterrupt):
        fit(net, checkpoint=path, checkpoint_seconds=0, callback=stop)
    assert net._epochs_done == 8
    net = made()
    assert result(net, fit(net, checkpoint=path)) == wanted


def test_seconds_between_writes(path, monkeypatch):
    """The first after that many, and one at the end."""
    from fastnn.training import fit_file

    clock, written = [0.0], []
    monkeypatch.setattr(fit_file.time, "monotonic", lambda: clock[0])

    def tick(epoch, *_):
        clock[0] += 1
        if version(path) != (written[-1][1] if written else None):
            written.append((epoch, version(path)))

    fit(made(), checkpoint=path, checkpoint_seconds=10, callback=tick)
    assert [epoch for epoch, _ in written] == [10, 20]
    assert version(path) != written[-1][1]


@pytest.mark.parametrize("change, message", [
    ({"batch_size": 51}, "batch_size was 50, is 51 now"),
    ({"alpha": 0.1}, "alpha was 0.0, is 0.1 now"),
    ({"shuffle": False}, "shuffle was True, is False now"),
    ({"net": {"output": "sigmoid"}, "y": np.eye(4)[y]}, "loss was 'cross_entropy'"),
    ({"optimizer": fastnn.SGD()}, "is the checkpoint of another fit"),
    ({"optimizer": fastnn.Adam(2e-3)}, "learning_rate was 0.001, is 0.002 now"),
    ({"optimizer": fastnn.Adam(falling)}, "learning_rate was 0.001, is 'a function' now"),
    ({"X": X + np.eye(3000, 30, dtype="f")}, "X, y or sample_weight was another one"),
    ({"y": 3 - y}, "X, y or sample_weight was another one"),
    ({"sample_weight": weight}, "X, y or sample_weight was another one"),
    ({"validation_data": (X, y)}, "validation_data was not given"),
    ({"net": {"random_state": 1}}, "random_state was 0, is 1 now"),
    ({"net": {"random_state": None}}, "random_state was 0, is None now"),
    ({"net": {"initializer": "zeros"}}, "the network at the start was another one"),
    ({"net": {"sizes": (30, 40, 21, 4)}}, "sizes was .30, 40, 20, 4., is .30, 40, 21, 4. now"),
    ({"net": {"activation": "tanh"}}, "activation was"),
    ({"net": {"dtype": "float64"}}, "dtype was 'float32', is 'float64' now"),
    ({"net": {"dropout": 0.5}}, "dropout was"),
])
def test_checkpoints_of_another_fit(change, message, path):
    """Refused, with what differs; neither the net nor the file has changed."""
    fit(made(), epochs=2, checkpoint=path)
    before = path.read_bytes()
    net = made(**change)
    start = net.parameters.tobytes()
    with pytest.raises(ModelFormatError, match=message):
        fit(net, **change, checkpoint=path)
    assert net.parameters.tobytes() == start and net._epochs_done == 0
    assert path.read_bytes() == before


def test_what_may_differ(path):
    """Threads, products, the kind of the arrays, another function for the same learning rate."""
    first = fit(made(), epochs=2, checkpoint=path, optimizer=fastnn.Adam(falling))
    net = made(net={"n_threads": 2, "gemm": "blas"})
    history = fit(net, epochs=3, checkpoint=path,
                  optimizer=fastnn.Adam(lambda epoch: falling(epoch)),
                  X=np.asfortranarray(X.astype(float)), y=y.astype("int8"))
    assert len(history.loss) == 3 and history.loss[:2] == first.loss


class Schedule:
    """That cannot be copied."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, epoch):
        return falling(epoch)


@dataclass
class Falling:
    table: np.ndarray

    def __call__(self, epoch):
        return float(self.table[epoch])


@dataclass(frozen=True)
class Named(fastnn.Adam):
    note: object = None


@pytest.mark.parametrize("optimizer", [
    fastnn.Adam(np.float32(1e-3)), fastnn.Adam(np.longdouble(1e-3)), fastnn.Adam(Fraction(1, 1000)),
    fastnn.SGD(Schedule(), nesterov=np.True_), fastnn.SGD(Falling(np.full(EPOCHS, 0.01))),
    fastnn.Adagrad(1), Named(note=threading.Lock()), Named(note=float("nan"))],
    ids=lambda optimizer: type(optimizer).__name__)
def test_whatever_an_optimizer_takes(optimizer, path):
    net, resumed = made(), made()
    wanted = result(net, fit(net, optimizer=optimizer))
    fit(made(), optimizer=optimizer, epochs=7, checkpoint=path)
    assert result(resumed, fit(resumed, optimizer=optimizer, checkpoint=path)) == wanted


def test_the_folder_changes(path, monkeypatch):
    """A relative path is that of the start."""
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(path.parent)
    fit(made(), epochs=3, checkpoint=path.name, checkpoint_seconds=0,
        callback=lambda *_: os.chdir(elsewhere))
    assert path.exists() and not list(elsewhere.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links(path, tmp_path):
    """Also one to a file that is still to be written."""
    target = tmp_path / "target"
    path.symlink_to(target)
    fit(made(), epochs=2, checkpoint=path)
    before = target.read_bytes()
    fit(made(), epochs=3, checkpoint=path)
    assert path.is_symlink() and target.read_bytes() != before
    target.unlink()
    path.unlink()
    path.symlink_to(tmp_path / "none" / "target")
    with pytest.raises(FileNotFoundError, match="no folder"):
        fit(made(), checkpoint=path)


@pytest.mark.parametrize("change", [
    {"fit": 1}, {"fit": None}, {"progress": [1]}, {"progress": "text"},
    {"progress": {"step": 1 << 80}}, {"progress": {"epochs": 1 << 80}}, {"progress": {"seed": -1}},
    {"progress": {"ended": 0}}, {"progress": {"more": 0}}])
def test_settings_that_mean_nothing(change, path, monkeypatch):
    """Under a right checksum."""
    write = io.write

    def changed(path, arrays, settings, **more):
        for key, value in change.items():
            settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
        write(path, arrays, settings, **more)

    with monkeypatch.context() as patch:
        patch.setattr(io, "write", changed)
        fit(made(), epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError):
        fit(made(), checkpoint=path)


def test_damaged_checkpoints(path, tmp_path):
    fit(made(), epochs=2, checkpoint=path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for at in [len(whole) // 2, len(whole) - 1, *random.integers(0, len(whole), 50)]:
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]):
            path.write_bytes(data)
            with pytest.raises(ModelFormatError):
                fit(made(), checkpoint=path)


def test_other_files(path, tmp_path):
    fit(made(), epochs=2, checkpoint=path)
    with pytest.raises(ModelFormatError, match=r"is a checkpoint, not a model: MLP\.fit"):
        fastnn.load(path)
    made().save(path)
    with pytest.raises(ModelFormatError, match="is a model, not a checkpoint"):
        fit(made(), checkpoint=path)
    with pytest.raises(IsADirectoryError):
        fit(made(), checkpoint=tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fit(made(), checkpoint=tmp_path / "none" / "fit.checkpoint")
    with pytest.raises(TypeError):
        fit(made(), checkpoint=True)
    with pytest.raises(ModelFormatError, match="is a model, not a checkpoint"):
        fit(made(), checkpoint=os.fsencode(path))
    for place in (path, None):
        with pytest.raises(ValueError, match="checkpoint_seconds=-1"):
            fit(made(), checkpoint=place, checkpoint_seconds=-1)


@each("change, count", [(lambda losses: losses.clear(), 0), (lambda losses: losses.pop(), 2),
                        (lambda losses: losses.append(0.5), 4)])
def test_a_callback_that_changes_the_history(change, count, path):
    """Refused, rather than written to a file that cannot be read."""
    fit(made(), epochs=2, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"history\.loss has {count} entries after 3"):
        fit(made(), checkpoint=path, checkpoint_seconds=0,
            callback=lambda epoch, net, history: change(history.loss))
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that not even root can write in")
def test_a_folder_that_nobody_can_write_in():
    """Found before the first epoch."""
    with pytest.raises(OSError, match="'/proc/fit.checkpoint'"):
        fit(made(), checkpoint="/proc/fit.checkpoint", callback=lambda *_: pytest.fail("too late"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_full_disk(path, tmp_path, monkeypatch):
    """OSError; the net keeps what it has learned, the file is the one of before."""
    fit(made(), epochs=2, checkpoint=path)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    net = made()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            fit(net, checkpoint=path, checkpoint_seconds=0)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    assert net._epochs_done == 3
    net, straight = made(), made()
    assert result(net, fit(net, checkpoint=path)) == result(straight, fit(straight))


def test_divergence(path):
    """The file stays at a finite epoch, and a second run diverges like the first one."""
    outcomes = []
    for _ in range(2):
        net = made()
        with pytest.warns(fastnn.DivergenceWarning):
            history = fit(net, optimizer=fastnn.SGD(lambda epoch: 1e-3 if epoch < 5 else 1e30),
                          checkpoint=path, checkpoint_seconds=0)
        assert len(history.loss) == 6
        outcomes.append((net.parameters.tobytes(), net._epochs_done, history.loss[:5]))
    assert outcomes[0] == outcomes[1]
