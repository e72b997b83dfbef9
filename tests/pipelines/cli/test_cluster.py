"""`cippus cluster`: what is wrong, the steps as a dry run, and the steps taken."""

import json
import sys
from collections.abc import Callable, Iterator

import pytest

from pipelines.cli.main import main
from resources.vectors.server.generations import ServerGenerations
from tests.fakes.qdrant_cluster import Cluster
from tests.fakes.qdrant_server import running
from tests.worlds.search import index_config

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
Call = Callable[..., str]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with running(3) as found, ServerGenerations.connect(found.url) as generations:
        generations.promote(generations.create(index_config(4)))
        monkeypatch.setenv("QDRANT_URL", found.url)
        monkeypatch.setenv("CIPPUS_QDRANT_NODES", ",".join(found.addresses))
        yield found


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what `cippus cluster` prints with some arguments."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["cippus", "cluster", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed
        return printed.out if code == 0 else printed.err

    return run


def test_a_healthy_cluster_needs_no_step(cluster: Cluster, call: Call) -> None:
    printed = call()
    assert "peer 102 at http://node-1:6335/ is reached" in printed
    assert "shard 0: Active on peer 101, Active on peer 102, Active on peer 103" in printed
    assert "No step is needed." in printed
    assert "Nothing to do." in call("--apply")


def test_a_missing_replica_is_copied_only_when_told(cluster: Cluster, call: Call) -> None:
    with cluster.suffering("missing replica"):
        step = "Copy shard 0 of cippus_text_v1 from peer 101 to peer 103."
        printed = call()
        assert f"1. {step}" in printed
        assert "Nothing was changed" in printed
        assert json.loads(call("--json"))["steps"] == [step]
        assert call("--apply").endswith("Done.\n")
        found = json.loads(call("--json"))
        assert found["collections"][0]["shards"]["0"] == {"101": "Active", "102": "Active", "103": "Active"}
        assert found["steps"] == []


def test_a_peer_that_is_gone_is_removed_and_only_such_a_peer(cluster: Cluster, call: Call) -> None:
    assert "Peer 103 (http://node-2:6335/) is reached by the others" in call("--gone", "103", code=1)
    assert "has no peer 9; its peers are 101, 102, 103" in call("--gone", "9", code=1)
    with cluster.suffering("lost disk"):
        assert "peer 103 at http://node-2:6335/ does not answer the others" in call()
        assert "1. Remove peer 103" in call("--gone", "103")
        assert cluster.removed == set()
        call("--gone", "103", "--apply")
    assert cluster.removed == {103}


def test_the_embedded_engine_has_no_nodes(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.delenv("QDRANT_URL", raising=False)
    assert "The embedded engine is one process and has no nodes: set QDRANT_URL." in call(code=1)
