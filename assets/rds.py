"""rds/*: the source tables as external assets, where the lineage starts."""

from dagster import AssetSpec

from assets.framework.columns import source_columns
from assets.framework.description import column_metadata, personal_tags
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable


def _external(table: SourceTable) -> AssetSpec:
    spec = source_columns(table, "rds")
    return AssetSpec(
        key=["rds", table.name],
        group_name="rds",
        description=f"Table public.{table.name} of the source database. One row per {table.key}.",
        owners=["team:data-engineering"],
        kinds={"postgres"},
        metadata={
            **column_metadata(spec),
            "dagster/table_name": f"public.{table.name}",
            "dagster/storage_kind": "postgres",
        },
        tags=personal_tags(spec),
    )


ASSETS = [_external(table) for table in SOURCE_TABLES.values()]
