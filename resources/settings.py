"""Every environment variable that Cippus reads, typed, described and validated.

`variables()` lists them for the reference in the documentation. Secrets are listed here and not read: resources get
them as `dagster.EnvVar`, so that definitions load without one.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from resources.environment_variables import Settings, Variable, variable
from resources.errors import InputError
from resources.local_stack import private_home


class Environment(StrEnum):
    """Where Cippus runs; `CIPPUS_ENV` selects it."""

    LOCAL = "local"
    TEST = "test"
    PRODUCTION = "production"


def _power_of_two(number: int) -> int:
    if number < 1 or number.bit_count() != 1:
        raise ValueError(number)
    return number


_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_SECONDS, _WHOLE_SECONDS = "a number of seconds above 0", "a whole number of seconds"
_RATE = "a number of requests per second"


class GeneralSettings(Settings):
    """Environment, home folder and account buckets."""

    model_config = SettingsConfigDict(env_ignore_empty=False)

    environment: Environment = variable(
        "CIPPUS_ENV",
        "Where Cippus runs: `local`, `test` or `production`.",
        Environment.LOCAL,
        must_be="local, test or production",
    )
    home: Path = variable(
        "CIPPUS_HOME", "Folder of the embedded stack's data and of the local Dagster instance.", Path(".cippus")
    )
    buckets: Annotated[int, AfterValidator(_power_of_two)] | None = variable(
        "CIPPUS_BUCKETS",
        "Number of account buckets, a power of two.",
        None,
        must_be="a power of two",
        shown="8; 64 in production",
    )


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
    statement_timeout_seconds: _Count = variable(
        "CIPPUS_STATEMENT_TIMEOUT_SECONDS",
        "Longest time that a read of the source database may take, in seconds.",
        3600,
        must_be=_WHOLE_SECONDS,
    )
    clock_skew_seconds: _Count = variable(
        "CIPPUS_CLOCK_SKEW_SECONDS",
        "How far the clock that sets `updated_at` may be behind the database's clock, in seconds.",
        60,
        must_be=_WHOLE_SECONDS,
    )
    old_transaction_seconds: _Positive = variable(
        "CIPPUS_OLD_TRANSACTION_SECONDS",
        "Age at which an open transaction of the source, which delays its rows, is reported, in seconds.",
        3600.0,
        must_be=_SECONDS,
        shown="3600",
    )
    replica_lag_seconds: _Positive = variable(
        "CIPPUS_REPLICA_LAG_SECONDS",
        "Allows a read replica as the source. Longer than any transaction on the writer, in seconds.",
        0.0,
        must_be=_SECONDS,
    )
    prepared_seconds: _Positive = variable(
        "CIPPUS_PREPARED_SECONDS",
        "Allows prepared transactions. Longer than a transaction is open before PREPARE TRANSACTION, in seconds.",
        0.0,
        must_be=_SECONDS,
    )


class RdsExportSettings(Settings):
    """Snapshot exports of RDS on S3."""

    location: str = variable(
        "CIPPUS_RDS_EXPORTS",
        "Where RDS writes snapshot exports: `s3://bucket/prefix`, or a prefix in the lake's bucket.",
    )
    database: str = variable("CIPPUS_RDS_EXPORT_DATABASE", "Database to read when an export has several.")
    open_transaction_seconds: _Count = variable(
        "CIPPUS_RDS_EXPORT_OPEN_SECONDS",
        "Longest time that a transaction is open when a snapshot is taken, in seconds.",
        3600,
        must_be=_WHOLE_SECONDS,
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
    lag_seconds: _Positive = variable(
        "CIPPUS_REDSHIFT_LAG_SECONDS",
        "Longer than rows take from the database to the warehouse, in seconds. Required for Redshift.",
        0.0,
        must_be=_SECONDS,
    )


class S3Settings(Settings):
    """S3 and the request governor."""

    bucket: str = variable("CIPPUS_S3_BUCKET", "Bucket of the lake.", "cippus")
    endpoint: str = variable(
        "CIPPUS_S3_ENDPOINT", "URL of an S3 service other than AWS. Overrides the embedded one.", shown="AWS"
    )
    governor: Literal["on", "off"] = variable(
        "CIPPUS_S3_GOVERNOR",
        "Whether requests to S3 go through the request governor: `on` or `off`.",
        "on",
        must_be="on or off",
    )
    depth: _Count = variable(
        "CIPPUS_S3_DEPTH",
        "Number of path segments of a key that share a request limit.",
        2,
        must_be="a number of path segments",
    )
    deadline_seconds: _Positive = variable(
        "CIPPUS_S3_DEADLINE", "How long the governor retries a request, in seconds.", 60.0, must_be=_SECONDS, shown="60"
    )
    write_ceiling: _Positive = variable(
        "CIPPUS_S3_MAX_WRITES",
        "Most writes per second of this host or pod to one prefix.",
        0.0,
        must_be=_RATE,
        shown="the limit of S3",
    )
    read_ceiling: _Positive = variable(
        "CIPPUS_S3_MAX_READS",
        "Most reads per second of this host or pod from one prefix.",
        0.0,
        must_be=_RATE,
        shown="the limit of S3",
    )
    emf: str = variable(
        "CIPPUS_S3_EMF", "Where the governor sends CloudWatch metrics: `udp://host:port` or a file.", shown="nowhere"
    )
    ca_file: str = variable(
        "AWS_CA_BUNDLE", "File of the certificates that verify the S3 service.", shown="the system's certificates"
    )
    region: str = variable("AWS_REGION", "Region of the lake's bucket.", "us-east-1")


class LakeSettings(Settings):
    """Lake tables."""

    retention_hours: _Count = variable(
        "CIPPUS_LAKE_RETENTION_HOURS",
        "How long replaced files of lake tables are kept for their readers, in hours.",
        168,
        must_be="a whole number of hours",
    )


class QdrantSettings(Settings):
    """The Qdrant cluster."""

    SECRETS: ClassVar = {"QDRANT_API_KEY": "API key of the cluster."}

    url: str = variable("QDRANT_URL", "Address of a Qdrant cluster.", shown="the embedded engine")
    quantization: Literal["none", "scalar", "turbo"] = variable(
        "CIPPUS_QDRANT_QUANTIZATION",
        "Compression of vectors, applied if the recall gate accepts it: `none`, `scalar` or `turbo`.",
        "none",
        must_be="none, scalar or turbo",
    )
    nodes: str = variable("CIPPUS_QDRANT_NODES", "Addresses of all nodes of the cluster, separated by commas.")


class EmbeddingSettings(Settings):
    """The embedding model, local or behind an endpoint."""

    SECRETS: ClassVar = {"CIPPUS_EMBEDDINGS_API_KEY": "API key of the embeddings endpoint."}

    endpoint_url: str = variable(
        "CIPPUS_EMBEDDINGS_URL",
        "OpenAI-compatible embeddings endpoint (TEI, vLLM), such as `http://host:8080/v1`.",
        shown="the local encoder",
    )
    endpoint_model: str = variable(
        "CIPPUS_EMBEDDINGS_MODEL", "Model that the endpoint serves. It names the generation of vectors."
    )
    endpoint_requests: Annotated[int, Field(ge=1)] = variable(
        "CIPPUS_EMBEDDINGS_REQUESTS",
        "Number of concurrent requests to the endpoint.",
        8,
        must_be="a number of requests, at least 1",
    )
    threads: _Count = variable(
        "CIPPUS_EMBEDDER_THREADS",
        "Number of threads of the local encoder.",
        0,
        must_be="a number of threads",
        shown="the cores of this process",
    )


class ErasureSettings(Settings):
    """Erasure of accounts."""

    SECRETS: ClassVar = {
        "CIPPUS_ERASURE_KEY": "Key that hashes the ids of erased accounts, at least 32 characters. "
        "The embedded stack generates one."
    }


AREAS: tuple[type[Settings], ...] = (
    *(GeneralSettings, SourceSettings, RdsExportSettings, RedshiftSettings, S3Settings, LakeSettings),
    *(QdrantSettings, EmbeddingSettings, ErasureSettings),
)


def variables() -> list[Variable]:
    """Return every environment variable that Cippus reads, by area."""
    return [listed for area in AREAS for listed in area.variables()]


def environment() -> Environment:
    """Return the environment that `CIPPUS_ENV` names. Raise InputError for an unknown name."""
    return GeneralSettings.read().environment


def home() -> Path:
    """Return the folder of this machine's Cippus data, as an absolute path."""
    return GeneralSettings.read().home.resolve()


def writable_home() -> Path:
    """Return the home folder; create it if it is missing. Raise InputError when it cannot be written."""
    path = home()
    try:
        private_home(path)
        (path / "run.lock").touch()
    except OSError as error:
        message = f"CIPPUS_HOME is {path}; it must be a folder that can be written: {error.strerror}."
        raise InputError(message) from None
    return path


def bucket_count() -> int:
    """Return the number of account buckets. Raise InputError unless it is a power of two."""
    settings = GeneralSettings.read()
    return settings.buckets or (64 if settings.environment is Environment.PRODUCTION else 8)


def clock_skew_seconds() -> int:
    """Return how far the clock that sets ``updated_at`` may be behind the source's clock."""
    return SourceSettings.read().clock_skew_seconds


def old_transaction_seconds() -> float:
    """Return the age at which an open transaction of the source is reported."""
    return SourceSettings.read().old_transaction_seconds


def is_governed() -> bool:
    """Return whether S3 clients go through the governor."""
    return S3Settings.read().governor == "on"


def go_without_governor() -> None:
    """Turn the governor off for this process and its children. Call it before definitions are loaded."""
    os.environ["CIPPUS_S3_GOVERNOR"] = "off"
