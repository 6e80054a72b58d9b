"""``python -m fastnn``: the command line, see `fastnn.cli`."""

import sys

if __name__ == "__main__":
    try:  # Ctrl-C while NumPy is imported, too
        from fastnn.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())
