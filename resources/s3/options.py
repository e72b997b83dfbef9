"""How S3 clients reach S3, directly or through the governor, with the time-outs and retries that fit."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dagster import Config

from resources.s3 import usage
from resources.s3.governor.process import Governor
from resources.s3.governor.settings import GovernorSettings

ATTEMPTS = 3
"""Attempts of a client behind the governor. The governor retries requests to S3; these attempts cover lost connections
to the governor."""
_READ_MARGIN_SECONDS = 15.0
_REQUEST_MARGIN_SECONDS = 60.0
"""What a request with its body may take beyond the governor's deadline; botocore's time-out is per read."""
_DIRECT_ATTEMPTS = 8
_POOL_CONNECTIONS = 32


class GovernorConfig(Config):
    """The request governor that all S3 clients of this host or pod use.

    ``home`` is the folder where governors of this host are found. ``depth`` is the number of path segments of a key
    that share one limit. Ceilings are requests per second to one prefix, 0 for S3's documented limits. ``emf`` is the
    target of CloudWatch metrics (`udp://host:port` or a file). ``ca_file`` holds the certificates that S3's is
    verified with, blank for the system's.
    """

    home: str
    depth: int = 2
    deadline_seconds: float = 60.0
    write_ceiling: float = 0.0
    read_ceiling: float = 0.0
    emf: str = ""
    ca_file: str = ""

    def settings(self, upstream: str) -> GovernorSettings:
        """Return the settings of a governor for an upstream. Raises GovernorSettingError."""
        ceilings = (self.write_ceiling or None, self.read_ceiling or None)
        return GovernorSettings(upstream, self.depth, self.deadline_seconds, *ceilings, self.emf, self.ca_file)


@dataclass(frozen=True)
class Route:
    """Where clients send requests. A blank ``endpoint_url`` is AWS; a blank ``proxy_url`` means no governor."""

    endpoint_url: str
    addressing_style: str
    proxy_url: str = field(default="", repr=False)
    deadline_seconds: float = 0.0

    @classmethod
    def through(cls, governor: Governor, upstream: str, deadline_seconds: float, *, is_aws: bool) -> "Route":
        """Return the route through a governor, which takes plain HTTP for S3's host and speaks TLS to S3 itself.

        botocore addresses AWS' buckets as hosts, and object_store as paths, each as it would without a governor.
        """
        at = urlsplit(upstream)
        host = at.netloc.removesuffix(":443" if at.scheme == "https" else "")
        style = "virtual" if is_aws else "path"
        return cls(f"http://{host}", style, governor.proxy_url(usage.scope()), deadline_seconds)

    @property
    def request_seconds(self) -> float:
        """How long a client waits for a whole request."""
        return self.deadline_seconds + _REQUEST_MARGIN_SECONDS

    @property
    def retry_timeout(self) -> timedelta:
        """How long the object_store family retries a request."""
        return timedelta(seconds=ATTEMPTS * self.request_seconds)

    def botocore(self, attempts: int) -> dict[str, Any]:
        """Return botocore's settings. The retry mode is fixed, because its default depends on the version."""
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": attempts if self.proxy_url else _DIRECT_ATTEMPTS},
            "max_pool_connections": _POOL_CONNECTIONS,
            "s3": {"addressing_style": self.addressing_style},
        }
        if self.proxy_url:
            read_timeout = self.deadline_seconds + _READ_MARGIN_SECONDS
            options |= {"proxies": {"http": self.proxy_url}, "read_timeout": read_timeout, "connect_timeout": 5}
        return options

    def object_store(self) -> dict[str, str]:
        """Return options that both delta-rs and polars take."""
        options = {"AWS_CONDITIONAL_PUT": "etag"}  # else a variable of this name could turn put-if-absent off
        if self.endpoint_url:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
        if self.addressing_style == "path":  # else a table would look missing
            options["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = "false"
        if self.endpoint_url.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        if self.proxy_url:
            options |= {"proxy_url": self.proxy_url, "timeout": f"{self.request_seconds:.0f}s"}
        return options

    def delta(self, shared: dict[str, str]) -> dict[str, str]:
        """Add the number of retries as delta-rs takes it."""
        if not self.proxy_url:
            return shared
        seconds = self.retry_timeout.total_seconds()
        return {**shared, "max_retries": str(ATTEMPTS - 1), "retry_timeout": f"{seconds:.0f}s"}

    def polars(self, shared: dict[str, str]) -> dict[str, Any]:
        """Add the number of retries as polars takes it."""
        if not self.proxy_url:
            return dict(shared)
        milliseconds = round(self.retry_timeout.total_seconds() * 1000)
        return {**shared, "max_retries": ATTEMPTS - 1, "retry_timeout_ms": milliseconds}

    def obstore(self, shared: dict[str, str]) -> dict[str, Any]:
        """Return the keyword arguments of obstore's stores, which group the options."""
        config = {name.lower(): value for name, value in shared.items() if name.startswith("AWS_")}
        client: dict[str, Any] = {"allow_http": config.pop("aws_allow_http", "false") == "true"}
        if not self.proxy_url:
            return {"config": config, "client_options": client}
        return {
            "config": config,
            "client_options": {**client, "proxy_url": shared["proxy_url"], "timeout": shared["timeout"]},
            "retry_config": {"max_retries": ATTEMPTS - 1, "retry_timeout": self.retry_timeout},
        }
