"""rds/*: the source tables as external assets, where the lineage starts."""

from dagster import AssetSpec

from assets.transforms.source.schema import SOURCE_TABLES, SourceTable


def _external(table: SourceTable) -> AssetSpec:
    return AssetSpec(
        key=["rds", table.name],
        group_name="rds",
        description=f"Table public.{table.name} of the source database. One row per {table.key}.",
        owners=["team:data-engineering"],
        kinds={"postgres"},
        metadata={"columns": ", ".join(f"{field.name} {field.type}" for field in table.schema)},
    )


ASSETS = [_external(table) for table in SOURCE_TABLES.values()]
