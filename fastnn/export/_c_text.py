"""Words of C: literals, lines, comments, names."""

import re

from fastnn.core import validation
from fastnn.core.notices import shown

WIDTH = 100

KEYWORDS = frozenset("""
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while""".split())


def check_prefix(prefix):
    """ValueError where names with this prefix are not ours to use in C and C++."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix={prefix!r} must be a string")
    if not re.fullmatch(r"[A-Za-z]\w*", prefix, re.ASCII) or "__" in prefix:
        raise ValueError(f"prefix={prefix!r} must be a C identifier: letters, digits and single "
                         "underscores, a letter first")
    if prefix in KEYWORDS:
        raise ValueError(f"prefix={prefix!r} must not be a keyword of C")


def number_literals(array, suffix):
    """Exact literals, by hexadecimal floats."""
    zeros = re.compile(r"\.?0*p")
    return [zeros.sub("p", value.hex()) + suffix for value in array.ravel().tolist()]


def wrapped(words, indent, end=","):
    """Words in lines of at most `WIDTH` characters."""
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) + len(end) > WIDTH and line != indent:
            lines.append(line.rstrip())
            line = indent
        line += word + end + " "
    return "\n".join([*lines, line.rstrip()])


def string_literal(text):
    """Return a C string literal of the text in UTF-8."""
    if "\0" in text:
        raise ValueError(f"the category or label {shown(text)} holds the character NUL, where a "
                         "string of C ends; give the classes other names")

    def one(byte):
        # three octal digits end by themselves; ? may begin a trigraph
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        return chr(byte) if plain else f"\\{byte:03o}"

    return '"' + "".join(map(one, validation.as_utf8("the category or label", text))) + '"'


def comment(text):
    """Text that ends no comment and warns nobody."""
    return re.sub(r"[^ -~]|[*/\\?]", "_", str(text))
