"""Every fault of a Qdrant cluster has its own message, and a healthy cluster has none."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from qdrant_client import QdrantClient
from tenacity import stop_after_attempt, wait_none

from resources.vectors.generations import IndexConfig
from resources.vectors.resource import QdrantResource
from resources.vectors.server import health
from resources.vectors.server.calls import RETRY
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.server.index import ServerIndex
from resources.vectors.values import (
    AliasRaceError,
    IndexAccessError,
    IndexPoint,
    IndexUnavailableError,
    SearchFilter,
    SparseVector,
    VectorIndexError,
)
from tests.fakes.qdrant_cluster import DISK_FULL, FAULTS, PANIC, WRONG_VECTOR, Cluster
from tests.fakes.qdrant_server import running
from tests.worlds.search import index_config

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
]
AT_ONCE = RETRY.copy(stop=stop_after_attempt(2), wait=wait_none())
SECRET = "not-to-be-seen"
POINTS = [
    IndexPoint(f"00000000-0000-0000-0000-{number:012d}", np.ones(4, np.float32), SparseVector.of([1], [1.0]), {})
    for number in range(4)
]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes that serve a generation of four points."""
    with running(3) as found, ServerGenerations.connect(found.url, retry=AT_ONCE) as generations:
        made = generations.create(index_config(4))
        generations.open(made).upsert(POINTS)
        generations.promote(made)
        yield found


def resource(cluster: Cluster) -> QdrantResource:
    return QdrantResource(url=cluster.url, api_key=SECRET, nodes=",".join(cluster.addresses))


KINDS = ("absent", "inactive", "missing", "unequal", "skewed")


def found_wrong(cluster: Cluster) -> dict[str, list[str]]:
    state = resource(cluster).cluster()
    assert state is not None
    return {name: told for name in KINDS if (told := getattr(state, name)())}


def test_a_healthy_cluster_has_nothing_wrong(cluster: Cluster) -> None:
    assert found_wrong(cluster) == {}
    state = resource(cluster).cluster()
    assert state is not None
    assert [node.version for node in state.nodes] == ["1.16.2"] * 3
    seen = [node.shards for node in state.nodes if node.shards]
    assert [shards.peer_id for shards in seen] == [101, 102, 103]
    assert [len(shards.local_shards) + len(shards.remote_shards) for shards in seen] == [3, 3, 3]


def test_before_anything_is_served_the_nodes_are_there() -> None:
    with running(3) as empty:
        assert found_wrong(empty) == {}


def test_without_names_of_nodes_the_one_address_is_asked(cluster: Cluster) -> None:
    with cluster.suffering("missing node"):
        state = QdrantResource(url=cluster.url).cluster()
    assert state is not None
    assert (len(state.nodes), state.absent()) == (1, [])


CLUSTER_FAULTS = {
    "missing node": ("absent", ["does not answer", "knows 2 of 3 expected nodes", "outbound 443", "port 6335"]),
    "consensus stopped": ("absent", ["takes part in no decision", "No space left on device", "restart it"]),
    "dead replica": ("inactive", ["Shard 0 on peer 103 is Dead"]),
    "missing replica": ("missing", ["Shard 0 has 2 of 3 replicas", "cippus cluster"]),
    "unequal replicas": ("unequal", ["4 points on peer 101", "3 points on peer 103"]),
    "version skew": ("skewed", ["runs 1.15.4", "rolling upgrade"]),
    "401": ("absent", ["refuses the API key (401)"]),
    "503": ("absent", ["answered 503: Service Unavailable", "outbound 443"]),
}


@pytest.mark.parametrize("fault", CLUSTER_FAULTS)
def test_a_fault_of_the_cluster_is_told_and_what_to_look_at(cluster: Cluster, fault: str) -> None:
    kind, expected = CLUSTER_FAULTS[fault]
    with cluster.suffering(fault):
        wrong = found_wrong(cluster)
    assert wrong.keys() == {kind}
    told = " ".join(wrong[kind])
    assert all(part in told for part in expected), told
    assert SECRET not in told


def test_a_node_that_may_have_lost_its_disk_is_told_with_the_steps_out_of_it(cluster: Cluster) -> None:
    with cluster.suffering("lost disk"):
        wrong = found_wrong(cluster)
    assert wrong.keys() == {"absent", "inactive"}
    told = wrong["absent"][-1]
    assert told.startswith("Peer 103 (http://node-2:6335/) is not reached, and its replicas are dead.")
    assert told.index("cippus cluster --gone 103 --apply") < told.index("start the node again")


