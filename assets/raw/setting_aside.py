"""Set aside a landed window that cannot be merged, and bring it back. Does not use Dagster.

One object decides: the window's manifest, whose files move from ``files`` to ``aside``. The lake, its checks and the
key reconciliation then see a window without these rows. Every step can be repeated after a crash.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from assets.lake import LAKE_TABLES, application
from assets.transforms.source.schema import REASON, SOURCE_TABLES
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import CHANGES, KEYS, Manifest, RawStoreResource
from resources.raw.writer import WindowFile

ORIGIN = "aside"
_RESTORED = "restored/"


@dataclass(frozen=True)
class WindowOfTable:
    """One landed window of a table, by source and number; a blank ``source`` is the only one that has the number."""

    raw_store: RawStoreResource
    lake: LakeResource
    quarantine: QuarantineResource
    table: str
    number: int
    source: str = ""

    def set_aside(self, reason: str) -> Manifest:
        """Quarantine the rows that no bucket has merged, and take them out of the window. Return its new manifest.

        Raise InputError if there is no such window, or if nothing of it is left to merge. Memory: one file.
        """
        window = self._found()
        if window.aside:
            return window
        unmerged = self._unmerged(window)
        if not unmerged:
            message = (
                f"Window {window.number} of {window.source}/{self.table} has no rows that are not in the lake; only a "
                "window that cannot be merged is set aside."
            )
            raise InputError(message)
        for file in unmerged:  # first, so that no row is ever in neither place
            self._quarantine(window, file, f"Set aside with window {window.number} of {window.source}: {reason}")
        kept = tuple(file for file in window.files if file not in unmerged)
        changed = replace(window, files=kept, aside=tuple(unmerged), aside_reason=reason)
        self.raw_store.replace(changed)
        return changed

    def restore(self) -> Manifest:
        """Land the rows that were set aside again, as the newest window, and take them out of quarantine.

        Later windows may have been merged, so the old number would be skipped. A newer version of a row wins, whatever
        the order of windows. Raise InputError if nothing of the window is set aside.
        """
        window = self._found()
        if not window.aside:
            message = f"Window {window.number} of {window.source}/{self.table} is not set aside; nothing to restore."
            raise InputError(message)
        landed = self._landed_again(window) or self._land_again(window)
        self.quarantine.withdraw(self._origin(window))
        self.raw_store.replace(replace(window, aside=(), aside_reason=""))
        return landed

    def _found(self) -> Manifest:
        if self.table not in SOURCE_TABLES:
            message = f"There is no table {self.table!r}; expected one of {', '.join(SOURCE_TABLES)}."
            raise InputError(message)
        sources = self.raw_store.sources(self.table)
        if self.source and self.source not in sources:
            message = f"raw/{self.table} has no windows of {self.source!r}; expected {_listed(sources)}."
            raise InputError(message)
        named = [self.source] if self.source else sources
        having = [name for name in named if self.number in self.raw_store.numbers(name, self.table)]
        if len(having) > 1:
            message = f"Several sources have a window {self.number} of {self.table}; add --source {_listed(having)}."
            raise InputError(message)
        window = self.raw_store.window(having[0], self.table, self.number) if having else None
        if window is None:
            newest = {name: max(self.raw_store.numbers(name, self.table), default=0) for name in named}
            known = ", ".join(f"{name} 1 to {number}" for name, number in newest.items() if number) or "none"
            message = f"raw/{self.table} has no window {self.number}; its windows are: {known}."
            raise InputError(message)
        return window

    def _unmerged(self, window: Manifest) -> list[WindowFile]:
        recorded_as = {
            bucket: application(window.source, self.table, bucket) for bucket in {file.bucket for file in window.files}
        }
        applied = self.lake.applied(LAKE_TABLES[self.table], recorded_as.values())
        return [file for file in window.files if applied.get(recorded_as[file.bucket], 0) < window.number]

    def _quarantine(self, window: Manifest, file: WindowFile, reason: str) -> None:
        origin, key = self._origin(window), SOURCE_TABLES[self.table].key
        try:
            rows = self.raw_store.read([file])
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            cause = str(error).splitlines()[0]
            self.quarantine.land_file(origin, self.table, file.key, f"{reason}. The file cannot be read: {cause}")
            return
        self.quarantine.land(origin, self.table, key, rows.with_columns(pl.lit(reason).alias(REASON)), REASON)

    def _origin(self, window: Manifest) -> str:
        return f"{ORIGIN}-{window.source}-{self.table}-{window.number:012d}"

    def _landed_again(self, window: Manifest) -> Manifest | None:
        """Return the window that an interrupted restore landed."""
        origin = f"{_RESTORED}{window.number}"
        later = self.raw_store.manifests(window.source, self.table, after=window.number)
        return next((found for found in later if found.origin == origin), None)

    def _land_again(self, window: Manifest) -> Manifest:
        newest = self.raw_store.newest(window.source, self.table) or window
        again = replace(
            window,
            number=newest.number + 1,
            lower=newest.upper,
            upper=newest.upper,
            files=window.aside,
            kind=KEYS if window.kind == KEYS else CHANGES,
            origin=f"{_RESTORED}{window.number}",
            overlap_seconds=newest.overlap_seconds,
            overlap=newest.overlap,
            source_columns=newest.source_columns,
            aside=(),
            aside_reason="",
        )
        self.raw_store.complete(again)
        return again


def windows_aside(quarantine: QuarantineResource) -> list[tuple[str, str, int]]:
    """Return (source, table, number) of each window that is set aside, from one listing of the quarantine."""
    found = set()
    for key in quarantine.names(f"{ORIGIN}-"):
        source, table, number, _ = key.removeprefix(f"{ORIGIN}-").split("-", 3)
        found.add((source, table, int(number)))
    return sorted(found)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names) or "none"
