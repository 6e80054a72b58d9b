"""What editors and type checkers see: completions, signatures, types; what `dir` and `help`
show."""

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastnn

ROOT = Path(__file__).parents[2]
PROGRAM = '''
import numpy as np
import fastnn
from fastnn import MLP, Adam, Dense, MLPClassifier
from fastnn.losses import Huber

X, y = np.zeros((10, 2)), np.zeros(10)
net = MLP((2, 3, 1), activation="relu", random_state=0)
history = net.fit(X, y, epochs=3, optimizer=Adam(0.1), loss=Huber(2.0), validation_data=(X, y),
                  callbacks=[fastnn.EarlyStopping("loss", 3)])
print(history.loss[-1], net.predict(X).shape, net.weights[0].T, fastnn.load("model").predict(X))
MLPClassifier((3,), max_iter=3).fit(X, y).predict_proba(X).argmax(axis=1)
net.steps(fastnn.SGD(fastnn.schedules.ByStep(lambda step: 0.1)))(X, y).is_integer()
MLP.of([Dense(3, "relu"), fastnn.LayerNorm()], n_in=2).spec.layers[0].kind.upper()
fastnn.optimizers.Adam(0.1), fastnn.fit_many([net], X, y, epochs=3)[0].loss

class Stop(fastnn.Callback):
    def on_epoch_end(self, state: fastnn.FitState) -> None:
        state.stop()

net.fit(X, y, epohcs=3)  # wrong: did you mean "epochs"?
MLP((2, 1), activation=3)  # wrong: incompatible type "int"
net.fitt(X, y)  # wrong: has no attribute "fitt"
net.predictt(X)  # wrong: maybe "predict"
fastnn.Adamw()  # wrong: "AdamW"
Adam(lr=0.1)  # wrong: Unexpected keyword argument "lr"
net.fit(X, y, epochs="3")  # wrong: expected "int"
MLPClassifier(lr=3)  # wrong: Unexpected keyword argument "lr"
MLPClassifier().fit(X, y, epochs=3)  # wrong: Unexpected keyword argument "epochs"
net.weights[0] = X  # wrong: Unsupported target for indexed assignment
Dense(unit=3)  # wrong: did you mean "units"?
'''


def functions():
    """Yield name and function of all that can be called of the public API, __init__ as well."""
    seen = set()
    for name in fastnn.__all__:
        value = getattr(fastnn, name)
        inner = [value]
        if isinstance(value, ModuleType):
            inner = [getattr(value, member) for member in value.__all__]
        for one in inner:
            yield from _functions_of(name, one, seen)


def _functions_of(name, value, seen):
    if inspect.isfunction(value):
        yield name, value
    if not inspect.isclass(value):
        return
    for cls in value.__mro__:
        if not cls.__module__.startswith("fastnn"):
            continue
        for key, member in vars(cls).items():
            if key.startswith("_") and key != "__init__":
                continue
            member = member.fget if isinstance(member, property) else member
            member = getattr(member, "__func__", getattr(member, "fn", member))
            if inspect.isfunction(member) and id(member) not in seen:
                seen.add(id(member))
                yield f"{cls.__name__}.{key}", member


def test_all_public_signatures_have_types():
    pytest.importorskip("sklearn")
    found, bare = 0, []
    for name, function in functions():
        signature = inspect.signature(function)
        found += 1
        for parameter in signature.parameters.values():
            if parameter.name not in ("self", "cls") and parameter.annotation is parameter.empty:
                bare.append(f"{name}: {parameter.name}")
        if signature.return_annotation is signature.empty and "__init__" not in name:
            bare.append(f"{name}: what it returns")
    assert found > 250 and bare == []


def test_a_decorated_call_keeps_its_signature():
    assert list(inspect.signature(fastnn.Adam).parameters)[:3] == ["learning_rate", "beta1",
                                                                  "beta2"]
    assert list(inspect.signature(fastnn.MLP).parameters)[:2] == ["sizes", "activation"]
    assert list(inspect.signature(fastnn.Dense).parameters) == ["units", "activation"]
    assert "epochs" in inspect.signature(fastnn.MLP.fit).parameters


def test_dir_shows_public_names_alone():
    assert set(dir(fastnn)) <= set(fastnn.__all__)
    assert not {"imported", "held_back", "passive_openmp"} & set(dir(fastnn))
    assert {"MLP", "Adam", "optimizers", "load", "__version__"} <= set(dir(fastnn))


def test_what_needs_an_absent_package_is_not_shown(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name, *rest: None if name == "sklearn" else found(name, *rest))
    assert "MLPClassifier" not in dir(fastnn) and "MLP" in dir(fastnn)


def test_public_modules_can_be_reached_after_the_import(run_python):
    names = ("encoders", "export", "interop", "losses", "optimizers", "schedules", "sources",
             "tables", "mlp", "loading")
    done = run_python("import fastnn, sys\n"
                      "for name in sys.argv[1:]:\n"
                      "    assert f'fastnn.{name}' not in sys.modules or name in "
                      "('encoders', 'mlp', 'losses', 'optimizers', 'schedules', 'loading'), name\n"
                      "    print(getattr(fastnn, name).__name__)", *names)
    assert done.stdout.split() == [f"fastnn.{name}" for name in names], done.stderr


def test_a_wrong_name_says_which_was_meant():
    with pytest.raises(AttributeError, match="no attribute 'Adamw'; did you mean 'AdamW'"):
        fastnn.Adamw  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute '_nothing'$"):
        fastnn._nothing  # noqa: B018
    assert not hasattr(fastnn, "zzz")


def test_help_begins_with_what_a_user_can_do():
    first = fastnn.__doc__.partition("For contributors")[0]
    for word in ("MLPClassifier", "net.fit(", "net.predict(", "fastnn.load(", "`Callback`",
                 "`EarlyStopping`", "fastnn.losses", "python -m fastnn"):
        assert word in first, word
    assert "csrc" not in first and ".pyx" not in fastnn.__doc__
    for name in ("MLP", "Adam", "load", "fit_many", "TableEncoder", "from_torch", "show_config"):
        assert name in first


def completions(code):
    jedi = pytest.importorskip("jedi")
    script = jedi.Script(code, project=jedi.Project(str(ROOT)))
    return {found.name for found in script.complete()}


@pytest.mark.slow
def test_an_editor_completes_names_methods_and_parameters():
    found = completions("import fastnn\nfastnn.")
    assert found >= set(fastnn.__all__), set(fastnn.__all__) - found
    found = completions("import fastnn\nfastnn.MLP((2, 2)).")
    assert found >= {"fit", "predict", "save", "weights", "jacobian", "steps"}
    assert "epochs=" in completions("import fastnn\nfastnn.MLP((2, 2)).fit(1, 2, epo")


@pytest.mark.slow
def test_a_type_checker_in_strict_mode_finds_slips(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--cache-dir",
         tmp_path / "cache", program], cwd=tmp_path, env=_environment(), text=True,
        capture_output=True, timeout=1200)
    expected = {}
    for number, line in enumerate(PROGRAM.splitlines(), 1):
        if "# wrong: " in line:
            expected[number] = line.partition("# wrong: ")[2]
    told = {}
    for line in done.stdout.splitlines():
        if ": error: " in line:
            told.setdefault(int(line.split(":")[1]), []).append(line)
    assert told.keys() == expected.keys(), done.stdout + done.stderr
    for number, words in expected.items():
        assert any(words in line for line in told[number]), (words, told[number])


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)}
