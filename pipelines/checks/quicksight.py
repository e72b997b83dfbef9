"""Checks of quicksight/*."""

import polars as pl

from assets.marts import MARTS
from assets.transforms.marts import WRITTEN_LIMIT, longest_cell
from pipelines.checks.declaration import check, count
from pipelines.checks.evaluation import is_outdated
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, LakeResource, fingerprint
from resources.s3.client import S3Resource


def _entity_tags(s3: S3Resource) -> str:
    return fingerprint(f"{item.key} {item.etag}" for item in s3.list_objects("quicksight/"))


@check(
    "quicksight/exports",
    "CSV files unreadable, with other columns or with texts too long, or rows more or fewer than in the marts",
    reads=MARTS,
    version=_entity_tags,
)
def csv_matches_marts(lake: LakeResource, s3: S3Resource, ledger: LedgerResource) -> int | None:
    """Every CSV file has its mart's columns, together they have the mart's rows, and QuickSight can read each text.

    A mart that changed since it was exported is not compared.
    """
    odd = compared = 0
    for spec in MARTS:
        entry = ledger.entries(f"quicksight/{spec.name.removeprefix('mart/')}", [WHOLE]).get(WHOLE)
        if entry is None or is_outdated(lake, entry, WHOLE):
            continue  # the next export writes this mart
        compared += 1
        rows = 0
        for item in s3.list_objects(f"quicksight/{spec.name.removeprefix('mart/')}/data/"):
            body = s3.get(item.key) or b""
            try:
                table = pl.read_csv(body, infer_schema=False)
            except pl.exceptions.PolarsError:  # a file that ends early, or that is empty
                odd += 1
                continue
            odd += table.columns != spec.schema.names
            odd += longest_cell(body) > WRITTEN_LIMIT
            rows += table.height
        odd += abs(rows - count(lake.scan(spec)))
    return odd if compared else None
