"""Declare the columns of a mart: meaning, formula, unit, null. The UI and the page of metrics show the same words."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from assets.transforms.marts.values import COUNTS
from assets.transforms.source.schema import TIMESTAMP
from resources.delta.table import BUCKET, Column

TEXT, LONG, REAL, DAY, FLAG = pa.string(), pa.int64(), pa.float64(), pa.date32(), pa.bool_()
PERCENT = "percent; 5 means 5 %"
NEVER_MEASURED = "never measured"


@dataclass(frozen=True)
class Metric(Column):
    """A column of a mart. ``description`` has the words of the other fields, as sentences."""

    meaning: str = ""
    formula: str = ""
    unit: str = ""
    null: str = ""


def metric(
    type_: pa.DataType,
    meaning: str,
    *,
    formula: str = "",
    unit: str = "",
    null: str = "never null",
    sources: Iterable[str] = (),
    personal: str = "",
) -> Metric:
    """Return a column whose description is its meaning, formula, unit, and what null means."""
    sentences = [
        f"{meaning}.",
        *([f"Formula: {formula}."] if formula else []),
        *([f"Unit: {unit}."] if unit else []),
        f"Null: {null}.",
    ]
    return Metric(type_, " ".join(sentences), tuple(sources), personal, meaning, formula, unit, null)


def as_of(meaning: str, *, null: str = "never null") -> Metric:
    """Return the column of the time that a row's figures are of."""
    return metric(TIMESTAMP, meaning, unit="time in UTC", null=null)


def bucket() -> Metric:
    """Return the internal column that a table is partitioned by."""
    return metric(pa.int32(), "Internal: the account bucket, by which the table is stored", sources=())


def sums(of: str, sources: Iterable[str] = ()) -> dict[str, Metric]:
    """Return the columns of the sums of all counts and of engagement."""
    found = {
        name: metric(
            LONG,
            f"Sum of the {name} of {of} that have them; not to be divided by another sum, which may be of other posts",
            unit=name,
            null=f"{name} never measured, or a sum beyond 64 bits",
            sources=(f"lake/posts.{name}", *sources),
        )
        for name in COUNTS
    }
    found["engagement"] = metric(
        LONG,
        f"Likes, comments and shares of {of}",
        formula="sum over posts of likes + comments + shares, where a count that was not measured adds nothing",
        unit="actions",
        null="none of them ever measured, or a sum beyond 64 bits",
        sources=tuple(f"lake/posts.{name}" for name in ("likes", "comments", "shares")),
    )
    return found


BUCKET_LAST = {BUCKET: bucket()}
"""Internal columns come last."""