def test_a_node_that_hangs_is_not_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "NODE_TIMEOUT_SECONDS", 1)
    with cluster.suffering("slow"):
        told = found_wrong(cluster)["absent"]
    assert len(told) == 3
    assert "timed out" in told[0]


def served(cluster: Cluster, timeout: int = 5) -> ServerIndex:
    client = QdrantClient(url=cluster.url, timeout=timeout, check_compatibility=False)
    return ServerIndex(client, "qdrant-0:6333", "cippus_text_v1", AT_ONCE, optimize_timeout_seconds=0.0)


Call = Callable[[ServerIndex], object]
INDEX_FAULTS: dict[str, tuple[Call, type[VectorIndexError], str]] = {
    "401": (lambda index: index.count(), IndexAccessError, r"refuses the API key \(401\)"),
    "503": (lambda index: index.count(), IndexUnavailableError, r"answered 503 after 2 attempts: Service Unavailable$"),
    "internal error": (
        lambda index: index.upsert(POINTS),
        IndexUnavailableError,
        rf"answered 500 after 2 attempts: {PANIC}$",
    ),
    "bad request": (lambda index: index.upsert(POINTS), VectorIndexError, rf"answered 400: {WRONG_VECTOR}$"),
    "proxy": (
        lambda index: index.count(),
        IndexUnavailableError,
        r"answered 502 after 2 attempts: <html>no upstream</html>$",
    ),
    "slow": (lambda index: index.count(), IndexUnavailableError, r"timed out 2 times"),
    "reset": (lambda index: index.count(), IndexUnavailableError, r"closed the connection 2 times"),
    "full disk": (
        lambda index: index.upsert(POINTS),
        VectorIndexError,
        rf"the disk is full \({DISK_FULL}\)\. Enlarge the volume",
    ),
    "half-applied upsert": (
        lambda index: index.upsert(POINTS),
        VectorIndexError,
        r"acknowledged to an upsert of 4 points",
    ),
    "optimiser stuck": (lambda index: index.optimize(), VectorIndexError, r"is yellow instead of green"),
    "optimiser failed": (lambda index: index.optimize(), VectorIndexError, r"is red .*cannot build HNSW"),
}


@pytest.mark.parametrize("fault", INDEX_FAULTS)
def test_a_fault_of_a_call_is_one_error_of_its_own(cluster: Cluster, fault: str) -> None:
    call, kind, message = INDEX_FAULTS[fault]
    index = served(cluster, timeout=1)
    with cluster.suffering(fault), pytest.raises(kind, match=message) as raised:
        call(index)
    assert type(raised.value) is kind
    assert ("does not answer" in str(raised.value)) == (fault in ("slow", "reset"))
    call(index)  # and it goes on when the fault is over


def test_a_half_applied_upsert_is_finished_by_the_next(cluster: Cluster) -> None:
    index = served(cluster)
    index.delete([point.id for point in POINTS])
    with cluster.suffering("half-applied upsert"), pytest.raises(VectorIndexError):
        index.upsert(POINTS)
    assert index.count() == 2
    index.upsert(POINTS)
    assert index.count() == 4


def test_a_race_for_the_alias_is_noticed(cluster: Cluster) -> None:
    with ServerGenerations.connect(cluster.url, retry=AT_ONCE) as generations:
        second = generations.create(index_config(4))
        with cluster.suffering("alias race"), pytest.raises(AliasRaceError, match="cippus_text is cippus_text_v1"):
            generations.promote(second)
        assert generations.serving() != second
        generations.promote(second)
        assert generations.serving() == second


def test_bulk_loading_ends_with_optimize(cluster: Cluster) -> None:
    with ServerGenerations.connect(cluster.url, retry=AT_ONCE) as generations:
        made = generations.create(IndexConfig("test", 4, "test", "scalar"))
        assert cluster.bulk[made.name] == 0
        generations.open(made).optimize()
        assert cluster.bulk[made.name] == 10_000


def test_every_fault_is_tried() -> None:
    assert {*CLUSTER_FAULTS, *INDEX_FAULTS, "alias race", "lost disk"} == set(FAULTS)


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_a_search_is_one_request_until_points_are_written(cluster: Cluster) -> None:
    """How many points there are decides between an exact search and the graph: it is known from the opening."""
    with resource(cluster).open() as index:

        def asked_by_search() -> list[str]:
            cluster.asked.clear()
            index.search_dense(np.ones(4, np.float32), SearchFilter(), 4)
            return [request.rpartition("/")[2] for request in cluster.asked]

        assert asked_by_search() == ["query"]
        index.upsert(POINTS)
        assert asked_by_search() == ["cippus_text_v1", "query"]
        assert asked_by_search() == ["query"]
