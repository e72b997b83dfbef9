"""Labels of one person and day as a table."""

import datetime as dt
import re

import polars as pl

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")

FILE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_kind": pl.String,
    "item_id": pl.String,
    "vertical": pl.String,
    "is_member": pl.Boolean,
    "annotator": pl.String,
    "labelled_at": pl.Datetime("us", "UTC"),
}


def annotator_name(written: str) -> str:
    """Return a person's name as it is part of a key: lower case, no spaces. Raises ValueError."""
    name = "-".join(written.casefold().split())
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"The name is {written[:64]!r}; it must begin with a letter a to z or a digit and have at most 64 of: "
            "letters a to z, digits, spaces, dots, dashes, underscores, @ and +."
        )
    return name


def with_label(
    labels: pl.DataFrame, item_id: str, vertical: str, annotator: str, at: dt.datetime, *, is_member: bool
) -> pl.DataFrame:
    """Return a day's labels with one more post, at the end; a label of the same post and vertical is replaced."""
    row = pl.DataFrame([("post", item_id, vertical, is_member, annotator, at)], schema=FILE_SCHEMA, orient="row")
    return pl.concat([without_label(labels, item_id, vertical), row])


def without_label(labels: pl.DataFrame, item_id: str, vertical: str) -> pl.DataFrame:
    """Return a day's labels without that of a post and vertical."""
    return labels.filter(~((pl.col("item_id") == item_id) & (pl.col("vertical") == vertical)))
