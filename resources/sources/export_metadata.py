"""The metadata files of an RDS snapshot export: what AWS says that it exported, and in which types."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from resources.errors import PermanentFailure

COMPLETE = "COMPLETE"
ENDED = frozenset({"FAILED", "CANCELED", "CANCELING"})
"""States of an export, or of a table in it, that never become COMPLETE."""
_REPLACED_IN_PATHS = re.compile(r'[\\`" ]')


class ExportMetadataError(PermanentFailure):
    """A metadata file does not say what it must; the message names the file and the field."""


@dataclass(frozen=True)
class TableExport:
    """One table of an export: its names in the database, its state, and column → type in Postgres' own words."""

    database: str
    schema: str
    table: str
    status: str
    warning: str
    columns: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The folder under the export's; characters that S3 paths do not carry well are underscores there."""
        return _REPLACED_IN_PATHS.sub("_", f"{self.database}/{self.schema}.{self.table}/")

    @classmethod
    def from_json(cls, value: Mapping[str, Any], file: str) -> "TableExport":
        """An entry of ``perTableStatus``. Raises ExportMetadataError."""
        database, _, rest = str(_required(value, "target", file)).partition(".")
        schema, dot, table = rest.partition(".")
        if not dot:
            message = f"{file} has the target {value['target']!r}, expected database.schema.table."
            raise ExportMetadataError(message)
        mappings = (value.get("schemaMetadata") or {}).get("originalTypeMappings") or []
        columns = {
            _required(column, "columnName", file): _required(column, "originalType", file) for column in mappings
        }
        warning = str(value.get("warningMessage") or "")
        return cls(database, schema, table, str(value.get("status", "")), warning, columns)


@dataclass(frozen=True)
class ExportInfo:
    """What ``export_info`` says of the whole export.

    ``snapshot`` is when the snapshot was taken or, where the file does not say, when the export of it began, which is
    later: the field is not in every file.
    """

    status: str
    failure: str
    export_only: tuple[str, ...]
    snapshot: datetime

    @classmethod
    def from_json(cls, value: Mapping[str, Any], file: str) -> "ExportInfo":
        """The file's content. Raises ExportMetadataError."""
        at = value.get("snapshotTime") or _required(value, "taskStartTime", file)
        only = tuple(str(name) for name in value.get("exportOnly") or ())
        return cls(str(_required(value, "status", file)), str(value.get("failureCause") or ""), only, _moment(at, file))

    def leaves_out(self, table: TableExport | str) -> bool:
        """Whether the export was asked for some databases, schemas or tables only. ``table`` is ``schema.table``."""
        wanted = table if isinstance(table, str) else f"{table.schema}.{table.table}"
        schema = wanted.partition(".")[0]
        named = (only.split(".", 1) for only in self.export_only)
        return bool(self.export_only) and not any(len(name) == 1 or name[1] in {schema, wanted} for name in named)


def described_ranges(names: Iterable[str], export_id: str) -> tuple[list[str], int | None]:
    """The names of the files that describe tables, in order, and the number of the first table that none describes.

    The second is None when the ranges in the names (``…_from_1_to_50``) follow one another without a gap.
    """
    pattern = re.compile(rf"export_tables_info_{re.escape(export_id)}_from_(\d+)_to_(\d+)\.json")
    matches = [found for name in names if (found := pattern.fullmatch(name))]
    matches.sort(key=lambda found: int(found.group(1)))
    next_table = 1
    for found in matches:
        if int(found.group(1)) > next_table:
            break
        next_table = max(next_table, int(found.group(2)) + 1)
    else:
        return [found.group() for found in matches], None if matches else 1
    return [found.group() for found in matches], next_table


def _required(value: Mapping[str, Any], name: str, file: str) -> Any:
    found = value.get(name)
    if found is None or found == "":
        message = f"{file} lacks {name}, which every snapshot export has."
        raise ExportMetadataError(message)
    return found


def _moment(text: Any, file: str) -> datetime:
    """A moment in ISO 8601, or as AWS writes it too, in UTC and with any kind of space: `Jul 19, 2023, 11:21:00 PM`."""
    written = re.sub(r"\s+", " ", str(text)).strip()
    try:
        if written.endswith("M"):
            return datetime.strptime(f"{written} +0000", "%b %d, %Y, %I:%M:%S %p %z")
        found = datetime.fromisoformat(written)
    except ValueError:
        message = f"{file} has the time {text!r}, expected one like 2023-07-19T23:21:00Z."
        raise ExportMetadataError(message) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
