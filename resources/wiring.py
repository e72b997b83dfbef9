"""Which resource each environment uses, and the name of every environment variable. Nothing else reads them."""

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from dagster import EnvVar, ExecutorDefinition, in_process_executor

from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.llm.embedder import EmbedderResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.s3.governor import process
from resources.s3.governor.settings import GovernorSettingError, refuse_credentials
from resources.s3.options import GovernorConfig
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import Source
from resources.sources.rds_export import RdsExportResource
from resources.sources.redshift import RedshiftResource
from resources.vectors.generations import QUANTIZATIONS
from resources.vectors.resource import QdrantResource


class Environment(StrEnum):
    """Where Cippus runs; `CIPPUS_ENV` picks one."""

    LOCAL = "local"
    TEST = "test"
    PRODUCTION = "production"


class SettingError(ValueError):
    """An environment variable has a value that cannot be used; the message is one sentence."""


VARIABLES = {
    "CIPPUS_ENV": "local (default), test or production",
    "CIPPUS_HOME": "folder of the embedded stack's data and the local Dagster instance (default .cippus)",
    "CIPPUS_BUCKETS": "account buckets, a power of two (default 8, in production 64)",
    "CIPPUS_SOURCE": "where changes are extracted from: postgres (default) or redshift",
    "CIPPUS_POSTGRES_DSN": "source database; overrides the embedded one",
    "CIPPUS_POSTGRES_SECRET_ID": "Secrets Manager id of the source database's DSN, or of RDS's JSON of it",
    "CIPPUS_STATEMENT_TIMEOUT_SECONDS": "seconds that a read of the source database may take (default 3600)",
    "CIPPUS_CLOCK_SKEW_SECONDS": "seconds that the clock of whoever sets updated_at may be behind (default 60)",
    "CIPPUS_REPLICA_LAG_SECONDS": "longer than any transaction of the writer takes; allows a read replica as source",
    "CIPPUS_PREPARED_SECONDS": "longer than a transaction is open before PREPARE TRANSACTION; allows prepared ones",
    "CIPPUS_RDS_EXPORTS": "where RDS puts snapshot exports: s3://bucket/prefix, or a prefix of the lake's bucket",
    "CIPPUS_RDS_EXPORT_DATABASE": "the database to read, where an export has the tables in several",
    "CIPPUS_RDS_EXPORT_OPEN_SECONDS": "longest that a transaction is open when a snapshot is taken (default 3600)",
    "CIPPUS_REDSHIFT_WORKGROUP": "serverless workgroup of the warehouse",
    "CIPPUS_REDSHIFT_CLUSTER": "provisioned cluster, in place of a workgroup",
    "CIPPUS_REDSHIFT_DATABASE": "database of the warehouse",
    "CIPPUS_REDSHIFT_SCHEMA": "schema of its tables (default public)",
    "CIPPUS_REDSHIFT_SECRET_ARN": "secret of the login (default: the caller's IAM identity)",
    "CIPPUS_REDSHIFT_USER": "user of a provisioned cluster, in place of a secret",
    "CIPPUS_REDSHIFT_UNLOAD_ROLE": "ARN of the role that UNLOAD writes with (default: the warehouse's default role)",
    "CIPPUS_REDSHIFT_LAG_SECONDS": "longer than rows take from the database into the warehouse; needed for redshift",
    "CIPPUS_S3_BUCKET": "bucket of the lake (default cippus)",
    "CIPPUS_LAKE_RETENTION_HOURS": "hours that replaced files of lake tables stay for their readers (default 168)",
    "CIPPUS_S3_ENDPOINT": "S3 endpoint, where it is not AWS's own; overrides the embedded one",
    "CIPPUS_S3_GOVERNOR": "on (default), or off to let S3 clients go to S3 directly, whatever its limits",
    "CIPPUS_S3_DEPTH": "path segments of a key that share a request limit (default 2)",
    "CIPPUS_S3_DEADLINE": "seconds that the governor tries a request for (default 60)",
    "CIPPUS_S3_MAX_WRITES": "most writes a second of this host or pod to one prefix (default S3's own limit)",
    "CIPPUS_S3_MAX_READS": "most reads a second of this host or pod to one prefix (default S3's own limit)",
    "CIPPUS_S3_EMF": "where the governor's CloudWatch metrics go: udp://host:port or a file (default nowhere)",
    "AWS_CA_BUNDLE": "file of the certificates that S3's is verified with (default the system's)",
    "AWS_REGION": "region of the lake (default us-east-1)",
    "QDRANT_URL": "Qdrant cluster; overrides the embedded engine",
    "QDRANT_API_KEY": "its key",
    "CIPPUS_QDRANT_QUANTIZATION": "none (default), scalar or turbo: how vectors are compressed, if the gate accepts it",
    "CIPPUS_QDRANT_NODES": "addresses of all nodes of the cluster, with commas between: those that are expected",
    "CIPPUS_EMBEDDINGS_URL": "OpenAI-compatible embeddings endpoint (TEI, vLLM), such as http://host:8080/v1; "
    "overrides the local encoder",
    "CIPPUS_EMBEDDINGS_MODEL": "the model that is asked for there; it names the generation of vectors",
    "CIPPUS_EMBEDDINGS_API_KEY": "the endpoint's key",
    "CIPPUS_EMBEDDINGS_REQUESTS": "requests to it that are under way at a time (default 8)",
    "CIPPUS_EMBEDDER_THREADS": "threads of the encoder (default: the cores that the process was given)",
    "CIPPUS_ERASURE_KEY": "secret that ids of erased accounts are hashed with, at least 32 characters; made on the "
    "embedded stack",
}
"""Every variable that Cippus reads, and what it means; the README's table is held to it."""
SOURCES = ("postgres", "redshift")
"""What CIPPUS_SOURCE may name; the first is the default."""


