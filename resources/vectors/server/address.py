"""Addresses of Qdrant servers, validated before the first request, and clients for them."""

import warnings
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from resources.vectors.values import QdrantAddressError

# A key without TLS is usual in a cluster's own network; the client would warn at every command.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")


def shown_address(setting: str, url: str) -> str:
    """Return the host and port of an address, for errors. Raise QdrantAddressError, without user and password."""
    try:
        address = urlsplit(url)
        if address.hostname and address.scheme in ("http", "https") and "@" not in address.netloc:
            return f"{address.hostname}:{address.port or 6333}"
    except ValueError:  # of a port or IPv6 address
        pass
    raise QdrantAddressError(
        f"{setting} is {url.rpartition('@')[2]!r}, expected http:// or https:// and a host; the key is QDRANT_API_KEY."
    ) from None


def client_of(url: str, api_key: str, timeout_seconds: int) -> QdrantClient:
    """Return a client that has sent nothing: its own version check runs in a thread and only warns."""
    return QdrantClient(url=url, api_key=api_key or None, timeout=timeout_seconds, check_compatibility=False)
