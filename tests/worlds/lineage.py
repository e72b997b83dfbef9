"""A small world for lineage tests: its own database, S3 bucket, index folder and counting embedder."""

import atexit
import hashlib
import io
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from dagster import (
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    MetadataValue,
    define_asset_job,
    in_process_executor,
)
from obstore.store import S3Store
from polars.testing import assert_frame_equal

from assets.audience import DEMOGRAPHICS, REPORTS
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from assets.framework.reporting import run_totals
from assets.labels.gold import GOLD
from assets.labels.votes import LANDING
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.content import CONTENT_BY_BUCKET
from assets.marts.tables import MARTS
from assets.quarantine import QUARANTINE
from assets.search.judgements import LANDING as JUDGEMENTS_LANDING
from assets.search.query import Searcher
from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.transforms.search.ranking import RankedAccount
from assets.transforms.source.schema import SOURCE_TABLES, account_bucket
from assets.verticals.held_out import HELD_OUT
from assets.verticals.scores import SCORES
from assets.verticals.taggers import TAGGERS
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import JOBS
from resources.catalogues import load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.llm.resource import LlmResource
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.s3.options import GovernorConfig
from resources.settings import bucket_count
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import Source
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from resources.vectors.resource import QdrantResource
from resources.vectors.values import SearchFilter
from tests.fakes.embedder import CountingEmbedder, CountingEmbedderResource, counting_embedder
from tests.worlds.direct_run import GRAPH, run_directly
from tests.worlds.governor_launcher import governor_config

TABLES = (
    LAKE_ACCOUNTS,
    LAKE_POSTS,
    LAKE_TESTIMONIALS,
    QUARANTINE,
    DECISIONS,
    DECISION_COUNTS,
    CHUNKS,
    TERMS,
    VECTORS,
    GOLD,
    TAGGERS,
    HELD_OUT,
    REPORTS,
    DEMOGRAPHICS,
    SCORES,
    THRESHOLDS,
    TAGS,
    SUMMARIES,
    BRAND_TESTIMONIALS,
    CONTENT_BY_BUCKET,
    *MARTS,
)
ERASURE_KEY = "a key that is only for these tests: 0123456789"
BUCKETS_RUN = 3
"""A run looks at three account buckets, to be quick: two with accounts, and the last without any."""
ASSETS_OF_JOBS = {job.name: job.selection.resolve(GRAPH) for job in JOBS}
DESCRIPTIONS = frozenset(text for vertical in load_verticals() for text in vertical.descriptions)


def owners(prefix: str, bucket: int, count: int) -> list[str]:
    """The first ids of a numbered series that fall into a bucket."""
    numbered = (f"{prefix}{number}" for number in itertools.count())
    return list(itertools.islice((it for it in numbered if account_bucket(it, bucket_count()) == bucket), count))


ACCOUNTS = [*owners("creator-", 0, 6), *owners("creator-", 1, 6)]
FIRST, LAST = ACCOUNTS[0], ACCOUNTS[-1]  # an account of bucket 0 and one of bucket 1
BRANDS = [*owners("brand-", 0, 1), *owners("brand-", 1, 1)]
TOPICS = ("sourdough", "gravel", "telescope", "ukulele", "origami")
SHARED_TEXT = "Two creators post the very same words"
LONG_TEXT = " ".join(f"word{number}" for number in range(300))
FIRST_AUDIENCE = "account_id;Gender: Female;country_DE\n" + "".join(f"{account};51,5;40 %\n" for account in ACCOUNTS)
FIRST_JUDGEMENTS = [
    *((TOPICS[1], "account", account, int(account != LAST)) for account in ACCOUNTS[-3:]),
    (TOPICS[1], "post", f"{FIRST}/0", 0),
    (f"@{FIRST} {TOPICS[2]}", "account", LAST, 1),
]
"""One query with good and bad results, and one that names an account and has no bad ones."""
QUERIES = frozenset(query for query, *_ in FIRST_JUDGEMENTS)
LABELLED, ALSO_LABELLED = load_verticals()[0].name, load_verticals()[1].name


@dataclass(frozen=True)
class Report:
    """One run: whether it succeeded, asset key → metadata of its last materialization, the innermost errors."""

    success: bool
    assets: Mapping[str, Mapping[str, Any]]
    errors: Sequence[str]

    def counts(self, asset: str) -> Mapping[str, Any]:
        return self.assets[asset]

    @classmethod
    def of(cls, result: ExecuteInProcessResult) -> "Report":
        failures = [event.step_failure_data.error for event in result.get_step_failure_events()]
        failures += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
        return cls(result.success, _values(run_totals(result)), [str(error) for error in failures])


