"""How much of the apparent error is in the labels."""

import polars as pl

from assets.transforms.verticals.audit import audit

DOUBTED = pl.DataFrame({"item_kind": ["post"], "item_id": ["p3"], "vertical": ["food"]})
CALLS = pl.DataFrame(
    {
        "method": ["probe"] * 6,
        "item_kind": ["post"] * 6,
        "item_id": [f"p{n}" for n in range(6)],
        "account_id": [f"a{n}" for n in range(6)],
        "vertical": ["food"] * 6,
        "is_member": [True, True, True, False, True, False],
        "is_called": [True, True, True, True, False, False],
        "probability": [0.9, 0.8, 0.7, 0.9, 0.2, 0.1],
        "threshold": [0.5] * 6,
    }
)


def test_the_mistakes_on_doubted_labels_are_counted_and_left_out() -> None:
    found = audit(CALLS, DOUBTED, ["food"])["probe", "post"]
    assert found.startswith("macro-F1 0.750; 0.857 (")  # 6 / 8 with the doubted label, 6 / 7 without it
    assert found.endswith("without doubted labels (1), which have 50% of the mistakes")


def test_without_doubts_nothing_is_left_out_and_without_labels_nothing_is_said() -> None:
    found = audit(CALLS, DOUBTED.clear(), ["food"])["probe", "post"]
    assert found.startswith("macro-F1 0.750; 0.750 (")
    assert found.endswith("without doubted labels (0), which have 0% of the mistakes")
    assert audit(CALLS.clear(), DOUBTED, ["food"]) == {}
