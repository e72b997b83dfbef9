"""Take dropped files into a table: each version of a file is read once, and its rows go with the file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from dagster import AssetExecutionContext

from assets.dropped_files import too_large
from assets.framework.incremental import RunMetrics, record_intake
from assets.transforms.source.arrivals import digest, outstanding
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, TableSpec, fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.isolation.process import UnreadableFileError
from resources.s3.client import S3Object, S3Resource
from resources.s3.withheld import WithheldObjectError

_BATCH_ROWS, _BATCH_FILES = 250_000, 500


@dataclass(frozen=True)
class Intake:
    """A table of dropped files, which has the columns ``source_file`` and ``source_etag``.

    ``listed``: the files that are there now. ``rule``: the version of the rules that files are read by; with another
    version every file is read again. ``read`` returns the rows of a file, None if it changed since the listing.
    ``accept`` gets the rows of a batch of files, and returns those to store.
    """

    spec: TableSpec
    listed: Sequence[S3Object]
    rule: str
    read: Callable[[S3Object], pl.DataFrame | None]
    accept: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows


def take_in(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, intake: Intake, tally: RunMetrics
) -> RunMetrics:
    """Replace the rows of new and overwritten files, and delete the rows of deleted files.

    A file is recorded after its rows are committed. After a crash in between, the next run reads it again and replaces
    its rows. Memory: one file, the rows of a batch of files, and the list of all files, 200 bytes each.
    """
    spec, listed = intake.spec, intake.listed
    fresh, gone = outstanding(listed, ledger.taken(spec.name), intake.rule)
    before = {ledger.taken_key(spec.name, identity) for identity in gone}
    _delete_rows(lake, spec, before - {item.key for item in listed} - {""})
    missed: set[str] = set()

    def files() -> Iterator[tuple[str, pl.DataFrame]]:
        for identity, item in fresh.items():
            rows = intake.read(item)
            if rows is None:
                missed.add(item.key)
            else:
                yield identity, rows

    for batch in _batches(files()):
        _delete_rows(lake, spec, {fresh[identity].key for identity in batch})
        rows = intake.accept(pl.concat(batch.values())).select(spec.schema.names)
        if rows.height:
            lake.append(spec, rows)
        for identity in batch:
            ledger.take(spec.name, identity, fresh[identity].key)
        tally.changes += Changes(inserted=rows.height)
        context.log.info("%s files read, %s rows", len(batch), f"{rows.height:,}")
    ledger.forget_taken(spec.name, gone)
    record_intake(context, ledger, spec.name, digest((i for i in listed if i.key not in missed), intake.rule))
    held = [found for _, found in sorted(lake.contents(spec).items())]
    tally.rows, tally.size_bytes = sum(found.rows for found in held), sum(found.size_bytes for found in held)
    tally.fingerprint = fingerprint(found.fingerprint for found in held)
    tally.counts.update(files=len(listed), files_taken=len(fresh) - len(missed), files_gone=len(gone))
    return tally


def files_under(s3: S3Resource, prefix: str, takes: Callable[[S3Object], bool]) -> list[S3Object]:
    """Return the dropped files under a prefix that a stage reads."""
    return list(filter(takes, s3.list_objects(prefix)))


def body_of(s3: S3Resource, item: S3Object) -> bytes | None:
    """Return the bytes of a dropped file; None if it changed since the listing.

    Raises UnreadableFileError for a file that is too large, or that S3 does not give out.
    """
    if reason := too_large(item.size_bytes):
        raise UnreadableFileError(reason)
    try:
        return s3.get(item.key, item.etag)
    except WithheldObjectError as error:
        raise UnreadableFileError(f"{error} Then drop the file again.") from None


def without_items_of_erased(rows: pl.DataFrame, erasures: ErasureResource) -> pl.DataFrame:
    """Return the rows (item_kind, item_id, …) about items that no erased account owned."""
    items = rows.select("item_kind", "item_id").drop_nulls().unique()
    erased = pl.DataFrame(sorted(erasures.erased_items(items.iter_rows())), schema=items.schema, orient="row")
    return rows.join(erased, on=["item_kind", "item_id"], how="anti", maintain_order="left")


def _delete_rows(lake: LakeResource, spec: TableSpec, keys: Iterable[str]) -> None:
    """Delete the rows of files: of an earlier version, or of an attempt that did not end."""
    quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in sorted(keys))
    if quoted:
        lake.delete_where(spec, f"source_file IN ({quoted})")


def _batches(files: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[dict[str, pl.DataFrame]]:
    batch: dict[str, pl.DataFrame] = {}
    for identity, rows in files:
        batch[identity] = rows
        if len(batch) >= _BATCH_FILES or sum(held.height for held in batch.values()) >= _BATCH_ROWS:
            yield batch
            batch = {}
    if batch:
        yield batch
