"""Faults that are injected into a world, one at a time: each is taken back afterwards."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from deltalake import DeltaTable, write_deltalake

from resources.delta.table import TableSpec
from resources.raw.store import Manifest, RawStoreResource
from resources.raw.writer import WindowFile
from resources.settings import bucket_count
from resources.vectors.edge.generations import ALIASES_FILE
from resources.vectors.edge.shard import write_metadata
from resources.vectors.generations import IndexConfig
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import ServerGenerations
from tests.fakes.qdrant_server import running
from tests.worlds.lineage import World

Fault = Callable[[World], AbstractContextManager[None]]


def damage(spec: TableSpec, change: Callable[[DeltaTable, pl.DataFrame], object]) -> Fault:
    """Change a table behind the lineage's back; it is restored to its version afterwards."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        table = world.lake.open(spec)
        assert table is not None
        version = table.version()
        change(table, world.table(spec))
        try:
            changed = world.lake.open(spec)
            assert changed is not None
            assert changed.version() > version, "the fault changed nothing"
            yield
        finally:
            DeltaTable(world.s3.uri(spec.name), storage_options=world.s3.storage_options).restore(version)

    return fault


def lost(spec: TableSpec) -> Fault:
    """One row is gone."""

    def change(table: DeltaTable, rows: pl.DataFrame) -> None:
        values = rows.row(0, named=True)
        key = (name for name in spec.key if isinstance(values[name], str | int))
        table.delete(" AND ".join(f"{name} = {values[name]!r}" for name in key))

    return damage(spec, change)


def added(spec: TableSpec, **changes: object) -> Fault:
    """A copy of the first row stands there too, with other values."""

    def change(table: DeltaTable, rows: pl.DataFrame) -> None:
        schema = spec.polars_schema
        row = rows.head(1).with_columns(pl.lit(value).cast(schema[name]).alias(name) for name, value in changes.items())
        write_deltalake(table, row.select(list(schema)), mode="append")

    return damage(spec, change)


def changed(spec: TableSpec, column: str, expression: str, where: str | None = None) -> Fault:
    """A column of every row, or of those of a condition, has another value."""
    return damage(spec, lambda table, _: table.update(updates={column: expression}, predicate=where))


def object_lost(prefix: str) -> Fault:
    return object_rewritten(prefix, None)


def object_dropped(key: str) -> Fault:
    """A file is dropped."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.s3.put(key, b"a,b")
        yield
        world.s3.delete([key])

    return fault


def object_rewritten(prefix: str, rewrite: Callable[[bytes], bytes] | None) -> Fault:
    """The first object under a prefix is gone, or has other bytes."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        key = min(item.key for item in world.s3.list_objects(prefix))
        body = world.s3.get(key) or b""
        if rewrite is None:
            world.s3.delete([key])
        else:
            world.s3.put(key, rewrite(body))
        yield
        world.s3.put(key, body)

    return fault


def window_skipped(table: str) -> Fault:
    """A complete window stands there whose predecessor never was."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        folder = f"raw/{table}/source=postgres/manifests"
        first = world.s3.get_json(f"{folder}/{1:012d}.json")
        later = f"{folder}/{3:012d}.json"
        world.s3.put_json(later, {**first, "number": 3, "lower": first["upper"], "files": []})
        yield
        world.s3.delete([later])

    return fault


@contextmanager
def point_lost(world: World) -> Iterator[None]:
    with world.qdrant.open() as index:
        [point] = index.retrieve(sorted(world_points(index))[:1])
        index.delete([point.id])
    yield
    with world.qdrant.open() as index:
        index.upsert([point])


@contextmanager
def point_foreign(world: World) -> Iterator[None]:
    foreign = "00000000-0000-0000-0000-000000000001"
    with world.qdrant.open() as index:
        [point] = index.retrieve(sorted(world_points(index))[:1])
        index.upsert([type(point)(foreign, point.dense, point.sparse, point.payload)])
    yield
    with world.qdrant.open() as index:
        index.delete([foreign])


def generation_made_by(change: Callable[[IndexConfig], IndexConfig]) -> Fault:
    """The generation that is served says that it was made by something else."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        with world.qdrant.generations() as generations:
            serving = generations.serving()
        assert serving is not None
        folder = world.folder / serving.name
        write_metadata(folder, replace(serving, index_config=change(serving.index_config)))
        yield
        write_metadata(folder, serving)

    return fault


