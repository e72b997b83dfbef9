"""Verify that the lake equals the database, and that the windows are complete and contiguous."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SourceTable, account_bucket
from resources.delta.table import BUCKET
from resources.raw.store import CHANGES, Manifest, parse_timestamp
from resources.sources.postgres import SOURCE
from tests.chaos.steps import BUCKETS, Steps

Row = Mapping[str, Any]


class BrokenPromiseError(AssertionError):
    """The lake or the windows are wrong; the message has the difference."""


def bucket_of(table: SourceTable, row: Row) -> int:
    """Return the bucket of a row of the database."""
    owner = next((row[name] for name in table.owner_columns if row[name] is not None), None)
    return 0 if owner is None else account_bucket(owner, BUCKETS)


@dataclass(frozen=True)
class Truth:
    """The rows of the database, all former states of every key (see ``state``), and the keys that were put back."""

    rows: Sequence[Row]
    history: Mapping[str, set[str]]
    put_back: Collection[str]
    odd: Mapping[str, str]
    """Key → column of the rows with a time out of range; they are not among ``rows``."""
    ever_odd: Collection[tuple[str, str]]


def require_equal(steps: Steps, table: SourceTable, truth: Truth, *, reconciled: bool) -> None:
    """Require lake = database, in all rows and columns. Other rows of the lake are former states, marked as deleted.

    Before reconciliation, keys that were put back may differ, and deleted rows may be live, because windows show
    neither. All other rows must be right by then; reconciliation would hide rows that windows miss.
    """
    spec, key = LAKE_TABLES[table.name], pl.col(table.key)
    found = steps.lake.scan(spec).collect().select(spec.schema.names).sort(table.key)
    twice = found.filter(key.is_duplicated())
    if twice.height:
        raise BrokenPromiseError(f"Duplicate keys in the lake: {twice}")
    expected = pl.DataFrame(
        [{**row, BUCKET: bucket_of(table, row)} for row in truth.rows], schema=spec.polars_schema, orient="row"
    ).sort(table.key)
    others = found.join(expected.select(table.key), on=table.key, how="anti")
    if not reconciled:
        seen = ~key.is_in(list(truth.put_back))
        found, expected = found.filter(seen), expected.filter(seen)
    living = found.join(expected.select(table.key), on=table.key, how="semi").sort(table.key)
    try:
        assert_frame_equal(living, expected)
    except AssertionError as error:
        what = f"{str(error).splitlines()[0]}, {'after' if reconciled else 'before'} keys were reconciled"
        raise BrokenPromiseError(
            f"The lake differs from the database: {what}\n{_difference(living, expected)}"
        ) from None
    for row in others.iter_rows(named=True):
        if reconciled and row["deleted_at"] is None and row[table.key] not in truth.odd:
            raise BrokenPromiseError(f"The lake has a live row that the database does not have: {row}")
        if state(table, row) not in truth.history[row[table.key]]:
            raise BrokenPromiseError(f"The lake has a row that never existed: {row}")


def require_quarantined(steps: Steps, table: SourceTable, truth: Truth) -> None:
    """Require that exactly the rows with a time out of range were rejected. A row that was mended may be listed."""
    found = {
        (row["row_key"], row["reason"])
        for frame in steps.quarantine.rows()
        for row in frame.filter(pl.col("source_table") == table.name).iter_rows(named=True)
    }
    now, ever = (
        {(key, f"{column} cannot be read as timestamp[us, tz=UTC]") for key, column in pairs}
        for pairs in (truth.odd.items(), truth.ever_odd)
    )
    if not now <= found <= ever:
        raise BrokenPromiseError(
            f"The quarantine has {sorted(found)}; it must have {sorted(now)}, and may have {sorted(ever)}."
        )


def state(table: SourceTable, row: Row) -> str:
    """Return a row as text, without the timestamps that a tombstone changes."""
    values = [row[name] for name in table.schema.names if name not in ("updated_at", "deleted_at")]
    return repr([value.isoformat() if isinstance(value, datetime) else value for value in values])


def _difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Return the rows that differ, as lines."""
    lines = []
    lake, database = ({row[0]: row for row in frame.select(found.columns).iter_rows()} for frame in (found, expected))
    for key in sorted({*lake, *database}):
        if lake.get(key) != database.get(key):
            lines += [f"  lake     {lake.get(key)}", f"  database {database.get(key)}"]
    return "\n".join(lines)


def require_contiguous(steps: Steps, table: SourceTable) -> None:
    """Require windows that are numbered from 1, begin where the last one ended, and have the rows of their manifest."""
    before: Manifest | None = None
    for manifest in steps.raw_store.manifests(SOURCE, table.name):
        where = f"Window {manifest.number} of {table.name}"
        if manifest.number != (before.number + 1 if before else 1) or manifest.lower != (before and before.upper):
            raise BrokenPromiseError(f"{where}, from {manifest.lower}, does not follow {before}.")
        rows = steps.raw_store.read(manifest.files) if manifest.files else None
        if rows is None or rows.height != manifest.rows:
            raise BrokenPromiseError(f"{where} does not have the {manifest.rows} rows of its manifest.")
        outside = _outside(manifest, rows)
        if outside.height:
            raise BrokenPromiseError(f"{where} has rows outside {manifest.lower} to {manifest.upper}: {outside}")
        before = manifest


def _outside(manifest: Manifest, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a window of changes outside its interval and the overlap below it."""
    lower, upper = parse_timestamp(manifest.lower), parse_timestamp(manifest.upper)
    if manifest.kind != CHANGES:
        return rows.clear()
    late = pl.col("updated_at") >= upper
    early = pl.col("updated_at") < lower - timedelta(seconds=manifest.overlap_seconds) if lower else pl.lit(value=False)
    return rows.filter(late | early)


def objects(steps: Steps) -> dict[str, str]:
    """Return key → entity tag of all objects in the run's bucket."""
    return {item.key: item.etag for item in steps.s3.list_objects("")}
