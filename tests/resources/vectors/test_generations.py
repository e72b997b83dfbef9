"""Generations of the collection: one served, one before it, one atomic step between them, in every engine."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.edge.generations import ALIASES_FILE, EdgeGenerations
from resources.vectors.generations import Generation, Generations, IndexConfig, generation_number
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import STREAMS, ServerGenerations
from resources.vectors.values import (
    CollectionMismatchError,
    CollectionMissingError,
    IndexPoint,
    NoPreviousError,
    SparseVector,
    VectorIndexError,
)
from tests.fakes.qdrant_server import running
from tests.worlds.search import index_config

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
ENGINES = ["edge", "memory", "rest", *(["server"] if "QDRANT_URL" in os.environ else [])]
POINT = IndexPoint(
    "00000000-0000-0000-0000-000000000001", np.ones(4, np.float32), SparseVector.of([1], [1.0]), {"account_bucket": 1}
)


@pytest.fixture(params=ENGINES)
def generations(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Generations]:
    if request.param == "edge":
        with EdgeGenerations.lock(tmp_path, 1.0) as edge:
            yield edge
    elif request.param == "memory":
        yield ServerGenerations(QdrantClient(":memory:"), "memory")
    elif request.param == "rest":
        with running() as cluster, ServerGenerations.connect(cluster.url) as rest:
            yield rest
    else:  # an empty server of the tests' own
        client = QdrantClient(url=os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_API_KEY"))
        server = ServerGenerations(client, "server", streams=STREAMS)
        yield server
        for made in server.all():
            client.delete_collection(made.name)
        client.close()


def named(generation: Generation | None) -> str | None:
    return generation.name if generation else None


def standing(generations: Generations) -> tuple[str | None, str | None]:
    return named(generations.serving()), named(generations.previous())


def test_the_life_of_generations(generations: Generations) -> None:
    assert (generations.all(), standing(generations)) == ([], (None, None))
    with pytest.raises(NoPreviousError, match="no generation before"):
        generations.roll_back()
    first = generations.create(index_config(4))
    assert (first.name, first.is_rolled_back, standing(generations)) == ("cippus_text_v1", False, (None, None))
    generations.open(first).upsert([POINT])
    generations.promote(first)
    assert standing(generations) == ("cippus_text_v1", None)
    with pytest.raises(NoPreviousError):
        generations.roll_back()

    scalar = IndexConfig("test", 4, "test", "scalar")
    second = generations.create(scalar)
    assert [found.index_config for found in generations.all()] == [index_config(4), scalar]
    generations.promote(second)
    generations.promote(second)  # again: what was before stays what was before
    assert standing(generations) == ("cippus_text_v2", "cippus_text_v1")

    assert generations.roll_back().name == "cippus_text_v1"
    assert standing(generations) == ("cippus_text_v1", "cippus_text_v2")
    assert [found.is_rolled_back for found in generations.all()] == [False, True]
    assert generations.roll_back().name == "cippus_text_v2"
    assert [found.is_rolled_back for found in generations.all()] == [True, False]

    with pytest.raises(VectorIndexError, match="is served and cannot be dropped"):
        generations.drop(second)
    generations.drop(first)
    assert standing(generations) == ("cippus_text_v2", None)
    with pytest.raises(CollectionMissingError):
        generations.open(first).count()
    assert generations.create(index_config(4)).number == 3


def test_a_held_generation_that_is_promoted_is_held_no_longer(generations: Generations) -> None:
    first, second = generations.create(index_config(4)), generations.create(index_config(4))
    generations.promote(first)
    generations.promote(second)
    generations.roll_back()
    generations.promote(second)
    assert [found.is_rolled_back for found in generations.all()] == [False, False]
    assert standing(generations) == ("cippus_text_v2", "cippus_text_v1")


def test_points_of_generations_are_apart(generations: Generations) -> None:
    first, second = generations.create(index_config(4)), generations.create(index_config(4))
    assert first.id != second.id
    generations.open(first).upsert([POINT])
    assert [generations.open(found).count() for found in (first, second)] == [1, 0]
    assert generations.open(second).generation() == second.id


@pytest.mark.parametrize("quantization", ["scalar", "turbo"])
@pytest.mark.filterwarnings("ignore:Local mode performs exact")  # said once a process, by whichever test is first
def test_a_quantized_generation_is_searched(generations: Generations, quantization: str) -> None:
    from resources.vectors.values import SearchFilter

    index = generations.open(generations.create(IndexConfig("test", 4, "test", quantization)))
    index.upsert([POINT])
    index.optimize()
    [found] = index.search_dense(POINT.dense, SearchFilter(), 3)
    assert (found.id, round(found.score, 4)) == (POINT.id, 1.0)


def test_names_and_recipes() -> None:
    assert [generation_number(name) for name in ("cippus_text_v12", "cippus_text", "cippus_text_vx", "other_v1")] == [
        12, None, None, None,
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"'binary', expected one of none, scalar, turbo"):
        IndexConfig("test", 4, "test", "binary")
    with pytest.raises(ValueError, match="not the name of a generation"):
        Generation.from_json("other", {})
    assert index_config(4).has_vectors_of(IndexConfig("test", 4, "test", "turbo"))
    assert not index_config(4).has_vectors_of(IndexConfig("other", 4, "test"))


def test_a_collection_from_before_there_were_generations_is_removed(tmp_path: Path) -> None:
    (tmp_path / "cippus_text").mkdir()
    with EdgeGenerations.lock(tmp_path, 1.0) as edge:
        edge.create(index_config(4))
    assert not (tmp_path / "cippus_text").exists()


def test_a_promotion_outlives_the_process(tmp_path: Path) -> None:
    with EdgeGenerations.lock(tmp_path, 1.0) as edge:
        edge.promote(edge.create(replace(index_config(4), sparse=SPARSE_ENCODING)))
    assert json.loads((tmp_path / ALIASES_FILE).read_text()) == {"cippus_text": "cippus_text_v1"}
    with QdrantResource(edge_path=str(tmp_path)).open("test") as index:
        assert index.count() == 0
    with (
        pytest.raises(CollectionMismatchError, match=r"was built with test and .*; searches use other and"),
        QdrantResource(edge_path=str(tmp_path)).open("other"),
    ):
        pass


def test_an_index_does_not_outlive_the_lock_of_its_folder(tmp_path: Path) -> None:
    """A thread that goes on after its run was interrupted must not write beside the next holder of the lock."""
    with EdgeGenerations.lock(tmp_path, 1.0) as edge:
        index, unopened = edge.open(edge.create(index_config(4))), edge.open(edge.create(index_config(4)))
        index.upsert([POINT])
    for closed in (index, unopened):
        with pytest.raises(VectorIndexError, match="was closed with the lock of its folder"):
            closed.upsert([POINT])


def test_terms_of_another_encoding_are_not_searched(tmp_path: Path) -> None:
    with EdgeGenerations.lock(tmp_path, 1.0) as edge:
        edge.promote(edge.create(index_config(4)))
    told = f"was built with test and test; searches use test and {SPARSE_ENCODING}"
    with pytest.raises(CollectionMismatchError, match=told), QdrantResource(edge_path=str(tmp_path)).open("test"):
        pass


@pytest.mark.parametrize("damaged", ["{", '{"cippus_text": ".."}', "[]", '{"cippus_text": 5}'])
def test_unreadable_aliases_are_one_clear_error(tmp_path: Path, damaged: str) -> None:
    (tmp_path / ALIASES_FILE).write_text(damaged)
    with EdgeGenerations.lock(tmp_path, 1.0) as edge, pytest.raises(VectorIndexError, match="Delete it"):
        edge.serving()


def test_nothing_is_served_before_the_first_promotion(tmp_path: Path) -> None:
    with EdgeGenerations.lock(tmp_path, 1.0) as edge:
        edge.create(index_config(4))
    with (
        pytest.raises(CollectionMissingError, match="No collection is served: run the lineage"),
        QdrantResource(edge_path=str(tmp_path)).open(),
    ):
        pass


def test_a_collection_by_the_alias_name_is_not_taken_over() -> None:
    from qdrant_client import models

    client = QdrantClient(":memory:")
    client.create_collection("cippus_text", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(VectorIndexError, match="has to be an alias"):
        ServerGenerations(client, "memory").create(index_config(4))


def test_a_collection_that_says_nothing_of_itself_is_refused() -> None:
    from qdrant_client import models

    client = QdrantClient(":memory:")
    client.create_collection("cippus_text_v1", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(VectorIndexError, match=r"not made here, or Qdrant before 1\.16"):
        ServerGenerations(client, "memory").all()
