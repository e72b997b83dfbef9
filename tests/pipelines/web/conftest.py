"""Fixtures of the page's tests: one small site, and a browser without a browser."""

from collections.abc import Callable, Iterator

import pytest
from dagster import DagsterInstance
from starlette.testclient import TestClient

from pipelines.web.app import make_app
from pipelines.web.site import Site
from resources.local_stack import EmbeddedStack
from resources.spend.resource import SpendResource
from tests.fakes.spend_store import MemoryStore
from tests.worlds.small_site import SmallSite, shared_site

ORIGIN = "http://127.0.0.1"
Open = Callable[..., TestClient]


@pytest.fixture(scope="session")
def small(stack: EmbeddedStack) -> SmallSite:
    return shared_site(stack)


@pytest.fixture
def store() -> MemoryStore:
    """Where labels go."""
    return MemoryStore()


@pytest.fixture
def page(small: SmallSite, store: MemoryStore) -> Open:
    """Open the page; each call is another process with the same store."""

    def opened(**parts: object) -> TestClient:
        spend = SpendResource(s3=small.lake.s3, ceiling_usd="5")
        site = Site(small.lake, small.searcher, store, spend)
        for name, value in parts.items():
            object.__setattr__(site, name, value)
        return TestClient(make_app(site), ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=False)

    return opened


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made
