"""Write one commit to a table's Delta log, and resolve the race for its version."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from resources.delta.spec import BUCKET, WHOLE
from resources.errors import TransientFailure
from resources.s3.client import S3Resource

Action = dict[str, dict[str, Any]]
CHANGES = "_change_data/"
"""Folder of a table's change data, as the protocol names it."""


class CommitConflictError(TransientFailure):
    """Another writer committed to the rows that a commit was computed from; nothing of it was committed."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in the log: path below the table's folder, size in bytes, rows, bucket.

    ``statistics`` is the JSON text of an add action.
    """

    path: str
    size_bytes: int
    rows: int
    bucket: int
    statistics: str = ""


@dataclass(frozen=True)
class Commit:
    """The content of one commit.

    ``touched``: buckets that it was computed from. ``relied_on``: applications that must not have advanced meanwhile.
    ``data_change``: False for a commit that only moves rows between files. ``metadata``: the table's new metaData
    action; every commit that was computed from an older version conflicts with it.
    """

    operation: str
    adds: Sequence[DataFile] = ()
    removes: Sequence[DataFile] = ()
    changes: Sequence[DataFile] = ()
    applications: Mapping[str, int] = field(default_factory=dict)
    touched: frozenset[int] = frozenset()
    data_change: bool = True
    relied_on: frozenset[str] = frozenset()
    metadata: Mapping[str, Any] | None = None

    def actions(self, version: int) -> Iterator[Action]:
        """Yield the actions, ``commitInfo`` first, of a commit that was computed from ``version``."""
        now = int(time.time() * 1000)
        yield {
            "commitInfo": {
                "timestamp": now,
                "operation": self.operation,
                "operationParameters": {},
                "readVersion": version,
                "isBlindAppend": not self.touched,
                "engineInfo": "cippus",
                "txnId": str(uuid4()),
            }
        }
        if self.metadata is not None:
            yield {"metaData": dict(self.metadata)}
        for app, number in self.applications.items():
            yield {"txn": {"appId": app, "version": number, "lastUpdated": now}}
        for file in self.removes:
            yield {"remove": {**self._file(file), "deletionTimestamp": now, "extendedFileMetadata": True}}
        for file in self.adds:
            yield {"add": {**self._file(file), "modificationTime": now, "stats": file.statistics}}
        for file in self.changes:
            yield {"cdc": {**self._file(file), "dataChange": False}}

    def _file(self, file: DataFile) -> dict[str, Any]:
        return {
            "path": file.path,
            "partitionValues": {} if file.bucket == WHOLE else {BUCKET: str(file.bucket)},
            "size": file.size_bytes,
            "dataChange": self.data_change,
        }

    def conflicts_with(self, actions: Sequence[Action]) -> bool:
        """Return whether a commit with these actions, made meanwhile, invalidates this one."""
        for action in actions:
            [(kind, value)] = action.items()
            if kind in ("metaData", "protocol"):
                return True
            if kind == "txn" and value["appId"] in self.relied_on.union(self.applications):
                return True
            if kind in ("add", "remove") and self.touched and bucket_of(value) in self.touched | {None}:
                return True
        return False


def bucket_of(file_action: Mapping[str, Any]) -> int | None:
    """Return the bucket of an add or remove action, or None when the action does not name it."""
    values = file_action.get("partitionValues")
    if values is None:
        return None
    return int(values[BUCKET]) if values.get(BUCKET) is not None else WHOLE


def commit_key(table: str, version: int) -> str:
    """Return the S3 key of a version of a table."""
    return f"{table}/_delta_log/{version:020d}.json"


def write_commit(
    s3: S3Resource,
    table: str,
    version: int,
    commit: Commit,
    conflicts: Callable[[Sequence[Action]], bool] = lambda _: False,
) -> int:
    """Commit a change that was computed from ``version``. Return the version that it got.

    A conditional put takes the next version. If another writer has taken it and does not conflict, try the version
    after. ``conflicts`` adds a condition to the commit's own. A put may be refused because an earlier try succeeded
    unanswered; the ``txnId`` identifies that case. Raises CommitConflictError, with the commit's files deleted. They
    stay, for vacuum, if it is not certain that nobody reads them: a writer that is slower than two deletions of history
    puts a version that was deleted, or finds that its own unanswered version was deleted.
    """
    mine = list(commit.actions(version))
    body = "\n".join(json.dumps(action, separators=(",", ":")) for action in mine).encode()
    while True:
        version += 1
        if s3.put(commit_key(table, version), body, if_absent=True):
            if version and not s3.exists(commit_key(table, version - 1)):
                raise CommitConflictError(
                    f"{s3.uri(table)}: history was deleted while version {version} was written. Run it again."
                )
            return version
        winner = read_commit(s3, table, version)
        if winner is None:  # it may have been our own put, whose answer was lost: its files are then in use
            raise CommitConflictError(
                f"{s3.uri(table)}: version {version} was taken, and is no longer in the log. Run it again."
            )
        if any(action.get("commitInfo", {}).get("txnId") == mine[0]["commitInfo"]["txnId"] for action in winner):
            return version
        if commit.conflicts_with(winner) or conflicts(winner):
            _delete_files(s3, table, commit)
            raise CommitConflictError(
                f"{s3.uri(table)}: version {version} was taken by a writer of the same rows. Run it again."
            )


def _delete_files(s3: S3Resource, table: str, commit: Commit) -> None:
    s3.delete([f"{table}/{file.path}" for file in (*commit.adds, *commit.changes)])


def read_commit(s3: S3Resource, table: str, version: int) -> list[Action] | None:
    """Return the actions of a version, or None when the log does not have it."""
    body = s3.get(commit_key(table, version))
    return None if body is None else [json.loads(line) for line in body.splitlines() if line.strip()]
