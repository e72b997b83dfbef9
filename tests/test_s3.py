"""S3 as the lineage uses it: conditional puts, listings, errors that name their key, and credentials kept to itself."""

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from resources.s3 import DamagedObjectError, S3Connection, S3Object, S3Resource


def test_what_was_put_comes_back_and_what_was_not_is_none(s3: S3Resource) -> None:
    assert s3.get("a") is None
    assert s3.get_json("a") is None
    assert s3.put("a", b"1")
    assert s3.put("a", b"2")
    assert s3.get("a") == b"2"


def test_a_conditional_put_never_overwrites(s3: S3Resource) -> None:
    assert s3.put_json("a", {"b": 1, "a": [2]}, if_absent=True)
    assert not s3.put_json("a", {}, if_absent=True)
    assert s3.get_json("a") == {"a": [2], "b": 1}
    assert s3.get("a") == b'{"a": [2], "b": 1}'


def test_objects_and_folders_under_a_prefix(s3: S3Resource) -> None:
    for key in ("x/b/1", "x/a/1", "x/a/2", "x/top", "y/c/1"):
        s3.put(key, b"four")
    found = sorted(s3.list_objects("x/a/"), key=lambda item: item.key)
    etag = "8cbad96aced40b3838dd9f07f6ef5772"  # S3's entity tag of a simple put: the md5, without quotes
    assert found == [S3Object("x/a/1", 4, etag), S3Object("x/a/2", 4, etag)]
    assert s3.list_folders("x/") == ["x/a/", "x/b/"]
    assert s3.list_folders("nothing/") == []
    assert list(s3.list_objects("nothing/")) == []


def test_deleting_takes_the_named_keys_alone(s3: S3Resource) -> None:
    for key in "abc":
        s3.put(key, b"")
    s3.delete(["a", "c", "never there"])
    assert [item.key for item in s3.list_objects("")] == ["b"]
    s3.delete([])


def test_a_key_that_cannot_be_deleted_is_named(s3: S3Resource) -> None:
    with Stubber(s3.client) as stubbed:
        stubbed.add_response("delete_objects", {"Errors": [{"Key": "kept", "Code": "AccessDenied"}]})
        with pytest.raises(OSError, match=f"s3://{s3.bucket}/kept could not be deleted: AccessDenied"):
            s3.delete(["kept"])


@pytest.mark.parametrize("is_conditional", [True, False])
def test_other_errors_are_raised(s3: S3Resource, is_conditional: bool) -> None:
    for operation in ("put_object", "get_object"):
        with Stubber(s3.client) as stubbed:
            stubbed.add_client_error(operation, "AccessDenied", http_status_code=403)
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.put("a", b"", if_absent=is_conditional) if operation == "put_object" else s3.get("a")


def test_credentials_are_in_no_text() -> None:
    resource = S3Resource(bucket="b", endpoint_url="http://h", access_key_id="KEY", secret_access_key="SECRET")
    shown = f"{resource!r} {resource} {resource.connection!r}"
    assert "KEY" not in shown
    assert "SECRET" not in shown
    assert repr(resource.connection) == "S3Connection(http://h, us-east-1)"
    assert repr(S3Connection("", "KEY", "SECRET", "eu-west-1")) == "S3Connection(AWS, eu-west-1)"


def test_a_damaged_object_is_named(s3: S3Resource) -> None:
    s3.put("some/manifest.json", b"{")
    with pytest.raises(DamagedObjectError, match=f"s3://{s3.bucket}/some/manifest.json is damaged"):
        s3.get_json("some/manifest.json")
