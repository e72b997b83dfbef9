"""Older versions and unfinished uploads go; what is there now stays, and nothing deleted comes back."""

from resources.s3.client import S3Resource
from resources.s3.versions import Leftovers, delete_leftovers


def versions(s3: S3Resource) -> list[tuple[str, str]]:
    page = s3.client.list_object_versions(Bucket=s3.bucket)
    markers = [(found["Key"], "marker") for found in page.get("DeleteMarkers", [])]
    return sorted([*((found["Key"], "version") for found in page.get("Versions", [])), *markers])


def test_older_versions_go_and_deleted_objects_stay_deleted(s3: S3Resource) -> None:
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put("lake/kept", f"version {number}".encode())
        s3.put("lake/deleted", b"secret")
        s3.put("elsewhere/kept", b"not ours")
    s3.delete(["lake/deleted"])
    assert len(versions(s3)) == 10
    assert delete_leftovers(s3, ("lake/",)) == Leftovers(versions=6)
    assert versions(s3) == [*[("elsewhere/kept", "version")] * 3, ("lake/kept", "version")]
    assert s3.get("lake/kept") == b"version 2"
    assert s3.get("lake/deleted") is None
    assert delete_leftovers(s3, ("lake/",)) == Leftovers()


def test_unfinished_uploads_go(s3: S3Resource) -> None:
    for key in ("lake/half", "elsewhere/half"):
        upload = s3.client.create_multipart_upload(Bucket=s3.bucket, Key=key)["UploadId"]
        s3.client.upload_part(Bucket=s3.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"secret")
    assert delete_leftovers(s3, ("lake/",)) == Leftovers(uploads=1)
    left = s3.client.list_multipart_uploads(Bucket=s3.bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["elsewhere/half"]
