"""Checks of quicksight/*."""

import re
from typing import Any

import polars as pl

from assets.marts.tables import MARTS
from assets.quicksight import MOST_FILES, Export
from assets.transforms.marts import csv_files
from pipelines.checks import check, count
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource

_FORMULA = re.compile(r'(?:^|,)"\s*[=+\-@\t\r＝＋－＠]', re.MULTILINE)


@check(
    "quicksight/exports",
    "CSV files with other columns, with texts too long for QuickSight, with rows in several lines or with formulas, or "
    "rows more or fewer than in the marts",
)
def csv_matches_marts(lake: LakeResource, s3: S3Resource) -> int:
    """Every CSV file has its mart's columns, one line per row and no formula, and QuickSight can read each text.

    Together the files of a mart have its rows.
    """
    odd = 0
    for spec in MARTS:
        rows = 0
        for item in s3.list_objects(f"{Export(s3, lake, spec).prefix}data/"):
            body = s3.get(item.key) or b""
            table = pl.read_csv(body, infer_schema=False)
            odd += table.columns != spec.schema.names
            odd += csv_files.longest_cell(body) > csv_files.WRITTEN_LIMIT
            odd += len(body.decode().splitlines()) != table.height + 1
            odd += len(_FORMULA.findall(body.decode()))
            rows += table.height
        odd += abs(rows - count(lake.scan(spec)))
    return odd


@check("quicksight/exports", "manifests missing, foreign, or with more files than QuickSight reads")
def manifests_name_files(lake: LakeResource, s3: S3Resource) -> int:
    """Each mart has a manifest of its own folder, which has one file per bucket and at most 1,000."""
    odd = 0
    for spec in MARTS:
        export = Export(s3, lake, spec)
        files = {item.key for item in s3.list_objects(f"{export.prefix}data/")}
        odd += not _names_folder(s3.get_json(f"{export.prefix}manifest.json"), f"{export.prefix}data/")
        odd += len(files ^ export.buckets_by_file().keys()) + (len(files) > MOST_FILES)
    return odd


def _names_folder(manifest: Any, folder: str) -> bool:
    """Return whether a manifest is of one folder. It names the bucket that it was written to, which may be a copy's."""
    try:
        [prefix] = manifest["fileLocations"][0]["URIPrefixes"]
    except (KeyError, TypeError, ValueError, IndexError):
        return False
    is_folder = re.fullmatch(rf"s3://[^/]+/{re.escape(folder)}", prefix) is not None
    return is_folder and bool(manifest == csv_files.quicksight_manifest(prefix))
