"""Measure a change of 0.1 % of the posts: a full run of the embedded lineage, and a run after the change."""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from rich.console import Console

from assets.corpus import CHUNKS
from resources.cpu import available_cores
from resources.delta.table import LakeResource
from resources.local_stack import EmbeddedStack
from resources.models.embedder import MiniLmModel
from resources.s3.client import S3Resource
from tests.benchmarks import Target
from tests.benchmarks.embed import real_length_posts

POSTS_OF_AN_ACCOUNT = 100
CHANGED_PART = 0.001
MOST_OF_WALL, MOST_OF_VECTORS = 0.03, 0.04
_INDEX = ("corpus/", "embedding/", "qdrant/")
_SEED = 20_260_703
_THEN = datetime(2024, 5, 1, tzinfo=UTC)


class FailedRunError(RuntimeError):
    """A command of the measured lineage failed; the message has its last lines of output."""


@dataclass(frozen=True)
class Change:
    """Return figures and targets of the change."""

    figures: dict[str, float]
    targets: dict[str, Target]


def write_posts(folder: Path, texts: list[str]) -> None:
    """Write accounts.parquet and posts.parquet: distinct texts, 100 posts per account."""
    accounts = [f"account-{number}" for number in range(-(-len(texts) // POSTS_OF_AN_ACCOUNT))]
    common: dict[str, Any] = {"network": "youtube", "updated_at": _THEN}
    pl.DataFrame({"account_id": accounts}).with_columns(
        handle="account_id", display_name="account_id", bio=pl.lit(""), followers=pl.lit(1_000), country=pl.lit("US"),
        language=pl.lit("en"), created_at=pl.lit(_THEN), deleted_at=pl.lit(None, pl.Datetime("us", "UTC")),
        **{name: pl.lit(value) for name, value in common.items()},
    ).write_parquet(folder / "accounts.parquet")  # fmt: skip
    pl.DataFrame(
        {
            "post_id": [f"post-{number}" for number in range(len(texts))],
            "account_id": [accounts[number // POSTS_OF_AN_ACCOUNT] for number in range(len(texts))],
            "posted_at": [_THEN - timedelta(minutes=number) for number in range(len(texts))],
            "text": texts,
        }
    ).with_columns(
        hashtags=pl.lit([], pl.List(pl.String)), media_url=pl.lit(None, pl.String), media_type=pl.lit("video"),
        likes=pl.lit(1), comments=pl.lit(1), views=pl.lit(1), shares=pl.lit(1),
        deleted_at=pl.lit(None, pl.Datetime("us", "UTC")), **{name: pl.lit(value) for name, value in common.items()},
    ).write_parquet(folder / "posts.parquet")  # fmt: skip


def measure_change(console: Console, posts: int) -> Change:
    """Run the lineage, change the texts of 0.1 % of the posts in the database, and run it again."""
    model = MiniLmModel(available_cores())
    changed = max(1, round(posts * CHANGED_PART))
    texts = real_length_posts(posts + changed, model)
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        lineage = EmbeddedLineage(Path(folder), console)
        data = Path(folder) / "data"
        data.mkdir()
        write_posts(data, texts[:posts])
        try:
            lineage.command("load", str(data))
            whole = lineage.run()
            unchanged = lineage.run()
            chosen = random.Random(_SEED).sample(range(posts), changed)  # noqa: S311
            lineage.change(chosen, texts[posts:])
            before = lineage.vector_bytes()
            again = lineage.run()
            read = lineage.vector_bytes() - before
            distinct = lineage.distinct_texts(chosen)
        finally:
            lineage.command("down")
    return result(posts, changed, distinct, whole, unchanged, again, read)


def result(  # the whole measurement
    posts: int, changed: int, distinct: int, whole: "Run", unchanged: "Run", again: "Run", read: int
) -> Change:
    """Return figures and targets of three runs; ``read`` is in bytes from the table of vectors."""
    figures: dict[str, float] = {
        "posts": posts,
        "changed_posts": changed,
        "changed_distinct_texts": distinct,
        "whole_run_seconds": whole.seconds,
        "unchanged_run_seconds": unchanged.seconds,
        "changed_run_seconds": again.seconds,
        "changed_run_share": again.seconds / whole.seconds,
        "texts_embedded_whole": whole.embedded,
        "texts_embedded_changed": again.embedded,
        "vector_bytes_read_share": read / (posts * model_bytes()),
        # Beside the targets: the stages from the corpus to the collection, what is not in assets, and what S3 is asked.
        "changed_index_share": again.of_groups(_INDEX) / max(whole.of_groups(_INDEX), 1e-9),
        "changed_seconds_outside_assets": again.seconds - sum(again.by_asset.values()),
        "requests_whole": whole.requests,
        "requests_unchanged": unchanged.requests,
        "requests_changed": again.requests,
        **{f"changed_seconds {asset}": seconds for asset, seconds in again.slowest(8).items()},
    }
    share, bytes_share = figures["changed_run_share"], figures["vector_bytes_read_share"]
    return Change(
        figures,
        {
            "texts_embedded_changed": Target(distinct, again.embedded, again.embedded == distinct),
            "changed_run_share": Target.at_most(MOST_OF_WALL, round(share, 4)),
            "vector_bytes_read_share": Target.at_most(MOST_OF_VECTORS, round(bytes_share, 4)),
        },
    )


def model_bytes() -> int:
    """Bytes of one vector in memory."""
    return 384 * 4


@dataclass(frozen=True)
class Run:
    """One run of the lineage: wall seconds, embedded texts, seconds per asset, S3 requests."""

    seconds: float
    embedded: int
    by_asset: dict[str, float]
    requests: int = 0

    def of_groups(self, groups: tuple[str, ...]) -> float:
        """Return the seconds of the assets of some groups."""
        return sum(seconds for asset, seconds in self.by_asset.items() if asset.startswith(groups))

    def slowest(self, count: int) -> dict[str, float]:
        """Return the slowest assets."""
        return dict(Counter(self.by_asset).most_common(count))


def ended(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a `cippus` command as a process, and return how it ended."""
    program = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


class EmbeddedLineage:
    """The `cippus` command on a home folder of its own."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.home, self._console = folder / "home", console
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CIPPUS_", "QDRANT_"))}
        # The encoder of the figures so far, and of the loop that the filling is compared with.
        self._environment = {**kept, "CIPPUS_HOME": str(self.home), "CIPPUS_ENCODER": "english"}

    def command(self, *arguments: str, also: tuple[int, ...] = ()) -> str:
        """Run one command. Raises FailedRunError unless its exit code is 0 or in ``also``."""
        self._console.print(f"cippus {arguments[0]}", highlight=False)
        done = ended(arguments, self._environment)
        if done.returncode not in (0, *also) or (done.returncode and not done.stdout):
            told = "\n".join(done.stderr.splitlines()[-5:])
            message = f"cippus {arguments[0]} ended with {done.returncode}: {told}"
            raise FailedRunError(message)
        return done.stdout

    def run(self) -> Run:
        """Run the lineage once."""
        report_file = self.home / "bench.json"
        self.command("run", "--json", str(report_file))
        report = json.loads(report_file.read_text())
        by_asset = {key: float(found.get("seconds", 0.0)) for key, found in report["assets"].items()}
        embedded = report["assets"]["embedding/cippus_text"]["embedded"]
        requests = sum(found.get("s3_requests", 0) for found in report["assets"].values())
        return Run(report["wall_seconds"], embedded, by_asset, requests)

    def change(self, posts: list[int], texts: list[str]) -> None:
        """Change the texts of some posts, as an application would."""
        stack = EmbeddedStack.read(self.home / "stack.json")
        with psycopg.connect(stack.postgres_dsn) as connection, connection.cursor() as cursor:
            statement = b"UPDATE posts SET text = %s, updated_at = now() WHERE post_id = %s"
            cursor.executemany(statement, [(text, f"post-{n}") for n, text in zip(posts, texts, strict=True)])

    def distinct_texts(self, posts: list[int]) -> int:
        """Return the distinct texts of some posts in the corpus; a long post has several chunks."""
        lake = LakeResource(s3=S3Resource(bucket="cippus", stack_file=str(self.home / "stack.json")))
        of_posts = lake.scan(CHUNKS).filter(pl.col("post_id").is_in([f"post-{number}" for number in posts]))
        return int(of_posts.select(pl.col("content_hash").n_unique()).collect().item())

    def vector_bytes(self) -> int:
        """Return the bytes read from the table of vectors, as counted by the request governor."""
        status = json.loads(self.command("status", "--json"))
        return sum(
            found["bytes_down"]
            for governor in status["governors"]
            for found in governor["prefixes"]
            if "/embedding" in f"/{found['prefix']}"
        )
