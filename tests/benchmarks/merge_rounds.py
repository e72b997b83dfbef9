"""A process that only merges: `python -m tests.benchmarks.merge_rounds PLACE HOW FIRST ROUNDS`."""

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl

from resources.delta.maintenance import LakeMaintenance
from tests.benchmarks.merge_table import Place, changed_rows, write_files


def peak_mb() -> float:
    """The most memory that this process has held since it was last asked to forget it, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> None:
    """Begin to measure the most memory anew, from what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def merge_rounds(place: Place, how: str, first: int, rounds: int) -> None:
    """Merge windows one after the other, upkeep included; prints seconds, peak_mb and rows of each."""
    lake = place.lake()
    upkeep = LakeMaintenance(lake)
    for number in range(first, first + rounds):
        rows = changed_rows(place.files, number)
        forget_peak()
        started, worked = time.perf_counter(), time.process_time()
        if how == "ours":
            buckets = rows["account_bucket"].unique().to_list()
            changes = lake.merge_newer(place.spec, rows, buckets, {f"bench/{b}": number + 1 for b in buckets})
            merged, updated = time.perf_counter() - started, changes.updated
            tidied = upkeep.compact(place.spec).buckets
        else:
            merged, updated, tidied = 0.0, naive(place, rows), 0
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - worked
        told = {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "merge_seconds": merged,
            "peak_mb": peak_mb(),
            "updated": updated,
            "tidied": tidied,
        }
        print(json.dumps(told), flush=True)  # noqa: T201 - the parent reads it


def naive(place: Place, rows: pl.DataFrame) -> int:
    """delta-rs' merge as one would call it from its documentation."""
    table = place.lake().create(place.spec)
    done = (
        table.merge(rows, predicate="target.post_id = source.post_id", source_alias="source", target_alias="target")
        .when_matched_update_all(predicate="source.updated_at > target.updated_at")
        .when_not_matched_insert_all()
        .execute()
    )
    return int(done["num_target_rows_updated"])


def main(arguments: list[str]) -> None:
    """The process."""
    place, how, first, rounds = Place.from_json(arguments[0]), arguments[1], int(arguments[2]), int(arguments[3])
    if how.startswith("write:"):
        share, shares = (int(part) for part in how.removeprefix("write:").split("/"))
        for file in write_files(place, range(share, place.files, shares)):
            print(json.dumps(asdict(file)))  # noqa: T201 - the parent reads it
    else:
        merge_rounds(place, how, first, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
