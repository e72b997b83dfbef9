"""A Delta table without its past: one version, the files that it needs, and nothing else under its folder."""

import io
import json
import re
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from resources.errors import PermanentFailure
from resources.s3.client import S3Resource

LOG = "/_delta_log/"
_NUMBERED = re.compile(r"(\d{20})\.(?:checkpoint\.|json$)")


class ForeignWriterError(PermanentFailure):
    """Another process wrote to a table while its past was deleted; the message says what to do."""


@dataclass(frozen=True)
class Forgotten:
    """What was deleted of a table's past: versions of its log, objects (data, change feed, log), bytes."""

    versions: int = 0
    files: int = 0
    size_bytes: int = 0


def forget_past(s3: S3Resource, folder: str) -> Forgotten:
    """Leave a table its newest rows alone: no time travel, no change feed, no files that no version names.

    A new version without a change is committed first, since a commit tells of the rows that it changed: its
    predicate names keys, its statistics hold the first and the last. Killed anywhere, the table stays readable and
    a second call finishes. Readers of older versions fail; a writer that commits meanwhile is ForeignWriterError.
    Memory: the table's list of files.
    """
    table = DeltaTable(s3.uri(folder), storage_options=s3.delta_options)
    nothing = pa.schema(table.schema().to_arrow()).empty_table()
    write_deltalake(table, nothing, mode="append")
    table.create_checkpoint()
    version = table.version()
    _without_removed(s3, folder, version)
    active = {unquote(path) for path in pl.DataFrame(table.get_add_actions())["path"]}
    listed = {item.key.removeprefix(f"{folder}/"): item.size_bytes for item in s3.list_objects(f"{folder}/")}
    in_log = {name for name in listed if name.startswith(LOG[1:])}
    past = sorted(name for name in in_log if not _is_needed(name.removeprefix(LOG[1:]), version))
    unnamed = sorted(name for name in listed.keys() - in_log if name not in active)
    # The log first: a version must not be readable when its files are gone.
    for names in (past, unnamed):
        s3.delete([f"{folder}/{name}" for name in names])
    table.update_incremental()
    if table.version() != version:
        message = (
            f"{folder} was written to while its past was deleted, and may lack files: stop all runs, "
            "`cippus run`, then erase again."
        )
        raise ForeignWriterError(message)
    gone = [*past, *unnamed]
    versions = len({name for name in past if name.endswith(".json") and _NUMBERED.search(name)})
    return Forgotten(versions, len(gone), sum(listed[name] for name in gone))


def _is_needed(name: str, version: int) -> bool:
    """Whether a file of the log belongs to the version that stays, or to a later one."""
    if name == "_last_checkpoint":
        return True
    found = _NUMBERED.match(name)
    return found is not None and int(found[1]) >= version


def _without_removed(s3: S3Resource, folder: str, version: int) -> None:
    """Take files that are gone out of the checkpoint where their statistics stand there, which hold keys.

    They stand there for writers that would delete the files later: this one has.
    """
    key = f"{folder}{LOG}{version:020d}.checkpoint.parquet"
    body = s3.get(key)
    rows = pq.read_table(io.BytesIO(body or b""))
    removed = rows["remove"].combine_chunks()
    stats = [field.name for field in removed.type if field.name.startswith("stats")]
    if not any(pc.struct_field(removed, name).null_count < len(removed) for name in stats):
        return
    kept, buffer = rows.filter(removed.is_null()), io.BytesIO()
    pq.write_table(kept, buffer, compression="zstd")
    s3.put(key, buffer.getvalue())
    said = {"version": version, "size": kept.num_rows, "sizeInBytes": buffer.tell()}
    s3.put(f"{folder}{LOG}_last_checkpoint", json.dumps(said).encode())
