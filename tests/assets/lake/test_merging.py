"""Windows are merged bucket by bucket, in any order: the newest version of a row wins, wherever it moved."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from assets.lake import LAKE_POSTS
from assets.transforms.source.schema import POSTS, account_bucket, with_bucket
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource
from resources.s3.client import S3Resource
from resources.settings import bucket_count
from tests.chaos import steps

SEEDS = 12
START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = ("a", "b", "c")


class Version(NamedTuple):
    """One version of a post in a window; an unusable one has no network."""

    owner: str
    seconds: int
    is_usable: bool = True

    def row(self, key: str, text: str) -> dict[str, Any]:
        """Return the row."""
        empty: dict[str, Any] = dict.fromkeys(POSTS.schema.names)
        given = {"post_id": key, "account_id": self.owner, "text": text, "network": "x" if self.is_usable else None}
        return empty | given | {"updated_at": START + timedelta(seconds=self.seconds)}


def owners() -> list[str]:
    """Return owners of three buckets."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(account_bucket(f"owner-{number}", bucket_count()), f"owner-{number}")
    return list(found.values())[:3]


Window = dict[str, Version]


def land(s3: S3Resource, number: int, versions: Window) -> None:
    store, count = RawStoreResource(s3=s3), bucket_count()
    rows = [version.row(key, f"window {number}") for key, version in versions.items()]
    with store.writer("postgres", "posts", number, count) as writer:
        writer.add(with_bucket(POSTS, pa.Table.from_pylist(rows, POSTS.schema), count))
        files = writer.finish()
    lower, upper = (START + timedelta(days=number + days) for days in (0, 1))
    store.complete(Manifest("postgres", "posts", number, lower.isoformat(), upper.isoformat(), count, files))


def merge(s3: S3Resource, buckets: Sequence[int]) -> None:
    """Merge the windows of these buckets, as a run of their partitions does."""
    steps.merge("posts", buckets, RawStoreResource(s3=s3), LakeResource(s3=s3), QuarantineResource(s3=s3))


def lake(s3: S3Resource) -> dict[str, tuple[str, str]]:
    """Return key → owner and text. Each key is there once."""
    rows = LakeResource(s3=s3).scan(LAKE_POSTS).select("post_id", "account_id", "text").collect()
    assert rows["post_id"].is_unique().all()
    return {key: (owner, text) for key, owner, text in rows.iter_rows()}


def newest(windows: Sequence[Window]) -> dict[str, tuple[str, str]]:
    """Return what the lake must have: of equal timestamps, the later window's version."""
    found: dict[str, tuple[int, int]] = {}
    for number, window in enumerate(windows, start=1):
        for key, version in window.items():
            if version.is_usable:
                found[key] = max(found.get(key, (-1, 0)), (version.seconds, number))
    return {key: (windows[number - 1][key].owner, f"window {number}") for key, (_, number) in found.items()}


def test_a_row_that_moved_with_an_equal_timestamp_moves_out_of_a_bucket_that_is_ahead(s3: S3Resource) -> None:
    """A write that was committed late has the timestamp of the version before it."""
    old, new, _ = owners()
    windows = [{"a": Version(old, 0)}, {"a": Version(new, 0)}, {"b": Version(old, 1)}]
    for number, window in enumerate(windows, start=1):
        land(s3, number, window)
    merge(s3, [account_bucket(old, bucket_count())])
    assert lake(s3) == {"a": (old, "window 1"), "b": (old, "window 3")}
    merge(s3, range(bucket_count()))
    assert lake(s3) == newest(windows)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_in_whatever_order_buckets_are_merged_the_newest_version_wins(s3: S3Resource, seed: int) -> None:
    draw, among = random.Random(seed), owners()  # noqa: S311  # not a secret
    windows: list[Window] = []
    for number in range(1, 6):
        keys = draw.sample(KEYS, draw.randint(1, 3))
        windows.append(
            {key: Version(draw.choice(among), draw.choice((0, 0, 0, 1)), draw.random() < 0.9) for key in keys}
        )
        land(s3, number, windows[-1])
        if draw.random() < 0.7:
            chosen = draw.sample(among, draw.randint(1, 2))
            merge(s3, sorted(account_bucket(owner, bucket_count()) for owner in chosen))
    rest = [account_bucket(owner, bucket_count()) for owner in draw.sample(among, 3)]
    for buckets in ([bucket] for bucket in rest):
        merge(s3, buckets)
    assert lake(s3) == newest(windows)
