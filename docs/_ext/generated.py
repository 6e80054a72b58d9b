"""Text that is made of the sources, so that it cannot grow old.

A page says `<!-- generated: losses -->` where it belongs.
"""

import re

import command_line
import def_tables
import messages

MAKERS = {"activations": def_tables.activations, "losses": def_tables.losses,
          "optimizers": def_tables.optimizers, "messages": messages.page,
          "command line": command_line.page}
MARK = re.compile(r"^<!-- generated: ([\w ]+) -->$", re.MULTILINE)


def _insert(app, name, source):
    source[0] = MARK.sub(lambda match: MAKERS[match[1]](), source[0])


def setup(app):
    """Look at each page before it is parsed."""
    app.connect("source-read", _insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
