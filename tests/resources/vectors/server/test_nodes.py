"""One dead node does not end a run: calls go on to another node of the cluster."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from tenacity import stop_after_attempt, wait_none

from resources.vectors.resource import QdrantResource
from resources.vectors.server.calls import RETRY
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.server.nodes import NodeTransport
from resources.vectors.values import IndexUnavailableError, QdrantAddressError
from tests.fakes.qdrant_cluster import Cluster
from tests.fakes.qdrant_server import running
from tests.worlds.search import index_config

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(2) as found:
        yield found


@pytest.fixture
def dead() -> Iterator[str]:
    """An address at which nothing listens, and that nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_calls_go_to_a_node_that_answers(cluster: Cluster, dead: str) -> None:
    index = QdrantResource(url=dead, nodes=",".join([dead, *cluster.addresses]))
    with index.generations() as generations:
        generations.promote(generations.create(index_config(4)))
        assert generations.serving() is not None


def test_without_a_living_node_one_sentence_names_the_first(dead: str) -> None:
    retry = RETRY.copy(stop=stop_after_attempt(2), wait=wait_none())
    with (
        pytest.raises(IndexUnavailableError, match=f"Qdrant at {dead.removeprefix('http://')} does not answer"),
        ServerGenerations.connect(dead, nodes=[dead], retry=retry),
    ):
        pass


def test_a_bad_address_among_the_nodes_is_named(dead: str) -> None:
    with (
        pytest.raises(QdrantAddressError, match=r"CIPPUS_QDRANT_NODES is 'node-2:6333', expected http://"),
        ServerGenerations.connect(dead, nodes=["node-2:6333"]),
    ):
        pass


def test_a_request_that_may_have_arrived_is_not_sent_to_another_node_unasked() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "first":
            raise httpx.ReadTimeout("paused", request=request)
        return httpx.Response(200)

    transport = NodeTransport(["http://first", "http://second"], httpx.MockTransport(answer))
    with httpx.Client(transport=transport) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.put("http://first/points")
        assert asked == ["first"]
        assert client.put("http://first/points").status_code == 200
        assert client.put("http://first/points").status_code == 200
    assert asked == ["first", "second", "second"]
