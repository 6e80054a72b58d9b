"""``playground``: a small network in a browser, which can be watched while it learns."""

import argparse
import sys
import threading

from fastnn.cli.common import CommandError, Help, say


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "playground", help="watch a small network learn, in a browser", formatter_class=Help,
        description="Serves a page on this machine alone, at 127.0.0.1 with a random token in its "
                    "address, and opens it in the browser. Ctrl-C ends it.")
    parser.set_defaults(run=run)
    parser.add_argument("--port", type=_port, default=0, help="default: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--settings", default="", metavar="TEXT",
                        help="what stands behind # in the address of somebody else's playground")


def _port(text):
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)


def run(options):
    """Run the command."""
    try:
        from fastnn.playground import server
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise CommandError("the playground needs starlette and uvicorn: "
                           "pip install starlette uvicorn") from None
    settings = server.Settings.parse(options.settings.partition("#")[2] or options.settings)
    query = settings.query()

    def opened(address):
        address += f"#{query}" if query else ""
        say(f"playground: {address}\n(Ctrl-C ends it)")
        sys.stdout.flush()
        if not options.no_browser:
            import webbrowser

            # some wait until the browser has ended, which waits for our answers
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    try:
        server.serve(options.port, opened)
    except BrokenPipeError:  # of the address that nobody reads, not of the port
        raise
    except OSError as error:
        raise CommandError(f"port {options.port}: {error.strerror or error}", 1) from None
