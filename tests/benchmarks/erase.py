"""Erase a 20,000-post account among others: is everything gone, and how long does it take?

The embedded lineage runs with the real model on sample creators and one account. Each of its posts has a canary, a text
that occurs nowhere else. Then some posts are edited, so that there is a history to erase. The scan must find every
canary before the erasure, and none after it. No other project does this, so there is no peer.
"""

import json
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from assets.transforms.source.schema import ACCOUNTS, LABELS_SCHEMA, POSTS, TESTIMONIALS
from pipelines.samples.creators import generate
from resources.cpu import available_cores
from resources.models.embedder import MiniLmModel
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.embed import real_length_posts
from tests.benchmarks.index_change import EmbeddedLineage

ACCOUNT = "erased_account"
OTHERS, POSTS_OF_ACCOUNT, EDITED = 100, 20_000, 20
MOST_SECONDS = 120.0
_SEED = 20_260_704
_THEN = datetime(2024, 5, 1, tzinfo=UTC)


def measure(_home: Path, console: Console) -> BenchResult:
    """Load, run, edit, run and erase, in a home folder of the bench."""
    texts = real_length_posts(POSTS_OF_ACCOUNT + EDITED, MiniLmModel(available_cores()))
    return measure_erasure(console, OTHERS, texts)


def measure_erasure(console: Console, others: int, texts: list[str]) -> BenchResult:
    """Measure with all texts but the last EDITED as posts. The last ones replace the texts of the first posts."""
    draw = random.Random(_SEED)  # noqa: S311
    canaries = [f"canary{draw.getrandbits(64):016x}" for _ in range(len(texts) + 4)]
    marked = [f"{text} {canary}" for text, canary in zip(texts, canaries, strict=False)]
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        lineage, data, file = EmbeddedLineage(Path(folder), console), Path(folder) / "data", Path(folder) / "canaries"
        generate(data, others)
        add_account(data, marked[:-EDITED], canaries[len(texts) :])
        file.write_text("\n".join(canaries))
        try:
            lineage.command("load", str(data))
            whole = lineage.run()
            lineage.change(list(range(EDITED)), marked[-EDITED:])
            lineage.run()
            started = time.monotonic()
            receipt = json.loads(lineage.command("erase", ACCOUNT, "--canaries", str(file), "--json", also=(1,)))
            seconds = time.monotonic() - started
            again = json.loads(lineage.command("erase", ACCOUNT, "--canaries", str(file), "--json", also=(1,)))
        finally:
            lineage.command("down")
    return result(len(canaries), whole.seconds, seconds, receipt, again)


def result(
    canaries: int, run_seconds: float, seconds: float, receipt: dict[str, Any], again: dict[str, Any]
) -> BenchResult:
    """Return figures and targets of two receipts: of the erasure, and of a repeated one, which removes nothing."""
    before, after = receipt["found_before"], receipt["found_after"]
    removed = receipt["removed"]
    figures: dict[str, float] = {
        "canaries": canaries,
        "canaries_found_before": before["canaries"],
        "canaries_found_after": after["canaries"],
        "places_before": before["places"],
        "places_after": after["places"],
        "bytes_scanned_before": before["bytes"],
        "seconds": round(seconds, 2),
        "whole_run_seconds": run_seconds,
        **{f"seconds {step}": taken for step, taken in receipt["seconds"].items()},
        **{f"rows {layer}": figures["rows"] for layer, figures in removed.items() if "rows" in figures},
        "points": removed.get("qdrant", {}).get("points", 0),
        "layers_removed_again": len(again["removed"]),
    }
    return BenchResult(
        "erase",
        figures,
        {
            "canaries_found_before": Target(canaries, before["canaries"], before["canaries"] == canaries),
            "places_after": Target.at_most(0, after["places"]),
            "seconds": Target.at_most(MOST_SECONDS, round(seconds, 2)),
            "layers_removed_again": Target.at_most(0, len(again["removed"])),
        },
    )


def add_account(folder: Path, texts: list[str], canaries: list[str]) -> None:
    """Add the account to a folder of sample creators, with a canary in each of its free texts."""
    name, bio, told, rejected = canaries
    common: dict[str, Any] = {"network": "youtube", "updated_at": _THEN, "deleted_at": None}
    account = {"account_id": ACCOUNT, "handle": "erased.handle", "display_name": name, "bio": bio, "followers": 1_000}
    account |= {"country": "US", "language": "en", "created_at": _THEN, **common}
    posts = [
        {"post_id": f"post-{number}", "account_id": ACCOUNT, "posted_at": _THEN - timedelta(minutes=number)}
        | {"text": text, "hashtags": [], "media_type": "video", "likes": 1, "comments": 1, "views": 1, "shares": 1}
        | common
        for number, text in enumerate(texts)
    ]
    said = {"brand": "Brand", "campaign": "spring", "account_id": ACCOUNT, "author_role": "customer"}
    moments = {"created_at": _THEN, "updated_at": _THEN}
    testimonials = [
        {"testimonial_id": f"erased-{rating}", "text": text, "rating": rating, **said, **moments}
        for text, rating in ((told, 5), (rejected, 9))
    ]
    labels = [
        {"item_kind": "post", "item_id": f"post-{number}", "vertical": "food", "is_member": True}
        for number in range(10)
    ]
    added = {"accounts": [account], "posts": posts, "testimonials": testimonials, "labels": labels}
    schemas = {"accounts": ACCOUNTS.schema, "posts": POSTS.schema, "testimonials": TESTIMONIALS.schema}
    for table, schema in {**schemas, "labels": LABELS_SCHEMA}.items():
        path = folder / f"{table}.parquet"
        rows = pa.Table.from_pylist(added[table], schema=schema)
        pq.write_table(pa.concat_tables([pq.read_table(path, schema=schema), rows]), path)
