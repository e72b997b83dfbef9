"""A vacuum removes deleted objects from the files of the embedded S3, and keeps the others."""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.local import stack as embedded
from pipelines.local.s3_volumes import index_sizes, vacuum
from pipelines.local.server_process import ServerError
from resources.s3.client import S3Resource


def body(number: int) -> bytes:
    """Return bytes that the server does not compress."""
    return f"secret-{number:02}-".encode() + hashlib.shake_128(bytes([number])).digest(1_000)


@pytest.fixture
def home_of_own(tmp_path: Path) -> Iterator[Path]:
    """A stack of this test: a vacuum checks every object of a server."""
    yield tmp_path
    embedded.down(tmp_path)


def bucket(home: Path) -> S3Resource:
    at = embedded.up(home)
    return S3Resource(
        bucket="cippus",
        endpoint_url=at.s3_endpoint,
        access_key_id=at.s3_access_key_id,
        secret_access_key=at.s3_secret_access_key,
    )


def stored(home: Path) -> set[int]:
    """Return the numbers of the bodies in the volume files."""
    volumes = b"".join(path.read_bytes() for path in embedded.s3_server(home).data.glob("*.dat"))
    return {number for number in range(20) if f"secret-{number:02}-".encode() in volumes}


def test_deleted_objects_leave_the_volumes(home_of_own: Path) -> None:
    s3 = bucket(home_of_own)
    for number in range(20):
        s3.put(f"lake/{number}", body(number))
    s3.put("lake/19", b"overwritten")
    s3.delete([f"lake/{number}" for number in range(18)])
    server = embedded.s3_server(home_of_own)
    freed = vacuum(home_of_own)
    assert freed > 19 * 1_000
    assert stored(home_of_own) == {18}
    assert s3.get("lake/18") == body(18)
    assert s3.get("lake/19") == b"overwritten"
    assert all(size >= 0 for index in server.data.glob("*.idx") for size in index_sizes(index))
    assert vacuum(home_of_own) == 0


def test_what_a_killed_server_had_still_to_delete_leaves_too(home_of_own: Path) -> None:
    s3 = bucket(home_of_own)
    for number in range(20):
        s3.put(f"lake/{number}", body(number))
    s3.delete([f"lake/{number}" for number in range(19)])
    server = embedded.s3_server(home_of_own)
    server.process.stop(signal.SIGKILL)
    s3 = bucket(home_of_own)
    assert len(stored(home_of_own)) > 1
    vacuum(home_of_own, patience_seconds=2.0)
    assert stored(home_of_own) == {19}
    assert s3.get("lake/19") == body(19)
    assert server.is_running()


def test_a_shell_without_its_server_ends(home_of_own: Path) -> None:
    embedded.up(home_of_own)
    server = embedded.s3_server(home_of_own)
    server.process.stop(signal.SIGKILL)
    with pytest.raises(ServerError, match=r"The embedded S3 did not end volume\.list: it was killed, or took 60 s"):
        server.shell("volume.list", patience_seconds=60.0)
