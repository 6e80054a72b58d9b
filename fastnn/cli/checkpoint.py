"""``train --checkpoint``: the file from which a training goes on."""

import os

from fastnn.cli.common import CommandError, escaped, note

__all__ = ["CHECKPOINT_SECONDS", "check_checkpoint", "tell_checkpoint", "tell_how_to_go_on"]

CHECKPOINT_SECONDS = 1.0


def check_checkpoint(options):
    """Refuse for the checkpoint a file that is another one of this command; `fit` refuses what it
    cannot write."""
    if options.checkpoint is None:
        return
    place = os.path.realpath(options.checkpoint)
    for name, other in (("the input", options.data), ("--output", options.output),
                        ("--test", options.test), ("--report", options.report)):
        if other is not None and place == os.path.realpath(other):
            raise CommandError(f"--checkpoint {options.checkpoint!r} is {name}; choose another "
                               "file")
    if options.cv is not None:
        raise CommandError("--cv and --checkpoint are both given, and the file holds the training "
                           "of one model: give one of both")


def tell_checkpoint(options, say):
    """Say where a training goes on from its file."""
    if options.checkpoint and os.path.exists(options.checkpoint):
        say(f"goes on from {escaped(options.checkpoint)}")


def tell_how_to_go_on(options):
    """Say after Ctrl-C what goes on from the file, where there is one."""
    if options.checkpoint and os.path.exists(options.checkpoint):
        note("to go on with the training: the same command again", options.quiet)
