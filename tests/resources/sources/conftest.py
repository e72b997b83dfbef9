"""Fixtures of tests of sources."""

from collections.abc import Iterator

import pytest

from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from tests.worlds.loaded import world_name
from tests.worlds.postgres_source import Source


@pytest.fixture
def postgres(stack: EmbeddedStack) -> PostgresResource:
    return PostgresResource(dsn=stack.postgres_dsn)


@pytest.fixture
def reader(stack: EmbeddedStack, source: Source, request: pytest.FixtureRequest) -> Iterator[PostgresResource]:
    """A role that may read the tables and nothing else."""
    role = world_name(request.node.nodeid)
    source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'".encode())
    source.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
    at = stack.postgres_dsn.rsplit("@", 1)[1]
    yield PostgresResource(dsn=f"postgresql://{role}:reads@{at}")
    source.execute(f"DROP OWNED BY {role}".encode())
    source.execute(f"DROP ROLE {role}".encode())
