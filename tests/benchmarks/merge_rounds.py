"""The process that merges: `python -m tests.benchmarks.merge_rounds PLACE HOW FIRST ROUNDS`."""

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, Transaction
from deltalake.table import TableMerger

from resources.delta.maintenance import LakeMaintenance
from resources.delta.table import LakeResource
from tests.benchmarks.merge_table import Place, changed_rows, write_files


def peak_mb() -> float:
    """Return the peak memory of this process since the last ``forget_peak``, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> None:
    """Reset the peak memory to the memory in use."""
    Path("/proc/self/clear_refs").write_text("5")


def merge_rounds(place: Place, how: str, first: int, rounds: int) -> None:
    """Merge consecutive windows, with maintenance, and print the figures of each as JSON."""
    merge = {"ours": ours, "naive": naive, "literal": literal}[how]
    lake = place.lake()
    for number in range(first, first + rounds):
        rows = changed_rows(place.files, number)
        forget_peak()
        started, worked = time.perf_counter(), time.process_time()
        updated = merge(place, lake, rows, number)
        merged = time.perf_counter() - started
        compacted = 0 if how == "naive" else LakeMaintenance(lake).compact(place.spec).buckets
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - worked,
            "merge_seconds": merged,
            "peak_mb": peak_mb(),
            "updated": updated,
            "compacted": compacted,
        }
        print(json.dumps(figures), flush=True)  # noqa: T201 - the parent reads it


def ours(place: Place, lake: LakeResource, rows: pl.DataFrame, number: int) -> int:
    """Merge with our writer. Return the number of updated rows."""
    buckets = rows["account_bucket"].unique().to_list()
    return lake.merge_newer(place.spec, rows, buckets, {f"bench/{b}": number + 1 for b in buckets}).updated


def naive(place: Place, lake: LakeResource, rows: pl.DataFrame, _number: int) -> int:
    """Merge with delta-rs as in its documentation."""
    table = lake.create(place.spec)
    return _executed(
        table.merge(rows, predicate="target.post_id = source.post_id", source_alias="source", target_alias="target")
    )


def literal(place: Place, lake: LakeResource, rows: pl.DataFrame, number: int) -> int:
    """Merge with delta-rs, which prunes files by literal buckets and keys, and record the applications."""
    buckets = rows["account_bucket"].unique().to_list()
    keys = ", ".join(f"'{key}'" for key in rows["post_id"])
    predicate = (
        f"target.account_bucket IN ({', '.join(map(str, buckets))}) AND target.post_id IN ({keys}) "
        "AND target.post_id = source.post_id"
    )
    recorded = CommitProperties(app_transactions=[Transaction(f"bench/{b}", number + 1) for b in buckets])
    table = lake.create(place.spec)
    updated = _executed(
        table.merge(
            rows,
            predicate=predicate,
            source_alias="source",
            target_alias="target",
            streamed_exec=False,
            commit_properties=recorded,
        )
    )
    lake.refresh(place.spec)
    return updated


def _executed(merge: TableMerger) -> int:
    found = (
        merge.when_matched_update_all(predicate="source.updated_at > target.updated_at")
        .when_not_matched_insert_all()
        .execute()
    )
    return int(found["num_target_rows_updated"])


def main(arguments: list[str]) -> None:
    """Write files or merge, as the arguments say."""
    place, how, first, rounds = Place.from_json(arguments[0]), arguments[1], int(arguments[2]), int(arguments[3])
    if how.startswith("write:"):
        share, shares = (int(part) for part in how.removeprefix("write:").split("/"))
        for file in write_files(place, range(share, place.files, shares)):
            print(json.dumps(asdict(file)))  # noqa: T201 - the parent reads it
    else:
        merge_rounds(place, how, first, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
