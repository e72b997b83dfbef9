"""Join two unsorted streams of keys that do not fit in memory, share by share, on local disk."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

_SHARE_ROWS = 500_000
"""Keys compared at a time: about 100 MB for both sides and their join."""
_SPILL_ROWS = 1_000_000
_MAX_SHARES = 1024


@dataclass
class KeyShares:
    """A temporary folder with a file for each side, share and million rows. Equal keys fall into equal shares.

    A share holds about 500,000 keys of a side, or more beyond half a billion. Use it as a context; it leaves no file.
    """

    count: int

    @classmethod
    def of(cls, rows: int) -> "KeyShares":
        """Return the shares for an estimated number of rows a side."""
        return cls(min(max(-(-rows // _SHARE_ROWS), 1), _MAX_SHARES))

    def __enter__(self) -> Self:
        self._schemas: dict[str, pl.Schema] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="cippus-keys-")
        self._folder = Path(self._temporary.name)
        return self

    def __exit__(self, *_error: object) -> None:
        self._temporary.cleanup()

    def add(self, side: str, schema: Mapping[str, pl.DataType], frames: Iterable[pl.DataFrame]) -> int:
        """Store a side's rows, whose schema has a column ``key``. Return their number. Memory: a million rows."""
        self._schemas[side] = pl.Schema(schema)
        rows, gathered = 0, list[pl.DataFrame]()
        for frame in frames:
            rows += frame.height
            gathered.append(frame)
            if sum(part.height for part in gathered) >= _SPILL_ROWS:
                self._spill(side, rows, gathered)
                gathered = []
        self._spill(side, rows + 1, gathered)
        return rows

    def _spill(self, side: str, name: int, gathered: list[pl.DataFrame]) -> None:
        rows = pl.concat([pl.DataFrame(schema=self._schemas[side]), *gathered])
        shared = rows.with_columns(_share=pl.col("key").hash() % self.count)
        for (share,), part in shared.partition_by("_share", as_dict=True, include_key=False).items():
            folder = self._folder / side / str(share)
            folder.mkdir(parents=True, exist_ok=True)
            part.write_ipc(folder / f"{name}.arrow", compression="lz4")

    def paired(self, left: str, right: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield the rows of both sides, share by share."""
        for share in range(self.count):
            yield self._read(left, share), self._read(right, share)

    def _read(self, side: str, share: int) -> pl.DataFrame:
        files = (self._folder / side / str(share)).glob("*.arrow")
        return pl.concat([pl.DataFrame(schema=self._schemas[side]), *map(pl.read_ipc, files)])
