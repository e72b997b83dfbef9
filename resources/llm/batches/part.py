"""The requests of one batch: a file of lines, and what is wanted of each line."""

import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from resources.llm.batches.book import Wanted


@dataclass(frozen=True)
class Part:
    """The requests of one batch: a file of lines, and what is wanted of each line."""

    path: Path
    wanted: tuple[Wanted, ...]

    @property
    def bound(self) -> Decimal:
        """Return the most USD that they can cost."""
        return sum((Decimal(each.usd) for each in self.wanted), Decimal(0))

    def halves(self) -> "list[Part]":
        """Return its first and its second half."""
        middle = len(self.wanted) // 2
        return [self.cut(0, middle), self.cut(middle, len(self.wanted))]

    def cut(self, start: int, end: int) -> "Part":
        """Return a range of it as a file of its own."""
        path = self.path.with_name(uuid.uuid4().hex)
        with self.path.open("rb") as lines, path.open("wb") as out:
            out.writelines(line for number, line in enumerate(lines) if start <= number < end)
        return Part(path, self.wanted[start:end])
