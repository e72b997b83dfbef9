"""Concurrent writers of one table: no row is lost, whichever is first, and whichever is killed."""

import json
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.delta import change
from resources.delta.commit import Action, Commit, DataFile, commit_key, read_commit, write_commit
from resources.delta.maintenance import LakeMaintenance
from resources.delta.merge import BucketWindow, MergeRule
from resources.delta.table import Changes, CommitConflictError, LakeResource
from resources.s3.client import S3Resource
from tests.worlds.lake_writer import SPEC, Job, arguments

ROOT = Path(__file__).parents[3]
WINDOWS = 4


def job(lake: LakeResource, writer: int, bucket: int, killed_at: int = 0) -> Job:
    given = {name: getattr(lake.s3, name) for name in ("bucket", "endpoint_url", "access_key_id", "secret_access_key")}
    return Job(given, writer, WINDOWS, bucket, killed_at)


def run(jobs: Sequence[Job]) -> list[int]:
    """Start all jobs at once. Return their exit codes."""
    processes = [subprocess.Popen(arguments(it), env={"PYTHONPATH": str(ROOT)}) for it in jobs]
    return [process.wait() for process in processes]


def net(lake: LakeResource) -> dict[str, int]:
    """Return key → number of its rows according to the change feed."""
    table = lake.create(SPEC)
    feed = pl.DataFrame(table.load_cdf(starting_version=0).read_all())
    step = pl.when(pl.col("_change_type") == "insert").then(1).when(pl.col("_change_type") == "delete").then(-1)
    return dict(feed.group_by("key").agg(step.otherwise(0).sum()).iter_rows())


