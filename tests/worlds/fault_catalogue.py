"""The catalogue of data faults: each with its stage, how it is injected, and the check that must fire."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from assets.audience import DEMOGRAPHICS, REPORTS
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from assets.labels.agreement import AGREEMENT, ANNOTATORS
from assets.labels.gold import GOLD
from assets.labels.issues import ISSUES
from assets.labels.pairs import HARD_NEGATIVES, LEARNING_CURVE, TRAINING_PAIRS
from assets.labels.queue import NEXT_TO_LABEL
from assets.labels.votes import LANDING, VOTES
from assets.lake import LAKE_TABLES
from assets.marts.content import POSTS_BY_DAY, VERTICAL_COVERAGE
from assets.marts.creators import CREATORS
from assets.marts.operations import SPEND
from assets.marts.testimonials import TESTIMONIALS
from assets.quarantine import QUARANTINE
from assets.search.judgements import JUDGEMENTS
from assets.search.judgements import LANDING as JUDGEMENTS_LANDING
from assets.search.retrieval_quality import QUALITY
from assets.stages import TABLES
from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.verticals.held_out import HELD_OUT
from assets.verticals.model_tags import MODEL_TAGS
from assets.verticals.quality import METHODS, MISTAKES
from assets.verticals.quality import QUALITY as TAG_QUALITY
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.scores import SCORES
from assets.verticals.taggers import TAGGERS
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from tests.worlds import faults as f
from tests.worlds import more_faults as m
from tests.worlds.faults import Fault, added, changed, lost
from tests.worlds.mart_faults import FORMULA, LINE_BREAK, MART_FAULTS, spent_below_zero

MOJIBAKE = "Ã© â€™"


@dataclass(frozen=True)
class FaultRow:
    """One fault. ``check`` is ``asset:name`` of the check that must fire."""

    name: str
    inject: Fault
    check: str

    @property
    def stage(self) -> str:
        """The group of the asset whose data is bad."""
        return self.check.partition("/")[0]


def _rows(check: str, **faults: Fault) -> Iterator[FaultRow]:
    return (FaultRow(name.replace("_", " "), inject, check) for name, inject in faults.items())


def _raw(name: str) -> Iterator[FaultRow]:
    key, made = LAKE_TABLES[name].key[0], "posted" if name == "posts" else "created"
    window = f"raw/{name}/source=postgres/window="
    yield from _rows(
        f"raw/{name}:windows_complete",
        file_lost=f.object_lost(window),
        file_one_byte_short=f.object_rewritten(window, lambda body: body[:-1]),
        file_half_written=f.object_rewritten(window, lambda body: body[: len(body) // 2]),
        file_empty=f.object_rewritten(window, lambda _: b""),
        window_skipped=f.window_skipped(name),
        window_doubled=m.window_added(name, lambda window: window),
        window_overlaps=m.window_added(name, lambda window: replace(window, upper="2099-01-01T00:00:00+00:00")),
    )
    yield from _rows(
        f"raw/{name}:contract_holds",
        column_added=f.source_altered(f"ALTER TABLE {name} ADD reach bigint", f"ALTER TABLE {name} DROP reach"),
        column_renamed=f.source_altered(
            f"ALTER TABLE {name} RENAME {made}_at TO made_at", f"ALTER TABLE {name} RENAME made_at TO {made}_at"
        ),
        column_retyped=f.source_altered(
            f"ALTER TABLE {name} ALTER deleted_at TYPE text",
            f"ALTER TABLE {name} ALTER deleted_at TYPE timestamptz USING deleted_at::timestamptz",
        ),
    )
    first = f"{key} = (SELECT min({key}) FROM {name})"
    yield from _rows(
        f"raw/{name}:all_rows_read",
        row_undated=f.source_altered(
            f"UPDATE {name} SET updated_at = NULL WHERE {first}",
            f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at IS NULL",
        ),
        clock_jumped_back=f.source_altered(
            f"UPDATE {name} SET updated_at = '2020-01-01' WHERE {first}",
            f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at < '2021-01-01'",
        ),
    )
    yield from _rows(
        f"raw/{name}:sources_agree",
        other_source_lacks_a_file=f.another_source(name, lambda _, files: files[1:]),
        other_source_doubles_a_file=f.another_source(name, lambda _, files: (*files, files[0])),
        other_source_has_other_values=f.another_source(name, f.rewritten),
    )


def _lake(name: str) -> Iterator[FaultRow]:
    spec = LAKE_TABLES[name]
    key, text = spec.key[0], "bio" if name == "accounts" else "text"
    impossible = {
        "accounts": pl.lit(-1).alias("followers"),
        "posts": pl.lit(-5).alias("likes"),
        "testimonials": pl.lit(9).alias("rating"),
    }[name]
    yield from _rows(
        f"lake/{name}:reconciles_with_raw",
        row_lost=lost(spec),
        row_foreign=added(spec, **{key: "foreign"}),
        row_repeated_by_another_writer=added(spec),
        row_in_two_buckets=added(spec, account_bucket=2),
        rows_stale=changed(spec, "updated_at", "updated_at - INTERVAL '1 day'"),
        rows_changed_by_another_writer=changed(spec, text, "'never written'"),
        partition_dropped=m.partition_dropped(spec),
        manifest_lost=m.manifest_lost(name),
        log_tampered=m.log_tampered(spec),
    )
    yield from _rows(
        f"lake/{name}:keys_unique",
        row_misplaced=added(spec, account_bucket=2),
        row_repeated=added(spec),
        key_null=added(spec, **{key: None}),
    )
    yield from _rows(f"lake/{name}:keys_in_one_bucket", key_in_two_buckets=added(spec, account_bucket=2))
    yield from _rows(
        f"lake/{name}:values_plausible",
        clock_jumped_ahead=changed(spec, "updated_at", "updated_at + INTERVAL '20 years'"),
        clock_at_zero=changed(spec, "updated_at", "updated_at - INTERVAL '50 years'"),
        figure_impossible=m.edited(spec, lambda rows: pl.concat([rows.with_columns(impossible)] * 3)),
        required_null=changed(spec, "updated_at", "NULL"),
    )
    yield from _rows(
        f"lake/{name}:texts_readable",
        texts_misread=m.edited(spec, lambda rows: pl.concat([rows.with_columns(pl.lit(MOJIBAKE).alias(text))] * 3)),
    )


def _written() -> Iterator[FaultRow]:
    empty = {  # and a fault that fills them
        SPEND.name: spent_below_zero,
        MODEL_SUMMARIES.name: m.model_summary(),
        MODEL_TAGS.name: m.model_tag(),
        MODEL_TESTIMONIALS.name: m.model_said(),
    }
    for spec in TABLES:
        faults = {"file_half_written": m.file_cut(spec, 0.5)}
        if spec.partitioned:
            faults["file_emptied"] = m.file_emptied(spec)
        if spec.name in empty:
            faults = {name: m.both(empty[spec.name], fault) for name, fault in faults.items()}
        yield from _rows(f"{spec.name}:rows_as_written", **faults)
    for name, spec in LAKE_TABLES.items():
        yield from _rows(
            f"lake/{name}:rows_as_written",
            changed_in_place=f.object_rewritten(f"{spec.name}/account_bucket=", f.changed_in_place(spec.key[0])),
        )


def _corpus() -> Iterator[FaultRow]:
    yield from _rows(
        "corpus/decisions:every_post_decided",
        decision_lost=lost(DECISIONS),
        decision_foreign=added(DECISIONS, post_id="foreign"),
        decision_repeated=added(DECISIONS),
        partition_dropped=m.partition_dropped(DECISIONS),
        log_tampered=m.log_tampered(DECISIONS),
    )
    yield from _rows(
        "corpus/decision_counts:counts_add_up",
        count_lost=lost(DECISION_COUNTS),
        count_repeated=added(DECISION_COUNTS),
        count_wrong=changed(DECISION_COUNTS, "posts", "posts + 1"),
    )
    yield from _rows(
        "corpus/cippus_text:chunks_match_decisions",
        chunk_lost=lost(CHUNKS),
        chunk_foreign=added(CHUNKS, post_id="foreign", point_id="foreign"),
        chunk_repeated=added(CHUNKS),
        chunk_numbers_with_a_hole=added(CHUNKS, chunk_no=5, point_id="hole"),
        partition_dropped=m.partition_dropped(CHUNKS),
        log_tampered=m.log_tampered(CHUNKS),
    )
    yield from _rows(
        "corpus/terms:frequencies_match_chunks",
        term_lost=lost(TERMS),
        frequency_zero=changed(TERMS, "documents", "0"),
        frequency_too_high=changed(TERMS, "documents", "1000"),
        frequency_off_by_one=changed(TERMS, "documents", "documents + 1"),
    )


def _embedding() -> Iterator[FaultRow]:
    yield from _rows(
        "embedding/cippus_text:vectors_unit_length",
        wrong_dimension=added(VECTORS, content_hash="short", vector=[0.5, 0.5]),
        not_normalised=added(VECTORS, content_hash="long", vector=[1.0] * 384),
        not_finite=added(VECTORS, content_hash="nan", vector=[float("nan")] * 384),
        nearly_zero=added(VECTORS, content_hash="zero", vector=[1e-3] * 384),
        vector_repeated=added(VECTORS),
    )
    yield from _rows(
        "embedding/cippus_text:every_chunk_has_vector",
        vector_lost=lost(VECTORS),
        of_another_model=changed(VECTORS, "model", "'other'"),
        partition_dropped=m.partition_dropped(VECTORS),
        log_tampered=m.log_tampered(VECTORS),
    )
    yield from _rows("embedding/cippus_text:vectors_match_texts", vectors_swapped=m.edited(VECTORS, m.swapped_vectors))


def _said(**changes: object) -> dict[str, object]:
    """Return what a brand's first testimonial says, with other values."""
    values = {"claims": ["I liked"], "testimonial_ids": [["testimonial-0"]], "polarities": ["positive"]}
    return {**values, "themes": [None], **changes}


