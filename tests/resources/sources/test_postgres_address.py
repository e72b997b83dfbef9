"""The source database's address: what libpq understands is taken, and of anything else nothing is quoted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from dagster import JobDefinition, job, op
from dagster_aws.secretsmanager import SecretsManagerResource
from psycopg.conninfo import conninfo_to_dict

from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_address import of_secret, of_setting, with_option
from resources.sources.postgres_errors import SourceAddressError
from resources.sources.protocol import ReadWindow

SECRET = "s3cret"
RDS = {"engine": "postgres", "host": "db.internal", "username": "reader", "password": "p w'%@/\\", "dbname": "creators"}


@pytest.mark.parametrize("text", [
    json.dumps({"username": "cippus", "password": SECRET}),
    json.dumps({**RDS, "password": SECRET}),
    f"postgresql+psycopg2://cippus:{SECRET}@127.0.0.1/creators",
    f"postgresql://cippus:{SECRET}%zz@127.0.0.1/creators",
    f"postgresql://cippus:{SECRET} {SECRET}@127.0.0.1/creators",
    f"postgresql://cippus:x@{SECRET}@127.0.0.1/creators",
    f"postgresql://cippus:{SECRET}/x@127.0.0.1/creators",
    f"postgresql://cippus:5432/{SECRET}@127.0.0.1/creators",
    f"postgresql://cippus:{SECRET}",
    f"host=127.0.0.1 user=cippus password=x {SECRET}",
    f"host=127.0.0.1 passwd={SECRET}",
    SECRET,
    "",
    " \n",
])  # fmt: skip
def test_of_what_is_no_address_nothing_is_quoted(text: str) -> None:
    with pytest.raises(
        SourceAddressError, match=r"^CIPPUS_POSTGRES_DSN is not a database address; .* postgresql://user"
    ) as caught:
        of_setting(text, "CIPPUS_POSTGRES_DSN")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def _failing(ask: Callable[[], object]) -> JobDefinition:
    @op
    def asking() -> None:
        ask()

    @job
    def asking_job() -> None:
        asking()

    return asking_job


def test_the_event_log_has_nothing_of_it() -> None:
    window = ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, datetime(2024, 1, 1, tzinfo=UTC))
    source = PostgresResource(dsn=f"postgresql://cippus:{SECRET}%zz@127.0.0.1/creators")
    for ask in (source.safe_high_water_mark, source.read(window).__enter__):
        [failed] = _failing(ask).execute_in_process(raise_on_error=False).get_step_failure_events()
        logged = repr(failed.step_failure_data)
        assert "CIPPUS_POSTGRES_DSN is not a database address" in logged
        assert SECRET not in logged


@pytest.mark.parametrize("text", [
    "postgresql://reader:a%40b%2Fc@db.internal:5433/creators?sslmode=require",
    "postgres://reader:a%40b%2Fc@db.internal:5433/creators?sslmode=require\n",
    "host=db.internal port=5433 user=reader password='a@b/c' dbname=creators sslmode=require",
])  # fmt: skip
def test_what_libpq_understands_is_taken_as_it_is(text: str) -> None:
    for found in (of_setting(text, "it"), of_secret(text, "it")):
        options = conninfo_to_dict(found)
        assert options.pop("application_name") == "cippus"
        assert options.pop("connect_timeout") == "10"
        assert options.pop("client_encoding") == "UTF8"
        assert options.pop("sslmode") == "require"
        login = {"user": "reader", "password": "a@b/c"}
        assert options == {**login, "host": "db.internal", "port": "5433", "dbname": "creators"}


def test_sockets_several_hosts_and_whatever_libpq_takes_in_a_password_are_taken() -> None:
    assert conninfo_to_dict(of_setting("postgresql://reader:a?b#c@db/creators", "it"))["password"] == "a?b#c"
    assert conninfo_to_dict(of_setting("postgresql:///creators?host=/run/pg", "it"))["host"] == "/run/pg"
    assert conninfo_to_dict(of_setting("postgresql://[::1]:5432/creators", "it"))["host"] == "::1"
    assert conninfo_to_dict(of_setting("postgresql://a:1,b:2/creators?user=a@b", "it"))["port"] == "1,2"


@pytest.mark.parametrize("port", [{}, {"port": 5433}, {"port": "5433"}])
def test_a_secret_may_be_the_json_of_rds(port: dict[str, object]) -> None:
    options = conninfo_to_dict(of_secret(json.dumps({**RDS, **port}), "The secret"))
    assert (options["host"], options["user"], options["dbname"]) == ("db.internal", "reader", "creators")
    assert options["password"] == RDS["password"]
    assert options["port"] == ("5433" if port else "5432")


@pytest.mark.parametrize(("fields", "said"), [
    ({"username": "cippus", "password": SECRET}, "The secret x is JSON without host, dbname; it must have host, port"),
    ({**RDS, "password": ""}, "The secret x is JSON without password; it must have"),
    ({**RDS, "port": SECRET}, "The secret x is JSON whose port is not a number"),
])  # fmt: skip
def test_json_that_is_no_address_is_refused_with_what_it_lacks(fields: dict[str, str], said: str) -> None:
    with pytest.raises(SourceAddressError, match=said) as caught:
        of_secret(json.dumps(fields), "The secret x")
    assert SECRET not in str(caught.value)


def test_the_source_is_reached_with_the_json_of_a_secret(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    at = urlsplit(stack.postgres_dsn)
    kept = {"host": at.hostname, "port": at.port, "username": at.username, "password": at.password}
    secrets = {"cippus/source": json.dumps({**kept, "dbname": "creators"}), "cippus/master": json.dumps(kept)}

    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None: ...

        def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - the API's name
            return {"SecretString": secrets[SecretId]}

    monkeypatch.setattr(SecretsManagerResource, "get_client", lambda _: Client())
    assert "post_id" in PostgresResource(secret_id="cippus/source").columns("posts")
    with pytest.raises(SourceAddressError, match="The secret cippus/master is JSON without dbname"):
        PostgresResource(secret_id="cippus/master").columns("posts")


@pytest.mark.parametrize(("given", "expected"), [("", "-c x=off"), (" options='-c y=on'", "-c y=on -c x=off")])
def test_an_option_is_added_to_those_that_are_given(given: str, expected: str) -> None:
    found = conninfo_to_dict(with_option(f"host=h dbname=d{given}", "-c x=off"))
    assert found == {"host": "h", "dbname": "d", "options": expected}
