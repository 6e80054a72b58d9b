"""Types of the scripts' arguments: what cannot be measured is refused before anything runs."""

import argparse
import math
from pathlib import Path


def listing(kind, known):
    """Parser of an argument such as "a,c,e", or "all"."""

    def parse(text):
        names = list(known) if text == "all" else text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {kind} {name!r}; there are {', '.join(known)}")
        return names

    return parse


def number(kind, valid, said):
    """Parser of a number that is finite and valid."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (valid(value) and value < math.inf):
            raise argparse.ArgumentTypeError(f"{text!r} must be a number {said}")
        return value

    return parse


def positive(kind):
    """Parser of a number above 0."""
    return number(kind, lambda value: value > 0, "above 0")


def at_least(kind, low):
    """Parser of a number not below the least."""
    return number(kind, lambda value: value >= low, f"from {low}")


def several(parse, separator=","):
    """Parser of some values of a kind, such as "1,2"."""
    return lambda text: [parse(part) for part in text.split(separator)]


def sizes(text):
    """Sizes of a network's layers, such as "20-64-2"."""
    found = several(positive(int), "-")(text)
    if len(found) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} must be at least inputs and outputs: 20-64-2")
    return tuple(found)


def folder(text):
    """A folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def output(text):
    """A file in a folder that is there: what is measured must not be lost for want of it."""
    if Path(text).is_dir() or not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a file in a folder that is there")
    return Path(text)