def _verticals() -> Iterator[FaultRow]:
    yield from _rows(
        "vertical/scores:every_item_scored",
        score_lost=lost(SCORES),
        score_foreign=added(SCORES, item_id="foreign"),
        score_repeated=added(SCORES),
        scores_impossible=changed(SCORES, "scores", "make_array(1000.0)"),
        partition_dropped=m.partition_dropped(SCORES),
    )
    yield from _rows(
        "vertical/taggers:taggers_usable",
        zero_shot_lost=changed(TAGGERS, "method", "'other'"),
        parameters_cut=changed(TAGGERS, "parameters", "CAST('PK' AS BYTEA)"),
        descriptions_cut=changed(TAGGERS, "descriptions", "CAST('PK' AS BYTEA)"),
    )
    yield from _rows(
        "vertical/held_out:held_out_are_labels",
        label_turned=changed(HELD_OUT, "is_member", "NOT is_member"),
        row_repeated=added(HELD_OUT),
        probability_impossible=changed(HELD_OUT, "probability", "CAST(2 AS DOUBLE)"),
    )
    yield from _rows(
        "vertical/thresholds:every_vertical_has_threshold",
        threshold_lost=lost(THRESHOLDS),
        threshold_repeated=added(THRESHOLDS),
        threshold_not_a_number=changed(THRESHOLDS, "threshold", "CAST('NaN' AS DOUBLE)"),
    )
    yield from _rows(
        "vertical/quality:figures_match_counts",
        precision_wrong=changed(TAG_QUALITY, "recall", "recall + 0.1"),
        more_right_than_members=changed(TAG_QUALITY, "right", "members + 1"),
    )
    yield from _rows("vertical/methods:method_figures_possible", f1_wrong=changed(METHODS, "macro_f1", "2.0"))
    yield from _rows(
        "vertical/mistakes:mistakes_are_labelled", label_turned=changed(MISTAKES, "is_member", "NOT is_member")
    )
    yield from _rows(
        "vertical/roster:every_vertical_decided",
        vertical_lost=lost(ROSTER),
        vertical_repeated=added(ROSTER),
        shipped_unearned=changed(ROSTER, "status", "'drop'"),
    )
    yield from _rows(
        "vertical/roster_history:history_ends_with_the_roster",
        history_lost=lost(HISTORY),
        history_stale=changed(HISTORY, "status", "'other'"),
    )
    yield from _rows(
        "vertical/tags:tags_reach_thresholds",
        tag_lost=lost(TAGS),
        tag_unearned=added(TAGS, vertical="unearned"),
        tag_of_another_item=changed(TAGS, "item_id", "concat(item_id, '!')"),
        tag_with_another_score=changed(TAGS, "score", "score + 1"),
    )
    yield from _rows(
        "summary/account_summaries:evidence_exists",
        summary_lost=lost(SUMMARIES),
        citation_foreign=added(SUMMARIES, post_ids=["foreign"]),
        summary_repeated=added(SUMMARIES),
        partition_dropped=m.partition_dropped(SUMMARIES),
    )
    yield from _rows(
        "summary/account_summaries:sentences_are_quoted",
        sentence_of_nobody=changed(SUMMARIES, "summary", "'What nobody said.'"),
        line_without_a_post=changed(SUMMARIES, "summary", "concat(summary, '\nOf no post')"),
    )
    yield from _rows(
        "summary/brand_testimonials:citations_are_live",
        citation_foreign=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[["foreign"]])),
        citation_missing=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[[]])),
        polarity_wrong=added(BRAND_TESTIMONIALS, **_said(polarities=["negative"])),
        brand_wrong=changed(BRAND_TESTIMONIALS, "brand", "'another'"),
        citation_rejected=added(BRAND_TESTIMONIALS, **_said(testimonial_ids=[["testimonial-0", "testimonial-3"]])),
    )
    yield from _rows(
        "summary/brand_testimonials:every_brand_has_sentences_or_a_reason",
        brand_lost=lost(BRAND_TESTIMONIALS),
        brand_repeated=added(BRAND_TESTIMONIALS),
        number_wrong=changed(BRAND_TESTIMONIALS, "testimonials", "testimonials + 1"),
        reason_beside_sentences=changed(BRAND_TESTIMONIALS, "reason", "'none'"),
        sentences_lost=changed(BRAND_TESTIMONIALS, "claims", "NULL"),
    )
    yield from _rows(
        "summary/brand_testimonials:testimonials_are_quoted",
        sentence_of_nobody=added(BRAND_TESTIMONIALS, **_said(claims=["What nobody said."])),
        sentence_in_capitals=added(BRAND_TESTIMONIALS, **_said(claims=["I LIKED"])),
    )
    yield from _rows(
        "summary/model_testimonials:claims_cite_live_testimonials",
        claim_of_a_foreign_testimonial=m.model_said(testimonial_ids=[["foreign"]]),
        claim_without_testimonials=m.model_said(testimonial_ids=[[]]),
        claim_of_another_polarity=m.model_said(polarities=["negative"]),
    )
    yield from _rows(
        "summary/model_testimonials:every_brand_has_claims_or_a_reason",
        brand_without_reason=m.model_said(claims=[], testimonial_ids=[], polarities=[], themes=[]),
        reason_beside_brand_claims=m.model_said(reason="none"),
        brand_foreign=m.model_said(brand="foreign"),
        claim_without_theme=m.model_said(themes=[]),
    )
    yield from _rows(
        "summary/model_testimonials:testimonials_carry_the_claims",
        brand_claim_of_nobody=m.model_said(claims=["What nobody said."]),
        brand_number_of_nobody=m.model_said(lambda text: f"{text} 1999"),
    )
    yield from _rows(
        "summary/model_testimonials:no_brand_waits",
        brand_outstanding=m.model_said(state="waiting", reason="in a batch"),
    )
    yield from _rows("summary/model_testimonials:testimonials_spend_matches", brand_unpaid=m.model_said(usd="0.1"))
    yield from _rows(
        "summary/model_summaries:claims_cite_live_posts",
        claim_of_a_foreign_post=m.model_summary(post_ids=[["foreign"]]),
        claim_without_posts=m.model_summary(post_ids=[[]]),
        claim_without_a_line_of_posts=m.model_summary(post_ids=[]),
    )
    yield from _rows(
        "summary/model_summaries:every_row_has_claims_or_a_reason",
        reason_missing=m.model_summary(claims=[], post_ids=[]),
        reason_beside_claims=m.model_summary(reason="none"),
        account_foreign=m.model_summary(account_id="foreign"),
    )
    yield from _rows(
        "summary/model_summaries:claims_are_supported",
        claim_of_nobody=m.model_summary(claims=["What nobody said."]),
        number_of_nobody=m.model_summary(lambda text: f"{text} 1999"),
        post_of_another_subject=m.model_summary(claims=["Quantum physics."]),
    )
    yield from _rows(
        "summary/model_summaries:nothing_waits",
        answer_outstanding=m.model_summary(state="waiting", reason="in a batch"),
    )
    yield from _rows("summary/model_summaries:spend_matches", answer_unpaid=m.model_summary(usd="0.1"))
    yield from _rows(
        "vertical/model_tags:every_row_has_an_answer_or_a_reason",
        vertical_unknown=m.model_tag(verticals=["evil"]),
        reason_missing=m.model_tag(verticals=None),
        reason_beside_answer=m.model_tag(reason="none"),
        post_foreign=m.model_tag(post_id="foreign"),
        text_changed=m.model_tag(text_hash="old"),
    )
    yield from _rows(
        "vertical/model_tags:nothing_waits",
        answer_outstanding=m.model_tag(state="waiting", verticals=None, reason="in a batch"),
    )
    yield from _rows("vertical/model_tags:spend_matches", answer_unpaid=m.model_tag(usd="0.1"))


