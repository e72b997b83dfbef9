"""Windows of a real database: nothing lost, nothing twice, whatever commits late, lags, ties, breaks off or crashes."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.extraction import Extracted
from assets.transforms.source.overlap import Overlap, pack, unpack
from resources.local_stack import EmbeddedStack
from resources.raw.store import WindowTakenError
from resources.s3.client import S3Resource
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import SourceUnavailableError
from tests.worlds.landing import HOUR, PUT_POST, AtMark, Landing

NO_SKEW = timedelta(0)


class Killed(BaseException):
    """Ends an extraction as a kill would: nobody catches it."""


@pytest.fixture
def landing(stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]") -> Landing:
    return Landing(stack, s3, source)


def test_a_row_that_commits_late_is_in_the_next_window_and_in_no_other(landing: Landing) -> None:
    landing.put("early", "e")
    with psycopg.connect(landing.stack.postgres_dsn) as late:
        late.execute("INSERT INTO posts (post_id, account_id, network, updated_at) VALUES ('late', 'a', 'x', now())")
        landing.put("during", "d")
        landing.extract(skew=NO_SKEW)
        assert set(landing.rows()["post_id"]) == {"early"}
        late.commit()
    landing.extract(skew=NO_SKEW)
    landing.extract(skew=NO_SKEW)
    assert Counter(landing.rows()["post_id"]) == {"early": 1, "during": 1, "late": 1}
    first, second = landing.windows()
    assert (first.lower, first.upper) == (None, second.lower)


def test_a_slow_clock_below_the_window_is_read_again_and_lands_once(landing: Landing) -> None:
    landing.put("a", "a")
    landing.extract()
    behind = landing.put("behind", "b", landing.now() - timedelta(minutes=59))
    landing.extract(skew=NO_SKEW)
    assert set(landing.rows()["post_id"]) == {"a"}, "without the allowance it is lost"
    found = landing.extract()
    assert found.window is not None
    assert found.window.lower is not None
    assert behind < datetime.fromisoformat(found.window.lower)
    assert (found.repeated, found.window.overlap_seconds) == (1, 3600)
    assert Counter(landing.rows()["post_id"]) == {"a": 1, "behind": 1}
    objects = {item.key for item in landing.s3.list_objects("")}
    again = landing.extract()
    assert (again.window, again.repeated) == (None, 2)
    assert {item.key for item in landing.s3.list_objects("")} == objects


def test_another_content_at_an_equal_moment_lands_again(landing: Landing) -> None:
    moment = landing.put("a", "first").replace(microsecond=0)
    landing.put("a", "first", moment)
    landing.put("b", "stays", moment)
    landing.extract()
    for text in ("second", "first", "third"):
        landing.put("a", text, moment)
        found = landing.extract()
        assert (found.window is not None, found.repeated) == (True, 1)
        assert landing.newest() == landing.in_source()
    assert Counter(landing.rows()["post_id"]) == {"a": 4, "b": 1}


def test_a_row_ahead_of_the_clock_is_taken_when_its_time_has_come(landing: Landing) -> None:
    landing.put("a", "a")
    ahead = landing.put("ahead", "x", landing.now() + HOUR)
    found = landing.extract()
    assert landing.postgres.count_ahead("posts", "updated_at", found.mark) == 1
    assert set(landing.rows()["post_id"]) == {"a"}
    landing.extract(AtMark(dsn=landing.stack.postgres_dsn, mark=(ahead + timedelta(seconds=1)).isoformat()))
    assert Counter(landing.rows()["post_id"]) == {"a": 1, "ahead": 1}


def test_a_mark_that_went_back_cuts_no_window(landing: Landing) -> None:
    landing.put("a", "a")
    first = landing.extract()
    earlier = AtMark(dsn=landing.stack.postgres_dsn, mark=(first.mark - timedelta(minutes=5)).isoformat())
    landing.put("b", "b", first.mark - timedelta(minutes=10))
    assert landing.extract(earlier).window is None
    landing.extract()
    first_window, second = landing.windows()
    assert second.lower == first_window.upper
    assert landing.newest() == landing.in_source()


def test_a_first_load_goes_on_where_a_kill_left_it(landing: Landing) -> None:
    landing.fill(3_000)
    landing.connection.execute("ANALYZE posts")
    read = 0

    def killed_after(most: int) -> Callable[[int], None]:
        def on_rows(rows: int) -> None:
            nonlocal read
            read += rows
            if read > most:
                raise Killed

        return on_rows

    for most in (700, 900):
        with pytest.raises(Killed):
            landing.extract(part_rows=500, on_rows=killed_after(read + most))
        assert landing.windows() == []
    landing.put("new", "after the plan")
    landing.connection.execute("UPDATE posts SET text = 'changed', updated_at = now() WHERE post_id = md5('1')")
    found = landing.extract(part_rows=500)
    assert found.parts == 6
    assert 0 < landing.read < 2_500, "finished parts are not read again"
    [window] = landing.windows()
    assert window.rows == len(landing.rows()["post_id"].unique()) == 2_999, (
        "what changed since the plan is the next one's"
    )
    landing.extract(part_rows=500)
    assert landing.newest() == landing.in_source()
    assert Counter(landing.rows()["post_id"].to_list()).most_common(1)[0][1] == 1


def test_a_plan_for_other_columns_begins_anew(landing: Landing) -> None:
    landing.fill(1_000)
    with pytest.raises(Killed):
        landing.extract(part_rows=300, on_rows=_kill)
    landing.connection.execute("ALTER TABLE posts ADD COLUMN later text")
    try:
        landing.extract(part_rows=300)
        [window] = landing.windows()
        assert window.rows == 1_000
        assert "later" in window.source_columns
    finally:
        landing.connection.execute("ALTER TABLE posts DROP COLUMN later")


def _kill(_rows: int) -> None:
    raise Killed


def test_of_two_runs_at_once_one_completes_the_window(landing: Landing) -> None:
    landing.fill(1_000)
    other: list[Extracted] = []

    def meanwhile(_rows: int) -> None:
        if not other:
            other.append(landing.extraction(part_rows=300, on_rows=lambda _rows: None).changes())

    with pytest.raises(WindowTakenError, match="Window 1 of postgres/posts"):
        landing.extract(part_rows=300, on_rows=meanwhile)
    [window] = landing.windows()
    assert window == other[0].window
    assert sorted(landing.rows()["post_id"]) == sorted(landing.in_source())


@pytest.mark.parametrize("part_rows", [1_000_000, 4_000])
def test_a_connection_that_is_cut_is_a_transient_failure_and_doubles_nothing(landing: Landing, part_rows: int) -> None:
    landing.fill(8_000, "repeat(md5(n::text), 240)")  # 30 MB a part: more than sockets hold, so the cut is noticed
    small = PostgresResource(dsn=landing.stack.postgres_dsn, batch_bytes=100_000)
    cut: list[int] = []
    started = landing.connection.execute("SELECT clock_timestamp()").fetchone()

    def cut_once(_rows: int) -> None:
        if not cut:  # and only this test's: a connection of the test before may be ending still
            ended = landing.connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'cippus' AND backend_start > %s",
                started,
            ).fetchone()
            assert ended is not None
            cut.append(ended[0])

    with pytest.raises(SourceUnavailableError, match="The source database"):
        landing.extract(small, part_rows=part_rows, on_rows=cut_once)
    assert cut[0] >= 1, "and connections that this test's extraction has closed may be ending still"
    assert landing.windows() == []
    landing.extract(small, part_rows=part_rows, on_rows=cut_once)
    assert sorted(landing.rows()["post_id"]) == sorted(landing.in_source())


def test_the_first_window_of_another_source_begins_where_the_others_end(landing: Landing) -> None:
    class Elsewhere(PostgresResource):
        @property
        def name(self) -> str:
            return "elsewhere"

    landing.put("before", "b")
    first = landing.extract().window
    assert first is not None
    landing.put("after", "a")
    switched = landing.extract(Elsewhere(dsn=landing.stack.postgres_dsn)).window
    assert switched is not None
    assert (switched.number, switched.lower) == (1, first.upper)
    landing.put("back", "again")
    back = landing.extract().window
    assert back is not None
    assert (back.number, back.lower) == (2, first.upper)
    assert landing.newest() == landing.in_source()
    found = landing.raw_store.read(switched.files)
    assert set(found["post_id"]) == {"before", "after"}, "what lies within the allowance is read with it"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from([0, 0, 0, 1, 50, 59])),
        st.tuples(st.just("late"), st.sampled_from("xyz"), st.just(0)),
        st.tuples(st.sampled_from(["commit", "extract", "extract", "killed"]), st.just(""), st.just(0)),
    ),
    max_size=16,
)


@given(actions=ACTIONS)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_history_the_newest_versions_are_the_sources(
    landing: Landing, actions: Sequence[tuple[str, str, int]]
) -> None:
    """Late commits, clocks up to an hour behind, rewritten moments and kills; each history goes on from the last."""
    late: psycopg.Connection[Any] | None = None
    try:
        for number, (action, key, minutes_behind) in enumerate(actions):
            if action == "put":
                # A version that is older than the one before it could not win; a clock of whole seconds ties them.
                held = landing.in_source().get(key)
                moment = landing.now().replace(microsecond=0) - timedelta(minutes=minutes_behind)
                landing.put(key, f"{key} {number}", max(moment, held[1]) if held else moment)
            elif action == "late":
                late = late or psycopg.connect(landing.stack.postgres_dsn)
                late.execute(PUT_POST.replace("%s)", "now())"), (key, f"{key} {number}"))
            elif action == "commit" and late is not None:
                late.commit()
                late.close()
                late = None
            elif action == "extract":
                landing.extract()
            elif action == "killed" and landing.in_source():
                with suppress(Killed):  # it comes to its end where there is nothing to be read
                    landing.extract(on_rows=_kill)
    finally:
        if late is not None:
            late.commit()
            late.close()
    landing.extract()
    assert landing.newest() == landing.in_source()
    for before, after in itertools.pairwise(landing.windows()):
        assert before.upper == after.lower


def test_digests_know_a_row_by_its_whole_content() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {"post_id": ["a", "b"], "hashtags": [["x"], None], "updated_at": [moment, moment]},
        schema_overrides={"updated_at": pl.Datetime("us", "UTC")},
    )
    before = Overlap("updated_at", None, moment)
    assert before.fresh(rows.to_arrow()).num_rows == 2
    known = unpack(pack(before.remembered))
    assert len(known) == 2
    changed = rows.with_columns(hashtags=pl.Series([["x"], ["y"]]))
    after = Overlap("updated_at", moment + HOUR, moment, known)
    assert after.fresh(changed.to_arrow())["post_id"].to_pylist() == ["b"]
    assert after.repeated == 1
    at_lower = Overlap("updated_at", moment, moment, known)
    assert at_lower.fresh(rows.to_arrow()).num_rows == 2, "rows of the window itself are never left out"
