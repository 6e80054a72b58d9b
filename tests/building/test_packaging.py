"""The package as others get it: built from the sdist, without OpenMP, without a compiler, editable.

Builds run in a copy of the tree, without build isolation and without network.
"""

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tokenize
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix()
                 for path in (ROOT / "fastnn").rglob("*.pyx"))
TRAIN = """
import hashlib
import numpy as np
import fastnn
from fastnn.config import configuration
X = np.random.default_rng(0).standard_normal((2000, 64))
net = fastnn.MLP((64, 128, 3), output="softmax", random_state=0, n_threads=2, dtype="float64")
history = net.fit(X, X[:, :3].argmax(axis=1), epochs=3, batch_size=256)
assert history.loss[-1] < history.loss[0], history.loss
print(fastnn.__file__)
print(configuration()['OpenMP'])
print(hashlib.sha256(net.parameters.tobytes()).hexdigest())
"""

# An optimizer that keeps nothing beside the weights does the steps of SGD without momentum.
WITHOUT_STATE = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import fastnn
from fastnn.core import _kernels
from fastnn.training._trainer import Trainer
from fastnn.training.optimizers import Optimizer

@dataclass(frozen=True)
class Plain(Optimizer):
    name: ClassVar[str] = "plain"

    @property
    def hyperparameters(self):
        return ()

assert _kernels.OPTIMIZERS["plain"].n_state == 0
X = np.random.default_rng(0).normal(size=(200, 6))
y = (X @ np.arange(18.0).reshape(6, 3)).argmax(axis=1)

def fitted(optimizer, settings, **more):
    net = fastnn.MLP((6, 8, 8, 3), output="softmax", random_state=0, **settings)
    history = net.fit(X, y, optimizer=optimizer, epochs=4, batch_size=64, alpha=0.1, **more)
    return net, history

for i, settings in enumerate(({}, {"dtype": "float64"}, {"gemm": "blas"},
                              {"norm": "layer", "residual": True},
                              {"dropout": 0.3, "n_threads": 2})):
    net, history = fitted(Plain(0.1), settings)
    other, losses = fitted(fastnn.SGD(0.1, momentum=0), settings)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-5)
    np.testing.assert_allclose(history.loss, losses.loss, rtol=1e-5)
    assert history.loss[-1] < history.loss[0]
    stop = lambda epoch, net, history: 1 / 0 if epoch == 1 else None
    path = f"{i}.checkpoint"
    try:
        fitted(Plain(0.1), settings, checkpoint=path, checkpoint_seconds=0, callback=stop)
    except ZeroDivisionError:
        pass
    resumed, again = fitted(Plain(0.1), settings, checkpoint=path)
    assert resumed.parameters.tobytes() == net.parameters.tobytes() and again.loss == history.loss

    trainers = [Trainer(net.spec, "cross_entropy", optimizer=Plain(0.1), batch_size=50, drops=False)
                for _ in range(2)]
    for trainer in trainers:
        assert trainer.optimizer_state == ()
        trainer.parameters[:] = net.parameters
        trainer.set_data(X.astype(net.dtype), y.astype(np.int32))
    grad, rows = trainers[0].layout.allocate(), np.arange(50)
    trainers[0].loss_and_grad(grad, rows=rows)
    trainers[0].apply(grad, learning_rate=0.1)
    trainers[1].run_epoch(rows, learning_rate=0.1)
    np.testing.assert_allclose(trainers[0].parameters, trainers[1].parameters, rtol=0, atol=1e-6)
    np.testing.assert_allclose(trainers[0].parameters, net.parameters - 0.1 * grad, atol=1e-6)
