"""Points and filters for every engine, and calls whose answers must be the same in all of them."""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from resources.vectors.index import VectorIndex
from resources.vectors.values import Candidate, IndexPoint, SearchFilter, SparseVector

DIMENSION = 8
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
ANY = SearchFilter()
Engines = Mapping[str, VectorIndex]


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def point(
    number: int, dense: list[float] | None = None, terms: Mapping[int, float] | None = None, **payload: Any
) -> IndexPoint:
    vector = np.asarray(dense, np.float32) if dense else np.random.default_rng(number).normal(size=DIMENSION)
    weights = {number % 7: 1.5, 10 + number % 3: 0.5, 99: 1.0} if terms is None else terms
    fields = {
        "account_id": f"a{number % 5}",
        "account_bucket": number % 4,
        "network": ["youtube", "tiktok"][number % 2],
        "language": ["en", "日本語", None][number % 3],
        "country": ["US", "GR"][number // 3 % 2],
        "followers_tier": number % 6,
        "verticals": [["Sports"], ["Sports", "Food & Drink"], []][number % 3],
        "post_verticals": ["Food & Drink"],
        "posted_at": (NEW_YEAR + timedelta(days=number)).isoformat(),
        "content_hash": f"c{number}",
        "payload_digest": number,
        "text": "ラーメン 🍕 café " * (number % 3),
        "nested": {"null": None, "list": [1, 2.5, "x"]},
    }
    sparse = SparseVector.of(sorted(weights), [weights[term] for term in sorted(weights)])
    return IndexPoint(id_of(number), vector.astype(np.float32), sparse, fields | payload)


def empty(engines: Engines) -> None:
    for index in engines.values():
        index.delete([hashes.id for hashes in index.scroll_hashes()])


def same(engines: Engines, call: Callable[[VectorIndex], Any]) -> Any:
    """The answer of every engine, which must be one answer."""
    answers = {name: call(index) for name, index in engines.items()}
    for name, answer in answers.items():
        assert answer == answers["edge"], f"{name} differs from edge"
    return answers["edge"]


def same_candidates(engines: Engines, call: Callable[[VectorIndex], list[Candidate]]) -> list[Candidate]:
    """The candidates of every engine: ids and payloads the same (ties go by id), scores within 1e-6."""
    answers = {name: call(index) for name, index in engines.items()}
    expected = answers["edge"]
    for name, answer in answers.items():
        assert [(c.id, c.payload) for c in answer] == [(c.id, c.payload) for c in expected], name
        assert [c.score for c in answer] == pytest.approx([c.score for c in expected], abs=1e-6), name
    return expected


def same_contents(engines: Engines, ids: list[str]) -> list[IndexPoint]:
    """The retrieved points of every engine: all the same, the dense vectors within 1e-6."""
    answers = {name: index.retrieve(ids) for name, index in engines.items()}
    expected = answers["edge"]
    for name, answer in answers.items():
        assert [all_but_dense(p) for p in answer] == [all_but_dense(p) for p in expected], name
        for ours, theirs in zip(answer, expected, strict=True):
            assert np.allclose(ours.dense, theirs.dense, rtol=0, atol=1e-6), name
    return expected


def all_but_dense(held: IndexPoint) -> tuple[Any, ...]:
    return held.id, held.sparse.indices.tolist(), held.sparse.values.tolist(), held.payload


FILTERS = [
    ANY,
    SearchFilter(vertical="Food & Drink"),
    SearchFilter(network="tiktok"),
    SearchFilter(language="日本語"),
    SearchFilter(country="GR", network="youtube"),
    SearchFilter(account_id="a3"),
    SearchFilter(account_bucket=2, vertical="Sports"),
    SearchFilter(posted_after=NEW_YEAR + timedelta(days=10), posted_before=NEW_YEAR + timedelta(days=20)),
    SearchFilter(vertical="Nothing"),
    SearchFilter(network=frozenset({"tiktok", "youtube"}), country="GR"),
    SearchFilter(vertical=frozenset({"Food & Drink", "Sports"}), language=frozenset({"日本語"})),
    SearchFilter(network=frozenset()),
    SearchFilter(account_ids=frozenset({"a1", "a3"}), account_id="a3"),
    SearchFilter(account_ids=frozenset({"a1"}), account_id="a3"),
    SearchFilter(followers_tiers=frozenset({3, 4})),
]


def is_allowed(payload: Mapping[str, Any], where: SearchFilter) -> bool:
    posted = datetime.fromisoformat(payload["posted_at"])
    holds = all(
        value in payload[key] if isinstance(payload[key], list) else value == payload[key]
        for key, value in where.matches().items()
    )
    holds = holds and all(
        set(values) & set(held if isinstance(held := payload.get(key), list) else [held])
        for key, values in where.any_of().items()
    )
    in_time = (where.posted_after or posted) <= posted and (where.posted_before is None or posted < where.posted_before)
    return holds and in_time


def seen(index: VectorIndex, bucket: int | None) -> list[list[str]]:
    """The ids that each way of going through a bucket shows, all of them."""
    return [
        sorted(found.id for found in index.scroll_hashes(bucket)),
        sorted(found.id for found in index.scroll_points(bucket)),
    ]
