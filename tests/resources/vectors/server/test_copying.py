"""A copy of a shard ends: with a replica that is active, or with a sentence that says what to do."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from qdrant_client import QdrantClient, models
from tenacity import stop_after_attempt, wait_none

from resources.vectors.generations import SERVING
from resources.vectors.server import repair
from resources.vectors.server.calls import RETRY, QdrantCalls
from resources.vectors.server.health import Cluster
from resources.vectors.server.repair import ClusterRepair
from resources.vectors.server.replicas import Copy
from resources.vectors.values import VectorIndexError

HERE, THERE = 1, 2
STEP = Copy("cippus_text_v1", 0, HERE, THERE)


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_POLL_SECONDS", 0.0)


class Copying:
    """A cluster of two peers. ``states``: what the new replica is at each look; the last one stays."""

    def __init__(self, states: list[str], *, is_away: bool) -> None:
        self.states, self.is_away = states, is_away

    def cluster_collection_update(self, *_: object) -> bool:
        return True

    def get_collection(self, _: str) -> Any:
        return SimpleNamespace(config=SimpleNamespace(params=SimpleNamespace(replication_factor=2)))

    def collection_cluster_info(self, _: str) -> models.CollectionClusterInfo:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        remote = [models.RemoteShardInfo(shard_id=0, peer_id=THERE, state=models.ReplicaState(state))] if state else []
        local = models.LocalShardInfo(shard_id=0, points_count=1, state=models.ReplicaState.ACTIVE)
        return models.CollectionClusterInfo(
            peer_id=HERE, shard_count=1, local_shards=[local], remote_shards=remote, shard_transfers=[]
        )

    def cluster_status(self) -> models.ClusterStatusOneOf1:
        failure = models.MessageSendErrors(count=9, latest_error="tcp connect error")
        return models.ClusterStatusOneOf1(
            status="enabled",
            peer_id=HERE,
            peers={"1": models.PeerInfo(uri="http://one/"), "2": models.PeerInfo(uri="http://two/")},
            raft_info=models.RaftInfo(term=1, commit=1, pending_operations=0, is_voter=True),
            consensus_thread_status=models.ConsensusThreadStatusOneOf1(consensus_thread_status="stopped"),
            message_send_failures={"http://two/": failure} if self.is_away else {},
        )


def copy(cluster: Copying, unreached_seconds: float = 60.0) -> None:
    calls = QdrantCalls("http://one", SERVING, RETRY.copy(stop=stop_after_attempt(1), wait=wait_none()))
    nodes = Cluster((), is_complete=True)
    ClusterRepair(cast(QdrantClient, cluster), calls, nodes, unreached_seconds=unreached_seconds).take(STEP)


def test_a_copy_whose_replica_becomes_active_is_done() -> None:
    copy(Copying(["", "Recovery", "Active"], is_away=False))


def test_a_copy_whose_replica_goes_away_is_a_failure() -> None:
    with pytest.raises(VectorIndexError, match=r"failed: the replica is gone. Look at the logs of both nodes"):
        copy(Copying(["Recovery", ""], is_away=False))


def test_a_copy_to_a_peer_that_is_not_reached_is_given_up() -> None:
    with pytest.raises(VectorIndexError, match="the replica is Recovery, and peer 2 is not reached") as said:
        copy(Copying(["Recovery"], is_away=True), unreached_seconds=0.0)
    assert "`cippus cluster --gone 2 --apply`" in str(said.value)


def test_a_peer_that_is_reached_again_is_waited_for() -> None:
    copy(Copying(["Recovery", "Active"], is_away=True), unreached_seconds=60.0)
