"""The keys of a source and of the lake, compared: each is judged by its times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.key_comparison import Bounds, compare_keys

MOMENTS = st.none() | st.integers(0, 20).map(lambda days: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days))
BOUNDS = Bounds(datetime(2024, 1, 15, tzinfo=UTC), datetime(2024, 1, 11, tzinfo=UTC))
_SOURCE: Any = {"key": pl.String, "updated_at": pl.Datetime("us", "UTC")}
_LAKE: Any = {**_SOURCE, "is_deleted": pl.Boolean}


@given(
    source=st.dictionaries(st.text("abc", min_size=1, max_size=2), MOMENTS),
    lake=st.dictionaries(
        st.text("abc", min_size=1, max_size=2), st.tuples(MOMENTS.filter(lambda m: m is not None), st.booleans())
    ),
)
def test_every_key_is_judged_as_a_loop_would(
    source: dict[str, datetime | None], lake: dict[str, tuple[datetime, bool]]
) -> None:
    rows = [(key, *held) for key, held in lake.items()]
    found = compare_keys(
        pl.DataFrame(list(source.items()), _SOURCE, orient="row"), pl.DataFrame(rows, _LAKE, orient="row"), BOUNDS
    )
    judged, landed = BOUNDS.judged_below, BOUNDS.landed_below
    gone = {key for key, (at, dead) in lake.items() if key not in source and not dead and at < BOUNDS.deletion_time}
    dated = {key: at for key, at in source.items() if at is not None and at < landed}
    assert set(found.vanished) == gone
    assert set(found.missing) == {key for key in dated if key not in lake}
    assert set(found.stale) == {key for key, at in dated.items() if key in lake and lake[key][0] < at}
    assert set(found.ahead) == {key for key, at in dated.items() if key in lake and at < lake[key][0] < judged}
    assert set(found.undated) == {key for key, at in source.items() if at is None}


def test_rows_without_a_key_are_counted_and_compared_with_nothing() -> None:
    at = datetime(2024, 5, 1, tzinfo=UTC)
    source = pl.DataFrame({"key": ["a", None, None], "updated_at": [at] * 3})
    lake = pl.DataFrame({"key": ["a"], "updated_at": [at], "is_deleted": [False]})
    later = at + timedelta(days=1)
    found = compare_keys(source, lake, Bounds(later, later))
    assert (found.to_read, found.vanished.to_list(), found.keyless) == ([], [], 2)
