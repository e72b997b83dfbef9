"""What a world shows at its end, to be compared with another's."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from polars.testing import assert_frame_equal


@dataclass(frozen=True)
class Snapshot:
    """What a world shows at its end: every table's rows, the points, the marts' files."""

    tables: Mapping[str, pl.DataFrame]
    points: Mapping[str, tuple[str, int]]
    files: Mapping[str, bytes]


def assert_same_tables(found: Mapping[str, pl.DataFrame], expected: Mapping[str, pl.DataFrame]) -> None:
    """Equal rows in every table that was found."""
    for name, rows in found.items():
        try:
            assert_frame_equal(rows, expected[name])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    """Equal rows in every table, equal points, equal files."""
    assert found.tables.keys() == expected.tables.keys()
    assert_same_tables(found.tables, expected.tables)
    assert found.points == expected.points
    assert found.files == expected.files
