"""Redshift: windows are unloaded once, verified, streamed, cleared away; each fault is the right kind of failure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from assets.transforms.source.contract import compare, landed_schema, recast_rows
from assets.transforms.source.schema import POSTS, SOURCE_TABLES
from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from resources.sources.protocol import KeyRange, ReadWindow
from resources.sources.redshift import STAGING, RedshiftResource, RedshiftSettingError
from resources.sources.redshift_statement import RedshiftRefusedError, RedshiftUnavailableError
from tests.fakes.redshift_server import Redshift, running

THEN = datetime(2024, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def warehouse(stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]") -> Iterator[Redshift]:
    source.execute(
        "INSERT INTO posts SELECT 'p' || n, 'o''hara', 'x', now(), 'text', ARRAY['a b', NULL, 'q\"x'], NULL, 'video', "
        "n, NULL, 0, n, %s::timestamptz + n * interval '1 minute', NULL FROM generate_series(0, 59) n",
        (THEN,),
    )
    with running(stack.postgres_dsn, s3) as found:
        yield found


def redshift(warehouse: Redshift, **settings: Any) -> RedshiftResource:
    wanted = {"workgroup": "creators", "database": "dev", "poll_seconds": 0.001, "lag_seconds": 900.0, **settings}
    return RedshiftResource(s3=warehouse.s3, endpoint_url=warehouse.url, **wanted)


def window(lower: datetime | None = THEN, upper: datetime = THEN + HOUR, **changes: Any) -> ReadWindow:
    wanted = {"columns": tuple(POSTS.schema.names), "keys": KeyRange(), **changes}
    return ReadWindow("posts", "post_id", wanted["columns"], "updated_at", lower, upper, wanted["keys"])


def rows_of(source: RedshiftResource, asked: ReadWindow) -> list[dict[str, Any]]:
    schema = landed_schema(compare(POSTS, source.columns("posts")))
    found: list[dict[str, Any]] = []
    with source.read(asked) as batches:
        for batch in batches:
            rows, rejects = recast_rows(schema, pa.Table.from_batches([batch]))
            assert rejects.is_empty()
            found += rows.to_pylist()
    return sorted(found, key=lambda row: str(row["post_id"]))


def staged(warehouse: Redshift) -> list[str]:
    return sorted(item.key for item in warehouse.s3.list_objects(STAGING))


def test_a_window_has_the_databases_rows_in_the_declared_types(
    warehouse: Redshift, source: "psycopg.Connection[Any]"
) -> None:
    names = POSTS.schema.names
    rows = source.execute(f'SELECT {", ".join(names)} FROM posts ORDER BY post_id COLLATE "C"'.encode()).fetchall()
    expected = [dict(zip(names, row, strict=True)) for row in rows]
    found = redshift(warehouse)
    assert rows_of(found, window()) == expected
    assert rows_of(found, window(None)) == expected
    half = THEN + HOUR / 2
    assert [row["likes"] for row in expected if row["updated_at"] < half] == [
        row["likes"] for row in rows_of(found, window(None, half))
    ]
    assert rows_of(found, window(half, half)) == []


def test_columns_are_in_redshifts_own_words_and_keep_the_contract(warehouse: Redshift) -> None:
    found = redshift(warehouse)
    assert found.columns("posts")["hashtags"] == "super"
    assert found.columns("unknown") == {}
    for table in SOURCE_TABLES.values():
        assert compare(table, found.columns(table.name)).is_empty


def test_a_statement_names_role_warehouse_and_login(warehouse: Redshift) -> None:
    settings = {"unload_role": "arn:aws:iam::123456789012:role/unload", "schema_name": "public"}
    rows_of(redshift(warehouse, secret_arn="arn:secret", **settings), window())
    [unload] = warehouse.unloads
    assert "IAM_ROLE 'arn:aws:iam::123456789012:role/unload' FORMAT" in unload
    assert "''2024-02-01T01:00:00+00:00''::timestamptz" in unload
    asked = dict(warehouse.calls)["ExecuteStatement"]
    assert (asked["WorkgroupName"], asked["Database"], asked["SecretArn"]) == ("creators", "dev", "arn:secret")
    provisioned = redshift(warehouse, workgroup="", cluster="old", user="reader")
    rows_of(provisioned, window(None))
    asked = [call for name, call in warehouse.calls if name == "ExecuteStatement"][-1]
    assert (asked["ClusterIdentifier"], asked["DbUser"]) == ("old", "reader")
    assert "IAM_ROLE default" in warehouse.unloads[-1]
    assert not {"WorkgroupName", "SecretArn"} & asked.keys()


def test_the_same_window_is_unloaded_once_whatever_crashes_and_goes_when_it_is_settled(warehouse: Redshift) -> None:
    first = rows_of(redshift(warehouse), window())
    assert rows_of(redshift(warehouse), window()) == first  # as another process after a crash
    assert len(warehouse.unloads) == 1
    assert len(staged(warehouse)) == 4
    rows_of(redshift(warehouse), window(None))
    assert len(warehouse.unloads) == 2
    redshift(warehouse).delete_staged("accounts")
    assert len(staged(warehouse)) == 8
    redshift(warehouse).delete_staged("posts")
    assert staged(warehouse) == []
    assert rows_of(redshift(warehouse), window()) == first  # an old statement does not pass for one without rows
    assert len(warehouse.unloads) == 3


@pytest.mark.parametrize(("fault", "failure", "message"), [
    ("failed", RedshiftRefusedError, 'failed: ERROR: permission denied for relation "posts"'),
    ("slow down", RedshiftUnavailableError, "Error SlowDown"),
    ("aborted", RedshiftUnavailableError, "stopped from outside: Query cancelled by WLM"),
    ("throttled", RedshiftUnavailableError, "answered execute_statement with ThrottlingException: Rate exceeded"),
    ("expired token", RedshiftUnavailableError, "ExpiredTokenException: The security token"),
    ("denied", RedshiftRefusedError, "AccessDeniedException: User is not authorized to perform"),
    ("busy", RedshiftUnavailableError, "ActiveStatementsExceededException"),
    ("stuck", RedshiftUnavailableError, "did not finish a statement in 0 s; it was cancelled"),
    ("lost file", RedshiftUnavailableError, r"is not whole: staging/.*0000_part_00.parquet differs"),
    ("cut file", RedshiftUnavailableError, r"is not whole: staging/.*0000_part_00.parquet differs"),
    ("lost manifest", RedshiftUnavailableError, "is not whole: there is no manifest"),
])  # fmt: skip
def test_each_fault_is_its_kind_of_failure_and_the_next_attempt_is_a_new_statement(
    warehouse: Redshift, monkeypatch: pytest.MonkeyPatch, fault: str, failure: type[Exception], message: str
) -> None:
    monkeypatch.setattr("resources.sources.redshift._API_ATTEMPTS", 1)
    columns = tuple(POSTS.schema.names)
    with warehouse.suffering(fault), pytest.raises(failure, match=message):  # noqa: SIM117
        with redshift(warehouse, deadline_seconds=0.1 if fault == "stuck" else 60).read(window(columns=columns)):
            pass
    assert len(warehouse.cancelled) == (fault == "stuck")
    assert len(rows_of(redshift(warehouse), window())) == 60
    was_asked = fault not in {"throttled", "expired token", "denied", "busy"}
    assert len(warehouse.unloads) == 1 + was_asked
    redshift(warehouse).delete_staged("posts")
    assert staged(warehouse) == []


def test_a_statement_that_was_lost_sight_of_is_found_again(
    warehouse: Redshift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.sources.redshift._API_ATTEMPTS", 1)
    answer = warehouse.answer

    def forgetful(operation: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if operation == "DescribeStatement":
            return 500, {"__type": "InternalServerException", "message": "try again"}
        return answer(operation, asked)

    warehouse.answer = forgetful  # type: ignore[method-assign]
    with pytest.raises(RedshiftUnavailableError, match="try again"), redshift(warehouse).read(window()):
        pass
    warehouse.answer = answer  # type: ignore[method-assign]
    assert len(rows_of(redshift(warehouse), window())) == 60
    assert len(warehouse.unloads) == 1


def test_a_window_that_was_unloaded_is_found_after_its_token_is_forgotten(warehouse: Redshift) -> None:
    first = rows_of(redshift(warehouse), window())
    warehouse.forget_tokens()
    assert rows_of(redshift(warehouse), window()) == first
    assert len(warehouse.unloads) == 1
    warehouse.s3.delete([key for key in staged(warehouse) if key.endswith(".parquet")][:1])
    with pytest.raises(RedshiftUnavailableError, match="is not whole"), redshift(warehouse).read(window()):
        pass
    assert rows_of(redshift(warehouse), window()) == first
    assert len(warehouse.unloads) == 2


def test_a_window_without_rows_is_unloaded_again_after_its_token_is_forgotten(warehouse: Redshift) -> None:
    empty = window(THEN - HOUR, THEN)
    assert rows_of(redshift(warehouse), empty) == []
    warehouse.forget_tokens()
    assert rows_of(redshift(warehouse), empty) == []


def test_a_window_half_unloaded_under_a_token_that_is_forgotten_is_another_attempt(warehouse: Redshift) -> None:
    first = rows_of(redshift(warehouse), window())
    warehouse.s3.delete([key for key in staged(warehouse) if key.endswith("manifest")])
    warehouse.forget_tokens()
    with pytest.raises(RedshiftUnavailableError, match="destination on S3 is not empty"):  # noqa: SIM117
        with redshift(warehouse).read(window()):
            pass
    assert rows_of(redshift(warehouse), window()) == first


def test_throttling_is_repeated_before_it_is_a_failure(warehouse: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.sources.redshift._API_ATTEMPTS", 2)
    with warehouse.suffering("throttled"), pytest.raises(RedshiftUnavailableError):
        redshift(warehouse).columns("posts")
    assert [name for name, _ in warehouse.calls] == ["DescribeTable", "DescribeTable"]


def test_without_a_known_lag_there_is_no_mark(warehouse: Redshift) -> None:
    before = datetime.now(UTC)
    mark = redshift(warehouse).safe_high_water_mark()
    assert timedelta(0) <= mark - (before - timedelta(minutes=15)) < timedelta(minutes=1)
    with pytest.raises(RedshiftSettingError, match="set CIPPUS_REDSHIFT_LAG_SECONDS"):
        redshift(warehouse, lag_seconds=0).safe_high_water_mark()


@pytest.mark.parametrize("ahead", [-HOUR, HOUR, -400 * 24 * HOUR])
def test_the_mark_is_on_the_warehouses_clock_and_not_on_this_hosts(warehouse: Redshift, ahead: timedelta) -> None:
    its_now = datetime.now(UTC) + ahead
    warehouse.time = lambda: str(its_now.timestamp())
    mark = redshift(warehouse).safe_high_water_mark()
    assert abs(mark - (its_now - timedelta(minutes=15))) < timedelta(milliseconds=1)


@pytest.mark.parametrize("answer", ["", "now", "nan", "1e300", "inf"])
def test_a_time_that_is_none_stops_the_extraction(warehouse: Redshift, answer: str) -> None:
    warehouse.time = lambda: answer
    with pytest.raises(RedshiftRefusedError, match=r"^Redshift answered \[\[\{'stringValue': .* where its time was"):
        redshift(warehouse).safe_high_water_mark()


@pytest.mark.parametrize("settings", [{"workgroup": ""}, {"cluster": "old"}, {"database": ""}])
def test_a_warehouse_that_is_not_named_once_is_refused(warehouse: Redshift, settings: dict[str, str]) -> None:
    with pytest.raises(RedshiftSettingError, match="one of CIPPUS_REDSHIFT_WORKGROUP and"):
        redshift(warehouse, **settings).columns("posts")
    assert warehouse.calls == []


def test_windows_are_not_cut_by_keys(warehouse: Redshift) -> None:
    with (
        pytest.raises(ValueError, match="limited to a range of keys"),
        redshift(warehouse).read(window(keys=KeyRange("a"))),
    ):
        pass
