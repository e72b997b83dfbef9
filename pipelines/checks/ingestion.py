"""Checks of raw/*, lake/*: windows are contiguous, keys are unique, nothing is lost on the way."""

from itertools import pairwise

import polars as pl
from dagster import AssetCheckResult, AssetChecksDefinition, AssetKey, asset_check

from assets.lake import LAKE_TABLES
from assets.quarantine import QUARANTINE
from assets.transforms.source_schema import SOURCE_TABLES, SourceTable, newest_usable
from pipelines.checks import verdict
from resources.lake import BUCKET, LakeResource
from resources.quarantine import QuarantineResource
from resources.raw_store import EXPORT, KEYS, Manifest, RawStoreResource, moment
from resources.s3 import S3Resource


def _windows(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["raw", table.name]), name="windows_complete")
    def windows_complete(raw_store: RawStoreResource, s3: S3Resource) -> AssetCheckResult:
        """A source's windows follow one another without a gap, and every file that a manifest names is there whole."""
        windows = [list(raw_store.manifests(source, table.name)) for source in raw_store.sources(table.name)]
        manifests = [window for of_source in windows for window in of_source]
        pairs = [pair for of_source in windows for pair in pairwise(of_source)]
        gaps = sum(not _follows(before, after) for before, after in pairs)
        sizes = {item.key: item.size_bytes for item in s3.list_objects(f"raw/{table.name}/")}
        lost = sum(sizes.get(file.key) != file.size_bytes for manifest in manifests for file in manifest.files)
        return verdict("gaps between windows, or files lost or damaged", found=gaps + lost)

    return windows_complete


def _follows(before: Manifest, after: Manifest) -> bool:
    """Whether a window begins where the one before it ends; an export holds everything, so it begins nowhere."""
    return before.number + 1 == after.number and (after.kind == EXPORT or before.upper == after.lower)


def _keys(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["lake", table.name]), name="keys_unique")
    def keys_unique(lake: LakeResource) -> AssetCheckResult:
        """One row a key, over all buckets."""
        keys = lake.scan(LAKE_TABLES[table.name]).select(table.key).collect()[table.key]
        return verdict(f"repeated or null values of {table.key}", found=keys.len() - keys.drop_nulls().n_unique())

    return keys_unique


def _reconciles(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["lake", table.name]), name="reconciles_with_raw")
    def reconciles_with_raw(raw_store: RawStoreResource, lake: LakeResource) -> AssetCheckResult:
        """The lake holds exactly the newest usable version of every key that was ever extracted.

        Memory grows with the table's keys: a count that trusts the merge would prove nothing.
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
    """Versions that a comparison of keys did not overrule: those that it judged, of keys that it found older."""
    if manifest.kind != KEYS:
        return earlier
    [key, along] = found.columns
    newer = earlier.join(found, on=key, suffix="_found").filter(
        (pl.col(along) > pl.col(f"{along}_found")) & (pl.col(along) < pl.lit(moment(manifest.judged_below)))
    )
    return earlier.join(newer, on=[key, along], how="anti")


def _judged(table: SourceTable) -> list[str]:
    return ["rating"] if "rating" in table.schema.names else []


@asset_check(asset=AssetKey(["quarantine", "rows"]), name="rejects_recorded")
def rejects_recorded(lake: LakeResource, quarantine: QuarantineResource) -> AssetCheckResult:
    """Every reject that was landed stands in the quarantine table."""
    landed = pl.concat([QUARANTINE.empty().drop("copies"), *quarantine.rows()])
    counted = landed.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64))
    held = lake.scan(QUARANTINE).collect()
    missing = counted.join(held, on=[*QUARANTINE.key, "copies"], how="anti", nulls_equal=True).height
    return verdict("landed rejects missing from the table", found=missing, metadata={"rows": held.height})


CHECKS = [
    *(make(table) for table in SOURCE_TABLES.values() for make in (_windows, _keys, _reconciles)),
    rejects_recorded,
]
