"""Every call of the interface against every engine, answers compared: Edge, the client's in-memory engine, and a
server when QDRANT_URL is set."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from resources.vectors import index as vector_index
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.index import VectorIndex
from resources.vectors.server.generations import STREAMS, ServerGenerations
from resources.vectors.values import NO_DIGEST, PointHashes, SearchFilter, SparseVector
from tests.fakes.qdrant_server import running
from tests.worlds.search import index_config
from tests.worlds.vector_engines import (
    ANY,
    DIMENSION,
    FILTERS,
    NEW_YEAR,
    Engines,
    all_but_dense,
    empty,
    id_of,
    is_allowed,
    point,
    same,
    same_candidates,
    same_contents,
    seen,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """One collection in every engine. Creating Edge's ten payload indexes takes 2 s, so tests share them."""
    with ExitStack() as stack:
        engines: dict[str, VectorIndex] = {}
        edge = stack.enter_context(EdgeGenerations.lock(tmp_path_factory.mktemp("edge"), 1.0))
        engines["edge"] = edge.open(edge.create(index_config(DIMENSION)))
        memory = ServerGenerations(QdrantClient(":memory:"), "memory")
        engines["memory"] = memory.open(memory.create(index_config(DIMENSION)))
        cluster = stack.enter_context(running())
        rest = stack.enter_context(ServerGenerations.connect(cluster.url))
        engines["rest"] = rest.open(rest.create(index_config(DIMENSION)))
        if url := os.environ.get("QDRANT_URL"):
            client = QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"))
            server = ServerGenerations(client, "server", streams=STREAMS)
            made = server.create(index_config(DIMENSION))
            engines["server"] = server.open(made)
            stack.callback(client.close)
            stack.callback(server.drop, made)
        yield engines


@pytest.fixture
def engines(opened: Engines) -> Engines:
    empty(opened)
    return opened


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_searches(engines: Engines, where: SearchFilter, limit: int) -> None:
    points = [point(number) for number in range(60)]
    assert same(engines, lambda index: index.upsert(points)) == 60
    query = np.random.default_rng(1000).normal(size=DIMENSION).astype(np.float32)
    dense = same_candidates(engines, lambda index: index.search_dense(query, where, limit))
    terms = SparseVector.of([3, 11, 500], [2.0, 1.0, 7.0])
    sparse = same_candidates(engines, lambda index: index.search_sparse(terms, where, limit))

    allowed = {p.id: p for p in points if is_allowed(p.payload, where)}
    assert len(dense) == min(limit, len(allowed))
    assert {c.id for c in dense + sparse} <= allowed.keys()
    with_term = [p for p in allowed.values() if {3, 11} & set(p.sparse.indices.tolist())]
    assert len(sparse) == min(limit, len(with_term))
    for candidate in dense:
        vector = allowed[candidate.id].dense
        cosine = float(vector @ query) / float(np.linalg.norm(vector) * np.linalg.norm(query))
        assert candidate.score == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("limit", [1, 5, 12])
def test_ties_across_the_cut_go_by_id(engines: Engines, limit: int) -> None:
    tied = [point(number, [1.0] * DIMENSION, {5: 1.0}) for number in range(1, 13)]
    best = point(100, [1.0] * 7 + [1.1], {5: 2.0})
    same(engines, lambda index: index.upsert([*tied, best]))
    query = np.asarray([1.0] * 7 + [1.1], np.float32)
    expected = [best.id, *sorted(p.id for p in tied)][:limit]
    for found in (
        same_candidates(engines, lambda index: index.search_dense(query, ANY, limit)),
        same_candidates(engines, lambda index: index.search_sparse(SparseVector.of([5], [1.0]), ANY, limit)),
    ):
        assert [candidate.id for candidate in found] == expected


