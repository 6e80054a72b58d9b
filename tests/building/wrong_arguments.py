"""Scripts of benchmarks/ that are given wrong arguments, all in one interpreter."""

from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAM = """
import os, runpy, sys
path, cases = sys.argv[1], eval(sys.argv[2])
sys.path.insert(0, os.path.dirname(path))
for arguments in cases:
    sys.argv = [path, *arguments.split()]
    try:
        runpy.run_path(path, run_name="__main__")
        code = 0
    except SystemExit as exit:
        code = exit.code
    print(f"ended with {code}", file=sys.stderr)
"""


def check_wrong_arguments(run_python, script, messages):
    """``messages``: arguments in one line -> what is said of them."""
    done = run_python(PROGRAM, BENCHMARKS / script, list(messages))
    *found, rest = done.stderr.split("ended with 2\n")
    assert (done.returncode, rest) == (0, ""), done.stderr
    for message, text in zip(messages.values(), found, strict=True):
        assert message in text and "Traceback" not in text, text
