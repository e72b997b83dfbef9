"""The write verifier: it describes objects, resolves uncertain writes, and ends quietly."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from botocore.stub import Stubber
from deltalake import DeltaTable, write_deltalake

from resources.s3 import usage as s3_usage
from resources.s3 import write_verifier
from resources.s3.client import S3Resource
from resources.s3.governor.process import running, stop_all
from resources.s3.options import GovernorConfig
from tests.benchmarks.limited_s3.process import RunningServer
from tests.benchmarks.limited_s3.process import running as limited_s3
from tests.benchmarks.limited_s3.settings import Faults, Settings

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 20.0


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("s3-write-verifier-")}


def test_small_objects_are_told_with_their_content(s3: S3Resource) -> None:
    s3.put("a/b", b"content")
    assert write_verifier.object_state(s3.client, s3.bucket, "a/b") == {
        "etag": f'"{hashlib.md5(b"content", usedforsecurity=False).hexdigest()}"',
        "sha256": hashlib.sha256(b"content").hexdigest(),
    }


def test_large_objects_are_told_by_their_tag(s3: S3Resource) -> None:
    s3.put("large", bytes(write_verifier.MAX_BYTES + 1))
    told = write_verifier.object_state(s3.client, s3.bucket, "large")
    assert told is not None
    assert set(told) == {"etag"}


def test_what_is_not_there_has_no_tag(s3: S3Resource) -> None:
    assert write_verifier.object_state(s3.client, s3.bucket, "nothing") == {"etag": ""}


def test_what_may_not_be_read_is_not_told(s3: S3Resource) -> None:
    with Stubber(s3.client) as stubbed:
        stubbed.add_client_error("head_object", "403", http_status_code=403)
        assert write_verifier.object_state(s3.client, s3.bucket, "a") is None


@pytest.fixture
def losing(tmp_path: Path) -> Iterator[tuple[RunningServer, S3Resource]]:
    """An S3 server that loses four answers of ten, mostly after applying the request, and lets nobody read unsigned."""
    signed = ("--access-key", "KEY", "--secret-key", "SECRET", "--require-signature")
    with limited_s3(Settings(faults=Faults(resets=0.4)), options=signed) as server:
        try:
            yield (
                server,
                S3Resource(
                    bucket="bench",
                    endpoint_url=server.url,
                    access_key_id="KEY",
                    secret_access_key="SECRET",
                    governor=GovernorConfig(home=str(tmp_path)),
                ),
            )
        finally:
            stop_all(tmp_path)


def await_verifier(home: Path) -> None:
    """Wait until the governor knows a witness."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not running(home)[0].status()["witnesses"]:
        assert time.monotonic() < deadline


def test_conditional_puts_whose_answers_are_lost_are_ones_own(
    losing: tuple[RunningServer, S3Resource], tmp_path: Path
) -> None:
    server, s3 = losing
    assert s3.get("nothing") is None
    await_verifier(tmp_path)
    with s3_usage.measured() as usage:
        assert all(s3.put(f"a/{number}", f"{number}".encode(), if_absent=True) for number in range(30))
        assert not any(s3.put(f"a/{number}", b"another's", if_absent=True) for number in range(30))
    assert usage.total("failed") > 10
    assert usage.total("in_doubt") == usage.total("given_up") == 0
    assert {applied for applied, _, _ in server.keys("bench/a/").values()} == {1}


def test_delta_commits_whose_answers_are_lost_are_made_once(
    losing: tuple[RunningServer, S3Resource], tmp_path: Path
) -> None:
    """The thread answers while delta-rs, which lets go of the interpreter, waits for its commit."""
    _, s3 = losing
    for number in range(8):
        write_deltalake(s3.uri("t"), pl.DataFrame({"a": [number]}), mode="append", storage_options=s3.delta_options)
        await_verifier(tmp_path)
    table = DeltaTable(s3.uri("t"), storage_options=s3.delta_options)
    assert table.version() == 7
    rows = pl.scan_delta(table, storage_options=s3.polars_options).collect()
    assert rows["a"].sort().to_list() == list(range(8))


def test_one_thread_for_all_resources_that_ends_with_the_governor(
    losing: tuple[RunningServer, S3Resource], tmp_path: Path
) -> None:
    _, s3 = losing
    before = threads()
    for resource in (s3, s3.model_copy()):
        assert resource.client.meta.region_name
        assert resource.arrow_filesystem.type_name
    [name] = threads() - before
    [thread] = [thread for thread in threading.enumerate() if thread.name == name]
    assert thread.daemon
    stop_all(tmp_path)
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_a_process_ends_and_forks_with_a_witness(losing: tuple[RunningServer, S3Resource], tmp_path: Path) -> None:
    """The process is not kept alive, its child has a scope and a witness of its own, and nothing is said."""
    server, _ = losing
    code = f"""
import os, sys
from resources.s3 import usage as s3_usage
from resources.s3.client import S3Resource
from resources.s3.options import GovernorConfig
def s3():
    return S3Resource(bucket="bench", endpoint_url={server.url!r}, access_key_id="KEY", secret_access_key="SECRET",
                      governor=GovernorConfig(home={str(tmp_path)!r}))
assert s3().put("parent", b"1", if_absent=True)
scope = s3_usage.scope()
pid = os.fork()
if pid == 0:
    assert s3_usage.scope() != scope
    assert s3_usage.lost() is None
    sys.exit(0 if s3().get("parent") == b"1" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
