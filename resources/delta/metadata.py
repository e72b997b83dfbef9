"""What a table and its columns mean, as its metadata says it to the catalogues of other engines."""

import json
from typing import Any

from deltalake import DeltaTable

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
