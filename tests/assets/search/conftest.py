"""Fixtures of search tests."""

import pytest

from resources.local_stack import EmbeddedStack
from tests.worlds.small_site import SmallSite, shared_site


@pytest.fixture(scope="session")
def site(stack: EmbeddedStack) -> SmallSite:
    return shared_site(stack)
