"""Every asset check passes on what a run leaves, and fails on each fault that it promises to find."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import polars as pl
import psycopg
import pytest
from dagster import AssetCheckResult, AssetChecksDefinition
from deltalake import DeltaTable, write_deltalake

from assets.audience import DEMOGRAPHICS, REPORTS
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from assets.labels import GOLD
from assets.lake import LAKE_TABLES
from assets.marts.content import (
    CONTENT,
    CONTENT_BY_BUCKET,
    POSTS_BY_DAY,
    TESTIMONIALS,
    TESTIMONIALS_BY_BRAND,
    VERTICAL_COVERAGE,
)
from assets.marts.creators import AUDIENCES, CREATOR_DAYS, CREATORS
from assets.marts.operations import DATA_QUALITY, SPEND
from assets.quarantine import QUARANTINE
from assets.search.retrieval_quality import QUALITY
from assets.summaries import SUMMARIES
from assets.verticals import SCORES, TAGS, THRESHOLDS
from pipelines.definitions import defs
from resources.delta.state import LedgerResource
from resources.delta.table import TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.raw.writer import WindowFile
from resources.sources.postgres import PostgresResource
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from resources.vectors.edge.generations import ALIASES_FILE
from resources.vectors.edge.shard import write_metadata
from resources.vectors.generations import IndexConfig
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import ServerGenerations
from tests.fakes.qdrant_server import running
from tests.worlds.lineage import ERASURE_KEY, World, loaded_world, world_name

Fault = Callable[[World], AbstractContextManager[None]]

CHECKS = {
    key.to_user_string(): check
    for check in defs.asset_checks or []
    if isinstance(check, AssetChecksDefinition)
    for key in check.check_keys
}


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that every fault below is taken back from."""
    return loaded_world(stack).clone(world_name("checks"), tmp_path_factory.mktemp("checks"))


def evaluate(world: World, name: str) -> AssetCheckResult:
    check = CHECKS[name]
    resources: dict[str, Any] = {
        "s3": world.s3,
        "lake": world.lake,
        "ledger": LedgerResource(s3=world.s3),
        "raw_store": RawStoreResource(s3=world.s3),
        "quarantine": QuarantineResource(s3=world.s3),
        "qdrant": world.qdrant,
        "embedder": world.embedding[0],
        "source": PostgresResource(dsn=world.dsn),
        "rds_exports": RdsExportResource(s3=world.s3),
        "erasures": ErasureResource(s3=world.s3, key=ERASURE_KEY),
        "spend": SpendResource(s3=world.s3),
    }
    evaluate_check = check.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    result = evaluate_check(**{key: resources[key] for key in check.required_resource_keys - {"io_manager"}})
    assert isinstance(result, AssetCheckResult)
    return result


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


def changed(spec: TableSpec, column: str, expression: str) -> Fault:
    """A column of every row has another value."""
    return damage(spec, lambda table, _: table.update(updates={column: expression}))


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


def object_made(key: str, content: dict[str, Any]) -> Fault:
    """A record stands there that nothing else knows of."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.s3.put_json(key, content)
        yield
        world.s3.delete([key])

    return fault


def spent(usd: float) -> Fault:
    """The mart of spending has a row."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        names = [name for name in SPEND.schema.names if SPEND.polars_schema[name] == pl.String]
        row = SPEND.empty().select(names).clear(1).with_columns(pl.lit("x").alias(name) for name in names)
        world.lake.append(SPEND, row.with_columns(usd=pl.lit(usd), day=pl.date(2026, 7, 1)))
        yield
        world.lake.delete_where(SPEND, "usd < 0")

    return fault


LOST_SPEND = {"lane": "live", "outcome": "billed", "calls": 1, "input_tokens": 5, "output_tokens": 2, "usd": "0.1"}
UNPAID_ANSWER = {
    "id": "abc",
    "text": "hello",
    "finish_reason": "stop",
    "model": "m",
    "usd": "0.1",
    "value": None,
    "usage": {"input_tokens": 5, "output_tokens": 2, "cached_tokens": 0},
}


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
def transaction_left_open(world: World) -> Iterator[None]:
    """A session of the source has begun a transaction, longer ago than the setting allows."""
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(world.dsn) as late:
        patch.setenv("CIPPUS_OLD_TRANSACTION_SECONDS", "0.000001")
        late.execute("SELECT 1")
        yield


