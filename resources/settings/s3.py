"""Settings of S3, the request governor and the lake's tables."""

import os
from typing import Annotated, Literal

from pydantic import Field

from resources.environment_variables import Settings, variable
from resources.settings.kinds import RATE, SECONDS, Count, Positive


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
    depth: Count = variable(
        "CIPPUS_S3_DEPTH",
        "Number of path segments of a key that share a request limit.",
        2,
        must_be="a number of path segments",
    )
    deadline_seconds: Positive = variable(
        "CIPPUS_S3_DEADLINE", "How long the governor retries a request, in seconds.", 60.0, must_be=SECONDS, shown="60"
    )
    write_ceiling: Positive = variable(
        "CIPPUS_S3_MAX_WRITES",
        "Most writes per second of this host or pod to one prefix.",
        0.0,
        must_be=RATE,
        shown="the limit of S3",
    )
    read_ceiling: Positive = variable(
        "CIPPUS_S3_MAX_READS",
        "Most reads per second of this host or pod from one prefix.",
        0.0,
        must_be=RATE,
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

    retention_hours: Annotated[int, Field(ge=1)] = variable(
        "CIPPUS_LAKE_RETENTION_HOURS",
        "How long replaced and unreferenced files of lake tables are kept, in hours: longer than any read or write.",
        168,
        must_be="a whole number of hours, at least 1",
    )


def is_governed() -> bool:
    """Return whether S3 clients go through the governor."""
    return S3Settings.read().governor == "on"


def go_without_governor() -> None:
    """Turn the governor off for this process and its children. Call it before definitions are loaded."""
    os.environ["CIPPUS_S3_GOVERNOR"] = "off"
