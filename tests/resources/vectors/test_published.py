"""The readers' copy: it finds what Edge finds, follows every change of what is served, and needs no lock."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import READERS, Generation
from resources.vectors.index import SearchIndex
from resources.vectors.published.copy import ReadersCopy, read_manifest
from resources.vectors.resource import QdrantResource
from resources.vectors.values import CollectionMissingError, IndexPoint, SearchFilter, SparseVector
from tests.worlds.search import index_config
from tests.worlds.vector_engines import DIMENSION, FILTERS, NEW_YEAR, id_of, point

COUNT = 60
QUERY = SparseVector.of([3, 11, 99], [0.5, 2.0, 0.25])
LOCK_SECONDS = 1.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with COUNT points that are served. Creating Edge's payload indexes takes 2 s, so tests copy it."""
    folder = tmp_path_factory.mktemp("served")
    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        made = generations.create(index_config(DIMENSION))
        points = [replace(point(number), dense=np.zeros(DIMENSION, np.float32)) for number in (COUNT, COUNT + 1)]
        generations.open(made).upsert([*map(point, range(COUNT)), *points])
        generations.promote(made)
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    shutil.copytree(served, tmp_path / "index")
    return tmp_path / "index"


def opened(folder: Path) -> SearchIndex:
    found = ReadersCopy(folder).open()
    assert found is not None
    return found[1]


def ids(index: SearchIndex) -> set[str]:
    """Every point has term 99."""
    return {found.id for found in index.search_sparse(SparseVector.of([99], [1.0]), SearchFilter(), 1_000)}


def segments(folder: Path) -> dict[int, str]:
    manifest = read_manifest(folder)
    assert manifest is not None
    return dict(manifest.segments)


@pytest.fixture(scope="module")
def both(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SearchIndex]]:
    place = tmp_path_factory.mktemp("both") / "index"
    shutil.copytree(served, place)
    with EdgeGenerations.lock(place, LOCK_SECONDS) as generations:
        yield {"edge": generations.open(generations.all()[0]), "copy": opened(place)}


@pytest.mark.parametrize("where", FILTERS, ids=[f"filter-{number}" for number in range(len(FILTERS))])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_the_copy_finds_what_edge_finds(both: dict[str, SearchIndex], where: SearchFilter, limit: int) -> None:
    vector = point(1_000).dense
    for search in ("search_dense", "search_sparse"):
        asked: Any = vector if search == "search_dense" else QUERY
        edge, copy = (getattr(both[name], search)(asked, where, limit) for name in ("edge", "copy"))
        assert [(found.id, found.payload) for found in copy] == [(found.id, found.payload) for found in edge], search
        assert [found.score for found in copy] == pytest.approx([found.score for found in edge], abs=1e-6)


def test_the_copy_has_the_vectors_that_edge_has(both: dict[str, SearchIndex]) -> None:
    asked = [id_of(number) for number in (3, COUNT, 1, 5_000, 59)]
    edge, copy = both["edge"].vectors(asked), both["copy"].vectors(asked)
    assert [*copy] == [*edge] or set(copy) == set(edge) == {id_of(3), id_of(1), id_of(59)}
    assert all(np.allclose(copy[id_], edge[id_], rtol=0, atol=1e-6) for id_ in edge)
    assert both["copy"].vectors([]) == {}
    assert both["copy"].search_sparse(SparseVector.of([], []), SearchFilter(), 5) == []


def change(folder: Path, *points: IndexPoint, deleted: tuple[str, ...] = ()) -> None:
    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        index = generations.open(generations.all()[0])
        index.upsert(points)
        index.delete(deleted)


def test_only_the_buckets_that_changed_are_written_again(folder: Path) -> None:
    before, first = segments(folder), opened(folder)
    moved = replace(point(2), payload={**point(2).payload, "account_bucket": 3})
    change(folder, moved, point(700), deleted=(id_of(5),))  # 2: bucket 2 → 3; 700: bucket 0; 5: bucket 1
    after = segments(folder)
    assert {bucket for bucket in before if before[bucket] != after[bucket]} == {0, 1, 2, 3}
    assert ids(opened(folder)) == ids(first) - {id_of(5)} | {id_of(700)}
    change(folder, point(701, account_bucket=6))
    assert {bucket for bucket in after if after[bucket] != segments(folder)[bucket]} == {6}
    change(folder)
    assert sorted(path.name for path in (folder / READERS / "segments").iterdir()) == sorted(segments(folder).values())


