"""The collection on real nodes: replicas, failover, lost disks, and the erasure of points."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from resources.vectors.resource import QdrantResource
from resources.vectors.server.replicas import plan
from resources.vectors.values import IndexPoint, SparseVector
from tests.cluster.nodes import BINARY, Nodes, restore, started
from tests.worlds.search import index_config

pytestmark = pytest.mark.skipif(not BINARY, reason="needs QDRANT_BINARY, the path of a Qdrant server")
ERASED = "account-07"
DIMENSION, POINTS, MANY = 64, 3_000, 15_000


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with started(tmp_path, 3) as found:
        yield found


def resource(nodes: Nodes) -> QdrantResource:
    return QdrantResource(url=nodes.url, nodes=nodes.addresses)


def points(count: int, text: str = "", dimension: int = DIMENSION) -> list[IndexPoint]:
    draw = np.random.default_rng(7)
    return [
        IndexPoint(
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}")),
            draw.normal(size=dimension).astype(np.float32),
            SparseVector.of([number % 50], [1.0]),
            {
                "account_id": f"account-{number % 100:02}",
                "account_bucket": number % 4,
                "text": text or f"text {number}",
            },
        )
        for number in range(count)
    ]


def filled(qdrant: QdrantResource, count: int = POINTS, dimension: int = DIMENSION) -> None:
    with qdrant.generations() as generations:
        made = generations.create(index_config(dimension))
        index = generations.open(made)
        index.upsert(points(count, dimension=dimension))
        index.optimize()
        generations.promote(made)


def count_of(qdrant: QdrantResource) -> int:
    with qdrant.open() as index:
        return index.count()


def problems(qdrant: QdrantResource) -> list[str]:
    found = qdrant.cluster()
    assert found is not None
    return found.problems()


def test_a_new_generation_has_two_replicas_and_outlives_a_node(nodes: Nodes) -> None:
    qdrant = resource(nodes)
    filled(qdrant)
    assert problems(qdrant) == []
    nodes.nodes[0].end()  # the one in QDRANT_URL
    assert count_of(qdrant) == POINTS
    with qdrant.open() as index:
        index.upsert(points(10, "written while a node was away"))
    [told] = [text for text in problems(qdrant) if nodes.nodes[0].url in text]
    assert "does not answer" in told


def test_a_node_that_lost_its_disk_is_removed_joins_again_and_gets_its_replicas(nodes: Nodes) -> None:
    qdrant, lost = resource(nodes), nodes.nodes[2]
    filled(qdrant)
    lost.lose_disk()
    with qdrant.open() as index:
        index.upsert(points(POINTS, "all shards notice"))
    lost.start(wait=False)
    assert lost.process is not None
    assert lost.process.wait(30) != 0
    assert "already used" in (lost.folder / "log").read_text()
    [told] = [text for text in problems(qdrant) if "is not reached" in text]
    assert "already used" in told
    with qdrant.repair() as repair:
        [gone] = repair.state().unreachable
    restore(qdrant, [gone])
    lost.start()
    nodes.wait_for_consensus()
    restore(qdrant)
    with qdrant.repair() as repair:
        assert plan(repair.state()) == []
        assert len(repair.state().peers) == 3
    assert problems(qdrant) == []
    assert count_of(qdrant) == POINTS


def test_deleted_points_are_in_no_file_of_any_node(nodes: Nodes) -> None:
    qdrant = resource(nodes)
    filled(qdrant, MANY, 384)
    with qdrant.open() as index:
        mine = [point.id for point in index.scroll_points() if point.payload["account_id"] == ERASED]
        for node in nodes.nodes:
            parts = {part for file in node.holds(ERASED) for part in file.split("/")}
            assert "wal" in parts
            assert parts & {"payload_storage", "payload_index"}, "the payload storage is compressed"
        index.delete(mine)
    with qdrant.generations() as generations:
        [generation] = generations.all()
        assert generations.purge(generation)
    assert {node.url: found for node in nodes.nodes if (found := node.holds(ERASED))} == {}
    assert count_of(qdrant) == MANY - len(mine)
