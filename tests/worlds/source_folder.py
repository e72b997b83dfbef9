"""A folder of Parquet files as users deliver it, with one valid row in each."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from pipelines.samples.folder import SourceFile, open_folder
from resources.errors import InputError

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ROWS: dict[str, dict[str, Any]] = {
    "accounts": {"account_id": "a", "network": "x", "followers": 5, "created_at": NOON, "updated_at": NOON},
    "posts": {"post_id": "p", "account_id": "a", "network": "x", "hashtags": ["one", None], "updated_at": NOON},
    "testimonials": {"testimonial_id": "t", "brand": "Acme", "rating": 3, "updated_at": NOON},
    "labels": {"item_kind": "post", "item_id": "p", "vertical": "food", "is_member": True, "annotator": "me",
               "labelled_at": NOON, "is_review": True},
}  # fmt: skip
SCHEMAS = {**{name: table.schema for name, table in SOURCE_TABLES.items()}, "labels": LABELS_SCHEMA}


def whole(name: str) -> pa.Table:
    return pa.Table.from_pylist([ROWS[name]], schema=SCHEMAS[name])


def with_column(name: str, column: str, values: pa.Array) -> pa.Table:
    """The one valid row, as often as there are values, with another column."""
    table = pa.concat_tables([whole(name)] * len(values))
    return table.set_column(table.column_names.index(column), column, values)


def write(folder: Path, **tables: pa.Table) -> Path:
    """A folder with valid accounts and posts, and what is given."""
    for name, table in {"accounts": whole("accounts"), "posts": whole("posts"), **tables}.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def read(file: SourceFile) -> pa.Table:
    return pa.concat_tables(file.batches())


def refusal(folder: Path) -> str:
    try:
        for file in open_folder(folder).values():
            read(file)
    except InputError as error:
        return str(error)
    return "nothing was refused"
