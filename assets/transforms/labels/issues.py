"""Find labels that are likely wrong, by confident learning on probabilities of probes that did not see the item.

As in cleanlab (Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021), for one vertical at a time, so two classes.
"""

import numpy as np
import polars as pl

from assets.transforms.labels.probe import Booleans, Floats, folds_of, label_matrix, out_of_sample
from assets.transforms.labels.votes import ITEM

ISSUE_SCHEMA = {
    **dict.fromkeys((*ITEM, "account_id"), pl.String()),
    "is_member": pl.Boolean(),
    **dict.fromkeys(("probability", "quality"), pl.Float64()),
    "is_issue": pl.Boolean(),
    "label_version": pl.String(),
}
_DECIMALS = 6


def confident_issues(members: Booleans, probabilities: Floats) -> Booleans:
    """Return which labels contradict what is confidently the other class.

    An item is confidently of a class if its probability reaches the mean of those that are labelled so.
    """
    of_class = [1 - probabilities, probabilities]
    due = [of_class[label][members == bool(label)].mean() for label in (0, 1)]
    reached = [of_class[label] >= due[label] for label in (0, 1)]
    likelier = probabilities >= 0.5
    confident = np.where(reached[0] & reached[1], likelier, reached[1])
    is_confident = reached[0] | reached[1]
    found: Booleans = is_confident & (confident != members) & (likelier != members)
    return found


def doubtful_labels(gold: pl.DataFrame, items: pl.DataFrame, vectors: np.ndarray) -> pl.DataFrame:
    """Return ISSUE_SCHEMA for the labels of one kind of item. ``quality`` is the probability of the label given.

    ``items`` have (item_id, account_id), one row per vector. Labels of verticals with too few labels are left out, and
    so are reviewed ones, which nobody has to look at again; they are learnt from all the same.
    """
    held = gold.join(items.select("item_id"), on="item_id", how="semi")
    verticals = sorted(held["vertical"].unique())
    labels = label_matrix(held, items, verticals)
    found = out_of_sample(vectors, labels, folds_of(items["account_id"]))
    frames = []
    for column, vertical in enumerate(verticals):
        is_given = ~np.isnan(labels[:, column]) & ~np.isnan(found[:, column])
        if not is_given.any():
            continue
        members, probabilities = labels[is_given, column] == 1, found[is_given, column]
        frames.append(
            items.filter(pl.Series(is_given)).select(
                "item_id",
                vertical=pl.lit(vertical),
                probability=pl.Series(probabilities.round(_DECIMALS)),
                quality=pl.Series(np.where(members, probabilities, 1 - probabilities).round(_DECIMALS)),
                is_issue=pl.Series(confident_issues(members, probabilities)),
            )
        )
    if not frames:
        return pl.DataFrame(schema=ISSUE_SCHEMA)
    told = pl.concat(frames).join(held, on=["item_id", "vertical"])
    return told.filter(~pl.col("is_reviewed")).select(*ISSUE_SCHEMA)


def ranked(issues: pl.DataFrame) -> pl.DataFrame:
    """Return the labels with their ``rank`` from 1, the likeliest wrong first."""
    ordered = issues.sort("quality", *ITEM)
    return ordered.with_columns(rank=pl.int_range(1, ordered.height + 1, dtype=pl.Int64))


def review_sheet(issues: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return labels as a label file whose ``is_member`` a reviewer fills in, with what helps to decide beside it.

    A text that a spreadsheet would take as a formula gets the mark of a text.
    """
    is_formula = pl.col("text").str.contains(r"^\s*[=+\-@]")
    return (
        issues.sort("rank")
        .join(texts.with_columns(item_kind=pl.lit("post")), on=["item_kind", "item_id"], how="left")
        .select(
            *ITEM,
            is_member=pl.lit(None, pl.String),
            annotator=pl.lit(None, pl.String),
            is_review=pl.lit("true"),
            labelled_as=pl.when("is_member").then(pl.lit("yes")).otherwise(pl.lit("no")),
            probability=pl.col("probability").round(3),
            text=pl.when(is_formula).then(pl.lit("'") + pl.col("text")).otherwise("text"),
        )
    )
