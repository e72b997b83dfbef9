"""Where a Qdrant server is: the addresses that people set, checked before anybody is asked, and clients of them."""

import warnings
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from resources.vectors.values import QdrantAddressError

# In a cluster's own network it is usual to have a key and no TLS; the client would say so at every command.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")


def shown_address(setting: str, url: str) -> str:
    """The host and port of an address, for errors. Raises QdrantAddressError for what is none, without its user."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port or 6333
    except ValueError:
        host, port = None, 0
    if host is None or address.scheme not in ("http", "https") or "@" in address.netloc:
        shown = url.rpartition("@")[2]  # what comes before it may be a password
        message = f"{setting} is {shown!r}, expected http:// or https:// and a host; the key is QDRANT_API_KEY."
        raise QdrantAddressError(message)
    return f"{host}:{port}"


def client_of(url: str, api_key: str, timeout_seconds: int) -> QdrantClient:
    """A client, which asks nothing yet: its own check of versions runs in a thread and only warns."""
    return QdrantClient(url=url, api_key=api_key or None, timeout=timeout_seconds, check_compatibility=False)
