"""How an S3 client gets to S3: directly, or through the governor, with time-outs and repetitions to match."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dagster import Config

from resources.s3 import usage
from resources.s3.governor.process import Governor, GovernorArguments

ATTEMPTS = 3
"""How often a client tries behind the governor, which repeats on its own: for connections that break on the way."""
_READ_MARGIN_SECONDS = 15.0
_REQUEST_MARGIN_SECONDS = 60.0
"""What a whole request, its body included, may take beyond the governor's deadline; botocore counts single reads."""
_DIRECT_ATTEMPTS = 8


class GovernorConfig(Config):
    """The request governor that all clients of this host, or of this pod, go through.

    ``home`` is the folder that governors of this host are found in. ``depth`` is how many path segments of a key share
    one limit; ceilings are requests per second to one prefix; ``emf`` is where CloudWatch metrics go (`udp://host:port`,
    a file); ``ca_file`` holds the certificates that S3's is verified with, blank for the system's.
    """

    home: str
    depth: int = 2
    deadline_seconds: float = 60.0
    write_ceiling: float = 0.0
    read_ceiling: float = 0.0
    emf: str = ""
    ca_file: str = ""

    def arguments(self, upstream: str) -> GovernorArguments:
        """What a governor for an upstream is started with; a ceiling of 0 leaves S3's documented limits."""
        return GovernorArguments(
            upstream,
            self.depth,
            self.deadline_seconds,
            self.write_ceiling or None,
            self.read_ceiling or None,
            self.emf,
            self.ca_file,
        )


@dataclass(frozen=True)
class Route:
    """Where clients are pointed. A blank ``endpoint_url`` is AWS; a blank ``proxy_url`` means no governor."""

    endpoint_url: str
    addressing_style: str
    proxy_url: str = field(default="", repr=False)
    deadline_seconds: float = 0.0

    @classmethod
    def through(cls, governor: Governor, upstream: str, deadline_seconds: float, *, is_aws: bool) -> "Route":
        """Through a governor, which speaks TLS to S3 where that is due: clients speak plain HTTP, for S3's own host.

        botocore addresses AWS' buckets as hosts, and object_store as paths, each as it would without a governor.
        """
        at = urlsplit(upstream)
        host = at.netloc.removesuffix(":443" if at.scheme == "https" else "")
        style = "virtual" if is_aws else "path"
        return cls(f"http://{host}", style, governor.proxy_url(usage.scope()), deadline_seconds)

    @property
    def request_seconds(self) -> float:
        """How long a client waits for a request as a whole."""
        return self.deadline_seconds + _REQUEST_MARGIN_SECONDS

    def botocore(self, attempts: int) -> dict[str, Any]:
        """Botocore's settings. The retry mode is pinned, because the default one depends on the version."""
        style = {"addressing_style": self.addressing_style}
        if not self.proxy_url:
            retries: dict[str, Any] = {"mode": "standard", "total_max_attempts": _DIRECT_ATTEMPTS}
            return {"retries": retries, "max_pool_connections": 32, "s3": style}
        return {
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "max_pool_connections": 32,
            "s3": style,
            "proxies": {"http": self.proxy_url},
            "read_timeout": self.deadline_seconds + _READ_MARGIN_SECONDS,
            "connect_timeout": 5,
        }

    def object_store(self) -> dict[str, str]:
        """Options that delta-rs and polars both take."""
        options = {}
        if self.endpoint_url:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
        if self.endpoint_url.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        if self.proxy_url:
            options |= {"proxy_url": self.proxy_url, "timeout": f"{self.request_seconds:.0f}s"}
        return options

    @property
    def patience(self) -> timedelta:
        """How long the object_store family repeats a request."""
        return timedelta(seconds=ATTEMPTS * self.request_seconds)


def delta_options(shared: dict[str, str], route: Route) -> dict[str, str]:
    """With the number of repetitions as delta-rs takes it."""
    if not route.proxy_url:
        return shared
    patience = f"{route.patience.total_seconds():.0f}s"
    return {**shared, "max_retries": str(ATTEMPTS - 1), "retry_timeout": patience}


def polars_options(shared: dict[str, str], route: Route) -> dict[str, Any]:
    """With the number of repetitions as polars takes it."""
    if not route.proxy_url:
        return dict(shared)
    return {**shared, "max_retries": ATTEMPTS - 1, "retry_timeout_ms": round(route.patience.total_seconds() * 1000)}


def obstore_options(shared: dict[str, str], route: Route) -> dict[str, Any]:
    """Keyword arguments of obstore's stores, which sort the options by what they are about."""
    config = {name.lower(): value for name, value in shared.items() if name.startswith("AWS_")}
    client: dict[str, Any] = {"allow_http": config.pop("aws_allow_http", "false") == "true"}
    if not route.proxy_url:
        return {"config": config, "client_options": client}
    return {
        "config": config,
        "client_options": {**client, "proxy_url": shared["proxy_url"], "timeout": shared["timeout"]},
        "retry_config": {"max_retries": ATTEMPTS - 1, "retry_timeout": route.patience},
    }
