"""Statistics of the columns that people filter by: what they add to a commit and to a merge, side by side."""

import statistics
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from assets.lake import LAKE_POSTS
from resources.delta.commit import commit_key
from resources.delta.table import BUCKET, LakeResource, TableSpec

_BUCKETS, _ROWS, _CHANGED = 16, 32_000, 64
_THEN = datetime(2024, 5, 1, tzinfo=UTC)


class _KeysAlone(TableSpec):
    """A table as it was: only its key and ``updated_at`` have statistics."""

    @property
    def measured(self) -> list[str]:
        return [*self.key, "updated_at"]


def measure_statistics(lake: LakeResource, merges: int) -> dict[str, float]:
    """Merge the same rows into two tables of posts, in turn. Return medians of both, and what the second costs."""
    given = {field.name: getattr(LAKE_POSTS, field.name) for field in fields(TableSpec)}
    ways = {"keys": _KeysAlone(**{**given, "name": "bench/keys"}), "all": TableSpec(**{**given, "name": "bench/all"})}
    rows = _posts(np.arange(_ROWS), _THEN)
    for spec in ways.values():
        lake.merge_newer(spec, rows, range(_BUCKETS), {"bench": 1})
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    sizes: dict[str, list[int]] = {way: [] for way in ways}
    for number in range(merges):
        chosen = np.random.default_rng(number).choice(_ROWS, _CHANGED, replace=False)
        changed = _posts(np.sort(chosen), _THEN + timedelta(hours=number + 1))
        for way in list(ways)[:: 1 if number % 2 else -1]:
            spec, worked = ways[way], time.process_time()
            lake.merge_newer(spec, changed, range(_BUCKETS), {"bench": number + 2})
            seconds[way].append(time.process_time() - worked)
            table = lake.create(spec)
            sizes[way].append(len(lake.s3.get(commit_key(spec.name, table.version())) or b""))
    stored = {way: sum(found.size_bytes for found in lake.contents(spec).values()) for way, spec in ways.items()}
    figures = {
        **{f"merge_cpu_seconds_{way}": statistics.median(found) for way, found in seconds.items()},
        **{f"commit_bytes_{way}": statistics.median(found) for way, found in sizes.items()},
        **{f"table_bytes_{way}": float(found) for way, found in stored.items()},
    }
    ratios = {
        f"{name}_ratio": figures[f"{name}_all"] / figures[f"{name}_keys"]
        for name in ("merge_cpu_seconds", "commit_bytes", "table_bytes")
    }
    return figures | ratios


def _posts(numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]", at: datetime) -> pl.DataFrame:
    """Return posts, the same at every call but for their last change."""
    number = pl.col("number")
    found = pl.DataFrame({"number": numbers}).with_columns(
        (number % _BUCKETS).cast(pl.Int32).alias(BUCKET),
        pl.format("p{}", number.cast(pl.String).str.zfill(10)).alias("post_id"),
        pl.format("creator-{}", number % 1_009).alias("account_id"),
        pl.lit("youtube").alias("network"),
        (pl.lit(_THEN) - pl.duration(minutes=number * 7919 % 500_000)).alias("posted_at"),
        pl.format("Post {} about {}", number, number.hash(1)).alias("text"),
        (number % 977).alias("likes"),
        pl.lit(at).alias("updated_at"),
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in LAKE_POSTS.polars_schema.items() if name not in found]
    return found.with_columns(missing).select(LAKE_POSTS.schema.names).cast(pl.Schema(LAKE_POSTS.polars_schema))