def test_empty_sparse_vectors(engines: Engines) -> None:
    nothing = point(1, terms={})
    same(engines, lambda index: index.upsert([nothing, point(2)]))
    assert same(engines, lambda index: index.search_sparse(nothing.sparse, ANY, 5)) == []
    found = same_candidates(engines, lambda index: index.search_sparse(SparseVector.of([99], [1.0]), ANY, 5))
    assert [candidate.id for candidate in found] == [id_of(2)]
    assert [len(p.sparse) for p in engines["edge"].retrieve([id_of(1), id_of(2)])] == [0, 3]


def test_a_point_without_a_dense_vector_is_found_by_its_terms_alone(engines: Engines) -> None:
    unreadable = replace(point(1, terms={5: 1.0}), dense=np.zeros(DIMENSION, np.float32))
    for index in engines.values():
        index.upsert([unreadable, point(2, terms={5: 0.5})])
    assert same(engines, lambda index: index.count()) == 2
    by_terms = same_candidates(engines, lambda index: index.search_sparse(SparseVector.of([5], [1.0]), ANY, 9))
    assert [found.id for found in by_terms] == [id_of(1), id_of(2)]
    by_meaning = same_candidates(engines, lambda index: index.search_dense(np.ones(DIMENSION, np.float32), ANY, 9))
    assert [found.id for found in by_meaning] == [id_of(2)]
    assert same_contents(engines, [id_of(1)])[0].dense.size == 0


def test_retrieve_gives_back_unit_vectors_sparse_and_unicode_payload(engines: Engines) -> None:
    points = [point(number) for number in (1, 2)]
    same(engines, lambda index: index.upsert(points))
    ids = [id_of(2), id_of(77), id_of(1)]
    answer = same_contents(engines, ids)
    assert [all_but_dense(held) for held in answer] == [all_but_dense(points[1]), all_but_dense(points[0])]
    assert np.allclose(answer[1].dense, points[0].dense / np.linalg.norm(points[0].dense), rtol=0, atol=1e-6)


def test_upsert_replaces_the_whole_point(engines: Engines) -> None:
    same(engines, lambda index: index.upsert([point(1, extra="old")]))
    same(engines, lambda index: index.upsert([point(1, [1.0] * DIMENSION, {}, account_bucket=3)]))
    (held,) = same_contents(engines, [id_of(1)])
    assert (len(held.sparse), held.payload["account_bucket"], "extra" in held.payload) == (0, 3, False)
    assert same(engines, lambda index: (index.count(), index.count(1), index.count(3))) == (1, 0, 1)
    assert same(engines, lambda index: index.search_sparse(SparseVector.of([99], [1.0]), ANY, 5)) == []


def test_set_payload_replaces_it_and_keeps_the_vectors(engines: Engines) -> None:
    same(engines, lambda index: index.upsert([point(1), point(2)]))
    (before,) = same_contents(engines, [id_of(1)])
    replaced = same(
        engines,
        lambda index: index.set_payload([(id_of(1), {"network": "x", "é": ["ñ"]}), (id_of(50), {"network": "x"})]),
    )
    assert replaced == 1
    (after,) = same_contents(engines, [id_of(1)])
    assert after.payload == {"network": "x", "é": ["ñ"]}
    assert after.dense.tolist() == before.dense.tolist()
    assert all_but_dense(after)[:3] == all_but_dense(before)[:3]
    query = np.ones(DIMENSION, np.float32)
    found = same_candidates(engines, lambda index: index.search_dense(query, SearchFilter(network="x"), 5))
    assert [candidate.id for candidate in found] == [id_of(1)]
    assert same(engines, lambda index: sorted(index.scroll_hashes(), key=lambda h: h.id)) == sorted(
        [PointHashes(id_of(1), "", NO_DIGEST), PointHashes(id_of(2), "c2", 2)], key=lambda h: h.id
    )


