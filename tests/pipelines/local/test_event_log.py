"""The local instance's event log: the same log as Dagster's default, with databases left open."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from dagster import AssetExecutionContext, AssetKey, DagsterInstance, asset, materialize
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.test_utils import create_run_for_test

from pipelines.cli.lineage import instance_folder
from pipelines.local.event_log import KeptEventLog


def run(instance: DagsterInstance, lines: int = 5) -> str:
    @asset
    def talkative(context: AssetExecutionContext) -> None:
        for number in range(lines):
            context.log.info("line %s", number)

    return materialize([talkative], instance=instance).run_id


def told(log: Any, run_id: str) -> list[str]:
    """The lines of a run, and of what Dagster says itself only what kind of event it is."""
    entries = [record.event_log_entry for record in log.get_records_for_run(run_id).records]
    return [entry.dagster_event.event_type_value if entry.dagster_event else entry.user_message for entry in entries]


def test_it_is_the_log_that_dagster_would_have_written(tmp_path: Path) -> None:
    folder = instance_folder(tmp_path)
    (folder / "dagster.yaml").write_text("")
    with DagsterInstance.from_config(str(folder)) as default:
        assert type(default.event_log_storage) is SqliteEventLogStorage
        earlier = run(default)
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        assert isinstance(instance.event_log_storage, KeptEventLog)
        assert "line 4" in told(instance.event_log_storage, earlier), "what is there is kept"
        later = run(instance)
        assert instance.get_latest_materialization_event(AssetKey("talkative")) is not None
    plain = SqliteEventLogStorage(str(folder / "history" / "runs"))
    assert told(plain, later) == told(plain, earlier), "the same lines, in another run"
    assert {earlier, later} == set(plain.get_all_run_ids())


def test_databases_are_opened_once_and_only_the_last_runs_are_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = sqlite3.connect

    def counted(database: str, *arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(Path(database).stem)
        found: sqlite3.Connection = connect(database, *arguments, **options)
        return found

    monkeypatch.setattr("sqlite3.dbapi2.connect", counted)
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        log = instance.event_log_storage
        assert isinstance(log, KeptEventLog)
        runs = [run(instance, lines) for lines in (5, 5, 50)]
        assert opened.count(runs[2]) == opened.count(runs[1]) > 0, "as often for 45 events more"
        assert opened.count("index") < 15, "and the index not for each run"
        assert set(log._engines) == {"index", *runs[-2:]}
        assert told(log, runs[0]) == told(log, runs[1])


def test_two_processes_see_what_the_other_wrote(tmp_path: Path) -> None:
    folder = str(instance_folder(tmp_path))
    with DagsterInstance.from_config(folder) as one, DagsterInstance.from_config(folder) as other:
        for _ in range(2):
            for writer, reader in ((one, other), (other, one)):
                assert "line 4" in told(reader.event_log_storage, run(writer))
                assert len(reader.get_runs()) == len(writer.get_runs())


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_is_written_after_the_databases_were_deleted_is_kept(tmp_path: Path, by_hand: bool) -> None:
    folder = instance_folder(tmp_path)
    with DagsterInstance.from_config(str(folder)) as instance:
        made = create_run_for_test(instance)
        instance.report_engine_event("before", made)
        if by_hand:
            for file in (folder / "history" / "runs").glob("*.db*"):
                if made.run_id in file.name:
                    file.unlink()
        else:
            instance.event_log_storage.wipe()
        instance.report_engine_event("after", made)
        instance.report_engine_event("later", made)
        assert len(run(instance)) > 0
    records = SqliteEventLogStorage(str(folder / "history" / "runs")).get_records_for_run(made.run_id).records
    assert [record.event_log_entry.message for record in records] == ["after", "later"]


def test_events_are_told_as_they_come_while_databases_are_open(tmp_path: Path) -> None:
    """What the UI shows of a run that goes on in another process."""
    folder = str(instance_folder(tmp_path))
    with DagsterInstance.from_config(folder) as writer, DagsterInstance.from_config(folder) as reader:
        made = create_run_for_test(writer)
        writer.report_engine_event("before", made)
        assert told(reader.event_log_storage, made.run_id), "both have it open"
        come: Queue[str] = Queue()
        reader.watch_event_logs(made.run_id, None, lambda entry, _: come.put(entry.message))
        found = []
        for number in range(20):  # one that is written before the files are watched comes with the next
            writer.report_engine_event(f"event {number}", made)
            with suppress(Empty):
                found.append(come.get(timeout=1))
                break
        assert found, "told before the databases are closed"
