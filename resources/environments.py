"""Which resource each environment uses, and the name of every environment variable. Nothing else reads them.

Belongs here: local / test / production side by side. Not here: what a resource does.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from dagster import EnvVar, ExecutorDefinition, in_process_executor

from resources.embedder import EmbedderResource
from resources.lake import LakeResource
from resources.ledger import LedgerResource
from resources.qdrant import QdrantResource
from resources.quarantine import QuarantineResource
from resources.raw_store import RawStoreResource
from resources.rds import PostgresResource
from resources.s3 import S3Resource


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
    "CIPPUS_POSTGRES_DSN": "source database; overrides the embedded one",
    "CIPPUS_POSTGRES_SECRET_ID": "Secrets Manager id of the source database's DSN",
    "CIPPUS_S3_BUCKET": "bucket of the lake (default cippus)",
    "CIPPUS_S3_ENDPOINT": "S3 endpoint, where it is not AWS's own; overrides the embedded one",
    "AWS_REGION": "region of the lake (default us-east-1)",
    "QDRANT_URL": "Qdrant cluster; overrides the embedded engine",
    "QDRANT_API_KEY": "its key",
    "CIPPUS_EMBEDDER_THREADS": "threads of the encoder (default: the cores of the process)",
}
"""Every variable that Cippus reads, and what it means; the README's table is held to it."""


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
    postgres: PostgresResource
    embedder: EmbedderResource
    qdrant: QdrantResource


def resources() -> Resources:
    """The resources of this environment. Secrets stay EnvVars, so definitions load without any of them set."""
    embedded = environment() is not Environment.PRODUCTION
    stack_file = str(home() / "stack.json") if embedded else ""
    s3 = S3Resource(
        bucket=os.getenv("CIPPUS_S3_BUCKET", "cippus"),
        endpoint_url=os.getenv("CIPPUS_S3_ENDPOINT", ""),
        region=os.getenv("AWS_REGION", "us-east-1"),
        stack_file=stack_file,
    )
    replaced = {name: EnvVar(name) for name in ("CIPPUS_POSTGRES_DSN", "QDRANT_API_KEY") if os.getenv(name)}
    return Resources(
        s3=s3,
        lake=LakeResource(s3=s3),
        ledger=LedgerResource(s3=s3),
        raw_store=RawStoreResource(s3=s3),
        quarantine=QuarantineResource(s3=s3),
        postgres=PostgresResource(
            dsn=replaced.get("CIPPUS_POSTGRES_DSN", ""),
            secret_id=os.getenv("CIPPUS_POSTGRES_SECRET_ID", ""),
            stack_file=stack_file,
        ),
        embedder=EmbedderResource(threads=_threads()),
        qdrant=QdrantResource(
            url=os.getenv("QDRANT_URL", ""),
            api_key=replaced.get("QDRANT_API_KEY", ""),
            edge_path=str(home() / "qdrant") if embedded else "",
        ),
    )


def _threads() -> int:
    text = os.getenv("CIPPUS_EMBEDDER_THREADS", "0")
    if not (text.isascii() and text.isdigit()):
        message = f"CIPPUS_EMBEDDER_THREADS is {text!r}, expected a number of threads."
        raise SettingError(message)
    return int(text)