def _dropped() -> Iterator[FaultRow]:
    yield from _rows(
        "label/gold:items_known",
        item_unknown=added(GOLD, item_id="unknown"),
        vertical_unknown=added(GOLD, vertical="unknown"),
        label_repeated=added(GOLD),
        agreement_impossible=changed(GOLD, "agreement", "1.5"),
        judgement_null=changed(GOLD, "is_member", "NULL"),
    )
    yield from _rows(
        "label/gold:judgements_match_votes",
        label_lost=lost(GOLD),
        label_turned=changed(GOLD, "is_member", "NOT is_member"),
        votes_counted_wrongly=changed(GOLD, "votes", "votes + 1"),
    )
    yield from _rows(
        "label/agreement:agreement_matches_votes",
        figures_lost=lost(AGREEMENT),
        votes_wrong=changed(AGREEMENT, "votes", "votes + 1"),
        alpha_impossible=changed(AGREEMENT, "alpha", "1.5"),
    )
    yield from _rows(
        "label/annotators:annotators_match_votes",
        annotator_foreign=added(ANNOTATORS, voter="nobody"),
        labels_wrong=changed(ANNOTATORS, "labels", "labels + 1"),
        shares_impossible=changed(ANNOTATORS, "agreeing", "compared + 1"),
    )
    yield from _rows(
        "label/issues:issues_are_of_labels",
        issue_foreign=added(ISSUES, item_id="foreign"),
        issue_of_another_version=changed(ISSUES, "label_version", "'other'"),
        ranks_shifted=changed(ISSUES, "rank", "rank + 1"),
        quality_wrong=changed(ISSUES, "quality", "1 - quality"),
    )
    yield from _rows(
        "label/next_to_label:queue_is_of_scores",
        post_foreign=added(NEXT_TO_LABEL, item_id="foreign"),
        post_repeated=added(NEXT_TO_LABEL),
        distance_wrong=changed(NEXT_TO_LABEL, "distance", "distance + 1"),
        labelled_post_as_open=changed(NEXT_TO_LABEL, "reason", "'uncertain'"),
    )
    yield from _rows(
        "label/hard_negatives:negatives_are_no_members",
        post_foreign=added(HARD_NEGATIVES, item_id="foreign"),
        anchor_foreign=added(HARD_NEGATIVES, anchor_id="foreign"),
        negative_repeated=added(HARD_NEGATIVES),
        member_as_negative=changed(HARD_NEGATIVES, "item_id", "anchor_id"),
    )
    yield from _rows(
        "label/training_pairs:pairs_are_of_labels",
        pair_lost=lost(TRAINING_PAIRS),
        pair_untrue=changed(TRAINING_PAIRS, "is_same", "NOT is_same"),
        post_foreign=added(TRAINING_PAIRS, other_id="foreign"),
    )
    yield from _rows(
        "label/learning_curve:curve_is_possible",
        quality_impossible=changed(LEARNING_CURVE, "quality", "1.5"),
        size_repeated=added(LEARNING_CURVE),
    )
    yield from _rows(
        "label/votes:files_taken_once",
        row_repeated=added(VOTES),
        row_of_no_file=added(VOTES, source_file="landing/labels/foreign.csv"),
        record_lost=f.object_lost("ledger/label/votes/taken/"),
        file_gone=f.object_lost(LANDING),
    )
    yield from _rows(
        "audience/reports:files_taken_once",
        row_repeated=added(REPORTS),
        row_of_no_file=added(REPORTS, source_file="landing/audience/foreign.csv"),
        record_lost=f.object_lost("ledger/audience/reports/taken/"),
        file_gone=f.object_lost(AUDIENCE_LANDING),
        file_overwritten=f.object_rewritten(AUDIENCE_LANDING, lambda body: body.replace(b"51,5", b"52,5")),
    )
    yield from _rows(
        "audience/demographics:rows_match_reports",
        row_lost=lost(DEMOGRAPHICS),
        row_repeated=added(DEMOGRAPHICS),
        account_foreign=added(DEMOGRAPHICS, account_id="foreign"),
        shares_shifted=changed(DEMOGRAPHICS, "share_percent", "share_percent + 1"),
        shares_above_hundred=changed(DEMOGRAPHICS, "share_percent", "share_percent * 100"),
        partition_dropped=m.partition_dropped(DEMOGRAPHICS),
    )
    yield from _rows(
        "quarantine/rows:rejects_recorded",
        reject_lost=lost(QUARANTINE),
        copies_wrong=changed(QUARANTINE, "copies", "copies + 1"),
    )
    yield from _rows(
        "quarantine/rows:dropped_files_taken",
        file_of_another_kind=f.object_dropped("landing/labels/more.xlsx"),
        file_in_no_folder=f.object_dropped("landing/lables/labels.parquet"),
    )


