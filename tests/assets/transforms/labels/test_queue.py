"""Which posts are labelled next, and in which order one annotator sees them."""

from typing import Any

import polars as pl

from assets.transforms.labels.queue import QUEUE_COLUMNS, candidates, in_order, with_reasons

NO_LABELS = pl.DataFrame(
    schema={"item_id": pl.String, "vertical": pl.String, "voters": pl.List(pl.String), "reason": pl.String}
)


def posts(*rows: tuple[str, str, str, float | None]) -> pl.DataFrame:
    """(item_id, account_id, language, score of food); that of music is 9."""
    columns = ["item_id", "account_id", "language", "food"]
    named = pl.DataFrame(rows, schema=columns, orient="row")
    return named.with_columns(method=pl.lit("probe"), scores=pl.concat_list("food", pl.lit(9.0))).drop("food")


def chosen(given: pl.DataFrame, labelled: pl.DataFrame = NO_LABELS, most: int = 10) -> list[tuple[str, str]]:
    found = candidates(given, labelled, {"food": ("probe", 1.0), "music": ("probe", 1.0)}, ["food", "music"], most)
    assert found.columns == QUEUE_COLUMNS
    return found.filter(pl.col("vertical") == "food").select("item_id", "reason").rows()


def test_the_nearest_to_the_threshold_come_first_in_each_language() -> None:
    given = posts(("a", "x", "en", 3.0), ("b", "y", "en", 0.9), ("c", "z", "el", 5.0), ("d", "w", "en", 1.3))
    assert chosen(given, most=2) == [("b", "uncertain"), ("d", "uncertain"), ("c", "uncertain")]


def test_a_post_that_the_method_does_not_judge_is_left_out() -> None:
    given = posts(("a", "x", "en", 3.0), ("b", "y", "en", None), ("c", "z", "en", 2.0))
    other = given.with_columns(method=pl.when(pl.col("item_id") == "c").then(pl.lit("zero_shot")).otherwise("method"))
    assert chosen(other) == [("a", "uncertain")]


def test_one_account_does_not_fill_the_queue() -> None:
    given = posts(*((f"p{n}", "loud", "en", 1.0) for n in range(9)), ("q", "quiet", "en", 7.0))
    assert [item for item, _ in chosen(given)] == ["p0", "p1", "p2", "q"]


def test_labelled_posts_are_shown_again_only_for_a_reason() -> None:
    place = {"item_id": pl.String, "vertical": pl.String}
    ballots = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), *((f"p{n}", "x") for n in range(40))]
    votes = pl.DataFrame([(item, "food", voter) for item, voter in ballots], [*place, "voter"], orient="row")
    disputed, sure = (pl.DataFrame([(item, "food")], schema=place, orient="row") for item in ("a", "b"))
    reasons = dict(with_reasons(votes, disputed, sure).select("item_id", "reason").iter_rows())
    assert (reasons["a"], reasons["b"]) == ("disputed", "control")
    overlap = {item for item, reason in reasons.items() if reason == "overlap"}
    assert 1 <= len(overlap) <= 10
    given = posts(*((item, item, "en", 1.0) for item in [*reasons, "new"]))
    found = dict(chosen(given, with_reasons(votes, disputed, sure), most=50))
    assert found == {"a": "disputed", "b": "control", "new": "uncertain", **dict.fromkeys(overlap, "overlap")}


def queue(**reasons: list[str]) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = [
        ("a", item, "food", "en", reason, float(number), [] if reason == "uncertain" else ["ann"])
        for reason, items in reasons.items()
        for number, item in enumerate(items)
    ]
    schema = dict.fromkeys(QUEUE_COLUMNS, pl.String()) | {"distance": pl.Float64(), "voters": pl.List(pl.String())}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_overlap_and_controls_come_between_at_their_places() -> None:
    open_posts = [f"u{n:02}" for n in range(40)]
    made = queue(uncertain=open_posts, overlap=["o1", "o2"], control=["c1"], disputed=["d1"])
    seen = in_order(made, "bo", done=set(), taken=set())
    assert seen[0] == "d1"
    assert (seen[7], seen[15], seen[19]) == ("o1", "o2", "c1")
    assert sorted(seen) == sorted([*open_posts, "o1", "o2", "c1", "d1"])
    assert in_order(made, "ann", done={"u00"}, taken=set()) == open_posts[1:], "ann labelled the others"


def test_what_another_labelled_today_is_left_out_but_for_the_planned_overlap() -> None:
    open_posts = [f"u{n:02}" for n in range(60)]
    seen = in_order(queue(uncertain=open_posts), "bo", done=set(), taken=set(open_posts[:50]))
    assert seen[-10:] == open_posts[50:]
    assert 1 <= len(set(seen) & set(open_posts[:50])) <= 15
