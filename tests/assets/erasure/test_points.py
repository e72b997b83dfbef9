"""The points of an erased account are deleted from every generation, in a server too, and no other points."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from assets.erasure.points import delete_points, every_point, rebuild
from assets.qdrant.points import PointWriter
from resources.delta.table import LakeResource
from resources.erasure.tombstones import KeyedHash, Subject
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import Generations, IndexConfig
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.values import IndexPoint, SparseVector, VectorIndexError
from tests.fakes.embedder import CountingEmbedder

INDEX_CONFIG = IndexConfig("another model", 4, "sparse")
HASHED = KeyedHash(b"k" * 32)
SUBJECT = Subject("erased", HASHED, frozenset([HASHED("post", "its-post"), HASHED("post", "its-post-2")]))
PAYLOADS: tuple[dict[str, Any], ...] = (
    {"account_id": "erased", "post_id": "p1", "account_bucket": 0},
    {"account_id": "erased", "post_id": "p2", "account_bucket": 7},  # damage put it into another's bucket
    {"account_id": "other", "post_id": "its-post", "account_bucket": 0},  # it went over to another account
    {"account_id": "", "post_id": "its-post-2", "account_bucket": 0},
    {"account_id": "other", "post_id": "erased", "account_bucket": 0},
    {"account_id": "erased-2", "post_id": "p5", "account_bucket": 0},
)


def fill(generations: Generations) -> None:
    for _ in range(2):
        made = generations.create(INDEX_CONFIG)
        generations.open(made).upsert(
            IndexPoint(str(uuid.uuid5(uuid.NAMESPACE_OID, payload["post_id"])), np.ones(4, np.float32), sparse, payload)
            for payload in PAYLOADS
            for sparse in [SparseVector.of([1], [1.0])]
        )
        generations.promote(made)


def posts_left(generations: Generations) -> dict[str, set[str]]:
    left: dict[str, set[str]] = {}
    for name, point in every_point(generations):
        left.setdefault(name, set()).add(point.payload["post_id"])
    return left


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
def test_a_server_keeps_its_generations_without_the_points() -> None:
    generations = ServerGenerations(QdrantClient(":memory:"), "memory")
    fill(generations)
    assert delete_points(generations, SUBJECT) == 6
    assert posts_left(generations) == {f"cippus_text_v{number}": {"erased", "its-post", "p5"} for number in (1, 2)}
    assert delete_points(generations, SUBJECT) == 0


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
def test_a_point_without_a_vector_is_deleted_too() -> None:
    client = QdrantClient(":memory:")
    generations = ServerGenerations(client, "memory")
    fill(generations)
    foreign = models.PointStruct(id=str(uuid.UUID(int=7)), vector={}, payload={"account_id": "erased", "post_id": "x"})
    client.upsert("cippus_text_v1", [foreign])
    assert delete_points(generations, SUBJECT) == 7
    assert "x" not in posts_left(generations)["cippus_text_v1"]


def test_another_models_generation_is_not_replaced_by_an_empty_one(tmp_path: Path, lake: LakeResource) -> None:
    with EdgeGenerations.lock(tmp_path, 5) as generations:
        fill(generations)
        writer = PointWriter(lake, CountingEmbedder())
        with pytest.raises(
            VectorIndexError, match=r"^cippus_text_v2 is served and its vectors are of another model, but"
        ):
            rebuild(generations, writer, [0], lambda _gone: None)
        assert [found.number for found in generations.all()] == [1, 2]


def test_without_an_index_there_is_nothing_to_do(tmp_path: Path, lake: LakeResource) -> None:
    with EdgeGenerations.lock(tmp_path, 5) as generations:
        assert delete_points(generations, SUBJECT) == 0
        assert rebuild(generations, PointWriter(lake, CountingEmbedder()), [0], lambda _gone: None) == 0
        assert generations.all() == []
