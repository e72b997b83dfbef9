"""Compare a table of the lake with raw/*, bucket by bucket, and repair what differs. Does not use Dagster."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import polars as pl
import pyarrow as pa

from assets.lake.merging import LAKE_TABLES, in_stored_types
from assets.transforms.source.row_comparison import (
    CAUSES,
    FOREIGN,
    PROBLEM,
    RowComparison,
    compare,
    misplaced,
    newest_versions,
)
from assets.transforms.source.schema import SourceTable, newest_usable
from resources.delta.merge import FILE
from resources.delta.snapshot import BucketRows
from resources.delta.spec import typed
from resources.delta.table import BUCKET, Changes, LakeResource, TableSpec
from resources.errors import InputError
from resources.raw.store import KEYS, Manifest, RawStoreResource, parse_timestamp
from resources.settings import bucket_count

_KEYS_AT_ONCE = 5_000_000
"""Keys whose buckets are held in memory at once: about 100 MB."""
_EXAMPLES = 5
_HASH = "_hash"
COMMAND = "cippus reconcile lake"


@dataclass
class Differences:
    """What a comparison found: rows compared, rows by problem, the first keys of each problem, and what was written."""

    table: str
    rows: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    @property
    def found(self) -> int:
        """Return the number of rows with a problem."""
        return self.problems.total()

    def add(self, found: RowComparison, key: str) -> None:
        """Count the problems of a bucket."""
        self.rows += found.desired.height
        for problem, keys in found.problems.group_by(PROBLEM).agg(pl.col(key)).iter_rows():
            self.problems[problem] += len(keys)
            known = self.examples.setdefault(problem, [])
            known += sorted(str(value) for value in keys)[: _EXAMPLES - len(known)]

    def said(self) -> str:
        """Return what was found and how it comes about, a sentence for each problem."""
        return " ".join(
            f"{count:,} {problem} ({', '.join(self.examples[problem])}): {CAUSES[problem]}."
            for problem, count in sorted(self.problems.items())
        )


@dataclass(frozen=True)
class LakeComparison:
    """One table and the windows that it was merged from. Memory: the versions of one bucket, and rows that moved."""

    table: SourceTable
    raw_store: RawStoreResource
    lake: LakeResource

    @property
    def _spec(self) -> TableSpec:
        return LAKE_TABLES[self.table.name]

    @cached_property
    def _windows(self) -> list[Manifest]:
        """Return the windows with rows, in the order in which they are merged."""
        sources = self.raw_store.sources(self.table.name)
        found = (window for source in sources for window in self.raw_store.manifests(source, self.table.name))
        return [window for window in found if window.files]

    def buckets(self) -> Iterator[tuple[int, BucketRows, RowComparison]]:
        """Yield each bucket, its rows, and what differs. Raise InputError before the first merge."""
        count = bucket_count()
        self.raw_store.require_bucket_count(self.table.name, count)
        snapshot = self.lake.snapshot(self._spec)
        if snapshot is None:
            message = f"{self._spec.name} does not exist yet: run `cippus run` first."
            raise InputError(message)
        moved = self._moved(snapshot.schema)
        for bucket in range(count):
            stored = self.lake.bucket_rows(self._spec, bucket)
            if stored is not None:
                compared = compare(self._due(stored, bucket, moved), stored.rows.drop(FILE), self._spec.key)
                yield bucket, stored, replace(compared, problems=self._explained(compared.problems))

    def differences(self) -> Differences:
        """Compare all buckets."""
        found = Differences(self._spec.name)
        if self.lake.open(self._spec) is None and not self._windows:
            return found
        for _, _, compared in self.buckets():
            found.add(compared, self.table.key)
        return found

    def repair(self) -> Differences:
        """Make each bucket what its windows say, in one commit with its change feed. Equal buckets are not written.

        The caller keeps other runs from merging meanwhile. It can be repeated.
        """
        found = Differences(self._spec.name)
        for bucket, stored, compared in self.buckets():
            found.add(compared, self.table.key)
            if compared.problems.height:
                found.changes += self.lake.sync(self._spec, compared.desired, bucket, stored)
        return found

    def _explained(self, problems: pl.DataFrame) -> pl.DataFrame:
        """Tell rows of another bucket from rows that were never extracted; only for such rows, every key is read."""
        foreign = problems.filter(pl.col(PROBLEM) == FOREIGN)
        if foreign.is_empty():
            return problems
        key = self.table.key
        files = (file for window in self._windows for file in window.files)
        found = [self.raw_store.read([file], [key]).filter(pl.col(key).is_in(foreign[key].implode())) for file in files]
        return misplaced(problems, pl.concat([foreign.select(key).clear(), *found]), self._spec.key)

    def _due(self, stored: BucketRows, bucket: int, moved: pl.DataFrame) -> pl.DataFrame:
        """Return the versions of which one of each key is to stand in a bucket."""
        schema, key = stored.snapshot.schema, list(self._spec.key)
        due = newest_versions(self._versions(schema, bucket), typed(self._spec.empty(), schema), key)
        stayed = due.join(moved.select(key), on=key, how="anti", maintain_order="left")
        return pl.concat([stayed, typed(moved.filter(pl.col(BUCKET) == bucket), schema)])

    def _moved(self, schema: pa.Schema) -> pl.DataFrame:
        """Return the newest versions of the keys that were in several buckets, in the columns of the table."""
        none = typed(self._spec.empty(), schema)
        hashes = self._hashes_in_several_buckets() if self._spec.moves else pl.Series(_HASH, [], pl.UInt64)
        if hashes.is_empty():
            return none
        found = newest_versions(self._versions(schema, None, hashes), none, self._spec.key)
        last = found.unique(list(self._spec.key), keep="last", maintain_order=True).select(self._spec.place)
        return found.join(last, on=self._spec.place, how="semi", maintain_order="left")

    def _versions(
        self, schema: pa.Schema, bucket: int | None, hashes: pl.Series | None = None
    ) -> Iterator[tuple[pl.DataFrame, datetime | None]]:
        """Yield the usable rows of each window, of one bucket or of some keys, in the columns of the table."""
        for window in self._windows:
            parts = []
            for file in window.files:
                if bucket in (None, file.bucket):
                    rows = self.raw_store.read([file])
                    parts.append(rows if hashes is None else rows.filter(self._hash.is_in(hashes.implode())))
            if parts:
                usable = newest_usable(self.table, pl.concat(parts))[0]
                judged_below = parse_timestamp(window.judged_below or None) if window.kind == KEYS else None
                yield typed(in_stored_types(self._spec, usable, schema), schema), judged_below

    def _hashes_in_several_buckets(self) -> pl.Series:
        """Return the hashes of keys that have versions in several buckets. Reads the keys of every version."""
        passes = 1 + sum(window.rows for window in self._windows) // _KEYS_AT_ONCE
        several = [pl.Series(_HASH, [], pl.UInt64)]
        for number in range(passes):
            seen, pending = pl.DataFrame(schema={_HASH: pl.UInt64, BUCKET: pl.Int32}), list[pl.DataFrame]()
            for file in (file for window in self._windows for file in window.files):
                keys = self.raw_store.read([file], [self.table.key]).select(self._hash.alias(_HASH))
                of_pass = keys.filter(pl.col(_HASH) % passes == number)
                pending.append(of_pass.with_columns(pl.lit(file.bucket, pl.Int32).alias(BUCKET)))
                if sum(part.height for part in pending) > seen.height:
                    seen, pending = pl.concat([seen, *pending]).unique(), []
            seen = pl.concat([seen, *pending]).unique()
            several.append(seen.filter(pl.col(_HASH).is_duplicated())[_HASH].unique())
        return pl.concat(several)

    @property
    def _hash(self) -> pl.Expr:
        return pl.col(self.table.key).hash()
