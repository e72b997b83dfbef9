"""An account that is erased is in no file of any node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.erasure.erase import erase
from resources.local_stack import EmbeddedStack
from resources.vectors.resource import QdrantResource
from tests.cluster.nodes import BINARY, Nodes, started
from tests.cluster.scenarios import serve_from
from tests.worlds.erasure import CANARIES, ERASED, erasing, haunted_world
from tests.worlds.lineage import World
from tests.worlds.loaded import world_name

pytestmark = pytest.mark.skipif(not BINARY, reason="needs QDRANT_BINARY, the path of a Qdrant server")
# Not its id alone: another account's text has that word, and stays.
IN_POINTS = [
    f"{ERASED}/0",
    f"{ERASED}/2",
    CANARIES["a text that stands"],
    CANARIES["a biography"],
    CANARIES["a testimonial"],
]


@pytest.fixture(scope="module")
def haunted(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    return haunted_world(stack, tmp_path_factory.mktemp("haunted"))


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    with started(tmp_path / "nodes", request.param) as found:
        yield found


def found_in(nodes: Nodes) -> dict[str, list[str]]:
    """Return text of the account → files that contain it."""
    return {text: files for text in IN_POINTS if (files := [file for node in nodes.nodes for file in node.holds(text)])}


def test_an_erased_account_is_in_no_file_of_a_server(
    haunted: World, nodes: Nodes, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    world = haunted.clone(world_name(request.node.nodeid), tmp_path / "world")
    serve_from(world, nodes)
    # The folder that is scanned, and in it that of the embedded engine from before the switch to a server.
    unused = world.folder.rename(tmp_path / "unused")
    world.folder.mkdir()
    unused = unused.rename(world.folder / "qdrant")
    world.__dict__["qdrant"] = QdrantResource(url=nodes.url, nodes=nodes.addresses, edge_path=str(unused))
    before = found_in(nodes)
    assert {f"{ERASED}/0", CANARIES["a text that stands"]} <= before.keys()
    assert {"payload_storage", "wal"} <= {
        part for files in before.values() for file in files for part in file.split("/")
    }
    with world.qdrant.generations() as generations:
        [serving] = generations.all()
        generations._client.create_snapshot(serving.name, wait=True)  # type: ignore[attr-defined]
    receipt = erase(erasing(world), ERASED, tuple(CANARIES.values()))
    assert receipt.is_clean, receipt.found_after
    assert found_in(nodes) == {}
    assert not list(tmp_path.glob("nodes/*/snapshots/**/*.snapshot"))
    assert not unused.exists()
    assert receipt.removed["qdrant"].keys() >= {"points", "generations", "snapshots", "unused_folders"}
    with world.qdrant.open() as index:
        assert index.count() > 0