def _of_table(name: str) -> dict[str, list[Fault]]:
    spec = LAKE_TABLES[name]
    key = spec.key[0]
    return {
        f"raw/{name}:windows_complete": [
            object_lost(f"raw/{name}/source=postgres/window="),
            object_rewritten(f"raw/{name}/source=postgres/window=", lambda body: body[:-1]),
            window_skipped(name),
        ],
        f"raw/{name}:contract_holds": [
            source_altered(f"ALTER TABLE {name} ADD reach bigint", f"ALTER TABLE {name} DROP reach"),
            source_altered(
                f"ALTER TABLE {name} RENAME created_at TO made_at"
                if name != "posts"
                else "ALTER TABLE posts RENAME posted_at TO made_at",
                f"ALTER TABLE {name} RENAME made_at TO {'posted' if name == 'posts' else 'created'}_at",
            ),
            source_altered(
                f"ALTER TABLE {name} ALTER deleted_at TYPE text",
                f"ALTER TABLE {name} ALTER deleted_at TYPE timestamptz USING deleted_at::timestamptz",
            ),
        ],
        f"raw/{name}:all_rows_read": [
            source_altered(
                f"UPDATE {name} SET updated_at = NULL WHERE {key} = (SELECT min({key}) FROM {name})",
                f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at IS NULL",
            ),
            source_altered(
                f"UPDATE {name} SET updated_at = '2020-01-01' WHERE {key} = (SELECT min({key}) FROM {name})",
                f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at < '2021-01-01'",
            ),
        ],
        f"raw/{name}:sources_agree": [
            another_source(name, lambda _, files: files[1:]),
            another_source(name, lambda _, files: (*files, files[0])),
            another_source(name, rewritten),
        ],
        f"lake/{name}:keys_unique": [added(spec, account_bucket=2)],
        f"lake/{name}:reconciles_with_raw": [
            lost(spec),
            added(spec, **{key: "foreign"}),
            changed(spec, "updated_at", "updated_at - INTERVAL '1 day'"),
        ],
        f"lake/{name}:rows_as_written": [
            lost(spec),
            changed(spec, "updated_at", "updated_at"),
            object_rewritten(f"lake/{name}/account_bucket=", changed_in_place(key)),
        ],
    }


