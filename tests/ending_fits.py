"""Fits of many networks that end in their midst, for tests of their checkpoints."""

from fastnn.training.fits_file import FitsFile


def ends(monkeypatch, error):
    """Return a function: fits raise an error after the file was given the state of a network so
    often; 0: never."""
    give = FitsFile.give

    def after(count):
        def counted(self):
            nonlocal count
            give(self)
            count -= 1
            if count == 0:
                raise error

        monkeypatch.setattr(FitsFile, "give", counted)

    return after
