"""Encodings, arrays and types of a source that must not stop or poison the lake."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import make_conninfo

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.raw.unread import UnreadRows
from assets.transforms.erasure import without_erased
from assets.transforms.source.schema import ACCOUNTS
from pipelines.samples.source_tables import CREATE_TABLES
from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from tests.assets.raw.test_hostile_sources import ALL, POST, extract, quarantined
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world, world_name
from tests.worlds.source_accounts import BUCKETS, SKEW, Accounts


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    found = empty_world(stack, world_name(request.node.nodeid), tmp_path)
    found.execute("TRUNCATE accounts, posts, testimonials")
    return found


def test_arrays_with_any_bounds_are_read(world: World) -> None:
    world.execute("CREATE DOMAIN tags AS text[]")
    world.execute("ALTER TABLE posts ADD more tags")
    arrays = ("{a,b}", "[5:6]={a,b}", "[0:1]={a,b}", "[-3:-2]={a,b}", "[2:3][4:4]={{a},{b}}")
    for number, array in enumerate(arrays):
        world.execute(POST, str(number))
        world.execute("UPDATE posts SET hashtags = %s, more = %s WHERE post_id = %s", array, array, str(number))
    for key, other in (("empty", "{}"), ("null", None), ("of null", "[2:2]={NULL}")):
        world.execute(POST, key)
        world.execute("UPDATE posts SET hashtags = %s WHERE post_id = %s", other, key)
    world.run_well("raw", "lake", buckets=ALL)
    rows = {row["post_id"]: row for row in world.lake.scan(LAKE_POSTS).collect().to_dicts()}
    assert [rows[str(number)]["hashtags"] for number in range(len(arrays))] == [["a", "b"]] * len(arrays)
    assert [rows[str(number)]["more"] for number in range(len(arrays))] == [["a", "b"]] * len(arrays)
    assert [rows[key]["hashtags"] for key in ("empty", "null", "of null")] == [[], None, [None]]


def test_domains_and_enumerations_change_nothing(world: World) -> None:
    world.execute(
        "CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN amount AS bigint CHECK (VALUE >= 0); "
        "CREATE TYPE network AS ENUM ('x', 'y'); CREATE TYPE role AS ENUM ('buyer')"
    )
    world.execute(
        "ALTER TABLE posts ALTER updated_at TYPE moment, ALTER likes TYPE amount, "
        "ALTER network TYPE network USING network::network, ADD saves amount DEFAULT 3, ADD kind network DEFAULT 'y'"
    )
    world.execute("ALTER TABLE testimonials ALTER author_role TYPE role USING author_role::role")
    world.execute(POST, "a")
    world.run_well("raw", "lake", buckets=ALL)
    [row] = world.lake.scan(LAKE_POSTS).collect().to_dicts()
    assert (row["network"], row["saves"], row["kind"]) == ("x", 3, "y")


@pytest.fixture
def elsewhere(world: World, request: pytest.FixtureRequest) -> Iterator[Accounts]:
    """Accounts in a database of the encoding that the test names."""
    name = f"{world.name}_other"
    with world.source() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{request.param}' TEMPLATE template0 LOCALE 'C'".encode())
    found = Accounts(world)
    found.source = PostgresResource(dsn=make_conninfo(world.dsn, dbname=name))
    with psycopg.connect(found.source.dsn) as connection:
        connection.execute(CREATE_TABLES)
    yield found
    world.execute(f"DROP DATABASE {name} WITH (FORCE)")


def put_bytes(accounts: Accounts, key: bytes, bio: bytes) -> None:
    """Insert a row whose texts are these bytes, in the encoding of the database."""
    with psycopg.connect(accounts.source.dsn) as connection:
        connection.execute("SELECT set_config('client_encoding', current_setting('server_encoding'), false)")
        connection.execute(
            b"INSERT INTO accounts (account_id, network, bio, updated_at) VALUES ('"
            + key + b"', 'x', '" + bio + b"', now())"
        )  # fmt: skip


@pytest.mark.parametrize("elsewhere", ["LATIN1"], indirect=True)
def test_texts_of_another_encoding_arrive_as_they_are(elsewhere: Accounts) -> None:
    put_bytes(elsewhere, "clé".encode("latin-1"), "café".encode("latin-1"))
    extract(elsewhere)
    assert [(key, bio) for key, (bio, *_) in elsewhere.held().items()] == [("clé", "café")]


@pytest.mark.parametrize("elsewhere", ["SQL_ASCII"], indirect=True)
def test_a_text_that_is_not_utf8_costs_its_own_row_only(elsewhere: Accounts) -> None:
    put_bytes(elsewhere, b"a", "café".encode())
    put_bytes(elsewhere, b"b", b"caf\xe9")
    put_bytes(elsewhere, b"cl\xe9", b"x")
    put_bytes(elsewhere, b"gone", b"x")
    extract(elsewhere)
    assert set(elsewhere.standing()) == {"a", "gone"}
    assert quarantined(elsewhere.world) == [
        ("b", "bio cannot be read as string"),
        ("cl\\xe9", "account_id cannot be read as string"),
    ]
    with psycopg.connect(elsewhere.source.dsn) as connection:
        connection.execute("DELETE FROM accounts WHERE account_id = 'gone'")
        connection.execute("UPDATE accounts SET updated_at = '2020-01-01'")
    sides = (elsewhere.source, elsewhere.raw_store, elsewhere.world.lake, elsewhere.quarantine)
    assert UnreadRows(*sides, ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW).count().backfilled == 1
    assert elsewhere.compare().vanished == 1


def test_texts_that_are_not_utf8_are_no_ids_of_erased_accounts() -> None:
    class Erased:
        def __bool__(self) -> bool:
            return True

        def accounts_among(self, ids: Iterable[str]) -> set[str]:
            return {"gone"} & set(ids)

    ids = pa.array([b"gone", b"cl\xe9", None]).view(pa.string())
    kept = without_erased(pa.table({"account_id": ids}), ("account_id",), Erased())
    assert kept["account_id"].cast(pa.binary()).to_pylist() == [b"cl\xe9", None]
