"""Write what a table and its columns mean into its metadata, where the catalogues of other engines show it."""

import json
from typing import Any

from deltalake import DeltaTable

from resources.delta.commit import Commit, CommitConflictError, write_commit
from resources.delta.open_tables import OpenTables
from resources.delta.protocol import require_writable
from resources.delta.spec import MEASURED, TableSpec


def metadata_action(table: DeltaTable) -> dict[str, Any]:
    """Return the metaData action of a table as it is."""
    found = table.metadata()
    described = {"name": found.name, "description": found.description}
    return {
        "id": found.id,
        **{name: text for name, text in described.items() if text},
        "format": {"provider": "parquet", "options": {}},
        "schemaString": table.schema().to_json(),
        "partitionColumns": found.partition_columns,
        "configuration": found.configuration,
        "createdTime": found.created_time,
    }


def describe(tables: OpenTables, spec: TableSpec, description: str) -> bool:
    """Bring the description, the columns' comments and the columns with statistics of a table up to date.

    Return whether something differed and was committed. The commit has no rows and no files, so no fingerprint changes.
    If another writer is first, the next call commits it. Raises UnsupportedTableError.
    """
    table = tables.open(spec)
    if table is None:
        return False
    before = metadata_action(table)
    after = described(before, spec, description)
    if after == before:
        return False
    require_writable(table)
    try:
        with tables.commit_lock:
            commit = Commit("SET TBLPROPERTIES", metadata=after)
            write_commit(tables.s3, spec.name, table.version(), commit, conflicts=bool)
    except CommitConflictError:
        return False
    finally:
        tables.refresh(spec)
    return True


def described(action: dict[str, Any], spec: TableSpec, description: str) -> dict[str, Any]:
    """Return a metaData action with the words of a table's declaration. Other comments and properties stay."""
    schema = json.loads(action["schemaString"])
    columns = {field["name"]: field for field in schema["fields"]}
    for name in spec.columns.keys() & columns:
        columns[name]["metadata"] = {**columns[name]["metadata"], "comment": spec.columns[name].description}
    measured = ",".join(name for name in spec.measured if name in columns)
    return {
        **action,
        "description": description,
        "schemaString": action["schemaString"] if schema == json.loads(action["schemaString"]) else json.dumps(schema),
        "configuration": {**action["configuration"], MEASURED: measured},
    }
