"""More faults that are injected into a world: in files, logs, windows and vectors."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from assets.corpus import CHUNKS
from assets.lake import LAKE_TESTIMONIALS
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.verticals.model_tags import MODEL_TAGS
from pipelines.checks import freshness
from resources.delta.table import LakeResource, TableSpec
from resources.raw.store import Manifest, RawStoreResource
from tests.worlds.faults import Fault, damage, lost, object_rewritten, world_points
from tests.worlds.lineage import World


def edited(spec: TableSpec, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Fault:
    """All rows of a table are written anew, with other values."""

    def write(table: DeltaTable, rows: pl.DataFrame) -> None:
        written = change(rows).select(list(spec.polars_schema)).cast(pl.Schema(spec.polars_schema))
        write_deltalake(table, written, mode="overwrite")

    return damage(spec, write)


def model_summary(say: Callable[[str], str] = str, **changes: object) -> Fault:
    """A language model's summary of the first account stands there: its first post, word by word, with other values."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        first = world.table(CHUNKS).row(0, named=True)
        values = {
            "account_bucket": first["account_bucket"],
            "account_id": first["account_id"],
            "claims": [say(first["text"])],
            "post_ids": [[first["post_id"]]],
            "state": "done",
            "request_id": "0",
            **changes,
        }
        row = pl.DataFrame([values], schema_overrides={k: MODEL_SUMMARIES.polars_schema[k] for k in values})
        world.lake.append(MODEL_SUMMARIES, pl.concat([MODEL_SUMMARIES.empty(), row], how="diagonal_relaxed"))
        yield
        world.lake.delete_where(MODEL_SUMMARIES, "request_id = '0'")

    return fault


def model_said(say: Callable[[str], str] = str, **changes: object) -> Fault:
    """A language model's claims about the first brand stand there: what a testimonial says, with other values."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        rows = world.table(LAKE_TESTIMONIALS).sort("testimonial_id")
        first = rows.filter(testimonial_id="testimonial-0").row(0, named=True)
        values = {
            "account_bucket": first["account_bucket"],
            "brand": first["brand"],
            "claims": [say(first["text"])],
            "testimonial_ids": [["testimonial-0"]],
            "polarities": ["positive"],
            "themes": [None],
            "state": "done",
            "request_id": "0",
            **changes,
        }
        row = pl.DataFrame([values], schema_overrides={k: MODEL_TESTIMONIALS.polars_schema[k] for k in values})
        world.lake.append(MODEL_TESTIMONIALS, pl.concat([MODEL_TESTIMONIALS.empty(), row], how="diagonal_relaxed"))
        yield
        world.lake.delete_where(MODEL_TESTIMONIALS, "request_id = '0'")

    return fault


def model_tag(**changes: object) -> Fault:
    """A language model's answer about the first post stands there, with other values."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        first = world.table(CHUNKS).row(0, named=True)
        own = {name: first[name] for name in ("account_bucket", "account_id", "post_id", "text_hash")}
        values = {**own, "verticals": [], "state": "done", "request_id": "0", **changes}
        row = pl.DataFrame([values], schema_overrides={k: MODEL_TAGS.polars_schema[k] for k in values})
        world.lake.append(MODEL_TAGS, pl.concat([MODEL_TAGS.empty(), row], how="diagonal_relaxed"))
        yield
        world.lake.delete_where(MODEL_TAGS, "request_id = '0'")

    return fault


def partition_dropped(spec: TableSpec, bucket: int = 0) -> Fault:
    """A bucket of a table is gone."""
    return damage(spec, lambda table, _: table.delete(f"account_bucket = {bucket}"))


def late(spec: TableSpec) -> Fault:
    """A table that buckets are computed from has changed, and the time in which they must follow is over."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        with lost(spec)(world), pytest.MonkeyPatch.context() as patch:
            patch.setattr(freshness, "LATE", timedelta(seconds=-1))
            yield

    return fault


def both(first: Fault, then: Fault) -> Fault:
    """A fault of data that another fault makes first."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        with first(world), then(world):
            yield

    return fault


def _first_file(world: World, spec: TableSpec) -> str:
    """Return the key of the first file that the log names."""
    table = LakeResource(s3=world.s3).open(spec)
    assert table is not None
    return f"{spec.name}/{min(pl.DataFrame(table.get_add_actions(flatten=True))['path'])}"


def _file_rewritten(spec: TableSpec, rewrite: Callable[[bytes], bytes]) -> Fault:
    @contextmanager
    def fault(world: World) -> Iterator[None]:
        with object_rewritten(_first_file(world, spec), rewrite)(world):
            yield

    return fault


def file_cut(spec: TableSpec, share: float) -> Fault:
    """The first file of a table ends early."""
    return _file_rewritten(spec, lambda body: body[: int(len(body) * share)])


def file_emptied(spec: TableSpec) -> Fault:
    """The first file of a table is a valid file without rows."""

    def empty(body: bytes) -> bytes:
        buffer = io.BytesIO()
        pl.read_parquet(body).clear().write_parquet(buffer)
        return buffer.getvalue()

    return _file_rewritten(spec, empty)


def log_tampered(spec: TableSpec) -> Fault:
    """A commit that nobody made takes the first file out of the table."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        table = LakeResource(s3=world.s3).open(spec)
        assert table is not None
        path = _first_file(world, spec).removeprefix(f"{spec.name}/")
        removed = {"remove": {"path": path, "deletionTimestamp": 1_700_000_000_000, "dataChange": True}}
        commit = f"{spec.name}/_delta_log/{table.version() + 1:020d}.json"
        world.s3.put(commit, json.dumps(removed).encode())
        yield
        world.s3.delete([commit])

    return fault


def swapped_vectors(rows: pl.DataFrame) -> pl.DataFrame:
    """Each text of a bucket has the vector of the next one."""
    return pl.concat(
        part.with_columns(pl.col("vector").gather((np.arange(part.height) + 1) % part.height))
        for part in rows.partition_by("account_bucket")
    )


def manifest_lost(table: str) -> Fault:
    """The first window of a table has no manifest any more."""
    return object_rewritten(f"raw/{table}/source=postgres/manifests/", None)


def window_added(table: str, change: Callable[[Manifest], Manifest]) -> Fault:
    """A second window follows the first one, made of its files."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        store = RawStoreResource(s3=world.s3)
        window = store.newest("postgres", table)
        assert window is not None
        store.complete(change(replace(window, number=window.number + 1)))
        yield
        world.s3.delete([f"raw/{table}/source=postgres/manifests/{window.number + 1:012d}.json"])

    return fault


def points_lost(bucket: int) -> Fault:
    """All points of a bucket are gone."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        with world.qdrant.open() as index:
            points = index.retrieve([point.id for point in index.scroll_hashes(bucket)])
            index.delete([point.id for point in points])
        yield
        with world.qdrant.open() as index:
            index.upsert(points)

    return fault


@contextmanager
def point_orphaned(world: World) -> Iterator[None]:
    """A point belongs to a bucket that does not exist."""
    orphan = "00000000-0000-0000-0000-000000000002"
    with world.qdrant.open() as index:
        [point] = index.retrieve(sorted(world_points(index))[:1])
        index.upsert([type(point)(orphan, point.dense, point.sparse, {**point.payload, "account_bucket": 4_096})])
    yield
    with world.qdrant.open() as index:
        index.delete([orphan])
