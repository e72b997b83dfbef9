"""Faults of scores, tags, thresholds and summaries."""

from collections.abc import Iterator

from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.verticals.held_out import HELD_OUT
from assets.verticals.quality import METHODS, MISTAKES
from assets.verticals.quality import QUALITY as TAG_QUALITY
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.scores import SCORES
from assets.verticals.taggers import TAGGERS
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from tests.worlds import more_faults as m
from tests.worlds.fault_catalogue.declaration import FaultRow, rows
from tests.worlds.faults import added, changed, lost


def _said(**changes: object) -> dict[str, object]:
    """Return what a brand's first testimonial says, with other values."""
    values = {"claims": ["I liked"], "testimonial_ids": [["testimonial-0"]], "polarities": ["positive"]}
    return {**values, "themes": [None], **changes}


def vertical_faults() -> Iterator[FaultRow]:
    yield from rows(
        "vertical/scores:every_item_scored",
        score_lost=lost(SCORES),
        score_foreign=added(SCORES, item_id="foreign"),
        score_repeated=added(SCORES),
        scores_impossible=changed(SCORES, "scores", "make_array(1000.0)"),
        partition_dropped=m.partition_dropped(SCORES),
    )
    yield from rows(
        "vertical/taggers:taggers_usable",
        zero_shot_lost=changed(TAGGERS, "method", "'other'"),
        parameters_cut=changed(TAGGERS, "parameters", "CAST('PK' AS BYTEA)"),
        descriptions_cut=changed(TAGGERS, "descriptions", "CAST('PK' AS BYTEA)"),
    )
    yield from rows(
        "vertical/held_out:held_out_are_labels",
        label_turned=changed(HELD_OUT, "is_member", "NOT is_member"),
        row_repeated=added(HELD_OUT),
        probability_impossible=changed(HELD_OUT, "probability", "CAST(2 AS DOUBLE)"),
    )
    yield from rows(
        "vertical/thresholds:every_vertical_has_threshold",
        threshold_lost=lost(THRESHOLDS),
        threshold_repeated=added(THRESHOLDS),
        threshold_not_a_number=changed(THRESHOLDS, "threshold", "CAST('NaN' AS DOUBLE)"),
    )
    yield from rows(
        "vertical/quality:figures_match_counts",
        precision_wrong=changed(TAG_QUALITY, "recall", "recall + 0.1"),
        more_right_than_members=changed(TAG_QUALITY, "right", "members + 1"),
    )
    yield from rows("vertical/methods:method_figures_possible", f1_wrong=changed(METHODS, "macro_f1", "2.0"))
    yield from rows(
        "vertical/mistakes:mistakes_are_labelled", label_turned=changed(MISTAKES, "is_member", "NOT is_member")
    )
    yield from rows(
        "vertical/roster:every_vertical_decided",
        vertical_lost=lost(ROSTER),
        vertical_repeated=added(ROSTER),
        shipped_unearned=changed(ROSTER, "status", "'drop'"),
    )
    yield from rows(
        "vertical/roster_history:history_ends_with_the_roster",
        history_lost=lost(HISTORY),
        history_stale=changed(HISTORY, "status", "'other'"),
    )
    yield from rows(
        "vertical/tags:tags_reach_thresholds",
        tag_lost=lost(TAGS),
        tag_unearned=added(TAGS, vertical="unearned"),
        tag_of_another_item=changed(TAGS, "item_id", "concat(item_id, '!')"),
        tag_with_another_score=changed(TAGS, "score", "score + 1"),
    )
    yield from rows(
        "summary/account_summaries:evidence_exists",
        summary_lost=lost(SUMMARIES),
        citation_foreign=added(SUMMARIES, post_ids=["foreign"]),
        summary_repeated=added(SUMMARIES),
        partition_dropped=m.partition_dropped(SUMMARIES),
    )
    yield from rows(
        "summary/account_summaries:sentences_are_quoted",
        sentence_of_nobody=changed(SUMMARIES, "summary", "'What nobody said.'"),
        line_without_a_post=changed(SUMMARIES, "summary", "concat(summary, '\nOf no post')"),
    )
    yield from rows(
        "summary/brand_testimonials:citations_are_live",
        citation_foreign=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[["foreign"]])),
        citation_missing=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[[]])),
        polarity_wrong=added(BRAND_TESTIMONIALS, **_said(polarities=["negative"])),
        brand_wrong=changed(BRAND_TESTIMONIALS, "brand", "'another'"),
        citation_rejected=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[["testimonial-0", "testimonial-3"]])),
    )
    yield from rows(
        "summary/brand_testimonials:every_brand_has_sentences_or_a_reason",
        brand_lost=lost(BRAND_TESTIMONIALS),
        brand_repeated=added(BRAND_TESTIMONIALS),
        number_wrong=changed(BRAND_TESTIMONIALS, "testimonials", "testimonials + 1"),
        reason_beside_sentences=changed(BRAND_TESTIMONIALS, "reason", "'none'"),
        sentences_lost=changed(BRAND_TESTIMONIALS, "claims", "NULL"),
    )
    yield from rows(
        "summary/brand_testimonials:testimonials_are_quoted",
        sentence_of_nobody=added(BRAND_TESTIMONIALS, **_said(claims=["What nobody said."])),
        sentence_in_capitals=added(BRAND_TESTIMONIALS, **_said(claims=["I LIKED"])),
    )
    yield from rows(
        "summary/model_testimonials:claims_cite_live_testimonials",
        claim_of_a_foreign_testimonial=m.model_said(testimonial_ids=[["foreign"]]),
        claim_without_testimonials=m.model_said(testimonial_ids=[[]]),
        claim_of_another_polarity=m.model_said(polarities=["negative"]),
    )
    yield from rows(
        "summary/model_testimonials:every_brand_has_claims_or_a_reason",
        brand_without_reason=m.model_said(claims=[], testimonial_ids=[], polarities=[], themes=[]),
        reason_beside_brand_claims=m.model_said(reason="none"),
        brand_foreign=m.model_said(brand="foreign"),
        claim_without_theme=m.model_said(themes=[]),
    )
    yield from rows(
        "summary/model_testimonials:testimonials_carry_the_claims",
        brand_claim_of_nobody=m.model_said(claims=["What nobody said."]),
        brand_number_of_nobody=m.model_said(lambda text: f"{text} 1999"),
    )
    yield from rows(
        "summary/model_testimonials:no_brand_waits",
        brand_outstanding=m.model_said(state="waiting", reason="in a batch"),
    )
    yield from rows("summary/model_testimonials:testimonials_spend_matches", brand_unpaid=m.model_said(usd="0.1"))
    yield from rows(
        "summary/model_summaries:claims_cite_live_posts",
        claim_of_a_foreign_post=m.model_summary(post_ids=[["foreign"]]),
        claim_without_posts=m.model_summary(post_ids=[[]]),
        claim_without_a_line_of_posts=m.model_summary(post_ids=[]),
    )
    yield from rows(
        "summary/model_summaries:every_row_has_claims_or_a_reason",
        reason_missing=m.model_summary(claims=[], post_ids=[]),
        reason_beside_claims=m.model_summary(reason="none"),
        account_foreign=m.model_summary(account_id="foreign"),
    )
    yield from rows(
        "summary/model_summaries:claims_are_supported",
        claim_of_nobody=m.model_summary(claims=["What nobody said."]),
        number_of_nobody=m.model_summary(lambda text: f"{text} 1999"),
        post_of_another_subject=m.model_summary(claims=["Quantum physics."]),
    )
    yield from rows(
        "summary/model_summaries:nothing_waits",
        answer_outstanding=m.model_summary(state="waiting", reason="in a batch"),
    )
    yield from rows("summary/model_summaries:spend_matches", answer_unpaid=m.model_summary(usd="0.1"))
    yield from rows(
        "vertical/model_tags:every_row_has_an_answer_or_a_reason",
        vertical_unknown=m.model_tag(verticals=["evil"]),
        reason_missing=m.model_tag(verticals=None),
        reason_beside_answer=m.model_tag(reason="none"),
        post_foreign=m.model_tag(post_id="foreign"),
        text_changed=m.model_tag(text_hash="old"),
    )
    yield from rows(
        "vertical/model_tags:nothing_waits",
        answer_outstanding=m.model_tag(state="waiting", verticals=None, reason="in a batch"),
    )
    yield from rows("vertical/model_tags:spend_matches", answer_unpaid=m.model_tag(usd="0.1"))
