"""Faults of what people deliver: labels, testimonials, audience reports."""

from collections.abc import Iterator

from assets.audience import DEMOGRAPHICS, REPORTS
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.labels.agreement import AGREEMENT, ANNOTATORS
from assets.labels.gold import GOLD
from assets.labels.issues import ISSUES
from assets.labels.pairs import HARD_NEGATIVES, LEARNING_CURVE, TRAINING_PAIRS
from assets.labels.queue import NEXT_TO_LABEL
from assets.labels.votes import LANDING, VOTES
from assets.quarantine import QUARANTINE
from tests.worlds import faults as f
from tests.worlds import more_faults as m
from tests.worlds.fault_catalogue.declaration import FaultRow, rows
from tests.worlds.faults import added, changed, lost


def dropped_faults() -> Iterator[FaultRow]:
    yield from rows(
        "label/gold:items_known",
        item_unknown=added(GOLD, item_id="unknown"),
        vertical_unknown=added(GOLD, vertical="unknown"),
        label_repeated=added(GOLD),
        agreement_impossible=changed(GOLD, "agreement", "1.5"),
        judgement_null=changed(GOLD, "is_member", "NULL"),
    )
    yield from rows(
        "label/gold:judgements_match_votes",
        label_lost=lost(GOLD),
        label_turned=changed(GOLD, "is_member", "NOT is_member"),
        votes_counted_wrongly=changed(GOLD, "votes", "votes + 1"),
    )
    yield from rows(
        "label/agreement:agreement_matches_votes",
        figures_lost=lost(AGREEMENT),
        votes_wrong=changed(AGREEMENT, "votes", "votes + 1"),
        alpha_impossible=changed(AGREEMENT, "alpha", "1.5"),
    )
    yield from rows(
        "label/annotators:annotators_match_votes",
        annotator_foreign=added(ANNOTATORS, voter="nobody"),
        labels_wrong=changed(ANNOTATORS, "labels", "labels + 1"),
        shares_impossible=changed(ANNOTATORS, "agreeing", "compared + 1"),
    )
    yield from rows(
        "label/issues:issues_are_of_labels",
        issue_foreign=added(ISSUES, item_id="foreign"),
        issue_of_another_version=changed(ISSUES, "label_version", "'other'"),
        ranks_shifted=changed(ISSUES, "rank", "rank + 1"),
        quality_wrong=changed(ISSUES, "quality", "1 - quality"),
    )
    yield from rows(
        "label/next_to_label:queue_is_of_scores",
        post_foreign=added(NEXT_TO_LABEL, item_id="foreign"),
        post_repeated=added(NEXT_TO_LABEL),
        distance_wrong=changed(NEXT_TO_LABEL, "distance", "distance + 1"),
        labelled_post_as_open=changed(NEXT_TO_LABEL, "reason", "'uncertain'"),
    )
    yield from rows(
        "label/hard_negatives:negatives_are_no_members",
        post_foreign=added(HARD_NEGATIVES, item_id="foreign"),
        anchor_foreign=added(HARD_NEGATIVES, anchor_id="foreign"),
        negative_repeated=added(HARD_NEGATIVES),
        member_as_negative=changed(HARD_NEGATIVES, "item_id", "anchor_id"),
    )
    yield from rows(
        "label/training_pairs:pairs_are_of_labels",
        pair_lost=lost(TRAINING_PAIRS),
        pair_untrue=changed(TRAINING_PAIRS, "is_same", "NOT is_same"),
        post_foreign=added(TRAINING_PAIRS, other_id="foreign"),
    )
    yield from rows(
        "label/learning_curve:curve_is_possible",
        quality_impossible=changed(LEARNING_CURVE, "quality", "1.5"),
        size_repeated=added(LEARNING_CURVE),
    )
    yield from rows(
        "label/votes:files_taken_once",
        row_repeated=added(VOTES),
        row_of_no_file=added(VOTES, source_file="landing/labels/foreign.csv"),
        record_lost=f.object_lost("ledger/label/votes/taken/"),
        file_gone=f.object_lost(LANDING),
    )
    yield from rows(
        "audience/reports:files_taken_once",
        row_repeated=added(REPORTS),
        row_of_no_file=added(REPORTS, source_file="landing/audience/foreign.csv"),
        record_lost=f.object_lost("ledger/audience/reports/taken/"),
        file_gone=f.object_lost(AUDIENCE_LANDING),
        file_overwritten=f.object_rewritten(AUDIENCE_LANDING, lambda body: body.replace(b"51,5", b"52,5")),
    )
    yield from rows(
        "audience/demographics:rows_match_reports",
        row_lost=lost(DEMOGRAPHICS),
        row_repeated=added(DEMOGRAPHICS),
        account_foreign=added(DEMOGRAPHICS, account_id="foreign"),
        shares_shifted=changed(DEMOGRAPHICS, "share_percent", "share_percent + 1"),
        shares_above_hundred=changed(DEMOGRAPHICS, "share_percent", "share_percent * 100"),
        partition_dropped=m.partition_dropped(DEMOGRAPHICS),
    )
    yield from rows(
        "quarantine/rows:rejects_recorded",
        reject_lost=lost(QUARANTINE),
        copies_wrong=changed(QUARANTINE, "copies", "copies + 1"),
    )
    yield from rows(
        "quarantine/rows:dropped_files_taken",
        file_of_another_kind=f.object_dropped("landing/labels/more.xlsx"),
        file_in_no_folder=f.object_dropped("landing/lables/labels.parquet"),
    )
