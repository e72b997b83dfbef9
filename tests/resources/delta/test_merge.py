"""Pure merges: desired rows, later rows, ties, moves, and their change feed."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.delta.fingerprint import add_up, content_sum, file_name, named_sum
from resources.delta.merge import FILE, Edit, MergeRule, difference, images, newer
from resources.delta.spec import Changes

SCHEMA: dict[str, Any] = {
    "account_bucket": pl.Int32, "key": pl.String, "text": pl.String, "items": pl.List(pl.String),
    "updated_at": pl.Datetime("us", "UTC"),
}  # fmt: skip
KEY = ("key",)
keys = st.text(st.sampled_from("ab'\\x"), max_size=2)
values = st.none() | st.sampled_from(["", "x", "y"])
lists = st.none() | st.lists(values, max_size=2)
moments = st.integers(1, 3).map(lambda day: datetime(2024, 1, day, tzinfo=UTC))
tables = st.dictionaries(keys, st.tuples(st.integers(0, 1), values, lists, moments), max_size=8)
rules = st.builds(MergeRule, st.booleans(), st.none() | moments)
brief = settings(max_examples=50, deadline=None)
Rows = dict[str, tuple[int, str | None, list[str | None] | None, datetime]]


def table(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame([(bucket, key, *rest) for key, (bucket, *rest) in rows.items()], schema=SCHEMA, orient="row")


def standing(rows: Rows) -> pl.DataFrame:
    return table(rows).with_columns(pl.lit(0, pl.UInt32).alias(FILE))


def applied(current: Rows, edit: Edit) -> pl.DataFrame:
    kept = table(current).join(edit.before, on="key", how="anti")
    return pl.concat([kept, edit.after.select(kept.columns)]).sort("key")


@brief
@given(tables, tables)
def test_the_difference_makes_the_desired_rows(current: Rows, desired: Rows) -> None:
    edit = difference(standing(current), table(desired), KEY)
    assert applied(current, edit).equals(table(desired).sort("key"))
    same = sum(current.get(key) == value for key, value in desired.items())
    assert edit.changes == Changes(
        inserted=len(desired.keys() - current.keys()),
        updated=len(desired.keys() & current.keys()) - same,
        deleted=len(current.keys() - desired.keys()),
        unchanged=same,
    )


@brief
@given(tables, tables, rules)
def test_a_window_wins_where_it_is_later_or_its_rule_says(current: Rows, window: Rows, rule: MergeRule) -> None:
    def wins(key: str) -> bool:
        if key not in current:
            return True
        was, row = current[key], window[key]
        if row[3] > was[3]:
            return True
        is_tie = row[3] == was[3] and rule.is_latest
        is_judged = rule.judged_below is not None and was[3] < rule.judged_below
        return was != row and (is_tie or is_judged)

    edit = newer(standing(current), table(window), KEY, rule)
    won = {key: row for key, row in window.items() if wins(key)}
    assert applied(current, edit).equals(table({**current, **won}).sort("key"))
    moved = sum(key in current and current[key][0] != row[0] for key, row in won.items())
    new = len(won.keys() - current.keys())
    assert edit.changes == Changes(new + moved, len(won) - new - moved, moved, len(window) - len(won))
    again = newer(standing({**current, **won}), table(won), KEY)
    assert again.changes == Changes(unchanged=len(won)), "a repeated window changes nothing"


@brief
@given(tables, tables)
def test_the_change_feed_tells_exactly_what_changed(current: Rows, window: Rows) -> None:
    edit = newer(standing(current), table(window), KEY)
    told: dict[str, dict[tuple[int, str], Any]] = {}
    for row in images(edit, KEY).select([*SCHEMA, "_change_type"]).iter_rows():
        told.setdefault(row[-1], {})[row[:2]] = row[:-1]
    before = {row[:2]: row for row in table(current).iter_rows()}
    after = {row[:2]: row for row in applied(current, edit).iter_rows()}
    changed = {at for at in before.keys() & after.keys() if before[at] != after[at]}
    expected = {
        "delete": {at: before[at] for at in before.keys() - after.keys()},
        "insert": {at: after[at] for at in after.keys() - before.keys()},
        "update_preimage": {at: before[at] for at in changed},
        "update_postimage": {at: after[at] for at in changed},
    }
    assert told == {kind: rows for kind, rows in expected.items() if rows}


def test_a_key_that_stands_twice_is_put_right() -> None:
    day = datetime(2024, 1, 1, tzinfo=UTC)
    twice = pl.concat([standing({"a": (0, "x", None, day)}), standing({"a": (0, "y", None, day)})])
    edit = difference(twice, table({"a": (0, "x", None, day)}), KEY)
    assert (edit.before.height, edit.after.height) == (2, 1)
    assert sorted(images(edit, KEY)["_change_type"]) == ["delete", "update_postimage", "update_preimage"]


@brief
@given(tables, st.randoms())
def test_a_sum_is_of_the_rows_however_they_are_ordered_or_cut(rows: Rows, random: Any) -> None:
    whole, shuffled = table(rows), list(rows)
    random.shuffle(shuffled)
    cut = random.randint(0, len(rows))
    parts = [table({key: rows[key] for key in part}) for part in (shuffled[:cut], shuffled[cut:])]
    assert add_up(content_sum(part) for part in parts) == content_sum(whole)
    assert content_sum(whole.with_columns(added=pl.lit(None, pl.Int64))) == content_sum(whole), (
        "a column that is added later"
    )
    assert named_sum(f"account_bucket=1/{file_name(content_sum(whole))}") == content_sum(whole)


@brief
@given(tables, tables)
def test_other_rows_have_another_sum(one: Rows, other: Rows) -> None:
    plain = {key: (0, *rest) for key, (_, *rest) in one.items()}, {key: (0, *rest) for key, (_, *rest) in other.items()}
    same = plain[0] == plain[1]
    assert (content_sum(table(one)) == content_sum(table(other))) is same


def test_contents_that_changed_places_have_another_sum() -> None:
    day = datetime(2024, 1, 1, tzinfo=UTC)
    one: Rows = {"a": (0, "x", None, day), "b": (0, "y", None, day)}
    other: Rows = {"a": (0, "y", None, day), "b": (0, "x", None, day)}
    assert content_sum(table(one)) != content_sum(table(other))
    swapped = table(one).select("account_bucket", pl.col("text").alias("key"), pl.col("key").alias("text"))
    assert content_sum(swapped) != content_sum(table(one).select("account_bucket", "key", "text"))
    assert named_sum("account_bucket=0/part-00001-c000.snappy.parquet") is None