def environment() -> Environment:
    """The environment that `CIPPUS_ENV` names. Raises SettingError for an unknown one."""
    name = os.getenv("CIPPUS_ENV", Environment.LOCAL)
    if name not in set(Environment):
        known = ", ".join(Environment)
        message = f"CIPPUS_ENV is {name!r}, expected one of {known}."
        raise SettingError(message)
    return Environment(name)


def home() -> Path:
    """The folder of this machine's Cippus data."""
    return Path(os.getenv("CIPPUS_HOME", ".cippus")).resolve()


def governor_home() -> Path:
    """The folder of this host's request governors."""
    return home() / process.HOME_FOLDER


def writable_home() -> Path:
    """The home folder, made where it is missing. Raises SettingError when it cannot be."""
    path = home()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "run.lock").touch()
    except OSError as error:
        message = f"CIPPUS_HOME is {path}, expected a folder that can be written: {error.strerror}."
        raise SettingError(message) from None
    return path


def bucket_count() -> int:
    """How many account buckets there are. Raises SettingError unless it is a power of two."""
    default = "64" if environment() is Environment.PRODUCTION else "8"
    text = os.getenv("CIPPUS_BUCKETS", default)
    if not (text.isascii() and text.isdigit()) or int(text).bit_count() != 1:
        message = f"CIPPUS_BUCKETS is {text!r}, expected a power of two."
        raise SettingError(message)
    return int(text)


def executor() -> ExecutorDefinition:
    """How the steps of a run are executed: one process here, a Kubernetes job each in production.

    The embedded index has one process at a time, so local steps share one.
    """
    if environment() is Environment.PRODUCTION:
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    return in_process_executor


class Resources(NamedTuple):
    """Every resource of the lineage, under the name that assets ask for it by."""

    s3: S3Resource
    lake: LakeResource
    ledger: LedgerResource
    raw_store: RawStoreResource
    quarantine: QuarantineResource
    source: Source
    rds_exports: RdsExportResource
    embedder: EmbedderResource
    qdrant: QdrantResource
    erasures: ErasureResource


