"""The corpus stage on its tables: reasons and their counts, languages, and that only changed texts are cut again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import corpus
from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.text.chunking import CHUNKING
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource
from tests.fakes.embedder import CountingEmbedderResource, counting_embedder

# Dagster 1.13.27 calls its own deprecated property for nested resources.
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TEXTS = {
    "p1": "Heute backen wir zusammen ein frisches Sauerteigbrot mit viel Zeit und wenig Hefe",
    "p2": "Heute backen wir zusammen ein frisches Sauerteigbrot mit viel Zeit und wenig Hefe!!",
    "p3": "This is the very first video about my new garden and its tomatoes",
    "p4": "Haha",
    "p5": "Haha",
    "p6": "...",
}


def write(lake: LakeResource, texts: Mapping[str, str]) -> None:
    """One account, which says of itself that it writes French, and its posts, in order of time."""
    account = {"account_bucket": 0, "account_id": "a", "handle": "@a", "language": "fr", "updated_at": NOON}
    posts = [
        {"account_bucket": 0, "account_id": "a", "post_id": post, "text": text, "posted_at": NOON, "updated_at": NOON}
        for post, text in texts.items()
    ]
    for spec, rows in ((LAKE_ACCOUNTS, [account]), (LAKE_POSTS, posts)):
        lake.sync(spec, pl.concat([spec.empty(), pl.DataFrame(rows)], how="diagonal_relaxed"), 0)


def run(s3: S3Resource, embedder: CountingEmbedderResource) -> Mapping[str, Any]:
    """Materialize the stage for bucket 0; returns the metadata of its chunks."""
    fresh = S3Resource(**{name: getattr(s3, name) for name in S3Resource.model_fields})
    resources = {"lake": LakeResource(s3=fresh), "ledger": LedgerResource(s3=fresh), "embedder": embedder}
    assets = [corpus.decisions, corpus.decision_counts, corpus.chunks]
    result = dg.materialize(assets, resources=resources, partition_key="0")
    [event] = result.asset_materializations_for_node("corpus__cippus_text")
    return {name: value.value for name, value in event.metadata.items()}


def column(lake: LakeResource, name: str) -> dict[str, Any]:
    return dict(lake.scan(CHUNKS).select("post_id", name).collect().iter_rows())


def test_every_reason_is_counted(lake: LakeResource, s3: S3Resource) -> None:
    write(lake, TEXTS)
    run(s3, counting_embedder()[0])
    decided = lake.scan(DECISIONS).select("post_id", "dropped_because", "duplicate_of").collect()
    assert sorted(decided.rows()) == [
        ("p1", None, None),
        ("p2", "near_duplicate", "p1"),
        ("p3", None, None),
        ("p4", None, None),
        ("p5", "duplicate", "p4"),
        ("p6", "empty", None),
    ]
    counted = lake.scan(DECISION_COUNTS).select("dropped_because", "posts").collect()
    assert dict(counted.iter_rows()) == {"kept": 3, "near_duplicate": 1, "duplicate": 1, "empty": 1}
    write(lake, {"p4": "Haha"})
    run(s3, counting_embedder()[0])
    assert lake.scan(DECISION_COUNTS).select("dropped_because", "posts").collect().rows() == [("kept", 1)]


def test_the_texts_language_comes_before_the_accounts(lake: LakeResource, s3: S3Resource) -> None:
    write(lake, TEXTS)
    run(s3, counting_embedder()[0])
    assert column(lake, "text_language") == {"p1": "de", "p3": "en", "p4": None}
    assert column(lake, "language") == {"p1": "de", "p3": "en", "p4": "fr"}


def test_only_changed_texts_are_cut_again(lake: LakeResource, s3: S3Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, _ = counting_embedder()
    long = {"p9": " ".join(f"word{number}" for number in range(3_000))}
    write(lake, {**TEXTS, **long})
    first = run(s3, embedder)
    assert (first["posts"], first["posts_chunked"], first["posts_truncated"]) == (4, 4, 1)
    before = column(lake, "point_id")
    write(lake, {**TEXTS, **long, "p3": "My garden again, with less sun and more snails than before"})
    second = run(s3, embedder)
    assert (second["posts"], second["posts_chunked"], second["posts_truncated"]) == (4, 1, 1)
    assert (second["inserted"], second["updated"], second["deleted"]) == (0, 1, 0)
    assert column(lake, "text")["p3"].startswith("My garden again")
    assert column(lake, "point_id") == before
    monkeypatch.setattr(corpus, "CHUNKING", f"{CHUNKING}-and-another")
    assert run(s3, embedder)["posts_chunked"] == 4, "another recipe cuts everything again"
