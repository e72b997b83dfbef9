"""Checks of quicksight/*."""

import polars as pl

from assets.marts import MARTS
from pipelines.checks import check, count
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@check("quicksight/exports", "CSV files with other columns, or rows more or fewer than in the marts")
def csv_matches_marts(lake: LakeResource, s3: S3Resource) -> int:
    """Every CSV file has its mart's columns, and together the files have exactly the mart's rows."""
    odd = 0
    for spec in MARTS:
        keys = [item.key for item in s3.list_objects(f"quicksight/{spec.name.removeprefix('mart/')}/data/")]
        files = [pl.read_csv(s3.get(key) or b"", infer_schema=False) for key in keys]
        odd += sum(file.columns != spec.schema.names for file in files)
        odd += abs(sum(file.height for file in files) - count(lake.scan(spec)))
    return odd
