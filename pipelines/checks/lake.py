"""Checks of lake/*: keys, rows and what was written."""

import polars as pl
from dagster import AssetCheckResult, AssetChecksDefinition, AssetKey, asset_check

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable, newest_usable
from pipelines.checks import verdict
from resources.delta.table import BUCKET, LakeResource
from resources.raw.store import KEYS, Manifest, RawStoreResource, parse_timestamp


def _keys(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["lake", table.name]), name="keys_unique")
    def keys_unique(lake: LakeResource) -> AssetCheckResult:
        """Every key occurs in one row, over all buckets."""
        keys = lake.scan(LAKE_TABLES[table.name]).select(table.key).collect()[table.key]
        return verdict(f"repeated or null values of {table.key}", found=keys.len() - keys.drop_nulls().n_unique())

    return keys_unique


def _reconciles(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["lake", table.name]), name="reconciles_with_raw")
    def reconciles_with_raw(raw_store: RawStoreResource, lake: LakeResource) -> AssetCheckResult:
        """The lake has exactly the newest usable version of every key that was ever extracted.

        Reads every version. Memory grows with the number of keys.
        """
        columns = [*dict.fromkeys([table.key, "updated_at", BUCKET, *table.required, *_judged(table)])]
        versions: list[pl.DataFrame] = []
        for source in raw_store.sources(table.name):
            for manifest in raw_store.manifests(source, table.name):
                if manifest.files:
                    rows = newest_usable(table, raw_store.read(manifest.files, columns))[0]
                    found = rows.select(table.key, "updated_at")
                    versions = [_without_overruled(old, found, manifest) for old in versions]
                    versions.append(found)
        spec = LAKE_TABLES[table.name]
        held = lake.scan(spec).select(table.key, "updated_at").collect()
        extracted = pl.concat([held.clear(), *versions]).group_by(table.key).agg(pl.col("updated_at").max())
        missing = extracted.join(held, on=[table.key, "updated_at"], how="anti").height
        foreign = held.join(extracted, on=table.key, how="anti").height
        return verdict("rows missing, stale or foreign", found=missing + foreign, metadata={"rows": held.height})

    return reconciles_with_raw


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


def _as_written(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["lake", table.name]), name="rows_as_written")
    def rows_as_written(lake: LakeResource) -> AssetCheckResult:
        """Every file was written by a merge, and its rows have the checksum in its name.

        Reads the table, a file at a time. No other check finds a row that was changed in place.
        """
        spec = LAKE_TABLES[table.name]
        snapshot = lake.snapshot(spec)
        found = 0 if snapshot is None else lake.lookup(spec, snapshot).altered_files()
        return verdict("files with rows that no merge wrote", found=found)

    return rows_as_written


def _judged(table: SourceTable) -> list[str]:
    return ["rating"] if "rating" in table.schema.names else []


CHECKS = [make(table) for table in SOURCE_TABLES.values() for make in (_keys, _reconciles, _as_written)]
