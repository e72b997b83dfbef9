"""Every environment variable that Cippus reads, typed, described and validated. One module per area.

`variables()` lists them for the reference in the documentation. Secrets are listed here and not read: resources get
them as `dagster.EnvVar`, so that definitions load without one.
"""

from resources.environment_variables import Settings, Variable
from resources.settings.alerts import AlertSettings, stalled_hours
from resources.settings.erasure import ErasureSettings
from resources.settings.general import (
    Environment,
    GeneralSettings,
    LogFormat,
    LogSettings,
    bucket_count,
    dagster_home,
    environment,
    home,
    log_format,
    writable_home,
)
from resources.settings.production import require_production_variables
from resources.settings.s3 import LakeSettings, S3Settings, go_without_governor, is_governed
from resources.settings.source import (
    RdsExportSettings,
    RedshiftSettings,
    SourceSettings,
    clock_skew_seconds,
    old_transaction_seconds,
)
from resources.settings.spend import LlmSettings, SpendSettings, ceiling_usd
from resources.settings.vectors import EmbeddingSettings, QdrantSettings
from resources.settings.web import WebSettings

__all__ = [
    "AREAS",
    "AlertSettings",
    "EmbeddingSettings",
    "Environment",
    "ErasureSettings",
    "GeneralSettings",
    "LakeSettings",
    "LlmSettings",
    "LogFormat",
    "LogSettings",
    "QdrantSettings",
    "RdsExportSettings",
    "RedshiftSettings",
    "S3Settings",
    "SourceSettings",
    "SpendSettings",
    "WebSettings",
    "bucket_count",
    "ceiling_usd",
    "clock_skew_seconds",
    "dagster_home",
    "environment",
    "go_without_governor",
    "home",
    "is_governed",
    "log_format",
    "old_transaction_seconds",
    "require_production_variables",
    "stalled_hours",
    "variables",
    "writable_home",
]

AREAS: tuple[type[Settings], ...] = (
    *(GeneralSettings, LogSettings, SourceSettings, RdsExportSettings, RedshiftSettings, S3Settings, LakeSettings),
    *(QdrantSettings, EmbeddingSettings, SpendSettings, LlmSettings, ErasureSettings, AlertSettings, WebSettings),
)


def variables() -> list[Variable]:
    """Return every environment variable that Cippus reads, by area."""
    return [listed for area in AREAS for listed in area.variables()]
