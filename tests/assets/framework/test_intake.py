"""A dropped file that S3 does not give out is unreadable; any other error of S3 is one."""

import pytest
from botocore.exceptions import ClientError

from assets.framework.intake import body_of
from resources.isolation.process import UnreadableFileError
from resources.s3.client import S3Resource
from tests.worlds.refusing_s3 import refusing

DENIED = "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: kms:Decrypt on this resource"


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("InvalidObjectState", "The operation is not valid for the object's storage class", "it is archived"),
        ("KMS.DisabledException", "arn:aws:kms:… is disabled", "its encryption key may not be used"),
        ("KMS.NotFoundException", "no such key", "its encryption key may not be used"),
        ("AccessDenied", DENIED, "its encryption key may not be used"),
    ],
)
def test_a_file_that_s3_keeps_to_itself_is_unreadable(s3: S3Resource, code: str, message: str, reason: str) -> None:
    for name in ("kept", "given"):
        s3.put(f"landing/labels/{name}.csv", name.encode())
    given, kept = s3.list_objects("landing/labels/")
    with refusing(s3.client, "GetObject", under="landing/labels/kept", code=code, message=message):
        with pytest.raises(UnreadableFileError, match=f"{reason}.* Then drop the file again."):
            body_of(s3, kept)
        assert body_of(s3, given) == b"given"
    assert body_of(s3, kept) == b"kept"


def test_a_right_that_is_missing_stops_the_stage(s3: S3Resource) -> None:
    s3.put("landing/labels/a.csv", b"a")
    [item] = s3.list_objects("landing/labels/")
    with refusing(s3.client, "GetObject"), pytest.raises(ClientError, match="AccessDenied"):
        body_of(s3, item)
