"""Settings of the sources: Postgres, snapshot exports of RDS, Redshift."""

from typing import ClassVar, Literal

from resources.environment_variables import Settings, variable
from resources.settings.kinds import SECONDS, WHOLE_SECONDS, Count, Positive


class SourceSettings(Settings):
    """The source that changes are extracted from."""

    SECRETS: ClassVar = {"CIPPUS_POSTGRES_DSN": "Address of the source database. Overrides the embedded one."}

    source: Literal["postgres", "redshift"] = variable(
        "CIPPUS_SOURCE",
        "Source of changes: `postgres` or `redshift`.",
        "postgres",
        must_be="postgres or redshift",
    )
    postgres_secret_id: str = variable(
        "CIPPUS_POSTGRES_SECRET_ID",
        "Secrets Manager id of the source database's address, as a DSN or as the JSON that RDS keeps.",
    )
    statement_timeout_seconds: Count = variable(
        "CIPPUS_STATEMENT_TIMEOUT_SECONDS",
        "Longest time that a read of the source database may take, in seconds.",
        3600,
        must_be=WHOLE_SECONDS,
    )
    clock_skew_seconds: Count = variable(
        "CIPPUS_CLOCK_SKEW_SECONDS",
        "How far the clock that sets `updated_at` may be behind the database's clock, in seconds.",
        60,
        must_be=WHOLE_SECONDS,
    )
    old_transaction_seconds: Positive = variable(
        "CIPPUS_OLD_TRANSACTION_SECONDS",
        "Age at which an open transaction of the source, which delays its rows, is reported, in seconds.",
        3600.0,
        must_be=SECONDS,
        shown="3600",
    )
    replica_lag_seconds: Positive = variable(
        "CIPPUS_REPLICA_LAG_SECONDS",
        "Allows a read replica as the source. Longer than any transaction on the writer, in seconds.",
        0.0,
        must_be=SECONDS,
    )
    prepared_seconds: Positive = variable(
        "CIPPUS_PREPARED_SECONDS",
        "Allows prepared transactions. Longer than a transaction is open before PREPARE TRANSACTION, in seconds.",
        0.0,
        must_be=SECONDS,
    )


class RdsExportSettings(Settings):
    """Snapshot exports of RDS on S3."""

    location: str = variable(
        "CIPPUS_RDS_EXPORTS",
        "Where RDS writes snapshot exports: `s3://bucket/prefix`, or a prefix in the lake's bucket.",
    )
    database: str = variable("CIPPUS_RDS_EXPORT_DATABASE", "Database to read when an export has several.")
    open_transaction_seconds: Count = variable(
        "CIPPUS_RDS_EXPORT_OPEN_SECONDS",
        "Longest time that a transaction is open when a snapshot is taken, in seconds.",
        3600,
        must_be=WHOLE_SECONDS,
    )


class RedshiftSettings(Settings):
    """The Redshift warehouse."""

    workgroup: str = variable("CIPPUS_REDSHIFT_WORKGROUP", "Serverless workgroup of the warehouse.")
    cluster: str = variable("CIPPUS_REDSHIFT_CLUSTER", "Provisioned cluster, instead of a workgroup.")
    database: str = variable("CIPPUS_REDSHIFT_DATABASE", "Database of the warehouse.")
    schema_name: str = variable("CIPPUS_REDSHIFT_SCHEMA", "Schema of the tables.", "public")
    secret_arn: str = variable(
        "CIPPUS_REDSHIFT_SECRET_ARN", "ARN of the secret of the login.", shown="the caller's IAM identity"
    )
    user: str = variable("CIPPUS_REDSHIFT_USER", "User of a provisioned cluster, instead of a secret.")
    unload_role: str = variable(
        "CIPPUS_REDSHIFT_UNLOAD_ROLE", "ARN of the role that UNLOAD writes with.", shown="the warehouse's default role"
    )
    lag_seconds: Positive = variable(
        "CIPPUS_REDSHIFT_LAG_SECONDS",
        "Longer than rows take from the database to the warehouse, in seconds. Required for Redshift.",
        0.0,
        must_be=SECONDS,
    )


def clock_skew_seconds() -> int:
    """Return how far the clock that sets ``updated_at`` may be behind the source's clock."""
    return SourceSettings.read().clock_skew_seconds


def old_transaction_seconds() -> float:
    """Return the age at which an open transaction of the source is reported."""
    return SourceSettings.read().old_transaction_seconds
