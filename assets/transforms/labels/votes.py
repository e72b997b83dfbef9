"""Turn rows of label files into votes, and the votes on an item into one judgement."""

import hashlib
from collections.abc import Iterable

import polars as pl

from assets.transforms.spreadsheets import changed

ITEM = ["item_kind", "item_id", "vertical"]
"""What a label is about: an item, and a vertical."""
GOLD_COLUMNS = [
    *("item_kind", "item_id", "account_id", "vertical", "is_member"),
    *("votes", "agreement", "is_reviewed", "labelled_at", "label_version"),
]


def voters(annotator: pl.Expr, source_file: pl.Expr) -> pl.Expr:
    """Return who voted: the annotator, whatever the case and the spaces of the name; for rows without one, the file."""
    name = annotator.str.strip_chars().str.to_lowercase().str.replace_all(r"\s+", "-")
    return pl.when(name.fill_null("") != "").then(name).otherwise(pl.lit("file:") + source_file)


def with_reasons(votes: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a column ``reason``, null unless a value that every label needs is missing or impossible."""
    kind = pl.col("item_kind")
    return votes.with_columns(
        reason=pl.when(pl.any_horizontal(pl.col(*ITEM, "is_member").is_null()))
        .then(pl.lit("a label column is missing"))
        .when(~kind.is_in(["post", "account"]))
        .then(pl.lit("item_kind is neither post nor account"))
        .otherwise(changed("item_id"))
    )


def judge(votes: pl.DataFrame, verticals: set[str], owners: pl.DataFrame) -> pl.DataFrame:
    """Return votes with the ``account_id`` of the item, and ``reason``, null if the vote can be used.

    ``owners``: (item_kind, item_id, account_id) of the items of the lake.
    """
    owned = votes.join(owners, on=["item_kind", "item_id"], how="left", maintain_order="left")
    return owned.with_columns(
        reason=pl.when(~pl.col("vertical").is_in(sorted(verticals)))
        .then(pl.lit("vertical is not in the catalogue"))
        .when(pl.col("account_id").is_null())
        .then(pl.lit("item is not in the lake"))
    )


def newest(votes: pl.DataFrame) -> pl.DataFrame:
    """Return one vote per voter, item and vertical: the newest.

    A vote without a time is older than one with a time. Among these, and among votes of one time, the later row of the
    later file by name counts.
    """
    ordered = votes.sort("labelled_at", "source_file", "row", nulls_last=False)
    return ordered.unique([*ITEM, "voter"], keep="last", maintain_order=True)


def counted(votes: pl.DataFrame) -> pl.DataFrame:
    """Return the votes that decide: on an item and vertical with a reviewer's vote, only those of reviewers."""
    latest = newest(votes)
    return latest.filter(~pl.col("is_review").any().over(ITEM) | pl.col("is_review"))


def agree(votes: pl.DataFrame) -> pl.DataFrame:
    """Return one row per item and vertical on which more than half of the votes agree. An even split is no label.

    ``votes`` have (item_kind, item_id, account_id, vertical, is_member, voter, is_review, labelled_at,
    dropped_at, source_file, row). The result has GOLD_COLUMNS. A vote without a time was given when its file was
    dropped, or before.
    """
    share = pl.col("is_member").mean()
    tallied = (
        counted(votes)
        .with_columns(_vote=pl.col("voter") + pl.when("is_member").then(pl.lit("+")).otherwise(pl.lit("-")))
        .group_by(*ITEM)
        .agg(
            pl.col("account_id").first(),
            is_member=share > 0.5,
            votes=pl.len().cast(pl.Int64),
            agreement=pl.max_horizontal(share, 1 - share).round(6),
            is_reviewed=pl.col("is_review").any(),
            labelled_at=pl.coalesce("labelled_at", "dropped_at").max(),
            _votes=pl.col("_vote").sort(),
        )
        .filter(pl.col("agreement") > 0.5)
    )
    versions = pl.Series("label_version", [_hash(found) for found in tallied["_votes"]], dtype=pl.String)
    return tallied.with_columns(versions).select(GOLD_COLUMNS)


def disputed(votes: pl.DataFrame) -> pl.DataFrame:
    """Return the (item_kind, item_id, vertical) whose votes are split evenly."""
    split = counted(votes).group_by(*ITEM).agg(share=pl.col("is_member").mean())
    return split.filter(pl.col("share") == 0.5).select(ITEM)


def label_version(gold: pl.DataFrame) -> str:
    """Return the version of some labels: a hash of the votes that they were decided by, in any order of rows."""
    keyed = gold.select(*ITEM, "label_version").sort(ITEM)
    return _hash(part for row in keyed.iter_rows() for part in row)


def _hash(parts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
