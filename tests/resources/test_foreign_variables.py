"""Variables that are set for another database or another S3 service do not reach the embedded ones."""

import io
import os
import subprocess
import sys
from pathlib import Path

import obstore
import polars as pl
import pytest
from deltalake import write_deltalake
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store
from psycopg import pq

from resources.foreign_variables import ignore_foreign_variables
from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource

ROOT = Path(__file__).parents[2]
ASK_DATABASE = """
import sys
import pipelines  # as every entry point does first
import psycopg
from adbc_driver_postgresql import dbapi

for connect in (psycopg.connect, dbapi.connect):
    with connect(sys.argv[1]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
print("reached")
"""
ASK_S3 = """
import sys
import pipelines
import deltalake, polars
from resources.s3.client import S3Resource

bucket, endpoint, key_id, key = sys.argv[1:]
s3 = S3Resource(bucket=bucket, endpoint_url=endpoint, access_key_id=key_id, secret_access_key=key)
assert s3.get("rows.parquet")
polars.scan_parquet(s3.uri("rows.parquet"), storage_options=s3.polars_options).collect()
deltalake.write_deltalake(s3.uri("table"), polars.DataFrame({"a": [1]}), storage_options=s3.storage_options)
print("reached")
"""


FOR_DATABASES = {
    "PGHOSTADDR": "192.0.2.1",
    "PGSSLMODE": "require",
    "PGSERVICE": "of another database",
    "PGOPTIONS": "-c nothing=1",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "nothing",
}
FOR_S3 = {
    "AWS_PROFILE": "nobodys",
    "AWS_SHARED_CREDENTIALS_FILE": "/etc/passwd",
    "AWS_SESSION_TOKEN": "of another account",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nothing",
}
"""Each of them alone kept a client from its server."""


def said(script: str, variables: dict[str, str], *arguments: str) -> str:
    """What a script prints beside variables."""
    command = [sys.executable, "-c", script, *arguments]
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or found.stderr


def test_the_embedded_database_is_reached(stack: EmbeddedStack) -> None:
    assert said(ASK_DATABASE, FOR_DATABASES, stack.postgres_dsn) == "reached"


def test_the_embedded_s3_is_reached(s3: S3Resource) -> None:
    rows = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(rows)
    s3.put("rows.parquet", rows.getvalue())
    assert said(ASK_S3, FOR_S3, s3.bucket, s3.endpoint_url, s3.access_key_id, s3.secret_access_key) == "reached"


def test_no_variable_turns_the_protection_of_commits_off_or_hides_tables(
    s3: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    write_deltalake(s3.uri("table"), pl.DataFrame({"a": [1]}), storage_options=s3.delta_options)
    assert s3.get("table/_delta_log/00000000000000000000.json")
    store = S3Store.from_url(s3.uri(""), **s3.obstore_options)
    obstore.put(store, "once", b"", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "once", b"", mode="create")


@pytest.mark.parametrize(("own", "kept"), [
    ("CIPPUS_ENV=production", {"PGSSLMODE", "AWS_PROFILE", "PATH"}),
    ("CIPPUS_POSTGRES_DSN=host=of-ours", {"PGSSLMODE", "PATH"}),
    ("CIPPUS_POSTGRES_SECRET_ID=of-ours", {"PGSSLMODE", "AWS_PROFILE", "PATH"}),
    ("CIPPUS_S3_ENDPOINT=https://of.ours", {"AWS_PROFILE", "PATH"}),
    ("CIPPUS_S3_ENDPOINT=", {"PATH"}),
    ("AWS_REGION=eu-west-1", {"PATH"}),
])  # fmt: skip
def test_services_of_ones_own_keep_them(own: str, kept: set[str]) -> None:
    name, value = own.split("=", 1)
    variables = {"PGSSLMODE": "verify-full", "AWS_PROFILE": "ours", "PATH": "/bin", name: value}
    ignore_foreign_variables(variables)
    assert set(variables) == {*kept, name}


def test_all_variables_of_libpq_are_known() -> None:
    variables = {option.envvar.decode(): "" for option in pq.Conninfo.get_defaults() if option.envvar}
    ignore_foreign_variables(variables)
    assert not variables
