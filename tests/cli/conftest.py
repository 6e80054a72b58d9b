"""The command line, run in this process; modules that need more wrap the fixture."""

import pytest

from fastnn.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: (exit code, standard output, standard error).

    ``train`` gets a plain network unless a preset is asked for: it is quick, and what most tests
    are about.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        arguments = [str(argument) for argument in arguments]
        if arguments[:1] == ["train"] and "--preset" not in arguments:
            arguments += ["--activation", "relu"] * ("--activation" not in arguments)
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call
