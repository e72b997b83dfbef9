"""Fixtures of extraction tests."""

from pathlib import Path

import pytest

from resources.local_stack import EmbeddedStack
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world, world_name


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """The small lineage before its first run, for this test alone."""
    return empty_world(stack, world_name(request.node.nodeid), tmp_path)
