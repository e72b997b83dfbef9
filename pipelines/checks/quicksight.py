"""Checks of quicksight/*."""

import re
from typing import Any

import polars as pl

from assets.marts.tables import MARTS
from assets.quicksight import MOST_FILES, Export
from assets.transforms.marts import csv_files
from pipelines.checks.declaration import check, count
from pipelines.checks.evaluation import is_outdated
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, LakeResource, fingerprint
from resources.s3.client import S3Resource

_FORMULA = re.compile(r'(?:^|,)"\s*[=+\-@\t\r＝＋－＠]', re.MULTILINE)


def _entity_tags(s3: S3Resource) -> str:
    return fingerprint(f"{item.key} {item.etag}" for item in s3.list_objects("quicksight/"))


@check(
    "quicksight/exports",
    "CSV files unreadable, with other columns, texts too long for QuickSight, rows in several lines or formulas, or "
    "rows more or fewer than in the marts",
    reads=MARTS,
    version=_entity_tags,
)
def csv_matches_marts(lake: LakeResource, s3: S3Resource, ledger: LedgerResource) -> int | None:
    """Every CSV file has its mart's columns, one line per row and no formula, and QuickSight can read each text.

    Together the files of a mart have its rows. A mart that changed since it was exported is not compared.
    """
    odd = compared = 0
    for spec in MARTS:
        entry = ledger.entries(Export(s3, lake, spec).prefix.rstrip("/"), [WHOLE]).get(WHOLE)
        if entry is None or is_outdated(lake, entry, WHOLE):
            continue  # the next export writes this mart
        compared += 1
        rows = 0
        for item in s3.list_objects(f"{Export(s3, lake, spec).prefix}data/"):
            body = s3.get(item.key) or b""
            try:
                table = pl.read_csv(body, infer_schema=False)
            except pl.exceptions.PolarsError:  # a file that ends early, or that is empty
                odd += 1
                continue
            odd += table.columns != spec.schema.names
            odd += csv_files.longest_cell(body) > csv_files.WRITTEN_LIMIT
            odd += len(body.decode(errors="replace").splitlines()) != table.height + 1
            odd += len(_FORMULA.findall(body.decode(errors="replace")))
            rows += table.height
        odd += abs(rows - count(lake.scan(spec)))
    return odd if compared else None


@check(
    "quicksight/exports",
    "manifests missing, foreign, or with more files than QuickSight reads",
    reads=MARTS,
    version=_entity_tags,
)
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
