"""The sensors of dropped files, on a real S3 and instance: what comes, changes or goes is taken in, and once."""

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
from dagster import AssetsDefinition, DagsterInstance, SkipReason, materialize

from assets import audience
from assets.audience import REPORTS
from assets.labels import votes
from assets.marts.tables import TOTALLING
from assets.quarantine import collecting
from pipelines.automation.sensors import SENSORS, drops
from pipelines.automation.sensors.drops import REPORTS as REPORTS_LANDING
from pipelines.automation.sensors.drops import audience_drops, label_drops, look, quarantine_drops
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from resources.delta.state import Entry, LedgerResource
from resources.delta.table import WHOLE, LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.llm.resource import LlmResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import ListingMarkError, S3Resource
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from tests.worlds.sensors import RUN_KEY, Sensing

NAMES = ("a-2026-01-01", "a.b-2026-01-01", "a/b-2026-01-01", "a/b/c-2026-01-01", "é 2026-01-01", "z-2026-01-01")
STEPS = 30


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def resources(s3: S3Resource) -> dict[str, Any]:
    LedgerResource(s3=s3).record(TOTALLING.name, WHOLE, Entry("inputs", "output"))  # a first load is complete
    unused = S3Resource(**s3.model_dump())  # Dagster takes no resource that has connected
    kinds = {
        "lake": LakeResource,
        "ledger": LedgerResource,
        "quarantine": QuarantineResource,
        "erasures": ErasureResource,
    }
    return {"s3": unused, **{name: kind(s3=unused) for name, kind in kinds.items()}}


def run(asset: AssetsDefinition, resources: dict[str, Any], instance: DagsterInstance) -> dict[str, Any]:
    """Materialize an asset; the metadata."""
    with pytest.warns(DeprecationWarning, match="dagster_run is deprecated"):
        done = materialize([asset], resources=resources, instance=instance, tags={RUN_KEY: "asked for"})
    [event] = done.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_files_wait_for_the_first_load_which_reads_them(
    s3: S3Resource, resources: dict[str, Any], instance: DagsterInstance
) -> None:
    s3.put(f"{votes.LANDING}early.parquet", b"labels")
    sensing, ledger = Sensing(label_drops, instance, resources), LedgerResource(s3=s3)
    s3.delete([item.key for item in s3.list_objects(f"ledger/{TOTALLING.name}/")])
    assert sensing.tick() == []
    assert sensing.said[0].startswith("The first load is not complete")
    ledger.record(TOTALLING.name, WHOLE, Entry("inputs", "output"))
    assert len(sensing.tick()) == 1


def report(shares: int) -> bytes:
    return f"account_id,female\ncreator,{shares}\n".encode()