def _values(totals: Mapping[str, Mapping[str, MetadataValue[Any]]]) -> dict[str, dict[str, Any]]:
    return {key: {name: value.value for name, value in metadata.items()} for key, metadata in totals.items()}


@dataclass(frozen=True)
class Snapshot:
    """What a world shows at its end: every table's rows, the points, the marts' files."""

    tables: Mapping[str, pl.DataFrame]
    points: Mapping[str, tuple[str, int]]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class World:
    """One world. It is made of values only, so that a child process can open it too."""

    name: str
    folder: Path
    stack: EmbeddedStack
    embedding: tuple[CountingEmbedderResource, CountingEmbedder] = field(default_factory=counting_embedder)
    governor: GovernorConfig | None = None
    """The request governor that S3 is behind. With one, a run is as users have it: in Dagster, and it reports counts.
    Without one the assets are called directly, which takes less than half the time."""
    quantization: str = "none"
    source_resource: Source | None = None
    """Where changes are extracted from: by default the world's database."""

    @property
    def dsn(self) -> str:
        return self.stack.postgres_dsn.removesuffix("/creators") + f"/{self.name}"

    @property
    def embedder(self) -> CountingEmbedder:
        return self.embedding[1]

    @cached_property
    def s3(self) -> S3Resource:
        return self._unused_s3()

    def _unused_s3(self) -> S3Resource:
        """For Dagster: it takes what a used resource has cached for configuration, and refuses it."""
        return S3Resource(
            bucket=self.name.replace("_", "-"),
            endpoint_url=self.stack.s3_endpoint,
            access_key_id=self.stack.s3_access_key_id,
            secret_access_key=self.stack.s3_secret_access_key,
            governor=self.governor,
        )

    @cached_property
    def lake(self) -> LakeResource:
        return LakeResource(s3=self.s3)

    def unused_resources(self) -> dict[str, Any]:
        s3 = self._unused_s3()
        return self._resources(s3, LakeResource(s3=s3))

    def _resources(self, s3: S3Resource, lake: LakeResource) -> dict[str, Any]:
        return {
            "s3": s3,
            "lake": lake,
            "ledger": LedgerResource(s3=s3),
            "raw_store": RawStoreResource(s3=s3),
            "quarantine": QuarantineResource(s3=s3),
            "source": self.source_resource or PostgresResource(dsn=self.dsn),
            "rds_exports": RdsExportResource(s3=s3, location="exports"),
            "embedder": self.embedding[0],
            "qdrant": self.qdrant,
            "erasures": ErasureResource(s3=s3, key=ERASURE_KEY),
            "spend": SpendResource(s3=s3),
            "llm": LlmResource(spend=SpendResource(s3=s3)),
        }

    @cached_property
    def qdrant(self) -> QdrantResource:
        return QdrantResource(edge_path=str(self.folder), quantization=self.quantization)

    @contextmanager
    def source(self) -> Iterator["psycopg.Connection[Any]"]:
        """A connection to the source; every statement commits at once."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            yield connection

    def execute(self, statement: str, *parameters: object) -> None:
        with self.source() as connection:
            connection.execute(statement.encode(), parameters)

    def run(
        self,
        *groups: str,
        buckets: tuple[int, int] = (0, BUCKETS_RUN - 1),
        job_name: str = "lineage",
        export_id: str = "",
        instance: DagsterInstance | None = None,
    ) -> Report:
        """A job's assets, or those of some groups; what is embedded is counted anew.

        ``buckets`` are the first and the last account bucket of the run; with ``export_id`` it lands that export.
        ``instance`` keeps the run for whoever looks at it afterwards.
        """
        self.embedder.embedded.clear()
        chosen = AssetSelection.groups(*groups) if groups else AssetSelection.assets(*ASSETS_OF_JOBS[job_name])
        configs = {f"raw__{name}": {"export_id": export_id} for name in SOURCE_TABLES if export_id}
        if self.governor or instance:
            return self._run_in_dagster(chosen, buckets, job_name, configs, instance)
        keys = [str(bucket) for bucket in range(buckets[0], buckets[1] + 1)]
        found = run_directly(chosen.resolve(GRAPH), self._resources(self.s3, self.lake), keys, configs)
        return Report(not found.errors, _values(found.totals), found.errors)

    def _run_in_dagster(
        self,
        chosen: AssetSelection,
        buckets: tuple[int, int],
        job_name: str,
        configs: Mapping[str, Mapping[str, str]],
        instance: DagsterInstance | None,
    ) -> Report:
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        tags = {name: str(bucket) for name, bucket in zip(names, buckets, strict=True)}
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        landing = {op: {"config": config} for op, config in configs.items()}
        jobs = [define_asset_job(job_name, chosen.without_checks())]  # tests of checks evaluate them alone
        mine = Definitions(
            assets=defs.assets, jobs=jobs, resources=self.unused_resources(), executor=in_process_executor
        )
        kept = nullcontext(instance) if instance else DagsterInstance.ephemeral()
        with kept as instance, warnings.catch_warnings():
            # Dagster 1.13.27 calls its own deprecated property for nested resources.
            warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
            resolved = mine.resolve_job_def(job_name)
            return Report.of(
                resolved.execute_in_process(
                    instance=instance, tags=tags, run_config={**quiet, "ops": landing}, raise_on_error=False
                )
            )

    def run_well(
        self,
        *groups: str,
        buckets: tuple[int, int] = (0, BUCKETS_RUN - 1),
        job_name: str = "lineage",
        export_id: str = "",
    ) -> Report:
        """``run``, which has to succeed."""
        report = self.run(*groups, buckets=buckets, job_name=job_name, export_id=export_id)
        assert report.success, report.errors
        return report

    @property
    def embedded_texts(self) -> dict[str, int]:
        """Text → how often the last run embedded it, without the catalogue's descriptions and readers' queries."""
        return {text: count for text, count in self.embedder.embedded.items() if text not in DESCRIPTIONS | QUERIES}

    def drop_labels(self, name: str, rows: Sequence[tuple[str | None, str | None, str | None, bool | None]]) -> None:
        """Drop a file of (item_kind, item_id, vertical, is_member) rows."""
        schema = {"item_kind": pl.String, "item_id": pl.String, "vertical": pl.String, "is_member": pl.Boolean}
        buffer = io.BytesIO()
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(buffer)
        self.s3.put(f"{LANDING}{name}.parquet", buffer.getvalue())

    def drop_judgements(self, name: str, rows: Sequence[tuple[str, str, str, int]]) -> None:
        """Drop a file of (query, item_kind, item_id, grade) rows of one person."""
        named = pl.DataFrame(rows, schema=["query", "item_kind", "item_id", "grade"], orient="row")
        judged = named.with_columns(judge=pl.lit("eva"), judged_at=pl.lit(None, pl.Datetime("us", "UTC")))
        buffer = io.BytesIO()
        judged.write_parquet(buffer)
        self.s3.put(f"{JUDGEMENTS_LANDING}{name}.parquet", buffer.getvalue())

    def drop_audience(self, name: str, text: str) -> None:
        """Drop an audience report."""
        self.s3.put(f"{AUDIENCE_LANDING}{name}.csv", text.encode())

    def search(self, query: str, vertical: str | None = None) -> list[RankedAccount]:
        searcher = Searcher(self.lake, self.embedding[0], self.qdrant)
        return searcher.accounts(query, SearchFilter(vertical=vertical), limit=50)

    def table(self, spec: TableSpec) -> pl.DataFrame:
        """A table's rows, ordered by key."""
        frame = self.lake.scan(spec).collect()
        return frame.select(spec.schema.names).sort(*spec.place, *spec.schema.names[:1], nulls_last=True)

    def points(self) -> dict[str, tuple[str, int]]:
        """Point id → (content hash, payload digest)."""
        with self.qdrant.open() as index:
            return {point.id: (point.content_hash, point.digest) for point in index.scroll_hashes()}

    def tables(self, names: Sequence[str] | None = None) -> dict[str, pl.DataFrame]:
        """Name → rows of all tables, or of those named, without a label's time: S3 sets it where a file has none."""
        wanted = [spec for spec in TABLES if names is None or spec.name in names]
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(self.table, wanted)
            return {spec.name: rows.drop("labelled_at", strict=False) for spec, rows in zip(wanted, found, strict=True)}

    def snapshot(self) -> Snapshot:
        files = {
            item.key: self.s3.get(item.key) or b""
            for item in self.s3.list_objects("quicksight/")
            if item.key.endswith(".csv")
        }
        return Snapshot(self.tables(), self.points(), files)

    def objects(self) -> dict[str, str]:
        """Key → entity tag of every object of the bucket."""
        return {item.key: item.etag for item in self.s3.list_objects("")}

    def versions(self) -> dict[str, int]:
        """Delta table → version."""
        opened = {spec.name: self.lake.open(spec) for spec in TABLES}
        return {name: table.version() for name, table in opened.items() if table is not None}

    def clone(self, name: str, folder: Path) -> "World":
        """A copy that lives on its own: database, objects, index. Nobody may be connected to this one's database."""
        made = World(name, folder, self.stack)
        _make_database(self.stack, made.name, template=self.name)
        made.s3.client.create_bucket(Bucket=made.s3.bucket)
        # Not CopyObject of boto3: for these some hundred objects it takes three times the CPU of this process.
        here, there = (
            S3Store.from_url(s3.uri(""), **s3.obstore_options) for s3 in (replace(self, governor=None).s3, made.s3)
        )
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: there.put(key, here.get(key).bytes()), self.objects()))
        if self.folder.exists():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return made


