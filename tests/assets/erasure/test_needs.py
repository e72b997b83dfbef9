"""An erasure that could not end is refused before anything is touched."""

import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assets.erasure.erase import Erasing, erase
from assets.erasure.needs import MissingNeedError
from resources.llm.embedder import EmbedderResource
from resources.local_stack import EmbeddedStack
from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.generations import IndexConfig
from resources.vectors.resource import QdrantResource
from tests.fakes import qdrant_server
from tests.worlds.erasure import erasing
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import FIRST
from tests.worlds.loaded import empty_world
from tests.worlds.refusing_s3 import refusing

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose served generation was made by the model fake@1; no test changes it."""
    made = replace(empty_world(stack, "erasure_needs", tmp_path_factory.mktemp("needs")), governor=None)
    with made.qdrant.generations() as generations:
        generations.promote(generations.create(IndexConfig("fake@1", 384, SPARSE_ENCODING)))
    return made


@pytest.fixture
def parts(world: World) -> Iterator[Erasing]:
    """The parts of an erasure, which must leave every object as it was."""
    objects = world.objects()
    yield erasing(world)
    assert world.objects() == objects


def refused(parts: Erasing) -> str:
    with pytest.raises(MissingNeedError) as raised:
        erase(parts, FIRST)
    said = str(raised.value)
    assert said.startswith("Nothing was erased, because the erasure could not end: ")
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_another_encoder_than_the_served_generation_has(parts: Erasing) -> None:
    said = refused(replace(parts, embedder=EmbedderResource(encoder="english")))
    assert "cippus_text_v1 is served and its vectors are of fake@1, but the encoder is all-MiniLM-L6-v2" in said
    assert "set the encoder back, or run the lineage first" in said


def test_an_embeddings_endpoint_that_is_not_there(parts: Erasing) -> None:
    endpoint = EmbedderResource(endpoint_url="http://127.0.0.1:9/v1", endpoint_model="fake@1")
    assert "127.0.0.1:9" in refused(replace(parts, embedder=endpoint))


def test_a_qdrant_that_does_not_answer(parts: Erasing) -> None:
    said = refused(replace(parts, qdrant=QdrantResource(url="http://127.0.0.1:9")))
    assert "Qdrant at 127.0.0.1:9 does not answer" in said


def test_a_qdrant_that_refuses_the_key(parts: Erasing) -> None:
    with qdrant_server.running() as cluster, cluster.suffering("401"):
        assert "refuses the API key" in refused(replace(parts, qdrant=QdrantResource(url=cluster.url)))


@pytest.mark.parametrize(("operation", "under", "phrase"), [
    ("DeleteObject", "", "raw/: delete (AccessDenied)"),
    ("DeleteObject", "landing/", "S3 refuses in erasure-needs: landing/: delete (AccessDenied); give the role"),
    ("PutObject", "erasure/", "erasure/: put (AccessDenied)"),
    ("GetObject", "lake/posts/", "lake/posts/: get (AccessDenied)"),
    ("ListObjectVersions", "", "list versions (AccessDenied)"),
])  # fmt: skip
def test_an_s3_that_refuses_a_right(parts: Erasing, operation: str, under: str, phrase: str) -> None:
    with refusing(parts.s3.client, operation, under=under):
        assert phrase in refused(parts)


def test_a_bucket_that_is_not_there(parts: Erasing, world: World) -> None:
    absent = world._unused_s3().model_copy(update={"bucket": "no-such-bucket"})
    assert "NoSuchBucket" in refused(replace(parts, s3=absent))


def test_a_disk_without_room_for_another_index(parts: Erasing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("qdrant/shard/wal", 3 << 20), ("s3/1.dat", 5 << 20), ("s3/2.dat", 4 << 20)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 40, 0, 70 << 20))
    said = refused(replace(parts, home=tmp_path))
    assert f"{tmp_path} has 73,400,320 bytes free and the erasure needs 75," in said


def test_every_missing_need_is_in_the_sentence(parts: Erasing) -> None:
    with refusing(parts.s3.client, "DeleteObject"):
        said = refused(replace(parts, embedder=EmbedderResource(encoder="english")))
    assert "delete (AccessDenied)" in said
    assert "the encoder is" in said
