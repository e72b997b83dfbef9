"""Measure an unchanged run beside an empty Dagster graph of the same shape.

Both run in this process on a local instance, in turn, after one warm-up each.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagster import (
    AssetDep,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    DagsterInstance,
    Definitions,
    MaterializeResult,
    PartitionsDefinition,
    asset,
    define_asset_job,
    in_process_executor,
)
from rich.console import Console

from pipelines.cli.console import LineageProgress
from pipelines.cli.lineage import instance_folder, run_lineage
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import all_buckets
from tests.benchmarks import BenchResult, Target

ROUNDS = 3
MOST_SECONDS_ABOVE_EMPTY = 10.0


class ChangedLineageError(RuntimeError):
    """The lineage failed, or wrote something in a run without changes."""


def empty_graph(console: Console) -> Definitions:
    """Return empty assets with the keys, dependencies and partitions of the lineage."""
    graph = defs.resolve_asset_graph()
    made: list[AssetsDefinition | AssetSpec] = []
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if node.is_materializable:
            made.append(_empty(key.path, [AssetDep(parent) for parent in node.parent_keys], node.partitions_def))
        else:
            made.append(AssetSpec(key))
    progress = LineageProgress(console, len(made))
    return Definitions(
        assets=made,
        jobs=[define_asset_job("empty")],
        executor=in_process_executor,
        loggers={"progress": progress.logger()},
    )


def _empty(path: Sequence[str], deps: list[AssetDep], partitions: PartitionsDefinition | None) -> AssetsDefinition:
    policy = BackfillPolicy.single_run() if partitions else None

    @asset(key=path, deps=deps, partitions_def=partitions, backfill_policy=policy)
    def nothing() -> MaterializeResult[None]:
        return MaterializeResult(metadata={"rows": 0})

    return nothing


def measure(home: Path, console: Console) -> BenchResult:
    """Bring the home's lineage up to date, then measure an unchanged run. Raises ChangedLineageError."""
    _unchanged_seconds(home, console, must_be_unchanged=False)
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        job = empty_graph(console).resolve_job_def("empty")
        with DagsterInstance.from_config(str(instance_folder(Path(folder)))) as instance:

            def empty_seconds() -> float:
                started = time.monotonic()
                quietly: dict[str, Any] = {"loggers": {"progress": {}}}
                job.execute_in_process(instance=instance, tags=dict(all_buckets()), run_config=quietly)
                return time.monotonic() - started

            empty_seconds()
            pairs = [(_unchanged_seconds(home, console), empty_seconds()) for _ in range(ROUNDS)]
    unchanged, empty = (statistics.median(column) for column in zip(*pairs, strict=True))
    above = statistics.median(run - nothing for run, nothing in pairs)
    figures = {"unchanged_run_seconds": unchanged, "empty_graph_seconds": empty, "seconds_above_empty": above}
    targets = {"seconds_above_empty": Target.at_most(MOST_SECONDS_ABOVE_EMPTY, above)}
    return BenchResult("overhead", {name: round(value, 3) for name, value in figures.items()}, targets)


def _unchanged_seconds(home: Path, console: Console, *, must_be_unchanged: bool = True) -> float:
    report = run_lineage(home, console)
    written = {
        key: found
        for key, metadata in report.assets.items()
        if (found := sum(metadata.get(name, 0) for name in ("inserted", "updated", "deleted", "windows")))
    }
    if report.failures or (must_be_unchanged and written):
        message = f"The lineage did not stand still: {report.failures or written}."
        raise ChangedLineageError(message)
    return report.wall_seconds