def assert_same_tables(found: Mapping[str, pl.DataFrame], expected: Mapping[str, pl.DataFrame]) -> None:
    """Equal rows in every table that was found."""
    for name, rows in found.items():
        try:
            assert_frame_equal(rows, expected[name])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    """Equal rows in every table, equal points, equal files."""
    assert found.tables.keys() == expected.tables.keys()
    assert_same_tables(found.tables, expected.tables)
    assert found.points == expected.points
    assert found.files == expected.files


@cache
def loaded_world(stack: EmbeddedStack) -> World:
    """A world in which the lineage ran once, behind a request governor as users have it.

    It is made once a test process, to be cloned and not to be changed.
    """
    made = empty_world(stack, "loaded", Path(tempfile.mkdtemp(prefix="cippus-test-")))
    world = replace(made, governor=governor_config())
    atexit.register(shutil.rmtree, world.folder, ignore_errors=True)
    world.run_well()
    return world


def world_name(node_id: str) -> str:
    """A name for a test's world: unique in the process, the same on every run, fit for Postgres and S3."""
    return f"world_{hashlib.blake2b(node_id.encode(), digest_size=8).hexdigest()}"


def empty_world(stack: EmbeddedStack, name: str, folder: Path) -> World:
    """A world whose source is seeded and whose lineage never ran."""
    world = World(name, folder, stack)
    _make_database(stack, name, template="creators")
    world.s3.client.create_bucket(Bucket=world.s3.bucket)
    with world.source() as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
        _seed(connection)
    world.drop_labels("first", first_labels(LABELLED))
    world.drop_judgements("first", FIRST_JUDGEMENTS)
    world.drop_audience("first-2026-03-01", FIRST_AUDIENCE)
    return world