def test_delete(engines: Engines) -> None:
    same(engines, lambda index: index.upsert(point(number) for number in range(5)))
    same(engines, lambda index: index.delete([id_of(1), id_of(3), id_of(99)]))
    assert same(engines, lambda index: (index.count(), index.count(1), index.count(2))) == (3, 0, 1)
    assert same_contents(engines, [id_of(1), id_of(3)]) == []


def test_a_point_with_a_number_for_an_id_is_read_and_deleted(engines: Engines) -> None:
    """Others may write to a collection, and number their points."""
    for deleted in (None, 1):
        same(engines, lambda index: index.upsert([replace(point(1), id="42"), point(5)]))
        assert same(engines, lambda index: [found.id for found in index.retrieve(["42"])]) == ["42"]
        assert same(engines, lambda index: index.set_payload([("42", point(1).payload), ("43", {})])) == 1
        assert same(engines, lambda index: seen(index, 1)) == [sorted(["42", id_of(5)])] * 2
        same(engines, lambda index: index.delete(["42", "43"], deleted))  # noqa: B023 - called at once
        assert same(engines, lambda index: seen(index, 1)) == [[id_of(5)]] * 2


def test_delete_within_a_bucket_leaves_what_is_of_another_by_then(engines: Engines) -> None:
    same(engines, lambda index: index.upsert(point(number) for number in range(5)))  # 1 is of bucket 1, 0 and 4 of 0
    same(engines, lambda index: index.delete([id_of(0), id_of(1), id_of(99)], 0))
    assert same(engines, lambda index: sorted(found.digest for found in index.scroll_hashes())) == [1, 2, 3, 4]


@pytest.mark.parametrize("odd", [[2, 6], [6, None], [6, "x"], [6, 6], None, [], "6", {"a": 6}, 99, -6])
def test_a_point_of_several_buckets_or_none_is_of_no_bucket(engines: Engines, odd: Any) -> None:
    """Others may write to a collection: what a look at two buckets shows, one would keep and the other delete."""
    same(engines, lambda index: index.upsert([point(1, account_bucket=odd), point(2), point(6, account_bucket=6)]))
    for bucket in (2, 6):
        assert same(engines, lambda index: seen(index, bucket)) == [[id_of(bucket)]] * 2  # noqa: B023 - called at once
        assert same(engines, lambda index: index.count(bucket)) == 1  # noqa: B023
        same(engines, lambda index: index.delete([id_of(1)], bucket))  # noqa: B023
    assert same(engines, lambda index: seen(index, None)) == [sorted(id_of(number) for number in (1, 2, 6))] * 2
    assert same(engines, lambda index: index.delete_orphaned([0, 1, 2, 3, 6])) == 1
    assert same(engines, lambda index: sorted(found.digest for found in index.scroll_hashes())) == [2, 6]
    assert same(engines, lambda index: index.delete_orphaned([0, 1, 2, 3, 6])) == 0


def test_scroll_reads_every_page_once(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "PAGE_POINTS", 1_000)
    numbers = range(2_100)  # three pages
    assert same(engines, lambda index: index.upsert(point(number) for number in numbers)) == 2_100
    hashes = same(engines, lambda index: sorted(index.scroll_hashes(), key=lambda h: h.id))
    assert hashes == sorted((PointHashes(id_of(n), f"c{n}", n) for n in numbers), key=lambda h: h.id)
    one_bucket = same(engines, lambda index: sorted(h.content_hash for h in index.scroll_hashes(3)))
    assert one_bucket == sorted(f"c{n}" for n in numbers if n % 4 == 3)
    assert same(engines, lambda index: (index.count(), index.count(3), index.count(9))) == (2_100, 525, 0)
    assert same(engines, lambda index: sorted(h.digest for h in index.scroll_hashes(3))) == list(range(3, 2_100, 4))


