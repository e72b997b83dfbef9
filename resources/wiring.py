"""Which resource each environment uses. Secrets stay `dagster.EnvVar`, so that definitions load without one."""

from typing import Any, NamedTuple, TypeVar

from dagster import EnvVar

from resources.alerts.notifier import AlertsResource
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.llm.embedder import EmbedderResource
from resources.llm.resource import LlmResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.s3.governor.process import HOME_FOLDER
from resources.s3.governor.settings import refuse_credentials
from resources.s3.options import GovernorConfig
from resources.settings import (
    AlertSettings,
    EmbeddingSettings,
    Environment,
    LakeSettings,
    LlmSettings,
    QdrantSettings,
    RdsExportSettings,
    RedshiftSettings,
    S3Settings,
    SourceSettings,
    SpendSettings,
    ceiling_usd,
    environment,
    home,
    require_production_variables,
)
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import Source
from resources.sources.rds_export import RdsExportResource
from resources.sources.redshift import RedshiftResource
from resources.spend.resource import SpendResource
from resources.vectors.resource import QdrantResource

R = TypeVar("R")


class Resources(NamedTuple):
    """Every resource of the lineage, under the name that assets request it by."""

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
    spend: SpendResource
    llm: LlmResource
    alerts: AlertsResource


def resources() -> Resources:
    """Return the resources of this environment. Raise InputError for a bad setting, or one that production lacks."""
    require_production_variables()
    s3, home_folder = s3_resource(), None if environment() is Environment.PRODUCTION else home()
    qdrant, embedding, llm = QdrantSettings.read(), EmbeddingSettings.read(), LlmSettings.read()
    spend = spend_resource(s3)
    return Resources(
        s3=s3,
        lake=LakeResource(s3=s3, retention_hours=LakeSettings.read().retention_hours),
        ledger=LedgerResource(s3=s3),
        raw_store=RawStoreResource(s3=s3),
        quarantine=QuarantineResource(s3=s3),
        source=_source(s3),
        rds_exports=RdsExportResource(s3=s3, **RdsExportSettings.read().model_dump()),
        embedder=EmbedderResource(**embedding.model_dump(), endpoint_api_key=_secret("CIPPUS_EMBEDDINGS_API_KEY")),
        qdrant=QdrantResource(
            **qdrant.model_dump(),
            api_key=_secret("QDRANT_API_KEY"),
            edge_path=str(home_folder / "qdrant") if home_folder else "",
        ),
        erasures=ErasureResource(
            s3=s3,
            key=_secret("CIPPUS_ERASURE_KEY"),
            key_file=str(home_folder / "erasure.key") if home_folder else "",
        ),
        spend=spend,
        llm=LlmResource(
            spend=spend,
            **llm.model_dump(),
            api_key=_secret("CIPPUS_LLM_API_KEY"),
            batch_folder=str(home() / "batches"),
        ),
        alerts=AlertsResource(
            webhook_url=_secret("CIPPUS_ALERTS_WEBHOOK"),
            sns_topic=AlertSettings.read().sns_topic,
            region=S3Settings.read().region,
        ),
    )


def spend_resource(s3: S3Resource) -> SpendResource:
    """Return the ledger, prices and ceilings. Raise InputError for a bad setting."""
    ceiling = ceiling_usd()
    return SpendResource(s3=s3, ceiling_usd="" if ceiling is None else str(ceiling), prices=SpendSettings.read().prices)


def s3_resource() -> S3Resource:
    """Return the lake's S3, behind this host's governor unless that is off. Raise InputError for a bad setting."""
    settings = S3Settings.read()
    refuse_credentials("CIPPUS_S3_ENDPOINT", settings.endpoint)
    governor = GovernorConfig(
        home=str(home() / HOME_FOLDER),
        depth=settings.depth,
        deadline_seconds=settings.deadline_seconds,
        write_ceiling=settings.write_ceiling,
        read_ceiling=settings.read_ceiling,
        emf=settings.emf,
        ca_file=settings.ca_file,
    )
    return S3Resource(
        bucket=settings.bucket,
        endpoint_url=settings.endpoint,
        region=settings.region,
        stack_file=_stack_file(),
        governor=governor if settings.governor == "on" else None,
    )


def erasure_resource(s3: S3Resource) -> ErasureResource:
    """Return the tombstones of the embedded stack, for use outside of Dagster."""
    key = EnvVar("CIPPUS_ERASURE_KEY").get_value("") or ""
    return ErasureResource(s3=s3, key=key, key_file=str(home() / "erasure.key"))


def _source(s3: S3Resource) -> Source:
    settings = SourceSettings.read()
    if settings.source == "redshift":
        return RedshiftResource(s3=s3, **RedshiftSettings.read().model_dump())
    return PostgresResource(
        dsn=_secret("CIPPUS_POSTGRES_DSN"),
        secret_id=settings.postgres_secret_id,
        stack_file=_stack_file(),
        statement_timeout_seconds=settings.statement_timeout_seconds,
        replica_lag_seconds=settings.replica_lag_seconds,
        prepared_seconds=settings.prepared_seconds,
    )


def _stack_file() -> str:
    return "" if environment() is Environment.PRODUCTION else str(home() / "stack.json")


def web_api_key() -> str:
    """Return the key that requests to the web page need; "" if none is set."""
    return EnvVar("CIPPUS_WEB_API_KEY").get_value() or ""


def _secret(name: str) -> Any:
    """Return a secret as EnvVar, which Dagster reads when it is used and never shows; blank where it is not set."""
    return EnvVar(name) if EnvVar(name).get_value() else ""


def with_secrets(resource: R) -> R:
    """Return a resource whose EnvVars are read, for use outside of Dagster.

    Dagster's own way opens an instance, whose imports take two seconds of CPU, and which is bound to a thread.
    """
    kind: Any = type(resource)
    given = {name: getattr(resource, name) for name in kind.model_fields}
    read = {name: value.get_value() or "" if isinstance(value, EnvVar) else value for name, value in given.items()}
    made: R = kind(**read)
    return made
