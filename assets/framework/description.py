"""Describe an asset for the UI from its table: columns, column lineage, address, personal data, source code."""

import warnings
from collections.abc import Callable
from typing import Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

from resources.delta.table import TableSpec
from resources.settings import S3Settings

PERSONAL = "cippus/personal_data"
"""Tag of an asset and of its columns: the kinds of personal data in it."""


def described(definition: AssetsDefinition, table: TableSpec | None, body: Callable[..., Any]) -> AssetsDefinition:
    """Return an asset with its table's metadata and tags, and a reference to the code of its body."""
    metadata = {**(table_metadata(table) if table else {}), "dagster/code_references": _code_of(body)}
    tags = personal_tags(table) if table else {}
    return definition.map_asset_specs(
        lambda spec: spec.replace_attributes(metadata={**metadata, **spec.metadata}, tags={**tags, **spec.tags})
    )


def table_metadata(table: TableSpec) -> dict[str, Any]:
    """Return the metadata that the UI shows for a Delta table."""
    name = table.name.replace("/", ".")
    return {
        **column_metadata(table),
        "dagster/table_name": name,
        "dagster/storage_kind": "delta",
        "dagster/uri": uri(table),
    }


def uri(table: TableSpec) -> str:
    """Return the folder of a table's files."""
    return f"s3://{S3Settings.read().bucket}/{table.name}"


def column_metadata(table: TableSpec) -> dict[str, Any]:
    """Return the columns and their lineage as metadata."""
    lineage = column_lineage(table)
    return {
        "dagster/column_schema": column_schema(table),
        **({"dagster/column_lineage": lineage} if lineage.deps_by_column else {}),
    }


def column_schema(table: TableSpec) -> TableSchema:
    """Return the columns with their types, descriptions and personal data."""
    columns = []
    for field in table.schema:
        column = table.columns.get(field.name)
        tags = {PERSONAL: column.personal} if column and column.personal else {}
        description = column.description if column else None
        columns.append(TableColumn(field.name, str(field.type), description=description, tags=tags))
    return TableSchema(columns=columns)


def column_lineage(table: TableSpec) -> TableColumnLineage:
    """Return the columns of other assets that each column is computed from."""
    return TableColumnLineage(
        {
            name: [
                TableColumnDep(AssetKey(asset.split("/")), of)
                for asset, _, of in (source.rpartition(".") for source in column.sources)
            ]
            for name, column in table.columns.items()
            if column.sources
        }
    )


def personal_tags(table: TableSpec) -> dict[str, str]:
    """Return the tag of a table with personal data: the kinds, joined by dots, since a tag's value has no commas."""
    kinds = sorted({column.personal for column in table.columns.values()} - {""})
    return {PERSONAL: ".".join(kinds)} if kinds else {}


def _code_of(body: Callable[..., Any]) -> CodeReferencesMetadataValue:
    code = body.__code__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the value is beta, which is not deprecated
        return CodeReferencesMetadataValue(
            code_references=[LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno)]
        )
