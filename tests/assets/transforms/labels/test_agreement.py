"""Krippendorff's alpha on published examples, and how far each annotator is in line with the others."""

import polars as pl
import pytest

from assets.labels.agreement import AGREEMENT, ANNOTATORS
from assets.transforms.labels.agreement import agreement, annotators
from tests.assets.transforms.labels.test_votes import votes


def matrix(*coders: str) -> pl.DataFrame:
    """Votes of coders, a character a unit: 1, 0, or a dot for none."""
    return votes(
        *[
            (f"u{unit}", value == "1", f"coder {coder}")
            for coder, values in enumerate(coders)
            for unit, value in enumerate(values)
            if value != "."
        ]
    )


@pytest.mark.parametrize(
    ("coders", "alpha"),
    [
        (("0100000010", "1110010000"), 0.095),  # Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, A
        (("0101", "0101"), 1.0),
        (("0101", "1010"), -0.75),
        (("1111", "1111"), None),
        (("01..", "..01"), None),
        (("01.01", "010.1", "01..."), 1.0),
    ],
)
def test_alpha(coders: tuple[str, ...], alpha: float | None) -> None:
    [found] = agreement(matrix(*coders))["alpha"]
    assert found == (alpha if alpha is None else pytest.approx(alpha, abs=5e-4))


def test_items_votes_and_even_splits_are_counted() -> None:
    [row] = agreement(matrix("0110", "01.1", "1..1")).select(AGREEMENT.schema.names).rows(named=True)
    assert {name: row[name] for name in ("items", "items_compared", "votes", "annotators", "even_splits")} == {
        "items": 4, "items_compared": 3, "votes": 9, "annotators": 3, "even_splits": 0
    }  # fmt: skip


def test_each_annotator_is_compared_with_the_others() -> None:
    given = pl.concat([matrix("11010", "110.1", "1100."), votes(("u4", True, "eva", None, True))])
    found = {row["voter"]: row for row in annotators(given).select(ANNOTATORS.schema.names).rows(named=True)}
    assert found["coder 0"] == {
        "voter": "coder 0", "labels": 5, "compared": 5, "agreeing": 3, "controls": 4, "controls_right": 3
    }  # fmt: skip
    assert found["eva"]["compared"] == 0
