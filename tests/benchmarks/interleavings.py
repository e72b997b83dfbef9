"""Run a thousand interleavings of an erasure, maintenance and two writers of one table, each stopped at a request."""

from pathlib import Path

from rich.console import Console

from resources.s3.client import S3Resource
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.merge import s3_server
from tests.worlds.interleaving import Template, play, without_cache

RUNS = 1_000


def measure(home: Path, console: Console, runs: int = RUNS, seed: int = 0) -> BenchResult:
    """Play ``runs`` schedules from ``seed`` on, on an S3 server of the bench. ``home`` is not used."""
    del home
    failed = 0
    with s3_server() as server, without_cache():
        s3 = S3Resource(
            bucket="interleavings",
            endpoint_url=server.endpoint,
            access_key_id=server.access_key_id,
            secret_access_key=server.secret_access_key,
        )
        s3.client.create_bucket(Bucket=s3.bucket)
        template = Template.build(s3)
        for number in range(seed, seed + runs):
            if problem := play(s3, template, number).problem():
                failed += 1
                console.print(f"seed {number}: {problem}", markup=False, highlight=False, soft_wrap=True)
            s3.delete([item.key for item in s3.list_objects(f"lake/interleaved-{number}/")])
    figures = {"interleavings": float(runs), "interleavings_failed": float(failed)}
    return BenchResult("interleavings", figures, {"interleavings_failed": Target.at_most(0, failed)})
