"""Measure the governor's overhead without limits: requests and bytes per second with and without it.

Runs against the embedded S3 in alternating rounds; ratios are medians over rounds. The bench, the governor and the
server share the cores, so an expensive client hides the governor's cost; raw_streams.py is the cheapest client.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import obstore
from botocore.config import Config
from obstore.store import S3Store
from rich.console import Console

from resources.local_stack import EmbeddedStack
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.governor_process import GOVERNED_ENDPOINT, GovernorProcess, governor
from tests.benchmarks.raw_streams import RawStreams, hold_in_flight

if TYPE_CHECKING:
    from obstore.store import ClientConfig

LEAST_SMALL_RATIO, LEAST_SMALL_PER_SECOND = 0.7, 1000.0
LEAST_UP_RATIO, LEAST_DOWN_RATIO = 0.7, 0.4
MOST_MEMORY_MB, IN_FLIGHT = 150.0, 64
MIB = 1 << 20
_SMALL = b"\x5a" * 4096
_GOVERNOR_DEPTH = 2


@dataclass(frozen=True)
class Amounts:
    """Amount of work per round."""

    rounds: int = 5
    obstore_requests: int = 3000
    boto3_requests: int = 600
    medium_bodies: int = 12
    large_rounds: int = 3
    large_bytes: int = 1 << 30
    in_flight_bytes: int = 16 * MIB
    warm_up_seconds: float = 4.0


@dataclass(frozen=True)
class Way:
    """The route of requests: directly to the stack, or through the governor."""

    stack: EmbeddedStack
    bucket: str
    proxy: str = ""

    @property
    def endpoint(self) -> str:
        """The endpoint that clients use."""
        return GOVERNED_ENDPOINT if self.proxy else self.stack.s3_endpoint

    def boto3_client(self) -> Any:
        """Return a boto3 client with as many connections as threads."""
        proxied: dict[str, Any] = {"proxies": {"http": self.proxy}} if self.proxy else {}
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.stack.s3_access_key_id,
            aws_secret_access_key=self.stack.s3_secret_access_key,
            region_name=self.stack.s3_region,
            config=Config(
                s3={"addressing_style": "path"}, max_pool_connections=32, signature_version="s3v4", **proxied
            ),
        )

    def streams(self, size: int) -> RawStreams:
        """Return streams of bodies of a size in bytes."""
        return RawStreams(self.boto3_client(), self.bucket, self.endpoint, self.proxy, size)

    def obstore_store(self) -> S3Store:
        """Return an obstore store."""
        proxied: ClientConfig = {"proxy_url": self.proxy} if self.proxy else {}
        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            access_key_id=self.stack.s3_access_key_id,
            secret_access_key=self.stack.s3_secret_access_key,
            region=self.stack.s3_region,
            client_options={"allow_http": True, **proxied},
        )


def measure(home: Path, console: Console) -> BenchResult:
    """Measure against the home's embedded stack, in about three minutes. Raises StackNotUpError."""
    return run(EmbeddedStack.read(home / "stack.json"), Amounts(), console)


def run(stack: EmbeddedStack, amounts: Amounts, console: Console) -> BenchResult:
    """Measure in a bucket of its own, which is removed afterwards."""
    bucket = f"bench-{uuid4().hex[:12]}"
    direct = Way(stack, bucket)
    client = direct.boto3_client()
    client.create_bucket(Bucket=bucket)
    try:
        with governor(stack.s3_endpoint, _GOVERNOR_DEPTH) as process:
            figures = _figures(direct, Way(stack, bucket, process.url), process, amounts, console)
    finally:
        _remove(client, bucket)
    return BenchResult("governor", {name: round(value, 3) for name, value in figures.items()}, _targets(figures))


