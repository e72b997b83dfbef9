"""Two streams of keys, too many for memory and in no common order, brought together share by share on local disk."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

_SHARE_ROWS = 500_000
"""Keys compared at a time: about 100 MB for both sides and their join."""
_GATHERED_ROWS = 1_000_000
_MOST_SHARES = 1024


@dataclass
class KeyShares:
    """A temporary folder with a file for each side, share and million rows. Equal keys fall into equal shares.

    Shares hold about 500,000 keys of a side, or more beyond half a billion. Use it as a context; it leaves no file.
    """

    count: int

    @classmethod
    def of(cls, rows: int) -> "KeyShares":
        """Shares for about so many rows a side."""
        return cls(min(max(-(-rows // _SHARE_ROWS), 1), _MOST_SHARES))

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="cippus-keys-")
        self._folder = Path(self._temporary.name)
        self._schemas: dict[str, pl.Schema] = {}
        return self

    def __exit__(self, *_error: object) -> None:
        self._temporary.cleanup()

    def add(self, side: str, schema: Mapping[str, pl.DataType], frames: Iterable[pl.DataFrame]) -> int:
        """Take a side's rows in a schema with a column ``key``; returns how many. Memory: a million rows."""
        self._schemas[side] = pl.Schema(schema)
        rows, gathered, number = 0, list[pl.DataFrame](), 0
        for frame in frames:
            rows += frame.height
            gathered.append(frame)
            if sum(held.height for held in gathered) >= _GATHERED_ROWS:
                self._spill(side, number, pl.concat(gathered))
                gathered, number = [], number + 1
        if gathered:
            self._spill(side, number, pl.concat(gathered))
        return rows

    def _spill(self, side: str, number: int, rows: pl.DataFrame) -> None:
        shared = rows.with_columns(_share=pl.col("key").hash() % self.count)
        for (share,), part in shared.partition_by("_share", as_dict=True, include_key=False).items():
            folder = self._folder / side / str(share)
            folder.mkdir(parents=True, exist_ok=True)
            part.write_ipc(folder / f"{number}.arrow", compression="lz4")

    def paired(self, left: str, right: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Both sides' rows, share by share."""
        for share in range(self.count):
            yield self._read(left, share), self._read(right, share)

    def _read(self, side: str, share: int) -> pl.DataFrame:
        files = sorted((self._folder / side / str(share)).glob("*.arrow"))
        empty = pl.DataFrame(schema=self._schemas[side])
        return pl.concat([empty, *(pl.read_ipc(file) for file in files)])
