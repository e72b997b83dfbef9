"""Parse the metadata files of an RDS snapshot export: its tables, their state and their column types."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from resources.errors import PermanentFailure

COMPLETE = "COMPLETE"
ENDED = frozenset({"FAILED", "CANCELED", "CANCELING"})
"""States of an export, or of one of its tables, that never become COMPLETE."""
_REPLACED_IN_PATHS = re.compile(r'[\\`" ]')


class ExportMetadataError(PermanentFailure):
    """A metadata file lacks a field or has an unusable value; the message names file and field."""


@dataclass(frozen=True)
class TableExport:
    """One table of an export: its names in the database, its state, and column → Postgres type."""

    database: str
    schema: str
    table: str
    status: str
    warning: str
    columns: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Return the table's folder under the export's. AWS replaces some characters by underscores."""
        return _REPLACED_IN_PATHS.sub("_", f"{self.database}/{self.schema}.{self.table}/")

    @classmethod
    def from_json(cls, found: Any, file: str) -> "TableExport":
        """Parse an entry of ``perTableStatus``. Raise ExportMetadataError."""
        value = _mapping(found, file)
        database, _, rest = str(_required(value, "target", file)).partition(".")
        schema, dot, table = rest.partition(".")
        if not dot:
            raise ExportMetadataError(f"{file} has the target {value['target']!r}; it must be database.schema.table.")
        metadata = _mapping(value.get("schemaMetadata") or {}, file)
        mappings = [_mapping(one, file) for one in entries(metadata, "originalTypeMappings", file)]
        columns = {
            str(_required(one, "columnName", file)): str(_required(one, "originalType", file)) for one in mappings
        }
        warning = str(value.get("warningMessage") or "")
        return cls(database, schema, table, str(value.get("status", "")), warning, columns)


@dataclass(frozen=True)
class ExportInfo:
    """State and scope of a whole export, from ``export_info``.

    ``snapshot`` is the time of the snapshot. Some files lack it; then it is the later start of the export task.
    """

    status: str
    failure: str
    export_only: tuple[str, ...]
    snapshot: datetime

    @classmethod
    def from_json(cls, found: Any, file: str) -> "ExportInfo":
        """Parse the file's content. Raise ExportMetadataError."""
        value = _mapping(found, file)
        at = value.get("snapshotTime") or _required(value, "taskStartTime", file)
        only = tuple(str(name) for name in entries(value, "exportOnly", file))
        return cls(
            str(_required(value, "status", file)),
            str(value.get("failureCause") or ""),
            only,
            _parse_timestamp(at, file),
        )

    def leaves_out(self, table: str) -> bool:
        """Return whether ``exportOnly`` excludes a table, given as ``schema.table``."""
        schema = table.partition(".")[0]
        named = (only.split(".", 1) for only in self.export_only)
        return bool(self.export_only) and not any(len(name) == 1 or name[1] in {schema, table} for name in named)


def described_ranges(names: Iterable[str], export_id: str) -> tuple[list[str], int | None]:
    """Return the ordered names of the files that describe tables, and the number of the first missing table.

    The number is None when the ranges in the names (``…_from_1_to_50``) have no gap.
    """
    pattern = re.compile(rf"export_tables_info_{re.escape(export_id)}_from_(\d+)_to_(\d+)\.json")
    matches = [found for name in names if (found := pattern.fullmatch(name))]
    matches.sort(key=lambda found: int(found.group(1)))
    next_table = 1
    for found in matches:
        if int(found.group(1)) > next_table:
            return [found.group() for found in matches], next_table
        next_table = max(next_table, int(found.group(2)) + 1)
    return [found.group() for found in matches], None if matches else 1


def entries(found: Any, name: str, file: str) -> list[Any]:
    """Return a list in a JSON object, empty if it is absent. Raise ExportMetadataError."""
    value = _mapping(found, file).get(name) or []
    if not isinstance(value, list):
        message = f"{file} has {name} {str(value)[:80]!r}; it must be a list."
        raise ExportMetadataError(message)
    return value


def _mapping(found: Any, file: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        message = f"{file} has {str(found)[:80]!r} where every snapshot export has an object; export again."
        raise ExportMetadataError(message)
    return found


def _required(value: Mapping[str, Any], name: str, file: str) -> Any:
    found = value.get(name)
    if found is None or found == "":
        raise ExportMetadataError(f"{file} lacks {name}, which every snapshot export has; export again.")
    return found


def _parse_timestamp(text: Any, file: str) -> datetime:
    """Parse ISO 8601, or the other form of AWS: `Jul 19, 2023, 11:21:00 PM` in UTC, with any kind of space."""
    written = re.sub(r"\s+", " ", str(text)).strip()
    try:
        if written.endswith("M"):
            return datetime.strptime(f"{written} +0000", "%b %d, %Y, %I:%M:%S %p %z")
        found = datetime.fromisoformat(written)
    except ValueError:
        raise ExportMetadataError(f"{file} has the time {text!r}; it must be like 2023-07-19T23:21:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
