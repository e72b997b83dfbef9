"""Faults of what is searched, reported and exported."""

from collections.abc import Iterator

from assets.marts.content import POSTS_BY_DAY, VERTICAL_COVERAGE
from assets.marts.creators import CREATORS
from assets.marts.testimonials import TESTIMONIALS
from assets.search.judgements import JUDGEMENTS
from assets.search.judgements import LANDING as JUDGEMENTS_LANDING
from assets.search.retrieval_quality import QUALITY
from tests.worlds import faults as f
from tests.worlds import more_faults as m
from tests.worlds.fault_catalogue.declaration import MOJIBAKE, FaultRow, rows
from tests.worlds.faults import added, changed, lost
from tests.worlds.mart_faults import FORMULA, LINE_BREAK


def served_faults() -> Iterator[FaultRow]:
    yield from rows(
        "search/judgements:judgements_taken_once",
        row_repeated=added(JUDGEMENTS),
        row_of_no_file=added(JUDGEMENTS, source_file="landing/judgements/foreign.parquet"),
        record_lost=f.object_lost("ledger/search/judgements/taken/"),
        file_gone=f.object_lost(JUDGEMENTS_LANDING),
    )
    yield from rows(
        "search/retrieval_quality:every_question_measured",
        question_lost=lost(QUALITY),
        question_foreign=added(QUALITY, query="another"),
        judgements_wrong=changed(QUALITY, "relevant", "relevant + 1"),
        figure_impossible=changed(QUALITY, "hybrid_ndcg_at_10", "1.5"),
    )
    yield from rows(
        "search/retrieval_quality:hybrid_is_not_worse",
        hybrid_worse=m.edited(QUALITY, lambda rows: rows.with_columns(dense_ndcg_at_10=0.5, hybrid_ndcg_at_10=0.4)),
    )
    yield from rows(
        "mart/creators:totals_match_lake",
        creator_lost=lost(CREATORS),
        posts_wrong=changed(CREATORS, "posts", "posts + 1"),
        followers_wrong=changed(CREATORS, "followers", "followers + 1"),
        views_null=changed(CREATORS, "views", "NULL"),
        partition_dropped=m.partition_dropped(CREATORS),
    )
    yield from rows(
        "mart/creators:verticals_match_tags",
        verticals_wrong=changed(CREATORS, "verticals", "'unearned'"),
        creator_repeated=added(CREATORS),
    )
    yield from rows(
        "mart/posts_by_day:totals_match_lake",
        day_lost=lost(POSTS_BY_DAY),
        likes_wrong=changed(POSTS_BY_DAY, "likes", "likes + 1"),
        shares_null=changed(POSTS_BY_DAY, "shares", "NULL"),
    )
    yield from rows(
        "mart/posts_by_day:days_possible",
        day_repeated=added(POSTS_BY_DAY),
        accounts_above_posts=changed(POSTS_BY_DAY, "accounts", "posts + 1"),
    )
    yield from rows(
        "mart/vertical_coverage:totals_match_tags", tagged_wrong=changed(VERTICAL_COVERAGE, "tagged", "tagged + 1")
    )
    yield from rows(
        "mart/vertical_coverage:thresholds_match",
        vertical_lost=lost(VERTICAL_COVERAGE),
        threshold_stale=changed(VERTICAL_COVERAGE, "threshold", "threshold + 0.1"),
    )
    yield from rows(
        "mart/testimonials:totals_match_lake",
        testimonial_lost=lost(TESTIMONIALS),
        testimonial_foreign=added(TESTIMONIALS, testimonial_id="foreign"),
        rating_wrong=changed(TESTIMONIALS, "rating", "CAST(3 AS SMALLINT)"),
        text_misread=changed(TESTIMONIALS, "text", f"'{MOJIBAKE}'"),
    )
    yield from rows(
        "quicksight/exports:csv_matches_marts",
        file_lost=f.object_lost("quicksight/creators/data/"),
        text_is_formula=FORMULA,
        row_in_two_lines=LINE_BREAK,
        column_renamed=f.object_rewritten(
            "quicksight/posts_by_day/data/", lambda body: body.replace(b"network", b"platform", 1)
        ),
        row_repeated=f.object_rewritten(
            "quicksight/testimonials/data/", lambda body: body + body.splitlines(keepends=True)[-1]
        ),
        file_half_written=f.object_rewritten("quicksight/creators/data/", lambda body: body[: len(body) // 2]),
        text_too_long=f.object_rewritten(
            "quicksight/vertical_coverage/data/", lambda body: body.replace(b'"post"', b'"%s"' % (b'""' * 1023))
        ),
    )
