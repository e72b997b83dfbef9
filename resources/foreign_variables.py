"""Keep variables for other databases and other S3 services away from the embedded ones."""

from collections.abc import MutableMapping

_OF_OWN_DATABASE = ("CIPPUS_POSTGRES_DSN", "CIPPUS_POSTGRES_SECRET_ID")
_OF_OWN_AWS = (
    *("CIPPUS_POSTGRES_SECRET_ID", "CIPPUS_S3_ENDPOINT", "CIPPUS_ALERTS_SNS_TOPIC"),
    *("CIPPUS_REDSHIFT_CLUSTER", "CIPPUS_REDSHIFT_WORKGROUP"),
)
_KEPT = {"AWS_REGION", "AWS_CA_BUNDLE", "AWS_NEW_RETRIES_2026"}
"""Settings of Cippus, and one that no client here depends on."""


def ignore_foreign_variables(variables: MutableMapping[str, str]) -> None:
    """Delete variables of libpq, such as PGHOSTADDR, and of AWS clients, such as AWS_SESSION_TOKEN.

    The embedded servers' addresses are complete, and clients take from such variables whatever an address does not say.
    With a database or an S3 service of one's own they stay, because they may be part of its address.
    """
    if variables.get("CIPPUS_ENV") == "production":
        return
    foreign: list[str] = []
    if not any(variables.get(name) for name in _OF_OWN_DATABASE):
        foreign += [name for name in variables if name.startswith("PG")]
    if not any(variables.get(name) for name in _OF_OWN_AWS):
        foreign += [name for name in variables if name.startswith("AWS_") and name not in _KEPT]
    for name in foreign:
        del variables[name]
