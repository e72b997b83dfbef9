"""The accounts of a source, extracted, merged and compared bucket by bucket, and the job that compares them."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from dagster import Definitions, ExecuteInProcessResult, in_process_executor

from assets.lake import LAKE_ACCOUNTS
from assets.lake import merging as lake_stage
from assets.raw.extraction import Extraction
from assets.raw.key_reconciliation import KeyReconciliation, Reconciled
from assets.transforms.source.schema import ACCOUNTS
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.sources.postgres import PostgresResource
from tests.worlds.lineage import World

BUCKETS = 8
SKEW = timedelta(seconds=0)
"""Histories here are over in milliseconds; with an allowance nothing of them would be judged."""


@dataclass
class Accounts:
    """The table of accounts in a source of its own, extracted, merged and compared without a job."""

    world: World

    def __post_init__(self) -> None:
        self.source = PostgresResource(dsn=self.world.dsn)
        self.raw_store = RawStoreResource(s3=self.world.s3)
        self.quarantine = QuarantineResource(s3=self.world.s3)

    def sql(self, statement: str, *parameters: object) -> None:
        self.world.execute(statement, *parameters)

    def put(self, key: str, text: str, moment: datetime | None = None) -> None:
        self.sql(
            "INSERT INTO accounts (account_id, network, bio, updated_at) VALUES (%s, 'x', %s, coalesce(%s, now())) "
            "ON CONFLICT (account_id) DO UPDATE SET bio = excluded.bio, updated_at = excluded.updated_at",
            key, text, moment,
        )  # fmt: skip

    def delete(self, key: str) -> None:
        self.sql("DELETE FROM accounts WHERE account_id = %s", key)

    def extract(self) -> None:
        Extraction(self.source, self.raw_store, ACCOUNTS, BUCKETS, lambda _: None, SKEW).changes()

    def merge(self, buckets: Sequence[int] = range(BUCKETS)) -> None:
        [asset] = [found for found in lake_stage.ASSETS if found.key.path[-1] == "accounts"]
        context = SimpleNamespace(log=logging.getLogger("cippus"), partition_keys=[str(n) for n in buckets])
        body = asset.op.compute_fn.decorated_fn.__wrapped__  # type: ignore[union-attr]  # without Dagster's reports
        body(context, raw_store=self.raw_store, lake=self.world.lake, quarantine=self.quarantine)

    def compare(self) -> Reconciled:
        lake = self.world.lake
        return KeyReconciliation(
            self.source, self.raw_store, lake, self.quarantine, ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW
        ).run()

    def bring_up_to_date(self) -> Reconciled:
        self.extract()
        self.merge()
        found = self.compare()
        self.merge()
        return found

    def held(self) -> dict[str, tuple[str, datetime, bool]]:
        rows = self.world.table(LAKE_ACCOUNTS)
        return {row["account_id"]: (row["bio"], row["updated_at"], row["deleted_at"] is not None)
                for row in rows.iter_rows(named=True)}  # fmt: skip

    def standing(self) -> dict[str, tuple[str, datetime]]:
        return {key: (bio, at) for key, (bio, at, is_deleted) in self.held().items() if not is_deleted}

    def in_source(self) -> dict[str, tuple[str, datetime]]:
        with self.world.source() as connection:
            return {key: (bio, at) for key, bio, at in
                    connection.execute("SELECT account_id, bio, updated_at FROM accounts").fetchall()}  # fmt: skip


def run_job(world: World, config: dict[str, Any] | None = None, **resources: Any) -> ExecuteInProcessResult:
    given = {name: made for name, made in world.unused_resources().items()
             if name in ("source", "raw_store", "lake", "quarantine", "erasures")}  # fmt: skip
    mine = Definitions(jobs=[raw_key_reconciliation], resources={**given, **resources}, executor=in_process_executor)
    with warnings.catch_warnings():
        # Dagster 1.13.27 calls its own deprecated property for nested resources.
        warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
        return mine.resolve_job_def("raw_key_reconciliation").execute_in_process(
            run_config=config, raise_on_error=False
        )
