"""The variables that production cannot do without. Only whether they are set is looked at, and no value is shown."""

import os

from resources.errors import InputError
from resources.settings.general import Environment, environment
from resources.settings.source import SourceSettings

_ALWAYS = (("CIPPUS_S3_BUCKET",), ("QDRANT_URL",))
_OF_SOURCE = {
    "postgres": (("CIPPUS_POSTGRES_DSN", "CIPPUS_POSTGRES_SECRET_ID"),),
    "redshift": (
        ("CIPPUS_REDSHIFT_DATABASE",),
        ("CIPPUS_REDSHIFT_WORKGROUP", "CIPPUS_REDSHIFT_CLUSTER"),
        ("CIPPUS_REDSHIFT_LAG_SECONDS",),
    ),
}
"""Source → its variables; one of each group is enough."""


def require_production_variables() -> None:
    """Raise InputError that lists every variable that production needs and that is not set. Elsewhere none is needed.

    A default that is good on one machine would let production read and check a bucket and an index that nobody filled.
    """
    if environment() is not Environment.PRODUCTION:
        return
    needed = (*_ALWAYS, *_OF_SOURCE[SourceSettings.read().source])
    unset = [" or ".join(group) for group in needed if not any(os.environ.get(name) for name in group)]
    if unset:
        message = f"CIPPUS_ENV is production, where these variables must be set: {', '.join(unset)}."
        raise InputError(message)