"""


def run(*command, cwd, check=True, **environment):
    """Run a command; PIP_NO_INDEX keeps pip from asking anyone."""
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True,
                          text=True, timeout=900, stdin=subprocess.DEVNULL)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def copy_tree(folder):
    """The sources, without what builds and tools leave behind."""
    litter = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "_*.c"
    )
    return Path(shutil.copytree(ROOT, folder, ignore=litter))


def build_wheel(source, folder, **environment):
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
        "--wheel-dir", folder, source, cwd=folder, **environment)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def train_with(wheel, folder):
    """Train in a new interpreter with the wheel's files; returns (has OpenMP, hash of weights)."""
    site = Path(folder) / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = run(sys.executable, "-c", TRAIN, cwd=folder, PYTHONPATH=str(site))
    place, openmp, digest = done.stdout.splitlines()
    assert place.startswith(str(site))
    return openmp == "yes", digest


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    tree = copy_tree(folder / "tree")
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, folder, cwd=tree)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist, as an installer does."""
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel"))


# ---- what can be seen without building ----

def without_comments(path):
    text = path.read_text()
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return " ".join(token.string for token in tokens if token.type != tokenize.COMMENT)
    if path.suffix == ".toml" or path.name == "Makefile":
        return re.sub(r"#.*", "", text)
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def test_no_fast_math():
    sources = [ROOT / "setup.py", ROOT / "pyproject.toml", ROOT / "Makefile"]
    sources += [path for path in (ROOT / "csrc").rglob("*") if path.is_file()]
    forbidden = re.compile(
        r"fast-math|fast_math|-Ofast|unsafe-math|associative-math|finite-math|fp:fast|fp-contract=fast"
    )
    for path in sources:
        assert not forbidden.search(without_comments(path)), path


def test_import_leaves_the_float_mode_alone():
    # what -ffast-math at link time would change for the whole process
    code = (
        "import numpy as np; import fastnn; from fastnn.core import _kernels; "
        "from fastnn.training import _trainer; from fastnn.prediction import _forward; "
        "tiny = np.array([5e-324]); assert (tiny * 1.0)[0] != 0; "
        "assert np.isnan(np.array([np.nan]) + 1).all()"
    )
    run(sys.executable, "-c", code, cwd=ROOT)


def test_version_is_that_of_the_metadata():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'name = "fastnn-mlp"\nversion = "{fastnn.__version__}"' in text
    try:
        assert fastnn.__version__ == version("fastnn-mlp")
    except PackageNotFoundError:
        pytest.skip("not installed")


def test_the_check_of_a_wheel_begins_on_python_3_10():
    """Which has no tomllib: `make wheel` built one, and ended in an ImportError."""
    # not looked for in this process: setuptools does without its distutils once pip is asked for
    if run(sys.executable, "-c", "import pip._vendor.tomli", cwd=ROOT, check=False).returncode:
        pytest.skip("no pip that brings one")
    run(sys.executable, "-c", "import runpy, sys; sys.modules['tomllib'] = None; "
        "runpy.run_path('tools/check_wheel.py')", cwd=ROOT)


def test_no_message_installs_another_project():
    """On the package index the name fastnn is another's."""
    named = re.compile(r"""install\s+(-\S+\s+)*["']?fastnn(?!-mlp)[\s\["'`]""")
    assert named.search('pip install "fastnn[sklearn]"')
    assert not named.search('pip install "fastnn-mlp[sklearn]"')
    paths = [*(ROOT / "fastnn").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for path in paths:
        assert not named.search(path.read_text(encoding="utf-8")), path


def test_a_tree_that_is_not_built_says_what_to_do(tmp_path):
    """Not which of its modules is not found."""
    for path in (ROOT / "fastnn").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    done = subprocess.run([sys.executable, "-c", "import fastnn"], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled modules of fastnn are missing in"), last
    assert "`make build`" in last and "`pip install .`" in last


# ---- builds ----

@pytest.mark.slow
def test_sdist_holds_the_sources_and_nothing_built(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "csrc/fastnn.h",
                   "csrc/activations.def", "csrc/isa/avx512.c", "fastnn/py.typed",
                   "fastnn/core/_team.pxd", *(f"{module}.pyx" for module in MODULES),
                   *(f"{module}.pyi" for module in MODULES)):
        assert wanted in names
    built = re.compile(r"\.(so|pyd|o|pyc)$|^fastnn/.*\.c$|^build/")
    assert not [name for name in names if built.search(name)]


def test_what_is_installed_is_the_whole_package(tmp_path):
    """A package that was not in a list was missing where users install, and nowhere else."""
    # by pyproject.toml alone: setup.py would translate the modules
    program = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", program, "-q", "build_py", "--build-lib", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    wanted = {path.relative_to(ROOT) for kind in ("*.py", "*.pyi", "py.typed", "page/*")
              for path in (ROOT / "fastnn").rglob(kind) if path.is_file()}
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == wanted


@pytest.mark.slow
def test_wheel_holds_no_c(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if re.search(r"\.(c|h|def|cpp|o|pyx|pxd)$", name)]
    assert len(MODULES) > 10
    for module in MODULES:
        assert any(re.match(rf"{module}\..*(so|pyd)$", name) for name in names), module
        assert f"{module}.pyi" in names
    assert {"fastnn/py.typed", "fastnn/__init__.pyi"} <= set(names)
    page = {f"fastnn/playground/page/{path.name}"
            for path in (ROOT / "fastnn" / "playground" / "page").iterdir()}
    assert page and page <= set(names)
    assert not [name for name in names if not re.match(r"fastnn/|fastnn_mlp-", name)]


@pytest.mark.slow
def test_wheel_trains_and_a_serial_build_gives_the_same_bits(sdist, wheel, tmp_path):
    (tmp_path / "openmp").mkdir()
    openmp, digest = train_with(wheel, tmp_path / "openmp")
    assert openmp
    (tmp_path / "serial").mkdir()
    serial_wheel = build_wheel(sdist, tmp_path / "serial", FASTNN_NO_OPENMP="1")
    assert train_with(serial_wheel, tmp_path / "serial") == (False, digest)
    if shutil.which("objdump"):
        libraries = sorted((tmp_path / "serial" / "site" / "fastnn").rglob("*.so"))
        assert len(libraries) == len(MODULES)
        for library in libraries:
            assert "gomp" not in run("objdump", "-p", library, cwd=tmp_path).stdout


@pytest.mark.slow
@pytest.mark.parametrize("through", ["setup.py", "pip"])
def test_missing_compiler_says_what_to_install(through, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    command = {
        "setup.py": ["setup.py", "build_ext"],
        "pip": ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."],
    }[through]
    done = run(sys.executable, *command, cwd=tree, check=False, CC="/nonexistent")
    assert done.returncode != 0
    message = done.stdout + done.stderr
    assert "C compiler" in message
    assert "apt-get install gcc python3-dev" in message
    if through == "setup.py":
        assert "Traceback" not in message


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")
def test_only_dispatched_objects_hold_avx(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    run(sys.executable, "setup.py", "build_ext", "--build-temp", tmp_path / "temp",
        "--build-lib", tmp_path / "lib", cwd=tree)
    avx = re.compile(r"\tv[a-z0-9]+ .*%[xyz]mm\d")
    holders, clean = set(), set()
    for path in (tmp_path / "temp").rglob("*.o"):
        listing = run("objdump", "-d", path, cwd=tmp_path).stdout
        (holders if avx.search(listing) else clean).add(path.stem)
    assert holders == {"avx2", "avx512"}
    assert {"baseline", "dispatch", "registry", *(Path(name).name for name in MODULES)} <= clean


# ---- development: editable, and the worked examples of CONTRIBUTING.md ----

@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """(interpreter, tree) of an environment with an editable install of a copy of the tree."""
    folder = tmp_path_factory.mktemp("editable")
    tree = copy_tree(folder / "tree")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", where, cwd=folder).stdout.strip())
    # the packages of this environment, but none of its own editable installs
    places = [place for place in sys.path if place.endswith("-packages")]
    (site / "outer.pth").write_text("\n".join(places) + "\n")
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps",
        "--no-build-isolation", "--ignore-installed", "--editable", tree, cwd=folder)
    return python, tree


def blocks(language):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_editable_install_rebuilds_when_a_header_changes(editable, tmp_path):
    python, tree = editable
    place = run(python, "-c", TRAIN, cwd=tmp_path).stdout.splitlines()[0]
    assert place.startswith(str(tree))

    def compiled():
        libraries = sorted((tree / "fastnn").rglob("*.so"))
        return {path.name: path.stat().st_mtime_ns for path in libraries}

    run(python, "setup.py", "build_ext", "--inplace", cwd=tree)
    before = compiled()
    run(python, "setup.py", "build_ext", "--inplace", cwd=tree)
    os.utime(tree / "csrc" / "fastnn.h")
    run(python, "setup.py", "build_ext", "--inplace", cwd=tree)
    after = compiled()
    assert len(before) == len(MODULES) and before.keys() == after.keys()
    assert all(after[name] > before[name] for name in before)


@pytest.mark.slow
def test_worked_examples_of_contributing(editable, tmp_path):
    python, tree = editable
    rows = {"ACTIVATION": "activations", "LOSS": "losses", "OPTIMIZER": "optimizers"}
    c_blocks = blocks("c")
    assert len(c_blocks) == 3
    for block in c_blocks:
        kind = re.search(r"^FNN_(\w+)\(", block, re.MULTILINE)[1]
        with open(tree / "csrc" / f"{rows[kind]}.def", "a") as file:
            file.write("\n" + block)
    with open(tree / "csrc" / "optimizers.def", "a") as file:
        file.write("\nFNN_OPTIMIZER(plain, 0, { c[0] = lr; }, { w -= c0 * g; })\n")
    run(python, "setup.py", "build_ext", "--inplace", cwd=tree)

    use, signum = blocks("python")
    code = use + signum + """
from fastnn.core import _kernels
from fastnn.core import _probes
z = np.linspace(-3, 3, 101)
for isa in _kernels.available_isas():
    for dtype in ("float32", "float64"):
        a = _probes.activate("squared_relu", z.astype(dtype), isa)
        assert a.dtype == dtype and np.array_equal(a, np.maximum(z.astype(dtype), 0)**2)
loss, dz = _probes.loss("charbonnier", z[:, None], np.zeros((101, 1)))
root = np.sqrt(1 + z**2)
assert np.isclose(loss, (root - 1).sum()) and np.allclose(dz[:, 0], z / root)
before = net.loss(X, np.sin(X), loss="charbonnier")
net.fit(X, np.sin(X), loss="charbonnier", optimizer=Signum(1e-3), epochs=50)
assert net.loss(X, np.sin(X), loss="charbonnier") < before
"""
    run(python, "-c", code, cwd=tmp_path)
    run(python, "-c", WITHOUT_STATE, cwd=tmp_path)
    # the new rows have tests of their own, which pass
    if (tree / "tests" / "core").is_dir():
        done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   "tests/core/test_activations.py", "tests/core/test_losses.py", cwd=tree)
        assert re.search(r"\d+ passed", done.stdout)
