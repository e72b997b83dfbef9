"""The check of the files of every Delta table: their rows are those that were written."""

from functools import partial, update_wrapper

from assets.lake import LAKE_TABLES
from assets.stages import TABLES
from pipelines.checks.declaration import Check
from resources.delta.table import WHOLE, LakeResource, TableSpec, fingerprint
from resources.s3.client import S3Resource


def rows_as_written(spec: TableSpec, bucket: int, lake: LakeResource) -> int:
    """Every file was written by Cippus, and its rows have the checksum in its name.

    Reads the files that are new or that have another entity tag. No other check finds a row that was changed in place.
    Another engine may compact lake/*: `reconciles_with_raw` compares the rows of its files.
    """
    snapshot = lake.snapshot(spec)
    if snapshot is None:
        return 0
    return lake.lookup(spec, snapshot).altered_files([bucket], of_others=spec not in LAKE_TABLES.values())


def _entity_tags(spec: TableSpec, bucket: int, s3: S3Resource) -> str:
    folder = f"{spec.name}/" if bucket == WHOLE else f"{spec.name}/account_bucket={bucket}/"
    return fingerprint(
        f"{item.key} {item.etag}" for item in s3.list_objects(folder) if not item.key.startswith(f"{spec.name}/_")
    )


def _of(spec: TableSpec) -> Check:
    bound = partial(rows_as_written, spec) if spec.partitioned else partial(rows_as_written, spec, bucket=WHOLE)
    return Check(
        spec.name,
        "rows_as_written",
        update_wrapper(bound, rows_as_written),
        "files with rows that Cippus did not write",
        reads=(spec,),
        version=partial(_entity_tags, spec),
        by_bucket=spec.partitioned,
        daily=True,
    )


CHECKS = [_of(spec) for spec in TABLES]