def s3_resource() -> S3Resource:
    """The lake's S3, behind this host's governor unless that is off. Raises SettingError."""
    endpoint = os.getenv("CIPPUS_S3_ENDPOINT", "")
    try:
        refuse_credentials("CIPPUS_S3_ENDPOINT", endpoint)
    except GovernorSettingError as error:
        raise SettingError(str(error)) from None
    return S3Resource(
        bucket=os.getenv("CIPPUS_S3_BUCKET", "cippus"),
        endpoint_url=endpoint,
        region=os.getenv("AWS_REGION", "us-east-1"),
        stack_file=_stack_file(),
        governor=governor() if is_governed() else None,
    )


def is_governed() -> bool:
    """Whether S3 clients go through the governor. Raises SettingError."""
    text = os.getenv("CIPPUS_S3_GOVERNOR", "on")
    if text not in {"on", "off"}:
        message = f"CIPPUS_S3_GOVERNOR is {text!r}, expected on or off."
        raise SettingError(message)
    return text == "on"


def go_without_governor() -> None:
    """Turn the governor off for this process and those that it starts, before definitions are loaded."""
    os.environ["CIPPUS_S3_GOVERNOR"] = "off"


def governor() -> GovernorConfig:
    """The settings of this host's governor. Raises SettingError."""
    depth = os.getenv("CIPPUS_S3_DEPTH", "2")
    if not (depth.isascii() and depth.isdigit()):
        message = f"CIPPUS_S3_DEPTH is {depth!r}, expected a number of path segments."
        raise SettingError(message)
    return GovernorConfig(
        home=str(governor_home()),
        depth=int(depth),
        deadline_seconds=_positive("CIPPUS_S3_DEADLINE", "seconds") or 60.0,
        write_ceiling=_positive("CIPPUS_S3_MAX_WRITES", "requests a second"),
        read_ceiling=_positive("CIPPUS_S3_MAX_READS", "requests a second"),
        emf=os.getenv("CIPPUS_S3_EMF", ""),
        ca_file=os.getenv("AWS_CA_BUNDLE", ""),
    )


def _positive(name: str, what: str) -> float:
    """A variable's number, or 0 where it is not set."""
    text = os.getenv(name, "")
    try:
        number = float(text or 0)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf) and text:
        message = f"{name} is {text!r}, expected {what} above 0."
        raise SettingError(message)
    return number


def _stack_file() -> str:
    return "" if environment() is Environment.PRODUCTION else str(home() / "stack.json")


def resources() -> Resources:
    """The resources of this environment. Secrets stay EnvVars, so definitions load without any of them set."""
    embedded = environment() is not Environment.PRODUCTION
    s3 = s3_resource()
    return Resources(
        s3=s3,
        lake=LakeResource(
            s3=s3, retention_hours=_whole_number("CIPPUS_LAKE_RETENTION_HOURS", 168, "a number of hours")
        ),
        ledger=LedgerResource(s3=s3),
        raw_store=RawStoreResource(s3=s3),
        quarantine=QuarantineResource(s3=s3),
        source=_source(s3),
        rds_exports=RdsExportResource(
            s3=s3,
            location=os.getenv("CIPPUS_RDS_EXPORTS", ""),
            database=os.getenv("CIPPUS_RDS_EXPORT_DATABASE", ""),
            open_transaction_seconds=_whole_number("CIPPUS_RDS_EXPORT_OPEN_SECONDS", 3600, "a number of seconds"),
        ),
        embedder=EmbedderResource(
            threads=_whole_number("CIPPUS_EMBEDDER_THREADS", 0, "a number of threads"),
            endpoint_url=os.getenv("CIPPUS_EMBEDDINGS_URL", ""),
            endpoint_model=os.getenv("CIPPUS_EMBEDDINGS_MODEL", ""),
            endpoint_api_key=_secret("CIPPUS_EMBEDDINGS_API_KEY"),
            endpoint_requests=_whole_number("CIPPUS_EMBEDDINGS_REQUESTS", 8, "a number of requests, at least 1") or 8,
        ),
        qdrant=QdrantResource(
            url=os.getenv("QDRANT_URL", ""),
            api_key=_secret("QDRANT_API_KEY"),
            edge_path=str(home() / "qdrant") if embedded else "",
            quantization=_quantization(),
            nodes=os.getenv("CIPPUS_QDRANT_NODES", ""),
        ),
        erasures=ErasureResource(
            s3=s3,
            key=_secret("CIPPUS_ERASURE_KEY"),
            key_file=str(home() / "erasure.key") if embedded else "",
        ),
    )


