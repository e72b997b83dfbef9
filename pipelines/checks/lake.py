"""Checks of lake/*: keys, rows and what was written."""

import polars as pl

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SourceTable, newest_usable
from pipelines.checks import check_tables, count
from resources.delta.table import BUCKET, LakeResource
from resources.raw.store import KEYS, Manifest, RawStoreResource, parse_timestamp


@check_tables("lake", "repeated or missing keys")
def keys_unique(table: SourceTable, lake: LakeResource) -> int:
    """Every key occurs in one row, over all buckets."""
    keys = lake.scan(LAKE_TABLES[table.name]).select(table.key)
    return count(keys) - count(keys.drop_nulls().unique())


@check_tables("lake", "rows missing, stale or foreign")
def reconciles_with_raw(table: SourceTable, raw_store: RawStoreResource, lake: LakeResource) -> int:
    """The lake has exactly the newest usable version of every key that was ever extracted.

    Reads every version. Memory grows with the number of keys.
    """
    judged = ["rating"] if "rating" in table.schema.names else []
    columns = [*dict.fromkeys([table.key, "updated_at", BUCKET, *table.required, *judged])]
    versions: list[pl.DataFrame] = []
    for source in raw_store.sources(table.name):
        for manifest in raw_store.manifests(source, table.name):
            if manifest.files:
                rows = newest_usable(table, raw_store.read(manifest.files, columns))[0]
                found = rows.select(table.key, "updated_at")
                versions = [_without_overruled(old, found, manifest) for old in versions]
                versions.append(found)
    stored = lake.scan(LAKE_TABLES[table.name]).select(table.key, "updated_at").collect()
    extracted = pl.concat([stored.clear(), *versions]).group_by(table.key).agg(pl.col("updated_at").max())
    missing = extracted.join(stored, on=[table.key, "updated_at"], how="anti").height
    return missing + stored.join(extracted, on=table.key, how="anti").height


def _without_overruled(earlier: pl.DataFrame, found: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """Return the versions without those that a key reconciliation replaced with an older version of the key."""
    if manifest.kind != KEYS:
        return earlier
    [key, updated_at] = found.columns
    newer = earlier.join(found, on=key, suffix="_found").filter(
        (pl.col(updated_at) > pl.col(f"{updated_at}_found"))
        & (pl.col(updated_at) < pl.lit(parse_timestamp(manifest.judged_below)))
    )
    return earlier.join(newer, on=[key, updated_at], how="anti")


@check_tables("lake", "files with rows that no merge wrote")
def rows_as_written(table: SourceTable, lake: LakeResource) -> int:
    """Every file was written by a merge, and its rows have the checksum in its name.

    Reads the table, a file at a time. No other check finds a row that was changed in place.
    """
    spec = LAKE_TABLES[table.name]
    snapshot = lake.snapshot(spec)
    return 0 if snapshot is None else lake.lookup(spec, snapshot).altered_files()
