"""Worlds whose rows come from Postgres, exports or a warehouse, and the lake that all must give."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import polars as pl

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SOURCE_TABLES
from resources.sources.redshift import RedshiftResource
from tests.fakes.redshift_server import Redshift, running
from tests.worlds.lineage import World
from tests.worlds.snapshot import assert_same_tables

BUCKETS = (0, 7)
NOW = "updated_at = clock_timestamp()"


def redshift(world: World, warehouse: Redshift) -> RedshiftResource:
    return RedshiftResource(
        s3=world._unused_s3(),
        endpoint_url=warehouse.url,
        workgroup="creators",
        database="dev",
        poll_seconds=0.001,
        lag_seconds=0.001,
    )


@contextmanager
def from_redshift(world: World) -> Iterator[World]:
    """The world, with a warehouse that has the same rows as its source."""
    with running(world.dsn, world.s3) as warehouse:
        yield replace(world, source_resource=redshift(world, warehouse))


def lake(world: World) -> dict[str, pl.DataFrame]:
    return world.tables([spec.name for spec in LAKE_TABLES.values()])


def assert_lake_is_the_database(world: World) -> None:
    """Row for row, but for rows that cannot be used."""
    for name, table in SOURCE_TABLES.items():
        columns = ", ".join(table.schema.names)
        with world.source() as connection:
            rows = connection.execute(f"SELECT {columns} FROM {name}".encode()).fetchall()
        held = world.table(LAKE_TABLES[name]).drop("account_bucket")
        expected = pl.DataFrame(rows, schema=held.schema, orient="row").sort(table.key)
        if name == "testimonials":
            expected = expected.filter(pl.col("rating").is_between(1, 5) | pl.col("rating").is_null())
        assert_same_tables({name: held.sort(table.key)}, {name: expected})
