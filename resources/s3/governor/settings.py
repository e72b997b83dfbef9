"""What a governor is told when it starts."""

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from resources.errors import InputError

MIB = 1 << 20


class GovernorSettingError(InputError):
    """A setting that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class GovernorSettings:
    """One governor. Times are in seconds, rates in requests per second.

    ``deadline`` bounds what a request waits and is repeated in all: below the clients' own time-outs (s3fs 15 s,
    object_store 30 s, botocore 60 s), so that they hear why. ``ceilings`` are the most that this host may send to any
    prefix, for hosts that share one; None leaves S3's documented limits.
    """

    upstream: str
    port: int = 0
    depth: int = 2
    deadline: float = 12.0
    hosts: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    folder: Path | None = None
    ca_file: Path | None = None
    sts_host: str = ""
    write_ceiling: float | None = None
    read_ceiling: float | None = None
    emf: str = ""
    idle_exit: float = 0.0
    replay_bytes: int = MIB

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything listens."""
        if not _is_endpoint(self.upstream):
            shown = re.sub("^([A-Za-z]+://)?.*@", r"\1…@", self.upstream, flags=re.DOTALL)
            message = f"--upstream is {shown!r}, expected a URL such as https://s3.eu-west-1.amazonaws.com."
            raise GovernorSettingError(message)
        if self.sts_host and not _is_endpoint(f"https://{self.sts_host}"):
            message = f"--sts-host is {self.sts_host!r}, expected a host such as sts.eu-west-1.amazonaws.com."
            raise GovernorSettingError(message)
        if self.idle_exit < 0:
            message = f"--idle-exit is {self.idle_exit}, expected seconds, or 0 to stay."
            raise GovernorSettingError(message)
        if self.depth < 0:
            message = f"--depth is {self.depth}, expected 0 (one limit per bucket) or more path segments."
            raise GovernorSettingError(message)
        if not self.deadline > 0:
            message = f"--deadline is {self.deadline}, expected seconds above 0."
            raise GovernorSettingError(message)
        if not 0 <= self.port < 65536:
            message = f"--port is {self.port}, expected 0 (any free one) to 65535."
            raise GovernorSettingError(message)
        for name, ceiling in (("--max-writes", self.write_ceiling), ("--max-reads", self.read_ceiling)):
            if ceiling is not None and not ceiling > 0:
                message = f"{name} is {ceiling}, expected requests per second above 0."
                raise GovernorSettingError(message)

    @property
    def upstream_host(self) -> str:
        """The host that connections go to, and whose certificate is verified."""
        return urlsplit(self.upstream).hostname or ""

    @property
    def upstream_port(self) -> int:
        """Its port."""
        at = urlsplit(self.upstream)
        return at.port or (443 if at.scheme == "https" else 80)

    @property
    def endpoint_hosts(self) -> tuple[str, ...]:
        """Hosts that requests may name, in lower case."""
        return (*(host.lower() for host in self.hosts), self.upstream_host)

    @property
    def tunnel_target(self) -> str:
        """The only host:port that tunnels may go to, or "" where none may."""
        if not self.sts_host:
            return ""
        at = urlsplit(f"https://{self.sts_host}")
        return f"{at.hostname}:{at.port or 443}"

    def tls(self) -> ssl.SSLContext | None:
        """A context that verifies the upstream's certificate and name, or None for a plain upstream.

        Raises GovernorSettingError for a file of certificates that is none, whether or not it is needed.
        """
        is_plain = urlsplit(self.upstream).scheme == "http"
        if is_plain and not self.ca_file:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            message = f"--ca-file is {self.ca_file}, expected a file of PEM certificates: {error.strerror or error}."
            raise GovernorSettingError(message) from None
        return None if is_plain else context

    def make_folder(self) -> None:
        """Make the folder, for its owner alone. Raises GovernorSettingError where it cannot be used."""
        if self.folder is None:
            return
        why = "it may not be written to"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(self.folder, os.W_OK | os.X_OK):
                return
        except OSError as error:
            why = error.strerror or str(error)
        message = f"--folder is {self.folder}, expected a folder that can be written: {why}."
        raise GovernorSettingError(message)


def read_token(path: Path) -> str:
    """The token in a file; a file without one must not mean that everybody may. Raises GovernorSettingError."""
    why = "it is empty"
    try:
        if token := path.read_bytes().decode(errors="replace").strip():
            return token
    except OSError as error:
        why = error.strerror or str(error)
    message = f"--token-file is {path}, expected a file with a token: {why}."
    raise GovernorSettingError(message)


def refuse_credentials(name: str, url: str) -> None:
    """Raise GovernorSettingError where the URL of a service holds credentials, without repeating them.

    The whole URL is looked at: a secret key may have a slash, behind which it would be a path.
    """
    if "@" in url:
        message = (
            f"{name} holds credentials or another @, expected a URL of a host alone, such as https://s3.example.org."
        )
        raise GovernorSettingError(message)


def _is_endpoint(url: str) -> bool:
    """Whether a URL names a host and perhaps a port, and nothing that would be left out."""
    try:
        at = urlsplit(url)
        usable = at.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        return False
    more = at.query or at.fragment or at.username or at.password or at.path not in {"", "/"}
    return at.scheme in {"http", "https"} and bool(at.hostname) and usable and not more