def test_a_reader_keeps_what_it_opened_and_then_sees_the_change(folder: Path) -> None:
    copy = ReadersCopy(folder)
    first = copy.open()
    change(folder, point(800))
    assert first is not None
    assert id_of(800) not in ids(first[1])  # its files are deleted, and still readable
    second = copy.open()
    assert second is not None
    assert id_of(800) in ids(second[1])
    assert copy.open() is second


def test_a_change_of_a_process_that_failed_is_published_by_the_next(folder: Path) -> None:
    def fail() -> None:
        with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
            generations.open(generations.all()[0]).upsert([point(900)])
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert id_of(900) not in ids(opened(folder))
    change(folder)
    assert id_of(900) in ids(opened(folder))


@pytest.mark.parametrize("damage", ["manifest", "segment", "everything"])
def test_a_copy_that_is_lost_is_written_again(folder: Path, damage: str) -> None:
    whole = ids(opened(folder))
    place = folder / READERS
    shutil.rmtree({"manifest": place, "segment": place / "segments" / segments(folder)[0], "everything": place}[damage])
    if damage == "manifest":
        place.mkdir()
        (place / "manifest.json").write_text('{"segments": {"0": "../../etc"}}')
    change(folder)
    assert ids(opened(folder)) == whole


def reader(folder: Path) -> QdrantResource:
    return QdrantResource(edge_path=str(folder), lock_timeout_seconds=0.1)


def test_readers_wait_for_no_lock_and_see_only_what_is_served(folder: Path) -> None:
    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        generations.open(generations.all()[0]).upsert([point(950)])
        with reader(folder).reader() as index:
            found = ids(index)
    assert id_of(950) not in found
    with reader(folder).reader() as index:
        assert ids(index) == found | {id_of(950)}


def test_nothing_is_served_before_the_first_promotion(tmp_path: Path) -> None:
    with pytest.raises(CollectionMissingError, match="No collection is served"), reader(tmp_path / "none").reader():
        pass
    running = EdgeGenerations.lock(tmp_path, LOCK_SECONDS)
    with running, pytest.raises(CollectionMissingError), reader(tmp_path).reader():
        pass


def test_a_collection_of_an_older_version_gets_its_copy_from_the_first_reader(folder: Path) -> None:
    whole = ids(opened(folder))
    shutil.rmtree(folder / READERS)
    with reader(folder).reader() as index:
        assert ids(index) == whole


def test_another_generation_replaces_the_copy(folder: Path) -> None:
    def made(generations: EdgeGenerations) -> Generation:
        return generations.create(index_config(DIMENSION))

    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        second = made(generations)
        generations.open(second).upsert([point(1)])
        generations.promote(second)
    assert ids(opened(folder)) == {id_of(1)}
    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        generations.roll_back()
    assert len(ids(opened(folder))) == COUNT + 2


def test_values_of_other_types_in_a_payload_match_no_filter(folder: Path) -> None:
    odd = point(990, network=["tiktok"], followers_tier=1e300, verticals="Sports", posted_at="yesterday")
    change(folder, odd)
    index = opened(folder)
    assert id_of(990) in ids(index)
    later = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=1)
    for where in (SearchFilter(network="tiktok"), SearchFilter(vertical="Sports"), SearchFilter(posted_after=later)):
        assert id_of(990) not in {found.id for found in index.search_dense(odd.dense, where, 1_000)}
    assert later < NEW_YEAR


def test_an_erasure_looks_into_the_copy(folder: Path) -> None:
    with EdgeGenerations.lock(folder, LOCK_SECONDS) as generations:
        assert {found.id for found in generations.readers_points()} == {id_of(number) for number in range(COUNT + 2)}
        assert all(found.payload["account_id"] for found in generations.readers_points())
