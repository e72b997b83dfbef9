"""What the deployment may do: policies of AWS, and roles of the source and of the warehouse."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from assets.transforms.source.schema import SOURCE_TABLES
from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import SourcePermissionError
from resources.sources.protocol import ReadWindow
from resources.sources.redshift import STAGING
from tests.worlds.deployment import DEPLOY, deployment_file


def test_policy_grants_named_actions_on_the_charts_bucket_and_secret() -> None:
    policy = json.loads((DEPLOY / "iam-policy.json").read_text())
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions == {
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:GetBucketVersioning",
        "s3:ListBucketVersions",
        "s3:ListBucketMultipartUploads",
        "s3:DeleteObjectVersion",
        "secretsmanager:GetSecretValue",
    }
    given = deployment_file("configmap.yaml")["data"]
    resources = {statement["Resource"] for statement in policy["Statement"]}
    bucket = f"arn:aws:s3:::{given['CIPPUS_S3_BUCKET']}"
    assert {bucket, f"{bucket}/*"} < resources
    [secret] = resources - {bucket, f"{bucket}/*"}
    assert secret.endswith(f":secret:{given['CIPPUS_POSTGRES_SECRET_ID']}-*")


@pytest.mark.parametrize(("file", "actions"), [
    ("iam-exports.json", {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}),
    ("iam-redshift.json", {
        "redshift-data:ExecuteStatement", "redshift-data:DescribeTable", "redshift-data:DescribeStatement",
        "redshift-data:GetStatementResult",
        "redshift-data:CancelStatement", "redshift-serverless:GetCredentials",
    }),
    ("iam-redshift-unload.json", {"s3:ListBucket", "s3:GetBucketLocation", "s3:PutObject", "s3:GetObject"}),
])  # fmt: skip
def test_policies_of_other_sources_grant_named_actions_on_named_resources(file: str, actions: set[str]) -> None:
    statements = json.loads((DEPLOY / file).read_text())["Statement"]
    assert {action for statement in statements for action in statement["Action"]} == actions
    assert all(statement["Resource"] != "*" or statement["Condition"] for statement in statements)


def test_redshift_may_write_where_windows_are_unloaded_and_nowhere_else() -> None:
    statements = json.loads((DEPLOY / "iam-redshift-unload.json").read_text())["Statement"]
    [bucket] = [statement["Resource"] for statement in statements if "s3:ListBucket" in statement["Action"]]
    [written] = [statement["Resource"] for statement in statements if "s3:PutObject" in statement["Action"]]
    assert written == f"{bucket}/{STAGING}*"


def test_the_warehouses_role_reads_the_tables_and_no_more() -> None:
    script = (DEPLOY / "redshift-role.sql").read_text()
    [selected] = re.findall(r"GRANT SELECT ON (.*) TO", script)
    assert selected.split(", ") == [f"public.{name}" for name in SOURCE_TABLES]
    assert re.findall(r"GRANT (\w+)", script) == ["USAGE", "SELECT", "ASSUMEROLE"]


@pytest.fixture
def granted(stack: EmbeddedStack) -> Iterator[tuple[psycopg.Connection, PostgresResource]]:
    """The owner's connection, and the source as the role of source-role.sql sees it."""
    script = (DEPLOY / "source-role.sql").read_text()
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as owner:
        try:
            # One by one: an index cannot be made concurrently inside a transaction, which several statements are.
            for statement in script.split(";"):
                if re.sub(r"--.*", "", statement).strip():
                    owner.execute(statement.encode())
            owner.execute("ALTER ROLE cippus_reader PASSWORD 'of-the-test'")
            at = urlsplit(stack.postgres_dsn)
            address = urlunsplit(at._replace(netloc=f"cippus_reader:of-the-test@{at.hostname}:{at.port}"))
            yield owner, PostgresResource(dsn=address)
        finally:
            owner.execute("DROP OWNED BY cippus_reader")
            owner.execute("DROP ROLE cippus_reader")


def test_granted_role_extracts_and_no_more(granted: tuple[psycopg.Connection, PostgresResource]) -> None:
    _, postgres = granted
    mark = postgres.safe_high_water_mark()
    assert mark <= datetime.now(UTC)
    for table in SOURCE_TABLES.values():
        window = ReadWindow(table.name, table.key, tuple(table.schema.names), "updated_at", None, mark)
        with postgres.read(window) as batches:
            assert set(batches.schema.names) == set(table.schema.names)
        assert postgres.count_ahead(table.name, "updated_at", mark) >= 0
    with psycopg.connect(postgres.dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM accounts")


def test_without_the_statistics_grant_extraction_says_so(
    granted: tuple[psycopg.Connection, PostgresResource],
) -> None:
    owner, postgres = granted
    owner.execute("REVOKE pg_read_all_stats FROM cippus_reader")
    with pytest.raises(SourcePermissionError, match="GRANT pg_read_all_stats"):
        postgres.safe_high_water_mark()
