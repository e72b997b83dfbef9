"""quicksight/*: every mart as CSV with a manifest, because QuickSight does not read Parquet."""

from collections.abc import Sequence

from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.marts import MARTS
from assets.transforms import marts
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, Changes, Contents, LakeResource, TableSpec, fingerprint
from resources.s3.client import S3Resource

_FORM = "3"
"""Change it to have every file written again."""


@asset(
    key=["quicksight", "exports"],
    code_version=_FORM,
    deps=[spec.name.split("/") for spec in MARTS],
    description="The marts as CSV under quicksight/. One file per mart and account bucket, with the rows of that mart, "
    "and a QuickSight manifest per mart. QuickSight does not read Parquet.",
    owners=["team:analytics"],
    kinds={"csv", "quicksight"},
)
def exports(context: AssetExecutionContext, s3: S3Resource, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Export the marts that changed. Memory: one bucket of one mart."""
    total = RunMetrics()
    for spec in MARTS:
        prefix = f"quicksight/{spec.name.removeprefix('mart/')}/"

        def contents(_: Sequence[int], prefix: str = prefix) -> dict[int, Contents]:
            found = sorted((item.key, item.etag, item.size_bytes) for item in s3.list_objects(prefix))
            of_files = fingerprint(f"{key} {etag}" for key, etag, _ in found)
            return {WHOLE: Contents(of_files, len(found), sum(size for _, _, size in found))}

        def export(_bucket: int, tally: RunMetrics, spec: TableSpec = spec, prefix: str = prefix) -> Changes:
            buckets = sorted(lake.contents(spec)) or [WHOLE]
            wanted = [f"{prefix}data/{'all' if bucket == WHOLE else bucket:0>4}.csv" for bucket in buckets]
            for bucket, key in zip(buckets, wanted, strict=True):
                rows = lake.scan(spec, None if bucket == WHOLE else bucket).collect().sort(spec.key, nulls_last=True)
                s3.put(key, marts.as_csv(rows))
                tally.counts["rows_exported"] += rows.height
            s3.delete([item.key for item in s3.list_objects(f"{prefix}data/") if item.key not in wanted])
            s3.put_json(f"{prefix}manifest.json", marts.quicksight_manifest(s3.uri(f"{prefix}data/")))
            return Changes(updated=len(wanted))

        stage = Stage(f"quicksight/{spec.name.removeprefix('mart/')}", (spec,), _FORM, partitioned=False)
        done = refresh(context, lake, ledger, stage, contents, export)
        total += done
        total.fingerprint = fingerprint([total.fingerprint, done.buckets[WHOLE].fingerprint])
    return total


ASSETS = [exports]
