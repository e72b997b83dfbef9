"""The bench of the governor's cost, small: every figure is there, against the real embedded S3."""

from rich.console import Console

from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from tests.benchmarks.governor import IN_FLIGHT, MIB, Amounts, run

SMALL = Amounts(
    rounds=1,
    obstore_requests=70,
    boto3_requests=40,
    medium_bodies=1,
    large_rounds=1,
    large_bytes=20 * MIB,
    in_flight_bytes=2 * MIB,
    warm_up_seconds=0,
)


def test_it_measures_every_load_both_ways_and_cleans_up(stack: EmbeddedStack, s3: S3Resource) -> None:
    before = {bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]}
    result = run(stack, SMALL, Console(quiet=True))
    loads = [f"small_{verb}_{client}" for verb in ("put", "get") for client in ("obstore", "boto3")]
    loads += [f"{size}_{way}" for size in ("16mib", "1gib") for way in ("up", "down")]
    for load in loads:
        assert result.figures[f"{load}_ratio"] > 0
        assert f"{load}_ratio" in result.targets
    assert result.figures["bodies_in_flight"] == IN_FLIGHT
    assert result.figures["memory_with_bodies_mb"] >= result.figures["memory_before_bodies_mb"] > 0
    assert {bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]} == before
