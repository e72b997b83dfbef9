"""What the index does when something is wrong: locks, kills, losses, unreachable servers, secrets."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.edge.shard import METADATA_FILE
from resources.vectors.generations import SERVING
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import IndexPoint, IndexUnavailableError, SearchFilter, SparseVector, VectorIndexError
from tests.fakes.answering_qdrant import SECRET, qdrant_that_answers
from tests.worlds.search import index_config

POINT = IndexPoint(
    "00000000-0000-0000-0000-000000000001", np.ones(4, np.float32), SparseVector.of([1], [1.0]), {"account_bucket": 1}
)
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from resources.vectors.values import IndexPoint, SparseVector
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
with EdgeGenerations.lock(Path(sys.argv[1]), 5.0) as generations:
    index = generations.open(generations.create(IndexConfig("test", 4, "test")))
    index.upsert(
        IndexPoint(f"00000000-0000-0000-0000-{n:012d}", np.ones(4, np.float32), SparseVector.of([n], [1.0]), {})
        for n in range(1000)
    )
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Edge folder with one point, copied by the tests: creating the payload indexes takes 2 s."""
    folder = tmp_path_factory.mktemp("template")
    with EdgeGenerations.lock(folder, 1.0) as generations:
        made = generations.create(index_config(4))
        generations.open(made).upsert([POINT])
        generations.promote(made)
    return folder


@contextmanager
def opened(folder: Path, timeout_seconds: float = 1.0) -> Iterator[VectorIndex]:
    """The only generation of a folder."""
    with EdgeGenerations.lock(folder, timeout_seconds) as generations:
        yield generations.open(generations.all()[0])


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "qdrant"))


def test_a_second_opener_waits_and_then_names_the_holder(folder: Path) -> None:
    with (
        opened(folder),
        pytest.raises(IndexUnavailableError, match=f"held by process {os.getpid()}"),
        opened(folder, 0.1),
    ):
        pass
    with opened(folder, 0.0) as index:
        assert index.count() == 1


def test_the_lock_is_free_after_an_error(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(folder, 0.0) as index:
        assert index.count() / 0
    with opened(folder, 0.0) as index:
        assert index.count() == 1


def test_a_killed_writer_loses_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", KILLED_WRITER, str(tmp_path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[3], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with opened(tmp_path) as index:
        assert index.count() == 1000
        found = index.search_sparse(SparseVector.of([7], [1.0]), SearchFilter(), 5)
        assert [candidate.id[-3:] for candidate in found] == ["007"]


def test_a_creation_that_was_killed_is_started_over(tmp_path: Path) -> None:
    half_made = tmp_path / f"{SERVING}.building"
    half_made.mkdir()
    (half_made / "edge_config.json").write_text("{")
    with EdgeGenerations.lock(tmp_path, 1.0) as generations:
        index = generations.open(generations.create(index_config(4)))
        assert (index.count(), half_made.exists()) == (0, False)


def test_lost_segments_are_a_new_generation(folder: Path) -> None:
    """Edge loads a shard without segments as an empty one, and says nothing."""
    with opened(folder) as index:
        before = index.generation()
    shutil.rmtree(folder / "cippus_text_v1" / "segments")
    with opened(folder) as index:
        after = index.generation()
    assert after != before
    with opened(folder) as index:
        assert index.generation() == after


def test_a_lost_collection_is_a_new_generation(folder: Path) -> None:
    with opened(folder) as index:
        before = index.generation()
    shutil.rmtree(folder / "cippus_text_v1")
    with EdgeGenerations.lock(folder, 1.0) as generations:
        assert generations.serving() is None
        made = generations.create(index_config(4))
        assert (made.number, made.id == before, generations.open(made).count()) == (2, False, 0)


@pytest.mark.parametrize("damaged", [METADATA_FILE, "edge_config.json", "segment.json"])
def test_a_damaged_folder_is_one_clear_error(folder: Path, damaged: str) -> None:
    (path,) = folder.rglob(damaged)
    path.write_text("{")
    with pytest.raises(VectorIndexError, match="Move it away"), opened(folder) as index:
        index.count()


def test_a_vector_of_another_dimension_is_refused(folder: Path) -> None:
    with opened(folder) as index:
        with pytest.raises(VectorIndexError, match="dimension"):
            index.upsert([IndexPoint(POINT.id, np.ones(5, np.float32), POINT.sparse, {})])
        assert index.retrieve([POINT.id])[0].payload == POINT.payload


@pytest.mark.parametrize(
    "dense", [np.array([1.0, np.nan], np.float32), np.ones((2, 2), np.float32), np.empty(0, np.float32)]
)
def test_points_are_written_with_one_finite_vector(dense: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    with pytest.raises(VectorIndexError, match="one-dimensional and finite"):
        IndexPoint(POINT.id, dense, POINT.sparse, {}).checked()


def test_a_panic_of_the_engine_is_one_clear_error(folder: Path) -> None:
    """It is no Exception, and has no class that could be imported."""
    [status] = (folder / f"{SERVING}_v1" / "segments").glob("*/vector_storage-dense/vectors/status.dat")
    status.write_bytes(status.read_bytes()[: status.stat().st_size // 2])
    told = "cannot be loaded: index out of bounds.*Move it away and the next run builds it again"
    with pytest.raises(VectorIndexError, match=told), QdrantResource(edge_path=str(folder)).open() as index:
        index.count()


def test_the_resource_opens_edge_and_hides_its_key(folder: Path) -> None:
    resource = QdrantResource(edge_path=str(folder), api_key=SECRET)
    with resource.open() as index:
        assert index.count(account_bucket=1) == 1
    assert SECRET not in f"{resource!r} {resource}"


def test_the_resource_prefers_the_server(folder: Path) -> None:
    with qdrant_that_answers(200) as (url, asked), QdrantResource(url=url, edge_path=str(folder)).generations():
        assert asked == ["/collections"]
