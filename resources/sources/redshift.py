"""Read Redshift: unload a window to Parquet on S3, verify it against its manifest, and stream it."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

import pyarrow as pa
from botocore.config import Config as BotocoreConfig
from dagster import ConfigurableResource

from resources.errors import InputError, PermanentFailure, TransientFailure
from resources.s3.client import S3Resource
from resources.s3.parquet import read_columns
from resources.sources.protocol import KeyRange, ReadWindow
from resources.sources.redshift_statement import (
    DataApi,
    DataApiRefusedError,
    DataApiUnavailableError,
    RedshiftUnavailableError,
)

SOURCE = "redshift"
STAGING = "staging/redshift/"
_API_ATTEMPTS = 5


class RedshiftSettingError(InputError):
    """A required Redshift setting is missing; the message names it."""


@dataclass(frozen=True)
class UnloadedFile:
    """One file of an unloaded window, from its manifest."""

    key: str
    size_bytes: int
    rows: int


class RedshiftResource(ConfigurableResource):  # type: ignore[type-arg]
    """One database of Redshift, in a serverless ``workgroup`` or a provisioned ``cluster``.

    The login is ``secret_arn`` in Secrets Manager, else ``user`` of a cluster, else the caller's IAM identity.
    ``unload_role`` is the ARN of the role that writes to S3; blank is the warehouse's default role. ``lag_seconds`` is
    the longest delay between the source database and the warehouse; 0 is unknown.
    """

    s3: S3Resource
    workgroup: str = ""
    cluster: str = ""
    database: str = ""
    schema_name: str = "public"
    secret_arn: str = ""
    user: str = ""
    unload_role: str = ""
    lag_seconds: float = 0.0
    deadline_seconds: float = 3600.0
    poll_seconds: float = 0.5
    endpoint_url: str = ""

    @property
    def name(self) -> str:
        """Return the name in keys of windows."""
        return SOURCE

    @cached_property
    def _api(self) -> DataApi:
        named = {"WorkgroupName": self.workgroup, "ClusterIdentifier": self.cluster}
        if bool(self.workgroup) == bool(self.cluster) or not self.database:
            raise RedshiftSettingError(
                "Redshift needs CIPPUS_REDSHIFT_DATABASE and one of CIPPUS_REDSHIFT_WORKGROUP and "
                "CIPPUS_REDSHIFT_CLUSTER; set them."
            )
        login = {"SecretArn": self.secret_arn} if self.secret_arn else {"DbUser": self.user}
        target = {name: value for name, value in {**named, "Database": self.database, **login}.items() if value}
        config = BotocoreConfig(retries={"mode": "standard", "total_max_attempts": _API_ATTEMPTS})
        client = self.s3.session.client("redshift-data", endpoint_url=self.endpoint_url or None, config=config)
        return DataApi(client, target, self.deadline_seconds, self.poll_seconds)

    def safe_high_water_mark(self) -> datetime:
        """Return the warehouse's now, less the configured lag behind the source.

        Raise RedshiftSettingError if the lag is not set.
        """
        if self.lag_seconds <= 0:
            raise RedshiftSettingError(
                "The lag of Redshift behind its source is not known, so rows that arrive late would be missed; set "
                "CIPPUS_REDSHIFT_LAG_SECONDS to more than the longest delay of its load."
            )
        return self._api.now() - timedelta(seconds=self.lag_seconds)

    def columns(self, table: str) -> Mapping[str, str]:
        """Return column → Redshift type; empty if the table does not exist."""
        return self._api.columns(self.schema_name, table)

    @contextmanager
    def read(self, window: ReadWindow) -> Iterator[pa.RecordBatchReader]:
        """Unload a window and stream it. Memory: one row group, which Redshift makes 32 MB.

        After a crash the same window is found unloaded and is not unloaded again. ``delete_staged`` deletes its files.
        """
        if window.keys != KeyRange():
            raise ValueError("A window of Redshift cannot be limited to a range of keys.")
        yield read_columns(self.s3, [file.key for file in self._unloaded(window)], window.columns)

    def delete_staged(self, table: str) -> None:
        """Delete all unloaded files of a table, once the window that was read last has landed."""
        self.s3.delete([item.key for item in self.s3.list_objects(f"{STAGING}{table}/")])

    def _unloaded(self, window: ReadWindow) -> tuple[UnloadedFile, ...]:
        """Unload a window, or continue an attempt that a crash interrupted.

        A random token names an attempt and lies beside its files, so both are deleted together. Redshift answers a
        known token with the old statement; without the files, that would look like a window without rows. Redshift
        forgets a token after some hours. The manifest is written last, so an attempt that has one is complete.
        """
        folder = f"{STAGING}{window.table}/{_digest(window)}/"
        note = f"{folder}attempt.json"
        self.s3.put_json(note, {"token": uuid4().hex}, if_absent=True)
        token = self.s3.get_json(note)["token"]
        attempt = f"{folder}{token}/"
        try:
            if self.s3.get_json(f"{attempt}manifest") is None:
                self._api.run(self._unload(window, attempt), token)
            return self._verified(attempt)
        except (DataApiUnavailableError, DataApiRefusedError):
            raise
        except (TransientFailure, PermanentFailure):
            self.s3.delete([note])  # the statement has ended, and its token would return the same failure
            raise

    def _unload(self, window: ReadWindow, folder: str) -> str:
        """Return the UNLOAD statement, with every name and literal quoted."""
        columns = ", ".join(_quoted(name) for name in window.columns)
        bounds = [f"{_quoted(window.along)} < '{window.upper.isoformat()}'::timestamptz"]
        if window.lower:
            bounds.append(f"{_quoted(window.along)} >= '{window.lower.isoformat()}'::timestamptz")
        source = f"{_quoted(self.schema_name)}.{_quoted(window.table)}"
        query = f"SELECT {columns} FROM {source} WHERE {' AND '.join(bounds)}"  # noqa: S608
        role = _literal(self.unload_role) if self.unload_role else "default"
        to = _literal(self.s3.uri(folder))
        return f"UNLOAD ({_literal(query)}) TO {to} IAM_ROLE {role} FORMAT PARQUET MANIFEST VERBOSE"

    def _verified(self, folder: str) -> tuple[UnloadedFile, ...]:
        """Return the manifest's files after comparing their sizes and rows; empty for a window without rows."""
        sizes = {item.key: item.size_bytes for item in self.s3.list_objects(folder)}
        manifest = self.s3.get_json(f"{folder}manifest")
        if manifest is None and not sizes:
            return ()
        files = tuple(self._file(entry) for entry in (manifest or {}).get("entries", []))
        lost = [file.key for file in files if sizes.get(file.key) != file.size_bytes]
        rows = sum(file.rows for file in files)
        if manifest is None or lost or rows != manifest.get("meta", {}).get("record_count", rows):
            cause = "there is no manifest" if manifest is None else f"{', '.join(lost) or 'the count of rows'} differs"
            raise RedshiftUnavailableError(f"The unloaded window in {self.s3.uri(folder)} is not whole: {cause}.")
        return tuple(file for file in files if file.rows)

    def _file(self, entry: Mapping[str, Any]) -> UnloadedFile:
        meta = entry["meta"]
        return UnloadedFile(
            entry["url"].removeprefix(self.s3.uri("")), int(meta["content_length"]), int(meta["record_count"])
        )


def _digest(window: ReadWindow) -> str:
    """Return 32 hexadecimal digits that name a window."""
    # The order of a set of strings differs between processes.
    named = (replace(window, texts=frozenset()), sorted(window.texts))
    return hashlib.blake2b(repr(named).encode(), digest_size=16).hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
