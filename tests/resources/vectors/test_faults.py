"""What the index does when something is wrong: locks, kills, losses, unreachable servers, secrets."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from tenacity import RetryCallState, stop_after_attempt, wait_none

from resources.errors import PermanentFailure, is_transient
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.edge.shard import METADATA_FILE
from resources.vectors.generations import SERVING
from resources.vectors.index import Payloads, VectorIndex, best_candidates
from resources.vectors.resource import QdrantResource
from resources.vectors.server.calls import RETRY
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.values import (
    Candidate,
    IndexAccessError,
    IndexPoint,
    IndexUnavailableError,
    QdrantAddressError,
    SearchFilter,
    SparseVector,
    VectorIndexError,
)
from tests.worlds.search import index_config

POINT = IndexPoint(
    "00000000-0000-0000-0000-000000000001", np.ones(4, np.float32), SparseVector.of([1], [1.0]), {"account_bucket": 1}
)
SECRET = "not-to-be-seen"
AT_ONCE = RETRY.copy(stop=stop_after_attempt(3), wait=wait_none())

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


@pytest.mark.parametrize(
    ("indices", "values"), [([2, 1], [1.0, 1.0]), ([1, 1], [1.0, 1.0]), ([1], []), ([1], [np.nan])]
)
def test_sparse_vectors_are_written_as_ascending_pairs(indices: list[int], values: list[float]) -> None:
    with pytest.raises(VectorIndexError, match=r"ascending|shape"):
        SparseVector.of(indices, values).checked()


def payloads(ids: Sequence[str]) -> Payloads:
    return {id_: {"of": id_} for id_ in ids}


def test_a_tie_that_begins_at_the_cut_goes_by_id() -> None:
    engine = [Candidate("a", 1.0, {}), Candidate("z", 0.5, {}), Candidate("y", 0.5, {}), Candidate("b", 0.5, {})]
    found = best_candidates(lambda wanted, _: engine[:wanted], payloads, 2)
    assert [candidate.id for candidate in found] == ["a", "b"]


def test_a_tie_goes_by_id_however_long_it_is_and_costs_the_payloads_of_the_best() -> None:
    asked = []
    engine = [Candidate("best", 0.9, {}), *(Candidate(f"{n:05d}", 0.5, {}) for n in reversed(range(20_000)))]

    def fetch(wanted: int, shown: bool) -> list[Candidate]:
        asked.append((wanted, shown))
        return engine[:wanted]

    found = best_candidates(fetch, lambda ids: {id_: {"of": id_} for id_ in ids if id_ != "00001"}, 4)
    assert [candidate.id for candidate in found] == ["best", "00000", "00002"], "and one was deleted meanwhile"
    assert found[1].payload == {"of": "00000"}
    assert asked[:2] == [(5, True), (20, False)]
    assert asked[-1] == (20_480, False)


def test_what_has_no_finite_score_is_left_out() -> None:
    engine = [
        Candidate("z", math.nan, {}),
        Candidate("b", 0.5, {}),
        Candidate("y", math.inf, {}),
        Candidate("a", 0.9, {}),
    ]
    for limit in (1, 2, 3):
        found = best_candidates(lambda wanted, _: engine[:wanted], payloads, limit)
        assert [candidate.id for candidate in found] == ["a", "b"][:limit]


@contextmanager
def qdrant_that_answers(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """A loopback server that gives these statuses in turn, then the last for ever; and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses[min(len(asked), len(statuses) - 1)]
            asked.append(self.path)
            body = json.dumps({"result": {"collections": []}, "status": "ok", "time": 0.0}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("asked", "expected"), [(0, [0.2, 0.4, 0.8, 1.6]), (1, [1, 1, 1, 1.6])])
def test_waits_double_and_are_at_least_what_the_server_asks_for(asked: int, expected: list[float]) -> None:
    failed = ResourceExhaustedResponse("too many requests", asked)
    waits = []
    for attempt in range(1, 5):
        state = RetryCallState(RETRY, None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(failed), failed, None))
        waits.append(RETRY.wait(state))
    assert waits == pytest.approx(expected)


def test_transient_failures_are_tried_again() -> None:
    with qdrant_that_answers(503, 429, 200) as (url, asked), ServerGenerations.connect(url, retry=AT_ONCE):
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "tries", "kind"),
    [
        (503, 3, IndexUnavailableError),
        (500, 3, IndexUnavailableError),
        (401, 1, IndexAccessError),
        (403, 1, IndexAccessError),
    ],
)
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_server_that_refuses_is_one_clear_error_without_the_key(
    status: int, tries: int, kind: type[VectorIndexError]
) -> None:
    with qdrant_that_answers(status) as (url, asked):
        address = url.removeprefix("http://")
        with (
            pytest.raises(kind, match=address) as raised,
            ServerGenerations.connect(url, SECRET, retry=AT_ONCE),
        ):
            pass
    assert len(asked) == tries
    assert is_transient(raised.value) == (kind is IndexUnavailableError)
    assert SECRET not in str(raised.value)


def test_no_server_is_one_clear_error() -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody else gets the port, and nobody answers
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with (
            pytest.raises(IndexUnavailableError, match=rf"127.0.0.1:{port} does not answer: .* \(3 attempts\)"),
            ServerGenerations.connect(f"http://127.0.0.1:{port}", retry=AT_ONCE),
        ):
            pass


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


def test_the_resource_needs_an_address() -> None:
    with pytest.raises(IndexUnavailableError, match="set QDRANT_URL"), QdrantResource().open():
        pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("cluster:6333", "'cluster:6333'"),
        (f"user:{SECRET}@cluster:6333", "'cluster:6333'"),
        (f"https://user:{SECRET}@cluster:6333", "'cluster:6333'"),
        ("http://127.0.0.1:port", "'http://127.0.0.1:port'"),
        ("http://127.0.0.1:99999", "'http://127.0.0.1:99999'"),
        ("http://[::1", "'http://[::1'"),
        ("http://", "'http://'"),
        ("ftp://cluster", "'ftp://cluster'"),
    ],
)
def test_what_is_no_address_is_one_sentence_without_a_password(url: str, shown: str) -> None:
    for resource, setting in (
        (QdrantResource(url=url), "QDRANT_URL"),
        (QdrantResource(url="http://127.0.0.1:1", nodes=f"http://127.0.0.1:2,{url}"), "CIPPUS_QDRANT_NODES"),
    ):
        with pytest.raises(QdrantAddressError) as raised:
            resource.open().__enter__() if setting == "QDRANT_URL" else resource.cluster()
        assert str(raised.value).startswith(f"{setting} is {shown}, expected http:// or https:// and a host")
        assert SECRET not in str(raised.value)
    assert isinstance(raised.value, PermanentFailure)


def test_dates_need_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        SearchFilter(posted_after=datetime(2024, 1, 1))  # noqa: DTZ001


def test_sparse_vectors_have_the_engines_types() -> None:
    vector = SparseVector.of([1, 2], [1, 2])
    assert (vector.indices.dtype.name, vector.values.dtype.name) == ("uint32", "float32")
