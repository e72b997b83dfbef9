"""Delete the history of a Delta table: leave one version, the files that it needs, and nothing else in its folder."""

import io
import json
import re
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from resources.delta.commit import Commit, write_commit
from resources.delta.metadata import metadata_action
from resources.delta.protocol import refusing_unknown_features, require_writable
from resources.s3.client import S3Resource

LOG = "/_delta_log/"
_NUMBERED = re.compile(r"(\d{20})\.(?:checkpoint\.|json$)")


@dataclass(frozen=True)
class DeletedHistory:
    """Deleted history of a table: versions of its log, objects (data, change feed, log), bytes."""

    versions: int = 0
    files: int = 0
    size_bytes: int = 0


def delete_history(s3: S3Resource, folder: str) -> DeletedHistory:
    """Delete a table's older versions, change feed and unreferenced files. Keep the newest version's rows.

    First list the files, then commit the table's metadata again. That conflicts with every commit that was computed
    from an older version, so no writer can commit a file of that list any more. Files that appear later belong to other
    writers and stay. The log goes too: a commit describes its changed rows, since its predicate names keys, and its
    statistics have the first and the last key. After a crash the table is readable, and a second call finishes.
    Readers of older versions fail. Memory: the table's list of files.
    Raises UnsupportedTableError or CommitConflictError with nothing deleted.
    """
    with refusing_unknown_features(s3.uri(folder)):
        table = DeltaTable(s3.uri(folder), storage_options=s3.delta_options)
    require_writable(table)
    listed = _sizes(s3, f"{folder}/")
    version = write_commit(s3, folder, table.version(), Commit("SET TBLPROPERTIES", metadata=metadata_action(table)))
    table.load_as_version(version)
    table.create_checkpoint()
    _drop_removed_files(s3, folder, version)
    active = {f"{folder}/{unquote(path)}" for path in pl.DataFrame(table.get_add_actions())["path"]}
    log = _sizes(s3, f"{folder}{LOG}")
    past = sorted(key for key in log if not _is_needed(key.removeprefix(f"{folder}{LOG}"), version))
    unreferenced = sorted(key for key in listed.keys() - active if LOG not in key)
    # The log first: a version must not be readable when its files are gone.
    for keys in (past, unreferenced):
        s3.delete(keys)
    versions = len({key for key in past if key.endswith(".json") and _NUMBERED.search(key)})
    size = sum(log[key] for key in past) + sum(listed[key] for key in unreferenced)
    return DeletedHistory(versions, len(past) + len(unreferenced), size)


def _sizes(s3: S3Resource, prefix: str) -> dict[str, int]:
    return {item.key: item.size_bytes for item in s3.list_objects(prefix)}


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
