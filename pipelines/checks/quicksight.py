"""Checks of quicksight/*."""

import polars as pl

from assets.marts import MARTS
from assets.transforms.marts import WRITTEN_LIMIT, longest_cell
from pipelines.checks import check, count
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@check(
    "quicksight/exports",
    "CSV files with other columns or with texts too long for QuickSight, or rows more or fewer than in the marts",
)
def csv_matches_marts(lake: LakeResource, s3: S3Resource) -> int:
    """Every CSV file has its mart's columns, together they have the mart's rows, and QuickSight can read each text."""
    odd = 0
    for spec in MARTS:
        rows = 0
        for item in s3.list_objects(f"quicksight/{spec.name.removeprefix('mart/')}/data/"):
            body = s3.get(item.key) or b""
            table = pl.read_csv(body, infer_schema=False)
            odd += table.columns != spec.schema.names
            odd += longest_cell(body) > WRITTEN_LIMIT
            rows += table.height
        odd += abs(rows - count(lake.scan(spec)))
    return odd
