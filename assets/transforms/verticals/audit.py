"""Say how much of the apparent error of tags is in the labels that they are measured on."""

from collections.abc import Sequence

import polars as pl

from assets.transforms.verticals.quality import methods

_LABEL = ["item_kind", "item_id", "vertical"]


def audit(calls: pl.DataFrame, doubted: pl.DataFrame, verticals: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return (method, item kind) → macro-F1 with all labels and without the doubted ones, in a sentence.

    ``calls`` are those of `quality`; ``doubted`` has (item_kind, item_id, vertical). It is the most that labels account
    for: what is hard for the probe that doubts them looks like a wrong label.
    """
    kept = methods(calls.join(doubted, on=_LABEL, how="anti"), verticals)
    wrong = calls.filter(pl.col("is_called") != pl.col("is_member"))
    found = {}
    for row in methods(calls, verticals).iter_rows(named=True):
        of = {name: row[name] for name in ("method", "item_kind")}
        without, mistakes = kept.filter(**of), wrong.filter(**of)
        if without.is_empty():
            continue
        left = without.row(0, named=True)
        labels = calls.filter(**of).join(doubted, on=_LABEL, how="semi").height
        share = mistakes.join(doubted, on=_LABEL, how="semi").height / max(mistakes.height, 1)
        found[row["method"], row["item_kind"]] = (
            f"macro-F1 {row['macro_f1']:.3f}; {left['macro_f1']:.3f} ({left['macro_f1_low']:.3f} to "
            f"{left['macro_f1_high']:.3f}) without doubted labels ({labels:,}), which have {share:.0%} of the mistakes"
        )
    return found
