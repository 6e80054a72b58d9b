"""FASTNN_ISA chooses the kernels at import; anything it cannot choose is a clear ImportError."""

import pytest

from fastnn.core import _kernels, _probes

SHOW = "from fastnn.core import _kernels; print(_kernels.isa())"


def test_best_one_is_chosen(run_python):
    assert run_python(SHOW, FASTNN_ISA="").stdout.strip() == _kernels.available_isas()[0]


def test_each_can_be_forced(isa, run_python):
    assert run_python(SHOW, FASTNN_ISA=isa).stdout.strip() == isa


def test_baseline_runs_everywhere():
    assert "baseline" in _kernels.available_isas()
    assert _kernels.isa() in _kernels.available_isas()


def test_unknown_name(run_python):
    done = run_python(SHOW, FASTNN_ISA="bogus")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert "FASTNN_ISA=bogus" in last
    for isa in _kernels.available_isas():
        assert isa in last


def test_unknown_name_of_a_single_kernel():
    with pytest.raises(ValueError, match="bogus.*baseline"):
        _probes.activate("relu", [1.0], isa="bogus")