def _figures(
    direct: Way, governed: Way, process: GovernorProcess, amounts: Amounts, console: Console
) -> dict[str, float]:
    figures: dict[str, float] = {}
    loads: list[tuple[str, str, int, list[Callable[[], float]]]] = []
    for name, rates in (("obstore", _obstore_rates), ("boto3", _boto3_rates)):
        count = amounts.obstore_requests if name == "obstore" else amounts.boto3_requests
        _warm_up(rates(governed, count), amounts.warm_up_seconds)
        both = zip(rates(direct, count), rates(governed, count), strict=True)
        loads += [
            (f"small_{verb}_{name}", "per_second", amounts.rounds, list(pair))
            for verb, pair in zip(("put", "get"), both, strict=True)
        ]
    for size_name, size, bodies, rounds in (
        ("16mib", 16 * MIB, amounts.medium_bodies, amounts.rounds),
        ("1gib", amounts.large_bytes, 1, amounts.large_rounds),
    ):
        streams = [way.streams(size) for way in (direct, governed)]
        loads += [
            (f"{size_name}_up", "mb_per_second", rounds, [lambda s=s, n=bodies: s.up(n) for s in streams]),  # type: ignore[misc]
            (f"{size_name}_down", "mb_per_second", rounds, [lambda s=s, n=bodies: s.down(n) for s in streams]),  # type: ignore[misc]
        ]
    for name, unit, rounds, (straight, through) in loads:
        pairs = [(straight(), through()) for _ in range(rounds)]
        figures[f"{name}_direct_{unit}"] = statistics.median(pair[0] for pair in pairs)
        figures[f"{name}_governed_{unit}"] = statistics.median(pair[1] for pair in pairs)
        figures[f"{name}_ratio"] = statistics.median(got / of for of, got in pairs)
        console.print(f"{name}: {figures[f'{name}_ratio']:.2f} of direct", highlight=False)
    figures["memory_before_bodies_mb"] = process.peak_memory_bytes() / MIB
    in_flight = hold_in_flight(governed.streams(amounts.in_flight_bytes), IN_FLIGHT)
    figures["bodies_in_flight"] = in_flight
    figures["memory_with_bodies_mb"] = process.peak_memory_bytes() / MIB
    return figures


def _warm_up(rates: tuple[Callable[[], float], ...], seconds: float) -> None:
    """Send requests until the governor's rate, which starts at 500/s, exceeds what the machine can do."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for rate in rates:
            rate()


def _obstore_rates(way: Way, count: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return functions that measure puts and gets of 4 KiB per second, 64 at a time on one loop."""
    store = way.obstore_store()

    async def all_of_them(one: Callable[[str], Any]) -> float:
        names = iter([f"small/obstore/{number}" for number in range(count)])

        async def work() -> None:
            for name in names:
                await one(name)

        started = time.monotonic()
        await asyncio.gather(*(work() for _ in range(64)))
        return count / (time.monotonic() - started)

    async def get(name: str) -> None:
        await (await obstore.get_async(store, name)).bytes_async()

    return (
        lambda: asyncio.run(all_of_them(lambda name: obstore.put_async(store, name, _SMALL, use_multipart=False))),
        lambda: asyncio.run(all_of_them(get)),
    )


def _boto3_rates(way: Way, count: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return functions that measure puts and gets of 4 KiB per second from 32 threads."""
    client = way.boto3_client()

    def all_of_them(one: Callable[[str], Any]) -> float:
        started = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(one, [f"small/boto3/{number}" for number in range(count)]))
        return count / (time.monotonic() - started)

    return (
        lambda: all_of_them(lambda name: client.put_object(Bucket=way.bucket, Key=name, Body=_SMALL)),
        lambda: all_of_them(lambda name: client.get_object(Bucket=way.bucket, Key=name)["Body"].read()),
    )


def _remove(client: Any, bucket: str) -> None:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    client.delete_bucket(Bucket=bucket)


def _targets(figures: dict[str, float]) -> dict[str, Target]:
    found: dict[str, Target] = {}
    least = {"up": LEAST_UP_RATIO, "down": LEAST_DOWN_RATIO, "put": LEAST_SMALL_RATIO, "get": LEAST_SMALL_RATIO}
    for name, got in figures.items():
        if name.endswith("_ratio"):
            wanted = next(ratio for kind, ratio in least.items() if kind in name.split("_"))
            found[name] = Target(wanted, got, got >= wanted)
    for verb in ("put", "get"):
        name = f"small_{verb}_obstore_governed_per_second"
        found[name] = Target(LEAST_SMALL_PER_SECOND, figures[name], figures[name] >= LEAST_SMALL_PER_SECOND)
    found["bodies_in_flight"] = Target(IN_FLIGHT, figures["bodies_in_flight"], figures["bodies_in_flight"] >= IN_FLIGHT)
    found["memory_with_bodies_mb"] = Target.at_most(MOST_MEMORY_MB, figures["memory_with_bodies_mb"])
    return found
