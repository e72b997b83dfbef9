"""Delta's log, written: one commit of files, change data and application transactions, and who wins a race for it."""

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
"""Where the protocol has a table's change data."""
_ENGINE = "cippus"


class OutrunError(TransientFailure):
    """Another writer has committed to what a commit was computed from; nothing of it was committed."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table, as the log has it: path below the table's folder, size in bytes, rows, bucket.

    ``statistics`` is the JSON text of an add action.
    """

    path: str
    size_bytes: int
    rows: int
    bucket: int
    statistics: str = ""

    @property
    def is_change_data(self) -> bool:
        """Whether its rows tell what changed, and are none of the table's."""
        return self.path.startswith(CHANGES)

    @property
    def partition_values(self) -> dict[str, str]:
        """The bucket as the log spells it."""
        return {} if self.bucket == WHOLE else {BUCKET: str(self.bucket)}


@dataclass(frozen=True)
class Commit:
    """One commit. ``touched`` are the buckets that it was computed from; a ``data_change`` of False moves rows only."""

    operation: str
    adds: Sequence[DataFile] = ()
    removes: Sequence[DataFile] = ()
    changes: Sequence[DataFile] = ()
    applications: Mapping[str, int] = field(default_factory=dict)
    touched: frozenset[int] = frozenset()
    data_change: bool = True

    def actions(self, version: int) -> Iterator[Action]:
        """The commit's actions, its ``commitInfo`` first, for a commit that was computed from a version."""
        now = int(time.time() * 1000)
        yield {
            "commitInfo": {
                "timestamp": now,
                "operation": self.operation,
                "operationParameters": {},
                "readVersion": version,
                "isBlindAppend": not self.touched,
                "engineInfo": _ENGINE,
                "txnId": str(uuid4()),
            }
        }
        for app, number in self.applications.items():
            yield {"txn": {"appId": app, "version": number, "lastUpdated": now}}
        for file in self.removes:
            yield {"remove": {**self._placed(file), "deletionTimestamp": now, "extendedFileMetadata": True}}
        for file in self.adds:
            yield {"add": {**self._placed(file), "modificationTime": now, "stats": file.statistics}}
        for file in self.changes:
            yield {"cdc": {**self._placed(file), "dataChange": False}}

    def _placed(self, file: DataFile) -> dict[str, Any]:
        return {
            "path": file.path,
            "partitionValues": file.partition_values,
            "size": file.size_bytes,
            "dataChange": self.data_change,
        }

    def is_outrun_by(self, actions: Sequence[Action]) -> bool:
        """Whether the commit does not follow from a table to which these actions were committed meanwhile."""
        for action in actions:
            [(kind, value)] = action.items()
            if kind in ("metaData", "protocol") or (kind == "txn" and value["appId"] in self.applications):
                return True
            if kind in ("add", "remove") and self.touched and bucket_of(value) in self.touched | {None}:
                return True
        return False


def bucket_of(file_action: Mapping[str, Any]) -> int | None:
    """The bucket of an add or remove action; None when it does not say."""
    values = file_action.get("partitionValues")
    if values is None:
        return None
    return int(values[BUCKET]) if values.get(BUCKET) is not None else WHOLE


def commit_key(table: str, version: int) -> str:
    """The S3 key of a version of a table."""
    return f"{table}/_delta_log/{version:020d}.json"


def write_commit(
    s3: S3Resource,
    table: str,
    version: int,
    commit: Commit,
    is_outrun: Callable[[Sequence[Action]], bool] = lambda _: False,
) -> int:
    """Commit what was computed from a version of a table; returns the version that it became.

    A conditional put takes the next version. When that is taken, the winner's actions decide: where they leave alone
    what this commit was computed from, it takes the version after. ``is_outrun`` may find further reasons against it.
    A put that is refused because an earlier try of it had succeeded, unanswered, is known by its ``txnId``.
    Raises OutrunError.
    """
    mine = list(commit.actions(version))
    body = "\n".join(json.dumps(action, separators=(",", ":")) for action in mine).encode()
    while True:
        version += 1
        if s3.put(commit_key(table, version), body, if_absent=True):
            return version
        winner = read_commit(s3, table, version)
        if winner is None:  # the log was cleaned meanwhile: what this was computed from is long past
            message = f"{s3.uri(table)}: version {version} was taken, and is no longer in the log."
            raise OutrunError(message)
        if any(action.get("commitInfo", {}).get("txnId") == mine[0]["commitInfo"]["txnId"] for action in winner):
            return version
        if commit.is_outrun_by(winner) or is_outrun(winner):
            message = f"{s3.uri(table)}: version {version} was taken by a writer of the same rows."
            raise OutrunError(message)


def read_commit(s3: S3Resource, table: str, version: int) -> list[Action] | None:
    """The actions of a version; None when the log does not have it, any more or yet."""
    body = s3.get(commit_key(table, version))
    if body is None:
        return None
    return [json.loads(line) for line in body.splitlines() if line.strip()]
