"""Columns that several tables have, and the columns of source tables as tables of the lineage."""

import pyarrow as pa

from assets.transforms.source.schema import SourceTable
from resources.delta.table import BUCKET, Column, TableSpec


def bucket_of(*sources: str) -> Column:
    """Return the column of the account bucket. ``sources``: columns that it is copied or computed from."""
    return Column(pa.int32(), "Account bucket: the top bits of the md5 of the owner's id.", sources)


def source_columns(table: SourceTable, group: str, parent: str = "") -> TableSpec:
    """Return a source table as ``{group}/{name}``, without the account bucket, copied from ``{parent}/{name}``."""
    columns = {}
    for field in table.schema:
        description, personal = table.about[field.name]
        sources = (f"{parent}/{table.name}.{field.name}",) if parent else ()
        columns[field.name] = Column(field.type, description, sources, personal)
    return TableSpec.of(f"{group}/{table.name}", columns, (table.key,), partitioned=False)


def with_bucket(table: SourceTable, group: str, parent: str) -> dict[str, Column]:
    """Return the columns of a source table in a stage that has the account bucket, copied from the stage before."""
    columns = source_columns(table, group, parent).columns
    owners = table.owner_columns if parent == "rds" else (BUCKET,)
    return {**columns, BUCKET: bucket_of(*(f"{parent}/{table.name}.{name}" for name in owners))}
