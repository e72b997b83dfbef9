"""The files of local folders, and the values of SQLite databases among them."""

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

_SQLITE = b"SQLite format 3\0"
_MOST_INFLATED_BYTES = 64 << 20
_ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def files_of(top: Path, left_out: frozenset[Path], on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield every file below a folder. Follow symbolic links, and enter each folder once.

    ``left_out``: folders not to enter, by any path. ``on_error`` gets the error of a folder that cannot be listed.
    """
    excluded = {path.resolve() for path in left_out}
    entered: set[Path] = set()
    for folder, subfolders, names in os.walk(top, onerror=on_error, followlinks=True):
        real = Path(folder).resolve()
        if real in entered or real in excluded:
            subfolders.clear()
            continue
        entered.add(real)
        for path in (Path(folder, name) for name in names):
            try:
                is_excluded = path.is_symlink() and not excluded.isdisjoint(path.resolve().parents)
                if path.is_file() and not is_excluded:
                    yield path
            except OSError as error:
                on_error(error)


def sqlite_values(path: Path) -> Iterator[bytes]:
    """Yield every text and blob of an SQLite database; nothing for another file, or for one that cannot be read.

    A long value lies in pages that need not be neighbours, so a search of the file's bytes can miss it.
    """
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            quoted = table.decode().replace('"', '""')
            for row in database.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608  # a name cannot be a parameter
                yield from (_inflated(value) for value in row if isinstance(value, bytes))


def _inflated(value: bytes) -> bytes:
    """Return a value decompressed, if it is compressed with zlib, as Dagster's snapshots are."""
    if value.startswith(_ZLIB_HEADS):
        with suppress(zlib.error):
            return zlib.decompressobj().decompress(value, _MOST_INFLATED_BYTES)
    return value
