"""A small world for lineage tests: its own database, S3 bucket, index folder and counting embedder."""

import io
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from dagster import (
    AssetSelection,
    DagsterInstance,
    Definitions,
    define_asset_job,
    in_process_executor,
)
from obstore.store import S3Store

from assets.audience import LANDING as AUDIENCE_LANDING
from assets.labels.votes import LANDING
from assets.search.judgements import LANDING as JUDGEMENTS_LANDING
from assets.search.query import Searcher
from assets.transforms.search.ranking import RankedAccount
from assets.transforms.source.schema import SOURCE_TABLES
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
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import Source
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from resources.vectors.resource import QdrantResource
from resources.vectors.values import SearchFilter
from tests.fakes.embedder import CountingEmbedder, CountingEmbedderResource, counting_embedder
from tests.worlds.direct_run import GRAPH, run_directly
from tests.worlds.lineage_rows import QUERIES
from tests.worlds.lineage_tables import TABLES
from tests.worlds.report import Report, values
from tests.worlds.snapshot import Snapshot

ERASURE_KEY = "a key that is only for these tests: 0123456789"
BUCKETS_RUN = 3
"""A run looks at three account buckets, to be quick: two with accounts, and the last without any."""
ASSETS_OF_JOBS = {job.name: job.selection.resolve(GRAPH) for job in JOBS}
DESCRIPTIONS = frozenset(text for vertical in load_verticals() for text in vertical.descriptions)


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
        return Report(not found.errors, values(found.totals), found.errors)

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
        make_database(self.stack, made.name, template=self.name)
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


def make_database(stack: EmbeddedStack, name: str, template: str) -> None:
    with psycopg.connect(stack.postgres_dsn.removesuffix("/creators") + "/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
