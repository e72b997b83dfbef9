"""Workloads of an estimate: what of a corpus is sent, and the team's case beside it."""

import polars as pl
import pytest

from assets.transforms.estimates import TEAMS_CASE, Interval, exact
from assets.transforms.summaries.sample import POST_TOKENS
from assets.transforms.workloads import MOST_POSTS, Asked, Corpus, Part, measured, teams_case, workloads

ASKED = Asked(prompt_tokens=100, post_overhead=10, answer_tokens=50)


def chunks(*rows: tuple[str, int, int]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema={"account_id": pl.String, "chunk_no": pl.Int32, "tokens": pl.Int32}, orient="row")


def test_a_run_sends_the_first_chunk_of_posts_within_the_budget() -> None:
    long = POST_TOKENS + 70
    found = measured(chunks(("a", 0, long), ("a", 1, 40), ("a", 0, 20), ("b", 0, 30)), 150)
    assert found.accounts == 2
    assert found.whole == found.capped == Part(3, long + 90, long + 60)
    assert found.sent == Part(1 + 1 + 1, 150 + 30, 150)


def test_at_most_twenty_thousand_posts_count() -> None:
    many = chunks(("small", 0, 7)).collect().vstack(chunks(*[("large", 0, 2)] * (2 * MOST_POSTS)).collect())
    found = measured(many.lazy(), 3_000)
    assert found.whole == Part(1 + 2 * MOST_POSTS, 7 + 4 * MOST_POSTS, 4 * MOST_POSTS)
    assert found.capped == Part(1 + MOST_POSTS, 7 + 2 * MOST_POSTS, 2 * MOST_POSTS)


def test_no_texts_are_no_tokens() -> None:
    assert measured(chunks(), 100) == Corpus(0, Part(), Part(), Part())


def test_tokens_are_those_of_the_model_with_what_a_request_adds() -> None:
    corpus = Corpus(4, Part(100, 1_000, 400), Part(90, 900, 300), Part(10, 100, 50))
    sent, capped, whole = workloads(corpus, Interval(1.5, 1.2, 1.8), ASKED, 60)
    assert (sent.text_tokens, sent.overhead_tokens) == (Interval(150, 120, 180), 100)
    assert sent.input_tokens == Interval(650, 620, 680)
    assert (sent.output_tokens, sent.largest, sent.posts) == (200, 125, 100)
    assert (capped.text_tokens.value, whole.text_tokens.value) == (1.5 * 900, 1.5 * 1_000)
    assert len({sent.name, capped.name, whole.name}) == 3


def test_the_team_s_case_shrinks_with_posts_and_with_sampling() -> None:
    sampled, capped, whole = teams_case(exact(1.0), ASKED, 3_000)
    assert whole is TEAMS_CASE
    assert whole.text_tokens.value * 0.5 < capped.text_tokens.value < whole.text_tokens.value
    assert sampled.input_tokens.value == pytest.approx(440_000 * (3_000 + 75 * 10 + 100))
    assert sampled.input_tokens.value * 0.88e-6 < 1_700
