"""Fixtures that tests share. Each test process has its own embedded stack, started as users start it."""

import gc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from pipelines.local import stack as embedded
from resources.delta.table import LakeResource
from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from tests.worlds.governor_launcher import governor_config, stop_governors
from tests.worlds.service_descriptions import parse_service_descriptions_once
from tests.worlds.shipping_catalogue import ship_every_vertical

ship_every_vertical()
# Benchmarks measure how long an example takes. 50 examples keep the tests short.
settings.register_profile("cippus", deadline=None, max_examples=50)
settings.load_profile("cippus")
parse_service_descriptions_once()
# The English encoder takes less than half the time. It is the tests' and that of the processes they start.
os.environ["CIPPUS_ENCODER"] = "english"
_SLOW_FIXTURES = {"stack", "demo"}
_SLOW_PATHS = (
    *("benchmarks/", "chaos/", "pipelines/deploy/", "pipelines/local/"),
    *("pipelines/cli/test_supervisor.py", "resources/test_proxies.py"),
    *("assets/raw/test_collations.py", "assets/search/test_shards.py"),
    *("resources/vectors/test_faults.py", "resources/vectors/server/test_calls.py"),
    *(f"resources/s3/governor/test_{name}.py" for name in ("clients", "departures", "killed", "process", "races")),
    *(f"resources/s3/governor/test_{name}.py" for name in ("rate_control", "starting", "writers")),
)
"""Tests that start servers or other processes, or simulate for seconds."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and start files with slow tests first.

    Without the order a long file would start last and run alone in one process while the others have nothing to do.
    Chaos is first of all: its runs wait more than they compute.
    """
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        if path.startswith(_SLOW_PATHS) or _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    gc.freeze()  # modules and tests live to the end: a collection need not look at them each time, 4 % of the CPU
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_chaos.py", item.path not in slow_files))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A running Postgres and S3 for this test process. Request governors that tests start end with it."""
    home = tmp_path_factory.mktemp("stack")
    try:
        yield embedded.up(home)
    finally:
        stop_governors()
        embedded.down(home)


@pytest.fixture
def s3(stack: EmbeddedStack, request: pytest.FixtureRequest) -> S3Resource:
    """An empty S3 bucket for this test, without the request governor, which is quicker."""
    # A hash of the test's id is unique in the process, and the same on every run.
    digest = hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).hexdigest()
    found = S3Resource(
        bucket=f"test-{digest}",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    found.client.create_bucket(Bucket=found.bucket)
    return found


@pytest.fixture
def governed(s3: S3Resource) -> S3Resource:
    """The same bucket behind this test process' request governor, as users have it."""
    return S3Resource(**{**s3.model_dump(exclude={"governor"}), "governor": governor_config()})


@pytest.fixture
def lake(s3: S3Resource) -> LakeResource:
    """An empty lake for this test."""
    return LakeResource(s3=s3)


@pytest.fixture
def source(stack: EmbeddedStack) -> Iterator[psycopg.Connection]:
    """A connection to the source database, with empty tables and autocommit."""
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
        yield connection


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for this test, with nothing running."""
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path))
    return tmp_path