def erasure_resource(s3: S3Resource) -> ErasureResource:
    """Tombstones in the bucket of the embedded stack, outside of Dagster."""
    return ErasureResource(s3=s3, key=os.getenv("CIPPUS_ERASURE_KEY", ""), key_file=str(home() / "erasure.key"))


def _source(s3: S3Resource) -> Source:
    """The source that changes are extracted from. Raises SettingError."""
    text = os.getenv("CIPPUS_SOURCE", SOURCES[0])
    if text not in SOURCES:
        message = f"CIPPUS_SOURCE is {text!r}, expected one of {', '.join(SOURCES)}."
        raise SettingError(message)
    if text == "redshift":
        return _redshift(s3)
    return PostgresResource(
        dsn=_secret("CIPPUS_POSTGRES_DSN"),
        secret_id=os.getenv("CIPPUS_POSTGRES_SECRET_ID", ""),
        stack_file=_stack_file(),
        statement_timeout_seconds=_whole_number("CIPPUS_STATEMENT_TIMEOUT_SECONDS", 3600, "a number of seconds"),
        replica_lag_seconds=_positive("CIPPUS_REPLICA_LAG_SECONDS", "seconds"),
        prepared_seconds=_positive("CIPPUS_PREPARED_SECONDS", "seconds"),
    )


def _redshift(s3: S3Resource) -> RedshiftResource:
    return RedshiftResource(
        s3=s3,
        workgroup=os.getenv("CIPPUS_REDSHIFT_WORKGROUP", ""),
        cluster=os.getenv("CIPPUS_REDSHIFT_CLUSTER", ""),
        database=os.getenv("CIPPUS_REDSHIFT_DATABASE", ""),
        schema_name=os.getenv("CIPPUS_REDSHIFT_SCHEMA", "public"),
        secret_arn=os.getenv("CIPPUS_REDSHIFT_SECRET_ARN", ""),
        user=os.getenv("CIPPUS_REDSHIFT_USER", ""),
        unload_role=os.getenv("CIPPUS_REDSHIFT_UNLOAD_ROLE", ""),
        lag_seconds=_positive("CIPPUS_REDSHIFT_LAG_SECONDS", "seconds"),
    )


def _secret(name: str) -> Any:
    """A secret as Dagster's EnvVar, which is read when it is used and shown nowhere; blank where it is not set."""
    return EnvVar(name) if os.getenv(name) else ""


def clock_skew_seconds() -> int:
    """How far the clock of whoever sets ``updated_at`` may be behind the source's. Raises SettingError."""
    return _whole_number("CIPPUS_CLOCK_SKEW_SECONDS", 60, "a number of seconds")


def _quantization() -> str:
    text = os.getenv("CIPPUS_QDRANT_QUANTIZATION", QUANTIZATIONS[0])
    if text not in QUANTIZATIONS:
        message = f"CIPPUS_QDRANT_QUANTIZATION is {text!r}, expected one of {', '.join(QUANTIZATIONS)}."
        raise SettingError(message)
    return text


def _whole_number(name: str, default: int, expected: str) -> int:
    text = os.getenv(name, str(default))
    if not (text.isascii() and text.isdigit()):
        message = f"{name} is {text!r}, expected {expected}."
        raise SettingError(message)
    return int(text)
