"""Delete the history of a Delta table: leave one version, the files that it needs, and nothing else in its folder."""

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

from resources.delta.protocol import refusing_unknown_features, require_writable
from resources.errors import PermanentFailure
from resources.s3.client import S3Resource

LOG = "/_delta_log/"
_NUMBERED = re.compile(r"(\d{20})\.(?:checkpoint\.|json$)")


class ForeignWriterError(PermanentFailure):
    """Another process wrote to a table while its history was deleted."""


@dataclass(frozen=True)
class DeletedHistory:
    """Deleted history of a table: versions of its log, objects (data, change feed, log), bytes."""

    versions: int = 0
    files: int = 0
    size_bytes: int = 0


def delete_history(s3: S3Resource, folder: str) -> DeletedHistory:
    """Delete a table's older versions, change feed and unreferenced files. Keep the newest version's rows.

    First commit a version without a change. A commit describes its changed rows: its predicate names keys, and its
    statistics have the first and the last key. After a crash the table is readable, and a second call finishes.
    Readers of older versions fail. Memory: the table's list of files.
    Raises UnsupportedTableError with nothing deleted, and ForeignWriterError if a writer commits meanwhile.
    """
    with refusing_unknown_features(s3.uri(folder)):
        table = DeltaTable(s3.uri(folder), storage_options=s3.delta_options)
    require_writable(table)
    nothing = pa.schema(table.schema().to_arrow()).empty_table()
    write_deltalake(table, nothing, mode="append")
    table.create_checkpoint()
    version = table.version()
    _drop_removed_files(s3, folder, version)
    active = {unquote(path) for path in pl.DataFrame(table.get_add_actions())["path"]}
    listed = {item.key.removeprefix(f"{folder}/"): item.size_bytes for item in s3.list_objects(f"{folder}/")}
    log = {name for name in listed if name.startswith(LOG[1:])}
    past = sorted(name for name in log if not _is_needed(name.removeprefix(LOG[1:]), version))
    unreferenced = sorted(listed.keys() - log - active)
    # The log first: a version must not be readable when its files are gone.
    for names in (past, unreferenced):
        s3.delete([f"{folder}/{name}" for name in names])
    table.update_incremental()
    if table.version() != version:
        raise ForeignWriterError(
            f"{folder} was written to while its history was deleted, and may lack files. Stop all runs, "
            "run `cippus run`, then erase again."
        )
    deleted = [*past, *unreferenced]
    versions = len({name for name in past if name.endswith(".json") and _NUMBERED.search(name)})
    return DeletedHistory(versions, len(deleted), sum(listed[name] for name in deleted))


def _is_needed(name: str, version: int) -> bool:
    """Return whether a file of the log belongs to the version that stays, or to a later one."""
    found = _NUMBERED.match(name)
    return name == "_last_checkpoint" or (found is not None and int(found[1]) >= version)


def _drop_removed_files(s3: S3Resource, folder: str, version: int) -> None:
    """Delete removed files from the checkpoint if it has their statistics, which contain keys.

    The checkpoint lists them for a later vacuum; here the files are deleted already.
    """
    key = f"{folder}{LOG}{version:020d}.checkpoint.parquet"
    rows = pq.read_table(io.BytesIO(s3.get(key) or b""))
    removed = rows["remove"].combine_chunks()
    stats = [field.name for field in removed.type if field.name.startswith("stats")]
    if not any(pc.struct_field(removed, name).null_count < len(removed) for name in stats):
        return
    kept, buffer = rows.filter(removed.is_null()), io.BytesIO()
    pq.write_table(kept, buffer, compression="zstd")
    s3.put(key, buffer.getvalue())
    checkpoint = {"version": version, "size": kept.num_rows, "sizeInBytes": buffer.tell()}
    s3.put(f"{folder}{LOG}_last_checkpoint", json.dumps(checkpoint).encode())
