"""`Texts`: a column of a file of text, before anything is made of it."""

import itertools

from fastnn.tables.cells import from_texts
from fastnn.tables.numerals import LOOKED_AT

__all__ = ["Texts"]

BETWEEN = "\x1f"       # joins the cells of a block
LONGEST_LOOK = 40_000  # characters of a column that are looked at for its decimal mark
RUNS = 20              # of cells that are looked at in a column of more


class Texts:
    """A column of a file: its text as it stands there, in blocks."""

    def __init__(self, style):
        self.name, self.style, self.blocks, self.n = None, style, [], 0

    def __len__(self):
        return self.n

    def add(self, texts):
        """Add the cells of some rows."""
        joined = BETWEEN.join(texts)
        self.blocks.append(joined if joined.count(BETWEEN) == len(texts) - 1 else list(texts))
        self.n += len(texts)

    def blocks_of_text(self):
        """Return an iterator of the blocks, each a str."""
        return (block if isinstance(block, str) else BETWEEN.join(block) for block in self.blocks)

    def some(self):
        """Return texts that show the decimal mark: all of a small column, else those of runs from
        the first row to the last, as rows may stand in the order of their values."""
        if self.n <= LOOKED_AT and sum(map(len, self.blocks)) <= LONGEST_LOOK:
            return self.raw()
        n = min(len(self.blocks), RUNS)
        found, each = [], RUNS // n
        for i in range(n):
            block = self.blocks[i * (len(self.blocks) - 1) // max(1, n - 1)]
            n_cells = LOOKED_AT // RUNS
            for start in (len(block) * k // each for k in range(each)):
                if isinstance(block, str):
                    end = start + LONGEST_LOOK // RUNS
                    # what is cut is another number
                    whole = block[start:end].split(BETWEEN)[start > 0:]
                    found += whole[:n_cells if end >= len(block) else min(n_cells, len(whole) - 1)]
                else:
                    found += block[start:start + n_cells]
        return found

    def raw(self):
        """Return the text of each row."""
        blocks = [block.split(BETWEEN) if isinstance(block, str) else block
                  for block in self.blocks]
        return blocks[0] if len(blocks) == 1 else list(itertools.chain.from_iterable(blocks))

    def cells(self):
        """Return the canonical cells."""
        return from_texts(self.raw(), self.style)
