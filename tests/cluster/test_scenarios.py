"""A dozen seeded faults of nodes; `make bench NAME=cluster` runs 200."""

from collections.abc import Iterator

import pytest

from resources.local_stack import EmbeddedStack
from tests.cluster.faults import FAULTS
from tests.cluster.nodes import BINARY, Nodes, started
from tests.cluster.scenarios import OPERATIONS, Scenario, serve_from
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name

pytestmark = pytest.mark.skipif(not BINARY, reason="needs QDRANT_BINARY, the path of a Qdrant server")
SEEDS = 12


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with started(tmp_path_factory.mktemp("qdrant"), 3) as found:
        yield found


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = loaded_world(stack).clone(world_name("cluster"), tmp_path_factory.mktemp("world"))
    serve_from(made, nodes)
    return made


@pytest.mark.parametrize("number", range(SEEDS))
def test_after_a_fault_of_a_node_one_run_puts_the_collection_right(world: World, nodes: Nodes, number: int) -> None:
    scenario = Scenario(world, nodes, number * (1 + len(OPERATIONS) * len(FAULTS) // SEEDS))
    if not scenario.fault.is_possible:
        pytest.skip("needs the right to mount a disk of 512 MB, to fill it")
    scenario.go()