def first_labels(vertical: str) -> list[tuple[str | None, str | None, str | None, bool | None]]:
    """Labels that are enough to fit a vertical's thresholds for posts and for accounts: half of them members."""
    posts = [f"{account}/{number}" for account in ACCOUNTS[::2] for number in (0, 1)]
    labels = [("post", post, vertical, number % 2 == 0) for number, post in enumerate(posts)]
    return [*labels, *(("account", account, vertical, number % 2 == 0) for number, account in enumerate(ACCOUNTS))]


def _make_database(stack: EmbeddedStack, name: str, template: str) -> None:
    with psycopg.connect(stack.postgres_dsn.removesuffix("/creators") + "/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())


def _seed(connection: "psycopg.Connection[Any]") -> None:
    """12 accounts with five posts each, some of them odd, and four testimonials of which one cannot be used."""
    then = "2024-03-01T12:00:00Z"
    accounts = [
        (account, "youtube", account.title(), f"Name {account}", "A bio", number * 100, "DE", "de", then, then, None)
        for number, account in enumerate(ACCOUNTS)
    ]
    posts = []
    for account in ACCOUNTS:
        for number, topic in enumerate(TOPICS):
            text: str | None = f"{account} talks about {topic}, part {number}"
            text = SHARED_TEXT if (account, number) in ((FIRST, 3), (LAST, 3)) else text
            text = LONG_TEXT if (account, number) == (ACCOUNTS[1], 4) else text
            text = None if (account, number) == (ACCOUNTS[2], 4) else text
            text = f"{account} talks about {TOPICS[0]}, part 0" if (account, number) == (ACCOUNTS[3], 4) else text
            posted = f"2024-02-0{number + 1}T08:00:00Z"
            posts.append(
                (
                    f"{account}/{number}",
                    account,
                    "youtube",
                    posted,
                    text,
                    ["a", "b"],
                    None,
                    "video",
                    *(3, 2, 90, 1),
                    then,
                    None,
                )
            )
    stranger = owners("stranger-", 0, 1)[0]
    posts.append((f"{stranger}/0", stranger, "youtube", then, "Of nobody", [], None, "video", 0, 0, 0, 0, then, None))
    said = "I liked {} a lot"
    testimonials = [
        (f"testimonial-{number}", brand, "spring", account, "customer", said.format(brand), rating, then, then, None)
        for number, (brand, account, rating) in enumerate(
            [(BRANDS[0], None, 5), (BRANDS[1], None, None), (BRANDS[0], FIRST, 1), (BRANDS[0], FIRST, 9)]
        )
    ]
    with connection.cursor() as cursor:
        for table, rows in (("accounts", accounts), ("posts", posts), ("testimonials", testimonials)):
            places = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})".encode(), rows)