def test_a_history_of_drops_is_taken_in_and_each_version_once(
    s3: S3Resource, lake: LakeResource, resources: dict[str, Any], instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(drops, "PAGE_KEYS", 2)
    chance = random.Random(7)  # noqa: S311  # a history, and no secret
    sensing = Sensing(audience_drops, instance, resources)
    there: dict[str, int] = {}
    versions = taken = waiting = 0

    def take_in() -> None:
        nonlocal taken, waiting
        taken, waiting = taken + run(audience.reports, resources, instance)["files_taken"], waiting - 1

    for _ in range(STEPS):
        name, kind = chance.choice(NAMES), chance.random()
        if kind < 0.3:
            shares = chance.randrange(3)
            versions += there.get(name) != shares
            there[name] = shares
            s3.put(f"{audience.LANDING}{name}.csv", report(shares))
        elif kind < 0.4:
            there.pop(name, None)
            s3.delete([f"{audience.LANDING}{name}.csv"])
        elif kind < 0.9 or not waiting:
            waiting += len(sensing.tick(is_stored=chance.random() < 0.8))
        else:
            take_in()

    def settle() -> None:
        nonlocal waiting
        for _ in range(len(NAMES)):
            waiting += len(sensing.tick())
            while waiting:
                take_in()

    settle()
    before, (changed, gone, *_) = taken, sorted(there)
    there[changed] += 10
    s3.put(f"{audience.LANDING}{changed}.csv", report(there[changed]))
    there.pop(gone)
    s3.delete([f"{audience.LANDING}{gone}.csv"])
    settle()
    assert before <= versions
    assert taken == before + 1
    rows = lake.scan(REPORTS).select("source_file", "share_percent").collect()
    assert dict(rows.iter_rows()) == {f"{audience.LANDING}{name}.csv": shares for name, shares in there.items()}
    assert rows.height == len(there)
    assert sensing.longest_cursor < 10_000
    asked = len(sensing.requested)
    for _ in range(2 * len(NAMES)):
        sensing.tick()
    assert len(sensing.requested) == asked
    assert sensing.said[-1].startswith(("All ", "2 files", "4 files"))


def test_labels_ask_for_a_run_when_they_come_change_and_go(
    s3: S3Resource, resources: dict[str, Any], instance: DagsterInstance
) -> None:
    sensing = Sensing(label_drops, instance, resources)
    assert sensing.tick() == []
    assert sensing.said == ["All 0 files of landing/labels/ are taken in."]
    s3.put(f"{votes.LANDING}notes.txt", b"no labels")
    assert sensing.tick() == []
    keys = []
    for item in ("p", "q", "p", None):
        key = f"{votes.LANDING}x.parquet"
        if item is None:
            s3.delete([key])
        else:
            buffer = io.BytesIO()
            row = {"item_kind": "post", "item_id": item, "vertical": "food", "is_member": True}
            pl.DataFrame([row]).write_parquet(buffer)
            s3.put(key, buffer.getvalue())
        [request] = sensing.tick(is_stored=False)
        assert sensing.tick() == []  # the same tick again
        assert request.tags["dagster/asset_partition_range_start"] == "0"
        keys.append(request.run_key)
        assert run(votes.votes, resources, instance)["files"] == (item is not None)
        assert sensing.tick() == []
        assert "are taken in" in sensing.said[-1]
    assert len(set(keys)) == 4


def test_a_run_that_failed_is_not_asked_for_again_until_something_changes(
    s3: S3Resource, resources: dict[str, Any], instance: DagsterInstance
) -> None:
    sensing = Sensing(audience_drops, instance, resources)
    s3.put(f"{audience.LANDING}{NAMES[0]}.csv", report(1))
    assert len(sensing.tick()) == 1
    assert [sensing.tick() for _ in range(3)] == [[], [], []]
    s3.put(f"{audience.LANDING}{NAMES[0]}.csv", report(2))
    assert len(sensing.tick()) == 1


def test_another_rule_takes_every_file_in_again(
    s3: S3Resource, resources: dict[str, Any], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensing = Sensing(audience_drops, instance, resources)
    s3.put(f"{audience.LANDING}{NAMES[0]}.csv", report(1))
    sensing.tick()
    run(audience.reports, resources, instance)
    assert sensing.tick() == []
    monkeypatch.setattr(audience, "_READING", "another")
    assert len(sensing.tick()) == 1
    assert run(audience.reports, resources, instance)["files_taken"] == 1
    assert sensing.tick() == []


def test_a_listing_that_cannot_go_on_begins_anew(
    s3: S3Resource, resources: dict[str, Any], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "PAGE_KEYS", 1)
    for name in NAMES[:2]:
        s3.put(f"{audience.LANDING}{name}.csv", report(1))
    sensing = Sensing(audience_drops, instance, resources)
    sensing.tick()
    assert sensing.said == ["1 files of landing/audience/ are looked at so far."]
    list_page = S3Resource.list_page

    def refuse(s3: S3Resource, prefix: str, mark: str = "", limit: int = 1000) -> Any:
        if mark:
            raise ListingMarkError("Refused.")
        return list_page(s3, prefix, mark, limit)

    with monkeypatch.context() as patched:
        patched.setattr(S3Resource, "list_page", refuse)
        sensing.tick()
    assert sensing.said[-1] == "Refused. The sweep begins anew."
    assert len([request for _ in range(2) for request in sensing.tick()]) == 1


OF_THE_LAKE = [sensor for sensor in SENSORS if sensor.name != "alerts"]  # which reads Dagster's own storage


@pytest.mark.parametrize("sensor", OF_THE_LAKE, ids=lambda sensor: sensor.name)
def test_a_stack_that_is_not_up_is_said_in_one_sentence(sensor: Any, instance: DagsterInstance, home: Path) -> None:
    s3 = S3Resource(bucket="none", stack_file=str(home / "stack.json"))
    resources = {
        "s3": s3,
        "ledger": LedgerResource(s3=s3),
        "lake": LakeResource(s3=s3),
        "raw_store": RawStoreResource(s3=s3),
        "quarantine": QuarantineResource(s3=s3),
        "rds_exports": RdsExportResource(s3=s3, location="exports"),
        "spend": (spend := SpendResource(s3=s3)),
        "llm": LlmResource(spend=spend),
    }
    needed = {name: found for name, found in resources.items() if name in sensor.required_resource_keys}
    sensing = Sensing(sensor, instance, needed, cursor="kept")
    assert sensing.tick() == []
    assert sensing.said == [f"The embedded stack of {home} is not up: start it with `cippus up`."]
    assert sensing.cursor == "kept"


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="http://s3"), HTTPClientError(error="a\nb")])
def test_a_service_that_does_not_answer_is_said_in_one_sentence(error: Exception) -> None:
    def tick() -> SkipReason:
        raise error

    found = skipped_while_unreachable(tick)()
    assert isinstance(found, SkipReason)
    assert found.skip_message
    assert "\n" not in found.skip_message


def test_what_somebody_has_to_mend_fails_the_tick(s3: S3Resource) -> None:
    missing = S3Resource(**{**s3.model_dump(), "bucket": "no-such-bucket"})
    with pytest.raises(ClientError, match="NoSuchBucket"):
        skipped_while_unreachable(look)(None, REPORTS_LANDING, missing, LedgerResource(s3=missing))


def test_rejects_that_land_are_collected_once(s3: S3Resource, lake: LakeResource, instance: DagsterInstance) -> None:
    unused = S3Resource(**s3.model_dump())
    kinds = {"quarantine": QuarantineResource, "ledger": LedgerResource, "lake": LakeResource}
    sensing = Sensing(quarantine_drops, instance, {name: kind(s3=unused) for name, kind in kinds.items()})
    ledger, landed = LedgerResource(s3=s3), QuarantineResource(s3=s3)

    def collect() -> None:
        inputs = collecting(landed).input_fingerprints(lake, [WHOLE])[WHOLE]
        ledger.record("quarantine/rows", WHOLE, Entry(inputs, "out"))

    collect()
    assert sensing.tick() == []
    for number in (1, 2):
        landed.land_file("test", "files", f"file-{number}", "it is no file")
        [request] = sensing.tick()
        assert sensing.tick() == [], "its run has been requested"
        collect()
        assert sensing.tick() == []
    landed.withdraw("test")
    [again] = sensing.tick()
    assert again.run_key != request.run_key
