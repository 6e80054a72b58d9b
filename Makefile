# Does all the set-up of a fresh clone; `make help` lists the targets.
# Needs python3 (3.10 or newer) with its headers and venv module, and a C compiler.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check
LINTERS = lint-ruff lint-cython lint-mypy lint-stubs

# whatever ends up in a compiled module
SOURCES := setup.py pyproject.toml $(wildcard csrc/*.* csrc/isa/* fastnn/*/*.pyx fastnn/*/*.pxd)

# requirements of an extra, or of the build, one per line
# (tomllib is of Python 3.11; pip has it before)
REQUIREMENTS = $(PY) -c 'import importlib.util, sys; \
	from importlib import import_module as get; \
	tomllib = get("tomllib" if importlib.util.find_spec("tomllib") else "pip._vendor.tomli"); \
	t = tomllib.load(open("pyproject.toml", "rb")); \
	e = {**t["project"]["optional-dependencies"], "build": t["build-system"]["requires"]}; \
	print(*e[sys.argv[1]], sep="\n")'

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow neighbours lint docs bench asv-check build wheel clean distclean \
	asan tsan valgrind fuzz coverage-c $(LINTERS)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# ---- set-up: a stamp file in $(VENV) for each step, so that a second run has nothing to do ----

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	@touch $@

# editable, and without build isolation: a rebuild then takes a compilation and no downloads
$(VENV)/.installed: $(SOURCES) | $(VENV)/.extra-build
	$(PIP) install --quiet --no-build-isolation --editable .
	@touch $@

$(VENV)/.extra-%: pyproject.toml | $(VENV)/.created
	@echo "installing the requirements of '$*' in pyproject.toml"
	@$(REQUIREMENTS) $* | $(PIP) install --quiet --requirement /dev/stdin
	@touch $@

build: $(VENV)/.installed  ## compile and install into .venv

# ---- use ----

demo: $(VENV)/.installed $(VENV)/.extra-sklearn  ## train on digits beside scikit-learn's MLP
	$(PY) examples/digits_demo.py --threads 1

# Workers run side by side: one thread each, except where a test asks for more. Neighbouring tests
# go to one worker, so that few libraries are imported twice, and what a module keeps is made once.
test test-slow asan tsan valgrind: export OPENBLAS_NUM_THREADS = 1
test test-slow asan tsan valgrind: export OMP_NUM_THREADS = 1
# Hundreds of interpreters are started: they find the package compiled, whatever the environment
# says.
test test-slow: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.installed $(VENV)/.extra-test  ## run the test suite, without the slow part
	$(PY) -m pytest -m "not slow" -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

test-slow: $(VENV)/.installed $(VENV)/.extra-test  ## run the slow tests: builds, examples, soaks
	$(PY) -m pytest -m slow $(PYTEST_ARGS)

neighbours: $(VENV)/.extra-neighbours  ## install what else the tests look for: PyTorch, Keras, MLflow, ...

# Files in the wheel bear the date of the last commit, so that two builds are the same file.
wheel: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315619200)
wheel: $(VENV)/.extra-wheel  ## build a manylinux wheel, run the suite on its oldest requirements
	rm -rf build/wheel dist
	umask 022 && $(PY) -m build --outdir build/wheel .
	PATH="$(abspath $(VENV)/bin):$$PATH" $(PY) -m auditwheel repair --strip --wheel-dir dist \
		build/wheel/*.whl
	mv build/wheel/*.tar.gz dist/
	$(PY) tools/check_wheel.py dist/*.whl

lint: $(VENV)/.installed $(VENV)/.extra-lint  ## ruff, cython-lint and mypy, side by side
	@$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) $(LINTERS)
lint-ruff:
	$(PY) -m ruff check .
lint-cython:
	PATH="$(abspath $(VENV)/bin):$$PATH" cython-lint fastnn
lint-mypy:
	$(PY) -m mypy
lint-stubs:
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-missing-stub --concise \
		$(subst /,.,$(patsubst %.pyx,%,$(wildcard fastnn/*/*.pyx)))

docs: $(VENV)/.installed $(VENV)/.extra-docs  ## build the site into build/docs; warnings are errors
	$(PY) -m sphinx --fail-on-warning --keep-going -d build/doctrees docs build/docs $(SPHINX_ARGS)

asv-check: $(VENV)/.installed $(VENV)/.extra-bench  ## import all benchmarks, check their signatures
	cd benchmarks && ../$(PY) -m asv check -E existing:same

