"""Settings of one governor, and their validation."""

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from resources.errors import InputError

MIB = 1 << 20
ADDRESS_FILE = "governor.json"
"""The file in a governor's folder with its process id, port, token and upstream."""


class GovernorSettingError(InputError):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True)
class GovernorSettings:
    """One governor. Times are in seconds, rates in requests per second.

    ``deadline`` limits how long a request may wait and be retried. It must be below the clients' own time-outs (s3fs
    15 s, object_store 30 s, botocore 60 s), so that they receive the governor's error. ``max_writes`` and ``max_reads``
    limit this host's requests to each prefix, for hosts that share one; None means S3's documented limits.
    """

    upstream: str
    depth: int = 2
    deadline: float = 12.0
    max_writes: float | None = None
    max_reads: float | None = None
    emf: str = ""
    ca_file: str = ""
    port: int = 0
    token: str = field(default="", repr=False)
    folder: Path | None = None
    idle_exit: float = 0.0

    def __post_init__(self) -> None:
        """Raise GovernorSettingError for a value that cannot be used."""
        shown = re.sub("^([A-Za-z]+://)?.*@", r"\1…@", self.upstream, flags=re.DOTALL)  # without credentials
        writes, reads = self.max_writes, self.max_reads
        checks = (
            (_is_endpoint(self.upstream), "upstream", repr(shown), "a URL such as https://s3.eu-west-1.amazonaws.com"),
            (self.idle_exit >= 0, "idle-exit", self.idle_exit, "seconds, or 0 to stay"),
            (self.depth >= 0, "depth", self.depth, "0 (one limit per bucket) or more path segments"),
            (self.deadline > 0, "deadline", self.deadline, "seconds above 0"),
            (0 <= self.port < 65536, "port", self.port, "0 (any free one) to 65535"),
            (writes is None or writes > 0, "max-writes", writes, "requests per second above 0"),
            (reads is None or reads > 0, "max-reads", reads, "requests per second above 0"),
        )
        for is_valid, name, value, expected in checks:
            if not is_valid:
                raise GovernorSettingError(f"--{name} is {value}, expected {expected}.")

    @property
    def upstream_host(self) -> str:
        """The host that connections go to, and whose certificate is verified."""
        return urlsplit(self.upstream).hostname or ""

    @property
    def upstream_port(self) -> int:
        """The port that connections go to."""
        at = urlsplit(self.upstream)
        return at.port or (443 if at.scheme == "https" else 80)

    def tls(self) -> ssl.SSLContext | None:
        """Return a context that verifies the upstream's certificate and name, None for plain http.

        Raises GovernorSettingError if ``ca_file`` holds no certificates, also for plain http.
        """
        is_plain = urlsplit(self.upstream).scheme == "http"
        if is_plain and not self.ca_file:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or error
            raise GovernorSettingError(
                f"--ca-file is {self.ca_file}, expected a file of PEM certificates: {why}."
            ) from None
        return None if is_plain else context

    def make_folder(self) -> None:
        """Create the folder, accessible to its owner only. Raises GovernorSettingError if that fails."""
        if self.folder is None:
            return
        why = "it may not be written to"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(self.folder, os.W_OK | os.X_OK):
                return
        except OSError as error:
            why = error.strerror or str(error)
        raise GovernorSettingError(f"--folder is {self.folder}, expected a folder that can be written: {why}.")


def read_token(path: Path | None) -> str:
    """Return the token in a file, "" without a file. Raises GovernorSettingError for an empty file."""
    if path is None:
        return ""
    why = "it is empty"
    try:
        if token := path.read_bytes().decode(errors="replace").strip():
            return token
    except OSError as error:
        why = error.strerror or str(error)
    raise GovernorSettingError(f"--token-file is {path}, expected a file with a token: {why}.")


def refuse_credentials(name: str, url: str) -> None:
    """Raise GovernorSettingError if a service URL holds credentials, without showing them.

    Checks the whole URL: a secret key may contain a slash, and the rest of it would count as the path.
    """
    if "@" in url:
        raise GovernorSettingError(
            f"{name} holds credentials or another @, expected a URL of a host alone, such as https://s3.example.org."
        )


def _is_endpoint(url: str) -> bool:
    """Return whether a URL is a scheme, a host and perhaps a port, and nothing else."""
    try:
        at = urlsplit(url)
        usable = at.port != 0
    except ValueError:  # an invalid port or IPv6 address
        return False
    more = at.query or at.fragment or at.username or at.password or at.path not in {"", "/"}
    return at.scheme in {"http", "https"} and bool(at.hostname) and usable and not more
