"""What tests share: one embedded stack a test process, started by the code that users start it with."""

import hashlib
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

settings.register_profile("untimed", deadline=None)  # how long an example takes is for benchmarks to say
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A running Postgres and S3 of this test process' own; request governors that tests start end with it."""
    home = tmp_path_factory.mktemp("stack")
    try:
        yield embedded.up(home)
    finally:
        stop_governors()
        embedded.down(home)


@pytest.fixture
def s3(stack: EmbeddedStack, request: pytest.FixtureRequest) -> S3Resource:
    """An empty S3 bucket of the test's own, reached directly, which is quicker."""
    # A name from the test's own id: unique in the process, and the same on every run.
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
    """An empty lake of the test's own."""
    return LakeResource(s3=s3)


@pytest.fixture
def source(stack: EmbeddedStack) -> Iterator[psycopg.Connection]:
    """The source database with empty tables; changes are committed as they are made."""
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
        yield connection


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, with nothing running."""
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path))
    return tmp_path
