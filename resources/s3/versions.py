"""Delete older object versions and unfinished multipart uploads."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from resources.s3.client import S3Resource

_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed"}


@dataclass(frozen=True)
class Leftovers:
    """Number of deleted older versions (including deletion markers) and unfinished uploads."""

    versions: int = 0
    uploads: int = 0


def delete_leftovers(s3: S3Resource, prefixes: tuple[str, ...]) -> Leftovers:
    """Delete all versions but the newest and all unfinished uploads under the prefixes.

    Needs the rights of pipelines/deploy/iam-policy.json. Raises S3's error without them, or for versions that are
    locked against deletion. Memory: a page of 1,000.
    """
    versioned = _is_versioned(s3)
    return Leftovers(
        versions=sum(_delete_versions(s3, prefix) for prefix in prefixes) if versioned else 0,
        uploads=sum(_abort_uploads(s3, prefix) for prefix in prefixes),
    )


def _is_versioned(s3: S3Resource) -> bool:
    try:
        return "Status" in s3.client.get_bucket_versioning(Bucket=s3.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNSUPPORTED:
            return False
        raise


def _delete_versions(s3: S3Resource, prefix: str) -> int:
    """Delete old versions before deletion markers: without its marker, an old version would be current again."""
    return sum(_delete_listed(s3, prefix, field) for field in ("Versions", "DeleteMarkers"))


def _delete_listed(s3: S3Resource, prefix: str, field: str) -> int:
    deleted = 0
    for page in s3.client.get_paginator("list_object_versions").paginate(Bucket=s3.bucket, Prefix=prefix):
        listed: list[Any] = dict(page).get(field) or []  # type: ignore[assignment]
        old = [version for version in listed if field == "DeleteMarkers" or not version["IsLatest"]]
        s3.delete_versions([{"Key": version["Key"], "VersionId": version["VersionId"]} for version in old])
        deleted += len(old)
    return deleted


def _abort_uploads(s3: S3Resource, prefix: str) -> int:
    aborted = 0
    pages = s3.client.get_paginator("list_multipart_uploads").paginate(Bucket=s3.bucket, Prefix=prefix)
    for page in pages:
        for upload in page.get("Uploads", []):
            s3.client.abort_multipart_upload(Bucket=s3.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            aborted += 1
    return aborted