@contextmanager
def aliases_lost(world: World) -> Iterator[None]:
    path = world.folder / ALIASES_FILE
    aliases = path.read_text()
    path.unlink()
    yield
    path.write_text(aliases)


def source_altered(change: str, back: str) -> Fault:
    """The source's tables were altered."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.execute(change)
        yield
        world.execute(back)

    return fault


def another_source(table: str, files: Callable[[World, tuple[WindowFile, ...]], tuple[WindowFile, ...]]) -> Fault:
    """A second source has a window of the same rows, with other files."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        store = RawStoreResource(s3=world.s3)
        window = store.newest("postgres", table)
        assert window is not None
        store.complete(replace(window, source="redshift", files=files(world, window.files)))
        yield
        world.s3.delete([item.key for item in world.s3.list_objects(f"raw/{table}/source=redshift/")])

    return fault


def rewritten(world: World, files: tuple[WindowFile, ...]) -> tuple[WindowFile, ...]:
    """The first file with another text in its first column but the key."""
    first = files[0]
    rows = pl.read_parquet(io.BytesIO(world.s3.get(first.key) or b""))
    column = next(name for name in ("handle", "text") if name in rows.columns)
    buffer = io.BytesIO()
    rows.with_columns(pl.lit("another").alias(column)).write_parquet(buffer)
    key = f"raw/{first.key.split('/')[1]}/source=redshift/rewritten.parquet"
    world.s3.put(key, buffer.getvalue())
    return (replace(first, key=key), *files[1:])


def cluster_suffers(fault: str) -> Fault:
    """The index is a cluster of three nodes, and something is wrong with it."""

    @contextmanager
    def suffering(world: World) -> Iterator[None]:
        embedded = world.qdrant
        with running(3) as cluster, ServerGenerations.connect(cluster.url) as generations:
            generations.promote(generations.create(IndexConfig("test", 4, "test")))
            nodes = ",".join(cluster.addresses)
            world.__dict__["qdrant"] = QdrantResource(url=cluster.url, nodes=nodes)
            try:
                with cluster.suffering(fault):
                    yield
            finally:
                world.__dict__["qdrant"] = embedded

    return suffering


def point_stale(field: str, value: object) -> Fault:
    """A point whose payload says something else than the lake."""

    @contextmanager
    def damage(world: World) -> Iterator[None]:
        with world.qdrant.open() as index:
            [point] = index.retrieve(sorted(world_points(index))[:1])
            index.set_payload([(point.id, {**point.payload, field: value})])
        yield
        with world.qdrant.open() as index:
            index.set_payload([(point.id, point.payload)])

    return damage


def world_points(index: Any) -> list[str]:
    return [point.id for point in index.scroll_hashes()]


def changed_in_place(key: str) -> Callable[[bytes], bytes]:
    """A file's rows with another key each."""

    def change(body: bytes) -> bytes:
        changed = io.BytesIO()
        pl.read_parquet(body).with_columns(pl.col(key) + "!").write_parquet(changed)
        return changed.getvalue()

    return change


@contextmanager
def clock_set_back(world: World) -> Iterator[None]:
    """The newest window of a table ends in the future of the source."""
    store = RawStoreResource(s3=world.s3)
    newest = store.newest("postgres", "posts")
    number, lower = (newest.number + 1, newest.upper) if newest else (1, None)
    end = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    following = Manifest("postgres", "posts", number, lower, end, bucket_count(), files=())
    store.complete(following)
    try:
        yield
    finally:
        name = f"{following.number:012d}.json"
        world.s3.delete([item.key for item in world.s3.list_objects("raw/posts/") if item.key.endswith(name)])


@contextmanager
def transaction_left_open(world: World) -> Iterator[None]:
    """A session of the source has begun a transaction, longer ago than the setting allows."""
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(world.dsn) as late:
        patch.setenv("CIPPUS_OLD_TRANSACTION_SECONDS", "0.000001")
        late.execute("SELECT 1")
        yield
