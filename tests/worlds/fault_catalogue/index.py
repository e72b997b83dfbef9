"""Faults of the corpus, its vectors and the points of the index."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from tests.worlds import faults as f
from tests.worlds import more_faults as m
from tests.worlds.fault_catalogue.declaration import FaultRow, rows
from tests.worlds.faults import Fault, added, changed, lost


def corpus_faults() -> Iterator[FaultRow]:
    yield from rows(
        "corpus/decisions:every_post_decided",
        decision_lost=lost(DECISIONS),
        decision_foreign=added(DECISIONS, post_id="foreign"),
        decision_repeated=added(DECISIONS),
        partition_dropped=m.partition_dropped(DECISIONS),
        log_tampered=m.log_tampered(DECISIONS),
    )
    yield from rows(
        "corpus/decision_counts:counts_add_up",
        count_lost=lost(DECISION_COUNTS),
        count_repeated=added(DECISION_COUNTS),
        count_wrong=changed(DECISION_COUNTS, "posts", "posts + 1"),
    )
    yield from rows(
        "corpus/cippus_text:chunks_match_decisions",
        chunk_lost=lost(CHUNKS),
        chunk_foreign=added(CHUNKS, post_id="foreign", point_id="foreign"),
        chunk_repeated=added(CHUNKS),
        chunk_numbers_with_a_hole=added(CHUNKS, chunk_no=5, point_id="hole"),
        partition_dropped=m.partition_dropped(CHUNKS),
        log_tampered=m.log_tampered(CHUNKS),
    )
    yield from rows(
        "corpus/terms:frequencies_match_chunks",
        term_lost=lost(TERMS),
        frequency_zero=changed(TERMS, "documents", "0"),
        frequency_too_high=changed(TERMS, "documents", "1000"),
        frequency_off_by_one=changed(TERMS, "documents", "documents + 1"),
    )


def embedding_faults() -> Iterator[FaultRow]:
    yield from rows(
        "embedding/cippus_text:vectors_unit_length",
        wrong_dimension=added(VECTORS, content_hash="short", vector=[0.5, 0.5]),
        not_normalised=added(VECTORS, content_hash="long", vector=[1.0] * 384),
        not_finite=added(VECTORS, content_hash="nan", vector=[float("nan")] * 384),
        nearly_zero=added(VECTORS, content_hash="zero", vector=[1e-3] * 384),
        vector_repeated=added(VECTORS),
    )
    yield from rows(
        "embedding/cippus_text:every_chunk_has_vector",
        vector_lost=lost(VECTORS),
        of_another_model=changed(VECTORS, "model", "'other'"),
        partition_dropped=m.partition_dropped(VECTORS),
        log_tampered=m.log_tampered(VECTORS),
    )
    yield from rows("embedding/cippus_text:vectors_match_texts", vectors_swapped=m.edited(VECTORS, m.swapped_vectors))


def qdrant_faults() -> Iterator[FaultRow]:
    other: Callable[..., Fault] = f.generation_made_by
    yield from rows(
        "qdrant/cippus_text:points_match_chunks",
        point_lost=f.point_lost,
        point_foreign=f.point_foreign,
        text_stale=f.point_stale("content_hash", "stale"),
        payload_stale=f.point_stale("payload_digest", 1),
        bucket_wrong=f.point_stale("account_bucket", 7),
        bucket_lost=m.points_lost(0),
    )
    yield from rows("qdrant/cippus_text:no_orphaned_points", point_orphaned=m.point_orphaned)
    yield from rows("qdrant/cippus_text:buckets_fresh", bucket_stuck=m.late(CHUNKS))
    yield from rows(
        "qdrant/promotion:encoder_is_served",
        other_model=other(lambda index_config: replace(index_config, model="other")),
        aliases_lost=f.aliases_lost,
    )
    yield from rows(
        "qdrant/promotion:newest_is_served",
        other_quantization=other(lambda index_config: replace(index_config, quantization="scalar")),
        no_alias=f.aliases_lost,
    )
    yield from rows(
        "qdrant/promotion:nodes_present",
        node_missing=f.cluster_suffers("missing node"),
        disk_lost=f.cluster_suffers("lost disk"),
        key_refused=f.cluster_suffers("401"),
    )
    yield from rows(
        "qdrant/promotion:shards_active",
        replica_dead=f.cluster_suffers("dead replica"),
        replica_missing=f.cluster_suffers("missing replica"),
    )
    yield from rows("qdrant/promotion:replicas_equal", replicas_unequal=f.cluster_suffers("unequal replicas"))
    yield from rows("qdrant/promotion:versions_equal", versions_differ=f.cluster_suffers("version skew"))