@pytest.mark.parametrize("odd", [None, "12", 1.5, -3, True, [], {"a": 1}, 2**70, [4, 5], [*range(50)]])
def test_a_digest_that_is_none_is_told_as_none(engines: Engines, odd: Any) -> None:
    """Others may write to a collection: such a point is seen, and once, whatever they put there."""
    same(engines, lambda index: index.upsert([point(1), point(2, payload_digest=odd), point(3, account_bucket=1)]))
    digests = same(engines, lambda index: sorted((found.id, found.digest) for found in index.scroll_hashes()))
    assert digests == sorted([(id_of(1), 1), (id_of(2), NO_DIGEST), (id_of(3), 3)])
    assert same(engines, lambda index: [*index.scroll_hashes(2)]) == [PointHashes(id_of(2), "c2", NO_DIGEST)]


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (NEW_YEAR, None, {1, 2, 3}),
        (None, NEW_YEAR, {0}),
        (NEW_YEAR + timedelta(microseconds=1), None, {2}),
        (NEW_YEAR, NEW_YEAR + timedelta(microseconds=1), {1, 3}),
        (NEW_YEAR.astimezone(timezone(timedelta(hours=-5))), None, {1, 2, 3}),
    ],
)
def test_dates(engines: Engines, after: datetime | None, before: datetime | None, expected: set[int]) -> None:
    dates = ["2023-12-31T23:59:59.999999Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000001Z"]
    dates.append("2024-01-01T02:00:00+02:00")
    same(engines, lambda index: index.upsert([point(n, posted_at=date) for n, date in enumerate(dates)]))
    where = SearchFilter(posted_after=after, posted_before=before)
    query = np.ones(DIMENSION, np.float32)
    found = same_candidates(engines, lambda index: index.search_dense(query, where, 10))
    assert {candidate.id for candidate in found} == {id_of(number) for number in expected}


def test_optimizing_leaves_a_healthy_collection(engines: Engines) -> None:
    for index in engines.values():
        index.upsert([point(1)])
        generation = index.generation()
        index.optimize()
        health = index.health()
        assert (health["status"], health["points"], index.generation()) == ("green", 1, generation)


def test_scrolling_points_gives_them_whole_and_once(engines: Engines) -> None:
    numbers = range(600)  # three pages
    same(engines, lambda index: index.upsert(point(number) for number in numbers))
    for bucket in (None, 3):
        expected = sorted(id_of(number) for number in numbers if bucket is None or number % 4 == bucket)
        retrieved = {held.id: held for held in engines["edge"].retrieve(expected)}
        for name, index in engines.items():
            held = sorted(index.scroll_points(bucket), key=lambda found: found.id)
            assert [found.id for found in held] == expected, name
            for found in held:
                assert all_but_dense(found) == all_but_dense(retrieved[found.id]), name
                assert np.allclose(found.dense, retrieved[found.id].dense, rtol=0, atol=1e-6), name


operations = st.one_of(
    st.tuples(st.just("upsert"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("set_payload"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.integers(0, 9), st.just(0)),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, max_size=20))
def test_any_sequence_of_writes_leaves_the_same_points(opened: Engines, sequence: list[tuple[str, int, int]]) -> None:
    empty(opened)
    for operation, number, version in sequence:
        changed = point(number, terms={version: 1.0} if version else {}, account_bucket=version)
        if operation == "upsert":
            same(opened, lambda index: index.upsert([changed]))  # noqa: B023 - called at once
        elif operation == "set_payload":
            same(opened, lambda index: index.set_payload([(changed.id, changed.payload)]))  # noqa: B023
        else:
            same(opened, lambda index: index.delete([changed.id]))  # noqa: B023
    same_contents(opened, [id_of(number) for number in range(10)])
    same(opened, lambda index: [index.count(bucket) for bucket in (None, 0, 1, 2, 3)])
    same_candidates(opened, lambda index: index.search_sparse(SparseVector.of([1, 2], [1.0, 3.0]), ANY, 4))
    same_candidates(opened, lambda index: index.search_dense(point(3).dense, SearchFilter(account_bucket=1), 4))
