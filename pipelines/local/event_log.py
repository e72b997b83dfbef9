"""The event log of the local Dagster instance: Dagster's own, in SQLite, with its connections kept."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.sql import create_engine

_INDEX = "index"
_RUNS_KEPT = 2
_BUSY_TIMEOUT_SECONDS = 30


class KeptEventLog(SqliteEventLogStorage):
    """The same files, tables and statements as Dagster's default, for as many processes at a time.

    That opens a database, compiles its statement and closes the database for each event, of which a run has hundreds:
    5.5 ms each. With the databases of the last runs left open they take 1.5 ms.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: OrderedDict[str, Any] = OrderedDict()
        self._files: dict[str, int] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptEventLog":
        """As Dagster makes it from its settings."""
        return cls(inst_data=inst_data, **config_value)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction in the database of a run."""
        return self._kept(str(run_id), super().run_connection(run_id))

    def index_connection(self) -> AbstractContextManager[Any]:
        """A transaction in the database of what is asked across runs."""
        return self._kept(_INDEX, super().index_connection())

    @contextmanager
    def _kept(self, shard: str, first: AbstractContextManager[Any]) -> Iterator[Any]:
        with self._db_lock:
            if shard in self._engines and self._file(shard) != self._files[shard]:
                # Deleted, by `wipe` or by hand: what is written to a file without a name is lost in silence.
                self._close(shard)
                self._initialized_dbs.discard(shard)
        if shard not in self._engines:
            with first:  # makes the database where there is none
                pass
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Any:
        if shard not in self._engines:
            timeout = {"timeout": _BUSY_TIMEOUT_SECONDS}
            self._engines[shard] = create_engine(self.conn_string_for_shard(shard), connect_args=timeout)
            self._files[shard] = self._file(shard)
            runs = [name for name in self._engines if name != _INDEX]
            for name in runs[:-_RUNS_KEPT]:
                self._close(name)
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def _close(self, shard: str) -> None:
        del self._files[shard]
        self._engines.pop(shard).dispose()

    def _file(self, shard: str) -> int:
        """Which file has a database's name; 0 when none has."""
        try:
            return Path(self.path_for_shard(shard)).stat().st_ino
        except FileNotFoundError:
            return 0

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Tell a callback of a run's events as they come, which the UI shows."""
        observer: Any = self._obs
        if not observer:
            self._obs = observer = sqlite_event_log.Observer()  # type: ignore[assignment, attr-defined]  # Dagster's own is declared as None
            observer.start()
        watchdog = _Watchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = watchdog, observer.schedule(watchdog, self._base_dir, recursive=True)

    def dispose(self) -> None:
        """Close the databases."""
        super().dispose()
        for shard in [*self._engines]:
            self._close(shard)


class _Watchdog(sqlite_event_log.SqliteEventLogStorageWatchdog):
    """Watches the write-ahead log too: while databases are open, events are there before they are in their file."""

    def __init__(self, log: KeptEventLog, run_id: str, callback: Any, cursor: str | None) -> None:
        super().__init__(log, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, _: Any) -> None:
        """Called when one of the two files was written to."""
        self._process_log()


def event_log_settings(instance: Path) -> dict[str, Any]:
    """The setting of the event log in dagster.yaml, in the folder where Dagster has it by default."""
    return {
        "event_log_storage": {
            "module": __name__,
            "class": KeptEventLog.__name__,
            "config": {"base_dir": str(instance.resolve() / "history" / "runs")},
        }
    }