bench: $(VENV)/.installed $(VENV)/.extra-bench  ## run every benchmark once, roughly (BENCH=regex)
	cd benchmarks && ../$(PY) -m asv machine --yes > /dev/null
	cd benchmarks && ../$(PY) -m asv run -E existing:same --quick --show-stderr \
		$(if $(BENCH),--bench "$(BENCH)")

# ---- sanitizers: see CONTRIBUTING.md ----

# The modules once more, into build/<target>/lib.  The sanitizer belongs to CC, so that what setup.py
# links to look for OpenMP has it too.
SANITIZED = build/$@/lib
BUILD_SANITIZED = $(PY) setup.py -q build --build-base build/$@ --build-lib $(SANITIZED)
# -P: the modules in this folder would come first otherwise; -s: a finding ends the interpreter, and
# what pytest has captured would be lost; of two -m the later one holds
TEST_SANITIZED = PYTHONPATH=$(abspath $(SANITIZED)) $(PY) -P -m pytest -s -m "not slow" $(PYTEST_ARGS)
UNDER_ASAN = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc
C_TESTS = $(PY) -m pytest tests/core/test_c_kernels.py -s

# -fwrapv, one of CPython's own flags, would hide the overflow of signed integers
asan: $(VENV)/.installed $(VENV)/.extra-test  ## kernels and modules under ASan and UBSan
	CC="gcc -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
		CFLAGS="-g -fno-omit-frame-pointer -fno-wrapv" $(BUILD_SANITIZED)
	$(C_TESTS) -k "undefined or sanitized"
	$(UNDER_ASAN) $(TEST_SANITIZED) $(or $(TESTS),tests/core tests/network tests/prediction \
		tests/training tests/files tests/ensemble \
		$(patsubst %,tests/tabular/test_%.py,forest trees encoding) \
		$(patsubst %,tests/reliability/test_%.py,failing_malloc failing_malloc_trees \
		no_more_threads attribute_sweep array_kinds table_models_by_threads) \
		$(patsubst %,--ignore=tests/core/test_%.py,c_kernels compilers threads))
	$(if $(TESTS),,$(UNDER_ASAN) $(TEST_SANITIZED) tests/reliability/test_failing_malloc.py \
		tests/reliability/test_failing_malloc_trees.py tests/reliability/test_attribute_sweep.py \
		-m slow -k "not checkpoint")

tsan: $(VENV)/.installed $(VENV)/.extra-test  ## teams of threads under ThreadSanitizer
	CC="gcc -fsanitize=thread" CFLAGS="-g -fno-omit-frame-pointer" $(BUILD_SANITIZED)
	gcc -O1 -g -fsanitize=thread -shared -fPIC -Itests/csrc/fake_omp tests/csrc/fake_omp/gomp.c \
		-o build/$@/gomp.so
	$(C_TESTS) -k thread_sanitizer
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so) $(CURDIR)/build/$@/gomp.so" \
		TSAN_OPTIONS="exitcode=66 halt_on_error=1" \
		setarch -R env $(TEST_SANITIZED) $(or $(TESTS),tests/training/test_training.py \
			tests/training/test_epoch_loop.py tests/training/test_wide_layers.py \
			tests/ensemble/test_fit_many.py tests/tabular/test_forest.py \
			tests/prediction/test_shared_products.py \
			-k "shards or many_threads or leaves or wide or fit_many or forest or shared")

valgrind: $(VENV)/.installed $(VENV)/.extra-test  ## kernels and a few fits in valgrind
	$(C_TESTS) -k valgrind
	FASTNN_ISA=avx2 PYTHONMALLOC=malloc valgrind --quiet --error-exitcode=9 --num-callers=30 \
		--suppressions=tests/csrc/valgrind.supp $(PY) -m pytest -s $(PYTEST_ARGS) \
		$(or $(TESTS),tests/training/test_training.py -k "run_is or divergence")

fuzz: $(VENV)/.installed $(VENV)/.extra-test  ## hostile model files and ONNX graphs, 100,000 and more
	$(PY) -m pytest tests/files/test_fuzz.py tests/interop/test_fuzz_onnx.py -s $(PYTEST_ARGS)

coverage-c: $(VENV)/.installed $(VENV)/.extra-test  ## branches of csrc/ that the C tests take
	$(C_TESTS) -k branch

clean:  ## remove what was built, keep .venv
	rm -rf docs/gallery docs/reference/generated docs/sg_execution_times.rst
	rm -rf build dist *.egg-info fastnn/*/*.so benchmarks/.asv $(VENV)/.installed
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find fastnn tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	rm -rf $(VENV)
