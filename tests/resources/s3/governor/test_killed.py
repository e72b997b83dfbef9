"""kill -9 of the request governor in the middle of a run: one sentence, a whole lake, and a next run that goes on."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from deltalake import DeltaTable, write_deltalake
from obstore.store import S3Store

from resources.delta.state import LedgerResource
from resources.local_stack import EmbeddedStack
from resources.s3 import usage as s3_usage
from resources.s3.client import S3Resource
from resources.s3.governor.process import GovernorGoneError, running, stop_all
from resources.s3.options import GovernorConfig
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world, loaded_world, world_name
from tests.worlds.snapshot import assert_same, assert_same_tables

S3_METADATA = {"s3_requests", "s3_throttled", "s3_wasted_percent", "s3_waited_seconds", "s3_given_up"}


@pytest.fixture
def governors(tmp_path: Path) -> Iterator[Path]:
    """A folder for governors of the test's own, because it kills them."""
    folder = tmp_path / "governors"
    yield folder
    stop_all(folder)


def kill(home: Path) -> None:
    [governor] = running(home)
    os.kill(governor.pid, signal.SIGKILL)
    os.waitpid(governor.pid, 0)


@pytest.fixture
def world(stack: EmbeddedStack, tmp_path: Path, governors: Path) -> World:
    made = empty_world(stack, world_name("governor-killed"), tmp_path / "index")
    return replace(made, governor=GovernorConfig(home=str(governors)))


def test_a_run_whose_governor_is_killed_says_so_and_the_next_goes_on(
    world: World, stack: EmbeddedStack, governors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_world(stack).snapshot()
    record = LedgerResource.record

    def killing(self: LedgerResource, asset: str, *rest: object) -> None:
        if asset == "embedding/cippus_text":  # its first bucket is committed, and not recorded
            kill(governors)
        record(self, asset, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(LedgerResource, "record", killing)
        report = world.run()
    assert not report.success
    assert report.errors
    gone = [error for error in report.errors if "GovernorGoneError: The S3 request governor (process " in error]
    assert len(gone) == len([error for error in report.errors if "Steps failed" not in error])
    assert "qdrant/cippus_text" not in report.assets

    report = world.run_well()
    found = world.snapshot()
    assert_same(found, expected)
    assert_same_tables(found.tables, expected.tables)
    assert running(governors)
    for asset, metadata in report.assets.items():
        assert set(metadata) >= S3_METADATA, asset
        assert metadata["s3_requests"] > 0, asset
        assert metadata["s3_given_up"] == 0, asset


def _obstore_put(s3: S3Resource) -> None:
    S3Store.from_url(s3.uri(""), **s3.obstore_options).put("o/x", b"1")


CLIENTS: dict[str, Callable[[S3Resource], object]] = {
    "boto3 put": lambda s3: s3.put("b/x", b"1"),
    "boto3 get": lambda s3: s3.get("b/x"),
    "s3fs": lambda s3: pq.write_table(pa.table({"a": [1]}), f"{s3.bucket}/f/x", filesystem=s3.arrow_filesystem),
    "delta-rs": lambda s3: write_deltalake(s3.uri("d"), pl.DataFrame({"a": [1]}), storage_options=s3.delta_options),
    "delta-rs, shared options": lambda s3: DeltaTable.is_deltatable(s3.uri("d"), storage_options=s3.storage_options),
    "polars": lambda s3: pl.DataFrame({"a": [1]}).write_parquet(s3.uri("p/x"), storage_options=s3.polars_options),
    "obstore": _obstore_put,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_whatever_a_client_makes_of_it_the_sentence_is_the_same(s3: S3Resource, governors: Path, client: str) -> None:
    governed = S3Resource(**{**s3.model_dump(), "governor": GovernorConfig(home=str(governors))})
    governed.put("before", b"1")
    [governor] = running(governors)
    if client != "delta-rs, shared options":
        CLIENTS[client](governed)  # it makes its connections while the governor is there
    kill(governors)
    sentence = f"process {governor.pid}.* is gone.* run again"
    with pytest.raises(GovernorGoneError, match=sentence) as raised, s3_usage.measured():
        CLIENTS[client](governed)
    assert raised.value.__cause__ is not None
    assert governor.token not in str(raised.value)


def test_other_errors_stay_what_they_are(governed: S3Resource) -> None:
    governed.put("a", b"1")
    with pytest.raises(ClientError, match="NoSuchKey"), s3_usage.measured():
        governed.client.get_object(Bucket=governed.bucket, Key="nothing")


def test_what_was_gone_before_is_not_why(s3: S3Resource, governed: S3Resource, governors: Path) -> None:
    """A governor that nobody uses any more, from an earlier run of the process."""
    earlier = S3Resource(**{**s3.model_dump(), "governor": GovernorConfig(home=str(governors))})
    earlier.put("a", b"1")
    kill(governors)
    with s3_usage.measured() as usage:
        governed.put("b", b"1")
    assert usage.is_known
    assert usage.total("requests") == 1
    with pytest.raises(ClientError, match="NoSuchKey"), s3_usage.measured():
        governed.client.get_object(Bucket=governed.bucket, Key="nothing")
    with pytest.raises(GovernorGoneError), s3_usage.measured():
        earlier.put("a", b"2")
