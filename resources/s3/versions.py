"""What a bucket keeps beside its objects: older versions of them, and uploads that were never finished."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from resources.s3.client import S3Resource

_PAGE = 1_000
_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed"}


@dataclass(frozen=True)
class Leftovers:
    """What was deleted: older versions (deletion markers are among them), and unfinished uploads."""

    versions: int = 0
    uploads: int = 0


def delete_leftovers(s3: S3Resource, prefixes: tuple[str, ...]) -> Leftovers:
    """Delete every version but the newest, and every unfinished upload, under some prefixes.

    Needs the rights of pipelines/deploy/iam-policy.json; without them, or with versions locked against deletion,
    S3's own error is raised, since what is left there is left. Memory: a page of 1,000.
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
    """Old versions first and deletion markers second: without its marker, an old version would be current again."""
    return sum(_delete_listed(s3, prefix, field) for field in ("Versions", "DeleteMarkers"))


def _delete_listed(s3: S3Resource, prefix: str, field: str) -> int:
    deleted = 0
    for page in s3.client.get_paginator("list_object_versions").paginate(Bucket=s3.bucket, Prefix=prefix):
        listed: list[Any] = dict(page).get(field) or []  # type: ignore[assignment]
        old = [one for one in listed if field == "DeleteMarkers" or not one["IsLatest"]]
        for start in range(0, len(old), _PAGE):
            batch = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in old[start : start + _PAGE]]
            answer = s3.client.delete_objects(Bucket=s3.bucket, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]
            for failure in answer.get("Errors", []):
                message = f"A version of {s3.uri(failure.get('Key', ''))} could not be deleted: {failure.get('Code')}"
                raise OSError(message)
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