def _qdrant() -> Iterator[FaultRow]:
    other: Callable[..., Fault] = f.generation_made_by
    yield from _rows(
        "qdrant/cippus_text:points_match_chunks",
        point_lost=f.point_lost,
        point_foreign=f.point_foreign,
        text_stale=f.point_stale("content_hash", "stale"),
        payload_stale=f.point_stale("payload_digest", 1),
        bucket_wrong=f.point_stale("account_bucket", 7),
        bucket_lost=m.points_lost(0),
    )
    yield from _rows("qdrant/cippus_text:no_orphaned_points", point_orphaned=m.point_orphaned)
    yield from _rows("qdrant/cippus_text:buckets_fresh", bucket_stuck=m.late(CHUNKS))
    yield from _rows(
        "qdrant/promotion:encoder_is_served",
        other_model=other(lambda index_config: replace(index_config, model="other")),
        aliases_lost=f.aliases_lost,
    )
    yield from _rows(
        "qdrant/promotion:newest_is_served",
        other_quantization=other(lambda index_config: replace(index_config, quantization="scalar")),
        no_alias=f.aliases_lost,
    )
    yield from _rows(
        "qdrant/promotion:nodes_present",
        node_missing=f.cluster_suffers("missing node"),
        disk_lost=f.cluster_suffers("lost disk"),
        key_refused=f.cluster_suffers("401"),
    )
    yield from _rows(
        "qdrant/promotion:shards_active",
        replica_dead=f.cluster_suffers("dead replica"),
        replica_missing=f.cluster_suffers("missing replica"),
    )
    yield from _rows("qdrant/promotion:replicas_equal", replicas_unequal=f.cluster_suffers("unequal replicas"))
    yield from _rows("qdrant/promotion:versions_equal", versions_differ=f.cluster_suffers("version skew"))