FAULTS: dict[str, list[Fault]] = {
    **_of_table("accounts"),
    **_of_table("posts"),
    **_of_table("testimonials"),
    "raw/accounts:mark_is_recent": [transaction_left_open],
    "quarantine/rows:rejects_recorded": [lost(QUARANTINE)],
    "quarantine/rows:dropped_files_taken": [object_dropped("landing/labels/more.csv")],
    "corpus/decisions:every_post_decided": [lost(DECISIONS), added(DECISIONS, post_id="foreign")],
    "corpus/decision_counts:counts_add_up": [
        lost(DECISION_COUNTS),
        added(DECISION_COUNTS),
        changed(DECISION_COUNTS, "posts", "posts + 1"),
    ],
    "corpus/cippus_text:chunks_match_decisions": [
        lost(CHUNKS),
        added(CHUNKS, post_id="foreign", point_id="foreign"),
        added(CHUNKS),
        added(CHUNKS, chunk_no=5, point_id="hole"),
    ],
    "corpus/terms:frequencies_in_range": [changed(TERMS, "documents", "0"), changed(TERMS, "documents", "1000")],
    "embedding/cippus_text:vectors_unit_length": [
        added(VECTORS, content_hash="short", vector=[0.5, 0.5]),
        added(VECTORS, content_hash="long", vector=[1.0] * 384),
        added(VECTORS, content_hash="nan", vector=[float("nan")] * 384),
        added(VECTORS),
    ],
    "embedding/cippus_text:every_chunk_has_vector": [lost(VECTORS), changed(VECTORS, "model", "'other'")],
    "qdrant/cippus_text:points_match_chunks": [
        point_lost,
        point_foreign,
        point_stale("content_hash", "stale"),
        point_stale("payload_digest", 1),
        point_stale("account_bucket", 7),
    ],
    "qdrant/promotion:encoder_is_served": [
        generation_made_by(lambda index_config: replace(index_config, model="other")),
        aliases_lost,
    ],
    "qdrant/promotion:newest_is_served": [
        generation_made_by(lambda index_config: replace(index_config, quantization="scalar")),
        aliases_lost,
    ],
    "qdrant/promotion:nodes_present": [cluster_suffers("missing node"), cluster_suffers("401")],
    "qdrant/promotion:shards_active": [cluster_suffers("dead replica")],
    "qdrant/promotion:replicas_equal": [cluster_suffers("unequal replicas")],
    "qdrant/promotion:versions_equal": [cluster_suffers("version skew")],
    "label/gold:items_known": [added(GOLD, item_id="unknown"), added(GOLD, vertical="unknown"), added(GOLD)],
    "audience/reports:files_taken_once": [
        added(REPORTS),
        added(REPORTS, source_file="landing/audience/foreign.csv"),
        object_lost("ledger/audience/reports/taken/"),
        object_lost(AUDIENCE_LANDING),
        object_rewritten(AUDIENCE_LANDING, lambda body: body.replace(b"51,5", b"52,5")),
    ],
    "audience/demographics:rows_match_reports": [
        lost(DEMOGRAPHICS),
        added(DEMOGRAPHICS),
        added(DEMOGRAPHICS, account_id="foreign"),
        changed(DEMOGRAPHICS, "share_percent", "share_percent + 1"),
    ],
    "vertical/scores:every_item_scored": [
        lost(SCORES),
        added(SCORES, item_id="foreign"),
        changed(SCORES, "scores", "make_array(1000.0)"),
    ],
    "vertical/thresholds:every_vertical_has_threshold": [
        lost(THRESHOLDS),
        changed(THRESHOLDS, "threshold", "CAST('NaN' AS DOUBLE)"),
    ],
    "vertical/tags:tags_reach_thresholds": [lost(TAGS), added(TAGS, vertical="unearned")],
    "summary/account_summaries:sentences_are_quoted": [
        changed(SUMMARIES, "summary", "'What nobody said.'"),
        changed(SUMMARIES, "summary", "concat(summary, '\nOf no post')"),
    ],
    "summary/account_summaries:evidence_exists": [lost(SUMMARIES), added(SUMMARIES, post_ids=["foreign"])],
    "search/retrieval_quality:every_question_measured": [
        lost(QUALITY),
        added(QUALITY, query="another"),
        changed(QUALITY, "relevant", "relevant + 1"),
        changed(QUALITY, "hybrid_ndcg_at_10", "1.5"),
    ],
    "search/retrieval_quality:hybrid_is_not_worse": [
        changed(QUALITY, "hybrid_ndcg_at_10", "greatest(dense_ndcg_at_10, bm25_ndcg_at_10) - 0.02")
    ],
    "mart/creators:totals_match_lake": [lost(CREATORS), changed(CREATORS, "posts", "posts + 1")],
    "mart/creators:rates_match_figures": [
        changed(CREATORS, "engagement_by_followers_percent", "engagement_by_followers_percent + 1"),
        changed(CREATORS, "engagement_by_followers_percent", "NULL"),
        changed(CREATORS, "followers_growth_30d_percent", "5.0"),
    ],
    "mart/creator_days:last_day_matches_creators": [
        lost(CREATOR_DAYS),
        added(CREATOR_DAYS),
        changed(CREATOR_DAYS, "followers", "followers + 1"),
    ],
    "mart/audiences:shares_match_reports": [
        lost(AUDIENCES),
        changed(AUDIENCES, "share_percent", "share_percent + 1"),
        changed(AUDIENCES, "rank", "rank + 1"),
    ],
    "mart/content_by_bucket:totals_match_lake": [
        lost(CONTENT_BY_BUCKET),
        changed(CONTENT_BY_BUCKET, "likes", "likes + 1"),
    ],
    "mart/content:periods_match_lake": [
        lost(CONTENT),
        changed(CONTENT, "views", "views + 1"),
        changed(CONTENT, "period", "'day'"),
    ],
    "mart/testimonials_by_brand:ratings_match_lake": [
        lost(TESTIMONIALS_BY_BRAND),
        changed(TESTIMONIALS_BY_BRAND, "rated", "rated + 1"),
        changed(TESTIMONIALS_BY_BRAND, "average_rating", "average_rating - 1"),
    ],
    "mart/data_quality:findings_match_lake": [
        lost(DATA_QUALITY),
        changed(DATA_QUALITY, "rows", "rows + 1"),
        changed(DATA_QUALITY, "reason", "'other'"),
    ],
    "mart/spend:totals_match_ledger": [object_made("spend/history/lost.json", {"rows": [LOST_SPEND]})],
    "mart/spend:ledger_matches_answers": [object_made("llm/answers/summary/ab/abc.json", UNPAID_ANSWER)],
    **{
        f"{spec.name}:values_possible": [changed(spec, column, value)]
        for spec, column, value in (
            (CREATORS, "likes", "-1"),
            (CREATOR_DAYS, "followers", "-1"),
            (AUDIENCES, "share_percent", "-0.5"),
            (CONTENT, "average_views", "CAST('NaN' AS DOUBLE)"),
            (POSTS_BY_DAY, "video_percent", "CAST('Infinity' AS DOUBLE)"),
            (VERTICAL_COVERAGE, "tagged", "-1"),
            (TESTIMONIALS, "rating", "CAST(-1 AS SMALLINT)"),
            (TESTIMONIALS_BY_BRAND, "average_rating", "-1.0"),
            (DATA_QUALITY, "rows", "-1"),
        )
    },
    "mart/spend:values_possible": [spent(-1.0)],
    "mart/posts_by_day:totals_match_lake": [
        lost(POSTS_BY_DAY),
        changed(POSTS_BY_DAY, "likes", "likes + 1"),
    ],
    "mart/vertical_coverage:totals_match_tags": [changed(VERTICAL_COVERAGE, "tagged", "tagged + 1")],
    "mart/testimonials:totals_match_lake": [lost(TESTIMONIALS), added(TESTIMONIALS, testimonial_id="foreign")],
    "quicksight/exports:manifests_name_files": [
        object_lost("quicksight/creators/manifest.json"),
        object_rewritten("quicksight/testimonials/manifest.json", lambda _: b"{}"),
        object_dropped("quicksight/creators/data/foreign.csv"),
    ],
    "quicksight/exports:csv_matches_marts": [
        object_rewritten("quicksight/creators/data/", lambda body: body.replace(b'\r\n"', b'\r\n"=', 1)),
        object_rewritten(
            "quicksight/testimonials/data/", lambda body: body.replace(b"I liked", "I\u2028liked".encode(), 1)
        ),
        object_lost("quicksight/creators/data/"),
        object_rewritten("quicksight/posts_by_day/data/", lambda body: body.replace(b"network", b"platform", 1)),
        object_rewritten("quicksight/testimonials/data/", lambda body: body + body.splitlines(keepends=True)[-1]),
        object_rewritten(
            "quicksight/vertical_coverage/data/", lambda body: body.replace(b'"post"', b'"%s"' % (b'""' * 1023))
        ),
    ],
}
"""Check → what it has to notice."""

ADVICE = {
    "quarantine/rows:dropped_files_taken",
    *("raw/accounts:all_rows_read", "raw/posts:all_rows_read", "raw/testimonials:all_rows_read"),
    "raw/accounts:mark_is_recent",
    *("raw/accounts:contract_holds", "raw/posts:contract_holds"),
    "qdrant/promotion:newest_is_served",
    "search/retrieval_quality:hybrid_is_not_worse",
}
"""Checks that advise, and do not fail a build."""


def test_every_check_has_faults() -> None:
    assert FAULTS.keys() == CHECKS.keys()
    assert all(FAULTS.values())


@pytest.mark.parametrize("name", CHECKS)
def test_check_passes_on_what_a_run_leaves(world: World, name: str) -> None:
    found = evaluate(world, name)
    assert found.passed, found.description


@pytest.mark.parametrize(
    ("name", "fault"), [pytest.param(name, fault, id=f"{name}-{number}")
                        for name, faults in FAULTS.items() for number, fault in enumerate(faults)]
)  # fmt: skip
def test_check_fails_on_fault(world: World, name: str, fault: Fault) -> None:
    with fault(world):
        found = evaluate(world, name)
    assert not found.passed
    assert found.severity.value == ("WARN" if name in ADVICE else "ERROR")
