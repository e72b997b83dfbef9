"""S3: connection, clock, permissions, conditional puts, and the protocol of the Delta tables."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pyarrow as pa

from assets.stages import WRITTEN
from pipelines.cli.diagnosis.clock import compare_clocks
from pipelines.cli.diagnosis.registry import Finding, Parts, diagnosis
from resources.delta.protocol import UnsupportedTableError, require_writable
from resources.delta.table import TableSpec
from resources.erasure import tombstones
from resources.s3 import access

_FIX = "Start S3, and correct CIPPUS_S3_ENDPOINT, CIPPUS_S3_BUCKET and the credentials; locally, run cippus up."
_ROLE = "Give the role the permissions of pipelines/deploy/iam-policy.json."
_NOT_DELTA = ("raw/", "landing/", "ledger/", "quicksight/", "staging/", tombstones.PREFIX)


@diagnosis("S3", _FIX)
def connection(parts: Parts) -> Iterator[Finding]:
    """Test that the bucket answers, and compare its clock with this host's."""
    client, bucket = access.impatient_client(parts.s3), parts.s3.bucket
    began = datetime.now(UTC).replace(microsecond=0)  # the header has whole seconds
    headers = client.list_objects_v2(Bucket=bucket, MaxKeys=1)["ResponseMetadata"]["HTTPHeaders"]
    ended = datetime.now(UTC)
    yield Finding.ok(f"Bucket {bucket} answers.")
    if "date" in headers:
        yield compare_clocks("S3", parsedate_to_datetime(headers["date"]), began, ended)


@diagnosis("S3 permissions", _FIX)
def permissions(parts: Parts) -> Iterator[Finding]:
    """Try to put, get, list and delete an object under every prefix that Cippus writes."""
    client, bucket = access.impatient_client(parts.s3), parts.s3.bucket
    refused = access.refusals(client, bucket, (*WRITTEN, tombstones.PREFIX))
    if refused:
        yield Finding.error(f"S3 refuses in {bucket}: {', '.join(refused)}.", _ROLE)
    else:
        yield Finding.ok("Objects may be put, read, listed and deleted under every prefix.")
    if of_bucket := access.refusals_of_bucket(client, bucket):
        text = f"S3 refuses to {', '.join(of_bucket)} of {bucket}, which cippus erase needs."
        yield Finding.warning(text, _ROLE)


@diagnosis("S3 conditional puts", _FIX)
def conditions(parts: Parts) -> Iterator[Finding]:
    """Test that the second of two conditional puts is refused, on which Delta commits and manifests rely."""
    if access.honours_conditions(access.impatient_client(parts.s3), parts.s3.bucket, "ledger/"):
        yield Finding.ok("S3 honours If-None-Match.")
    else:
        fix = "Use an S3 that supports conditional puts; two runs could overwrite each other's commits here."
        yield Finding.error("S3 ignores If-None-Match.", fix)


@diagnosis("Delta tables", _FIX)
def delta_tables(parts: Parts) -> Iterator[Finding]:
    """Test that Cippus can read and write the protocol of every Delta table of the bucket."""
    stages = [folder for folder in parts.s3.list_folders("") if folder not in _NOT_DELTA]
    with ThreadPoolExecutor(8) as pool:
        listed = pool.map(parts.s3.list_folders, stages)
        folders = sorted(folder.rstrip("/") for of_stage in listed for folder in of_stage)
        found = list(pool.map(lambda folder: _protocol(parts, folder), folders))
    for reason in filter(None, found):
        yield Finding.error(reason, "Drop the features with the engine that set them, or delete the table and run.")
    if not any(found):
        tables = sum(reason is not None for reason in found)
        yield Finding.ok(
            f"{tables} Delta tables can be read and written." if tables else "There is no Delta table yet."
        )


def _protocol(parts: Parts, folder: str) -> str | None:
    """Return why a table is refused, blank if it is not, None if the folder is no table."""
    try:
        table = parts.lake.open(TableSpec(folder, pa.schema([]), ()))
        if table is None:
            return None
        require_writable(table)
    except UnsupportedTableError as error:
        return str(error)
    return ""
