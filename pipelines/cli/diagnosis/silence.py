"""What is silent: rows and files that nobody reads, windows that are set aside, guards that stopped deletions."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from assets.lake import LAKE_TABLES
from assets.landing import files_not_taken
from assets.raw.setting_aside import windows_aside
from assets.raw.unread import UnreadRows
from assets.raw.windows import keeping
from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.cli.diagnosis.registry import Finding, Parts, Status, diagnosis
from resources.erasure.tombstones import ErasureResource
from resources.settings import bucket_count, clock_skew_seconds
from resources.sources.rds_export import RdsExportResource

_FIX = "Start S3 and the source database; locally, run cippus up."
_SHOWN = 5


@diagnosis("dropped files", _FIX)
def dropped_files(parts: Parts) -> Iterator[Finding]:
    """Name the files under landing/ that no stage reads."""
    known = parts.made.rds_exports
    given = {name: getattr(known, name) for name in RdsExportResource.model_fields}
    left = files_not_taken(parts.s3, RdsExportResource(**{**given, "s3": parts.s3}))
    for file in left[:_SHOWN]:
        yield Finding.warning(f"No stage reads {file.key}.", f"Move or delete it: {file.reason}")
    if len(left) > _SHOWN:
        text = f"No stage reads {len(left) - _SHOWN:,} more files under landing/."
        yield Finding.warning(text, "See the metadata of quarantine/rows.")
    if not left:
        yield Finding.ok("Every dropped file has a reader.")


@diagnosis("windows set aside", _FIX)
def aside(parts: Parts) -> Iterator[Finding]:
    """Name the windows whose rows are in quarantine because they could not be merged."""
    found = windows_aside(parts.quarantine)
    for source, table, number in found:
        window = parts.raw_store.window(source, table, number)
        rows, reason = (sum(file.rows for file in window.aside), window.aside_reason) if window else (0, "")
        text = f"Window {number} of {source}/{table} with {rows:,} rows is set aside: {reason or 'not finished'}."
        again = f"cippus lake set-aside {table} {number} --source {source}"
        yield Finding.warning(text, f"{again} --restore" if reason else f"{again} --reason … again.")
    if not found:
        yield Finding.ok("No window is set aside.")


@diagnosis("stopped deletions", _FIX)
def stopped(parts: Parts) -> Iterator[Finding]:
    """Name the tables whose deletions the guard on vanished keys stopped."""
    found = parts.raw_store.stopped_deletions()
    for said in found:
        sentence, _, fix = said.partition("; ")
        yield Finding.error(f"{sentence}.", fix[:1].upper() + fix[1:])
    if not found:
        yield Finding.ok("No guard has stopped deletions.")


@diagnosis("rows with an old updated_at", "See the check all_rows_read, which takes its time.", Status.WARNING)
def backfilled(parts: Parts) -> Iterator[Finding]:
    """Count the rows that were written with an old time and did not land, where that is quick."""
    if parts.postgres is None:
        return
    known = parts.made.erasures
    given = {name: getattr(known, name) for name in ErasureResource.model_fields}
    keep = keeping(ErasureResource(**{**given, "s3": parts.s3}).tombstones(), Counter())
    skew = timedelta(seconds=clock_skew_seconds())
    total = 0
    for table in SOURCE_TABLES.values():
        spec, count = LAKE_TABLES[table.name], bucket_count()
        sides = (parts.postgres, parts.raw_store, parts.lake, parts.quarantine)
        rows = UnreadRows(*sides, table, spec, count, skew, keep)
        found = rows.count().backfilled
        total += found
        if found:
            text = f"{found:,} or more rows of {table.name} were written with an old updated_at and did not land."
            yield Finding.warning(text, "Launch the job raw_key_reconciliation, or set their updated_at to now().")
    if not total:
        yield Finding.ok("No row was written with an old updated_at.")