def test_processes_race_and_one_is_killed_before_its_commit(lake: LakeResource) -> None:
    lake.create(SPEC)
    jobs = [job(lake, 0, 0), job(lake, 1, 0), job(lake, 2, 1, killed_at=3)]
    assert run(jobs) == [0, 0, -signal.SIGKILL]
    assert lake.applied(SPEC, ["writer/2"]).get("writer/2", 0) < WINDOWS
    left = {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=")}
    jobs[2].merge(lake)  # the same windows again, from the first

    held = lake.scan(SPEC).select("key", "text", "account_bucket").collect()
    expected = {f"new-{it.writer}-{window}": f"{it.writer}/{window}" for it in jobs for window in range(1, WINDOWS + 1)}
    expected |= {f"own-{it.writer}": f"{it.writer}/{WINDOWS}" for it in jobs} | {"shared": f"2/{WINDOWS}"}
    assert dict(held.select("key", "text").iter_rows()) == expected
    assert held.height == len(expected), "no duplicate key"
    assert net(lake) == dict.fromkeys(expected, 1)
    assert set(lake.applied(SPEC, [f"writer/{number}" for number in range(3)]).values()) == {WINDOWS}
    assert_orphans_go(lake, left)


def assert_orphans_go(lake: LakeResource, left: set[str]) -> None:
    """Require that files of the killed attempt are deleted after the retention, and no other files."""
    active = {f"{SPEC.name}/{path}" for path in pl.DataFrame(lake.create(SPEC).get_add_actions(flatten=True))["path"]}
    removed = {
        f"{SPEC.name}/{action['remove']['path']}"
        for version in range(1, lake.create(SPEC).version() + 1)
        for action in read_commit(lake.s3, SPEC.name, version) or ()
        if "remove" in action
    }
    orphans = left - active - removed
    assert orphans, "the kill left files"
    rows = lake.scan(SPEC).collect().sort("key")
    assert LakeMaintenance(lake).clean(SPEC) == 0
    LakeMaintenance(LakeResource(s3=lake.s3, retention_hours=0)).clean(SPEC)
    assert {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=")} == active
    assert lake.scan(SPEC).collect().sort("key").equals(rows)


def rival(lake: LakeResource, monkeypatch: pytest.MonkeyPatch, act: Any) -> list[int]:
    """Let another writer act just before our first commit. Return the versions of our attempts."""
    attempts: list[int] = []

    def write(s3: Any, table: str, version: int, commit: Commit, conflicts: Any = lambda _: False) -> int:
        attempts.append(version)
        if len(attempts) == 1:
            monkeypatch.setattr(change, "write_commit", write_commit)
            act(LakeResource(s3=lake.s3))
            monkeypatch.setattr(change, "write_commit", write)
        return write_commit(s3, table, version, commit, conflicts)

    monkeypatch.setattr(change, "write_commit", write)
    return attempts


def test_a_writer_of_another_bucket_costs_no_second_attempt(
    lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = job(lake, 0, 2), job(lake, 1, 3)
    rows = one.rows(1).filter(pl.col("key") != "shared")
    lake.create(SPEC)
    theirs = other.rows(1).filter(pl.col("key") != "shared")
    attempts = rival(lake, monkeypatch, lambda rival: rival.merge_newer(SPEC, theirs, [3], {"other": 1}))
    lake.merge_newer(SPEC, rows, [2], {"one": 1})
    assert len(attempts) == 1
    assert lake.scan(SPEC).collect().height == 4


def test_a_key_that_another_writer_put_elsewhere_meanwhile_is_moved(
    lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create(SPEC)
    older, newer = job(lake, 0, 2).rows(1), job(lake, 0, 3).rows(2)
    first, later = (rows.filter(pl.col("key") == "own-0") for rows in (older, newer))
    attempts = rival(lake, monkeypatch, lambda rival: rival.merge_newer(SPEC, first, [2], {"first": 1}))
    lake.merge_newer(SPEC, later, [3], {"later": 1})
    assert len(attempts) == 2
    assert lake.scan(SPEC).select("key", "account_bucket").collect().rows() == [("own-0", 3)]
    unreferenced = {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=3")}
    assert len(unreferenced) == 1, "the file of the attempt in vain is deleted"


def said(text: str, day: int, bucket: int = 0) -> pl.DataFrame:
    at = datetime(2024, 1, day, tzinfo=UTC)
    return pl.DataFrame([(bucket, "k", text, at)], schema=SPEC.polars_schema, orient="row")


APPS = {bucket: f"app/{bucket}" for bucket in range(2)}
BEFORE_5 = MergeRule(judged_below=datetime(2024, 1, 5, tzinfo=UTC))


@pytest.mark.parametrize("completes", [{"app/0": 3}, {}], ids=["last commit of the window", "one before"])
@pytest.mark.parametrize(
    ("later", "rule"),
    [(said("later", 2), MergeRule()), (said("put back", 1), BEFORE_5)],
    ids=["a tie", "a comparison of keys"],
)
def test_a_late_writer_of_a_window_leaves_what_later_ones_said(
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
    completes: dict[str, int],
    later: pl.DataFrame,
    rule: MergeRule,
) -> None:
    third = BucketWindow(3, APPS)
    lake.merge_newer(SPEC, said("first", 1), [0], {"app/0": 2}, window=BucketWindow(2, APPS))

    def overtake(rival: LakeResource) -> None:
        rival.merge_newer(SPEC, said("third", 2), [0], {"app/0": 3}, window=third)
        rival.merge_newer(SPEC, later, [0], {"app/0": 4}, rule, BucketWindow(4, APPS))

    attempts = rival(lake, monkeypatch, overtake)
    assert lake.merge_newer(SPEC, said("third", 2), [0], completes, window=third) == Changes(unchanged=1)
    assert len(attempts) == 1, "the second attempt has nothing to commit"
    assert lake.scan(SPEC).select("text").collect().to_series().to_list() == later["text"].to_list()
    assert lake.applied(SPEC, ["app/0"]) == {"app/0": 4}


@pytest.mark.parametrize("is_left_there", [True, False])
def test_a_row_moves_out_of_another_bucket_unless_a_later_window_left_it_there(
    lake: LakeResource, monkeypatch: pytest.MonkeyPatch, *, is_left_there: bool
) -> None:
    """All timestamps are equal. Window 3 moves the row here; window 4, merged there first, may have moved it back."""
    asked: list[tuple[int, int]] = []

    def later_rows(bucket: int, last: int, rows: pl.DataFrame) -> pl.DataFrame:
        asked.append((bucket, last))
        return rows.select("key", "updated_at") if is_left_there else rows.clear()

    third, fourth = BucketWindow(3, APPS, later_rows), BucketWindow(4, APPS)
    lake.merge_newer(SPEC, said("x", 1, bucket=1), [0, 1], {"app/0": 2, "app/1": 2}, window=BucketWindow(2, {}))
    same = said("x", 1, bucket=1)
    attempts = rival(lake, monkeypatch, lambda rival: rival.merge_newer(SPEC, same, [1], {"app/1": 4}, window=fourth))
    lake.merge_newer(SPEC, said("x", 1, bucket=0), [0], {"app/0": 3}, window=third)
    assert len(attempts) == 2
    assert asked == [(1, 4)], "not while the other bucket was behind"
    found = lake.scan(SPEC).select("account_bucket").collect().to_series().to_list()
    assert found == [1 if is_left_there else 0]


def test_upkeep_gives_way_to_a_writer_of_its_bucket(lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job(lake, 0, 0)
    for window in range(1, 20):
        lake.append(SPEC, one.rows(window).filter(pl.col("key").str.starts_with("new")))
    from resources.delta import maintenance

    def write(*arguments: Any) -> int:
        LakeResource(s3=lake.s3).merge_newer(SPEC, one.rows(30), [0], {"rival": 1})
        return write_commit(*arguments)

    monkeypatch.setattr(maintenance, "write_commit", write)
    before = {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=")}
    assert LakeMaintenance(lake).compact(SPEC).outrun == 1
    after = {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=")}
    assert len(after - before) == 1, "only the rival's file"
    assert lake.scan(SPEC).collect().height == 19 + 3


def test_a_commit_whose_answer_was_lost_is_known_again(lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    version = lake.create(SPEC).version()
    put, keys = type(lake.s3).put, []

    def twice(s3: Any, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        keys.append(key)
        put(s3, key, body, if_absent=if_absent)
        return put(s3, key, body, if_absent=if_absent)  # the answer that a client's retry gets

    monkeypatch.setattr(type(lake.s3), "put", twice)
    assert write_commit(lake.s3, SPEC.name, version, Commit("WRITE", applications={"app": 1})) == version + 1
    assert keys == [commit_key(SPEC.name, version + 1)]


def test_a_winner_that_is_no_longer_in_the_log_makes_the_writer_begin_again(
    lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = lake.create(SPEC).version()
    put = type(lake.s3).put

    def lose(s3: Any, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        put(s3, key, body, if_absent=if_absent)
        s3.delete([key])
        return False

    files = [f"{SPEC.name}/{file.path}" for file in (FILE, CHANGE)]
    for key in files:
        put(lake.s3, key, b"rows")
    monkeypatch.setattr(type(lake.s3), "put", lose)
    commit = Commit("WRITE", adds=[FILE], changes=[CHANGE], touched=frozenset({1}))
    with pytest.raises(CommitConflictError, match=f"version {version + 1} was taken, and is no longer in the log"):
        write_commit(lake.s3, SPEC.name, version, commit)
    assert all(lake.s3.exists(key) for key in files), "the version may have been its own, and be in use"


def test_the_files_of_a_commit_that_another_writer_outran_are_deleted(lake: LakeResource) -> None:
    version = lake.create(SPEC).version()
    files = [f"{SPEC.name}/{file.path}" for file in (FILE, CHANGE)]
    for key in files:
        lake.s3.put(key, b"rows")
    lake.s3.put(commit_key(SPEC.name, version + 1), json.dumps(ADDED).encode())
    commit = Commit("WRITE", adds=[FILE], changes=[CHANGE], touched=frozenset({1}))
    with pytest.raises(CommitConflictError, match="taken by a writer of the same rows"):
        write_commit(lake.s3, SPEC.name, version, commit)
    assert not any(lake.s3.exists(key) for key in files)


CHANGE = DataFile("_change_data/account_bucket=1/c.parquet", 1, 1, 1, "{}")
FILE = DataFile("account_bucket=1/a.parquet", 1, 1, 1, "{}")
ADDED: Action = {"add": {"path": "account_bucket=1/b.parquet", "partitionValues": {"account_bucket": "1"}}}


@pytest.mark.parametrize(
    ("touched", "winner", "conflicts"),
    [
        ({1}, ADDED, True),
        ({2}, ADDED, False),
        (set(), ADDED, False),
        ({1}, {"remove": ADDED["add"]}, True),
        ({2}, {"remove": {"path": "x"}}, True),
        (set(), {"metaData": {}}, True),
        (set(), {"protocol": {}}, True),
        ({2}, {"txn": {"appId": "app", "version": 3}}, True),
        ({2}, {"txn": {"appId": "another", "version": 3}}, False),
        ({2}, {"commitInfo": {}}, False),
    ],
)  # fmt: skip
def test_a_commit_conflicts_with_changes_of_its_base(touched: set[int], winner: Action, conflicts: bool) -> None:
    commit = Commit("MERGE", adds=[FILE], applications={"app": 2}, touched=frozenset(touched))
    assert commit.conflicts_with([winner]) is conflicts


def test_a_writer_that_is_always_second_gives_up(lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.create(SPEC)

    put = S3Resource.put
    removed: dict[str, Any] = {"path": "account_bucket=0/b.parquet", "partitionValues": {"account_bucket": "0"}}
    removed |= {"dataChange": True, "deletionTimestamp": 1}

    def always_second(self: S3Resource, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        """Let another writer of the bucket put each version first."""
        if if_absent and key.startswith(f"{SPEC.name}/_delta_log/"):
            put(self, key, json.dumps({"remove": removed}).encode(), if_absent=True)
        return put(self, key, body, if_absent=if_absent)

    monkeypatch.setattr(S3Resource, "put", always_second)
    with pytest.raises(CommitConflictError, match="20 times in a row"):
        lake.merge_newer(SPEC, job(lake, 0, 0).rows(1), [0], {})
    assert [item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=")] == []
