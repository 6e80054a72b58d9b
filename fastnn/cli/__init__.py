"""The command line: ``python -m fastnn``, or ``fastnn`` where it is installed.

One module per command, each with ``add(commands)`` for its options and ``run(options)``, which
returns the exit code, or None for 0. Results go to standard output, notes and progress to standard
error. What they share: common; tables and samples, the rows; goal, what is predicted; scores. What
``train`` is made of: preset or network, checkpoint, report.

Exit codes: 0 done; 2 wrong usage or input; 1 any other failure; 130 after Ctrl-C; 141 when the
reader of the output has gone.
"""

import argparse
import errno
import os
import re
import sys
from pathlib import Path

from fastnn.cli import bench, evaluate, export, info, playground, predict, train
from fastnn.cli.common import CommandError, Help, near, open_closed_streams, program, say
from fastnn.core.words import did_you_mean

__all__ = ["main"]

DESCRIPTION = "Neural networks (multilayer perceptrons) for tables, from the command line."
EPILOG = """\
a first session:
  %(prog)s train houses.csv --target price -o houses.safetensors
  %(prog)s info houses.safetensors
  %(prog)s predict houses.safetensors new_houses.csv -o prices.csv

'%(prog)s COMMAND --help' explains the options of a command.
"""

CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


# what other programs call it -> what is meant here
OPTIONS = {
    "--lr": "--learning-rate", "--rate": "--learning-rate", "--eta": "--learning-rate",
    "--learning-rate-init": "--learning-rate",
    "--n-epochs": "--epochs", "--iterations": "--epochs", "--l2": "--alpha",
    "--weight-decay": "--alpha", "--hidden-layer-sizes": "--hidden", "--layers": "--hidden",
    "--units": "--hidden", "--jobs": "--threads", "--n-jobs": "--threads",
    "--n-threads": "--threads", "--random-state": "--seed", "--label": "--target",
    "--test-size": "--test-fraction", "--weights": "--weight", "--sample-weight": "--weight",
    "--sep": "--separator", "--delimiter": "--separator", "--overwrite": "--force",
    "--probabilities": "--proba", "--class-weights": "--class-weight", "--quality": "--preset",
}


class _Parser(argparse.ArgumentParser):
    """Names the option, the command or the choice that was meant."""

    given = ()

    def parse_known_args(self, args=None, namespace=None):
        self.given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message):
        hint, wrong = "", CHOICE.search(message)
        if wrong is not None:
            hint = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))  # argparse lists them
            if wrong[1] in ("help", "version"):
                hint = f"; did you mean '--{wrong[1]}'?"
        elif "required" in message:  # perhaps there, and misspelt
            known = [name for name in self._option_string_actions if name.startswith("--")]
            odd = [name for text in self.given if (name := text.partition("=")[0]).startswith("--")
                   and not any(one.startswith(name) for one in known)]
            hint = near(odd[0], known) if odd else ""
            file = next((text for text in self.given if text.startswith("-") and len(text) > 1
                         and os.path.isfile(text)), None)
            if not odd and file is not None:
                hint = f"; of a file whose name begins with - : ./{file}"
        super().error(message + hint)

    def parse_args(self, args=None, namespace=None):
        found, odd = self.parse_known_args(args, namespace)
        if odd:
            commands = next(action for action in self._actions
                            if isinstance(action, argparse._SubParsersAction))
            command = commands.choices.get(found.command, self)
            known = [name for name in command._option_string_actions if name.startswith("--")]
            option = next((text.partition("=")[0] for text in odd if text.startswith("-")), None)
            if option in command._option_string_actions:
                hint = f"; options stand behind the command: {self.prog} {found.command} {option}"
            elif option is not None:
                hint = _meant(option, known)
            else:
                hint = "; -o FILE says where to write" if "--output" in known else ""
            command.error(f"unrecognized arguments: {' '.join(odd)}{hint}")
        return found


def _meant(option, known):
    """Return the end of a message: which of the options was meant."""
    if OPTIONS.get(option) in known:
        return f"; did you mean {OPTIONS[option]!r}?"
    if option in ("--gpu", "--device", "--cuda"):
        return "; fastnn computes on the CPU alone, --threads says on how many cores"
    if option in ("--verbose", "-v"):
        return "; the progress is shown anyway, -q hides it"
    return near(option, known)


def _parser():
    from fastnn.core.version import __version__

    parser = _Parser(
        prog=program(), description=DESCRIPTION, epilog=EPILOG, formatter_class=Help)
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for module in (train, evaluate, predict, info, export, playground, bench):
        module.add(commands)
    return parser


# of files that the user has named, not of the machine
PLACES = (FileExistsError, FileNotFoundError, PermissionError, IsADirectoryError,
          NotADirectoryError)
NAMES = errno.ENAMETOOLONG, errno.ELOOP


def main(arguments=None):
    """Run a command.

    Parameters
    ----------
    arguments : list of str or None, default=None
        None: those of the process.

    Returns
    -------
    int
        The exit code.
    """
    is_closed = sys.stdout is None
    open_closed_streams()
    parser, code = _parser(), 0
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # after --help, --version or wrong usage
        return int(end.code or 0)
    try:
        if is_closed and getattr(options, "output", None) == "-":
            raise CommandError("standard output is closed: --output says where to write", 1)
        if options.command is None:
            parser.print_help()
        else:
            code = options.run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read us, such as `head`, has enough; the interpreter must not flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("FASTNN_TRACEBACK"):
            raise
        message, code = _explained(error)
        say(f"{Path(parser.prog).name}: error: {message}", sys.stderr)
        return code
    return code


def _explained(error):
    """Message and exit code of an exception."""
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, OSError) and (isinstance(error, PLACES) or error.errno):
        text = error.strerror if error.strerror and error.filename is None else (
            f"{error.strerror}: {error.filename}" if error.strerror else str(error))
        return text, 2 if isinstance(error, PLACES) or error.errno in NAMES else 1
    if isinstance(error, ValueError):  # what the library says of wrong values and files
        return str(error), 2
    if isinstance(error, MemoryError):
        return "not enough memory", 1
    return (f"{type(error).__name__}: {error}\n"
            "(with FASTNN_TRACEBACK=1 in the environment it says where)"), 1