def _served() -> Iterator[FaultRow]:
    yield from _rows(
        "search/judgements:judgements_taken_once",
        row_repeated=added(JUDGEMENTS),
        row_of_no_file=added(JUDGEMENTS, source_file="landing/judgements/foreign.parquet"),
        record_lost=f.object_lost("ledger/search/judgements/taken/"),
        file_gone=f.object_lost(JUDGEMENTS_LANDING),
    )
    yield from _rows(
        "search/retrieval_quality:every_question_measured",
        question_lost=lost(QUALITY),
        question_foreign=added(QUALITY, query="another"),
        judgements_wrong=changed(QUALITY, "relevant", "relevant + 1"),
        figure_impossible=changed(QUALITY, "hybrid_ndcg_at_10", "1.5"),
    )
    yield from _rows(
        "search/retrieval_quality:hybrid_is_not_worse",
        hybrid_worse=m.edited(QUALITY, lambda rows: rows.with_columns(dense_ndcg_at_10=0.5, hybrid_ndcg_at_10=0.4)),
    )
    yield from _rows(
        "mart/creators:totals_match_lake",
        creator_lost=lost(CREATORS),
        posts_wrong=changed(CREATORS, "posts", "posts + 1"),
        followers_wrong=changed(CREATORS, "followers", "followers + 1"),
        views_null=changed(CREATORS, "views", "NULL"),
        partition_dropped=m.partition_dropped(CREATORS),
    )
    yield from _rows(
        "mart/creators:verticals_match_tags",
        verticals_wrong=changed(CREATORS, "verticals", "'unearned'"),
        creator_repeated=added(CREATORS),
    )
    yield from _rows(
        "mart/posts_by_day:totals_match_lake",
        day_lost=lost(POSTS_BY_DAY),
        likes_wrong=changed(POSTS_BY_DAY, "likes", "likes + 1"),
        shares_null=changed(POSTS_BY_DAY, "shares", "NULL"),
    )
    yield from _rows(
        "mart/posts_by_day:days_possible",
        day_repeated=added(POSTS_BY_DAY),
        accounts_above_posts=changed(POSTS_BY_DAY, "accounts", "posts + 1"),
    )
    yield from _rows(
        "mart/vertical_coverage:totals_match_tags", tagged_wrong=changed(VERTICAL_COVERAGE, "tagged", "tagged + 1")
    )
    yield from _rows(
        "mart/vertical_coverage:thresholds_match",
        vertical_lost=lost(VERTICAL_COVERAGE),
        threshold_stale=changed(VERTICAL_COVERAGE, "threshold", "threshold + 0.1"),
    )
    yield from _rows(
        "mart/testimonials:totals_match_lake",
        testimonial_lost=lost(TESTIMONIALS),
        testimonial_foreign=added(TESTIMONIALS, testimonial_id="foreign"),
        rating_wrong=changed(TESTIMONIALS, "rating", "CAST(3 AS SMALLINT)"),
        text_misread=changed(TESTIMONIALS, "text", f"'{MOJIBAKE}'"),
    )
    yield from _rows(
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


CATALOGUE = [
    *(row for name in LAKE_TABLES for of in (_raw, _lake) for row in of(name)),
    *_rows(
        "raw/accounts:mark_is_recent",
        transaction_left_open=f.transaction_left_open,
        clock_set_back=f.clock_set_back,
    ),
    *_written(),
    *_corpus(),
    *_embedding(),
    *_verticals(),
    *_dropped(),
    *_qdrant(),
    *_served(),
    *(row for check, faults in MART_FAULTS.items() for row in _rows(check, **faults)),
]
