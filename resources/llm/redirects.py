"""Follow a server's redirects to itself, and to no other host: the request carries the key and people's texts."""

import httpx2

REDIRECTS = frozenset((307, 308))
"""The statuses that ask for the same request elsewhere. A client turns a POST into a GET after the others."""
_MOST_REDIRECTS = 5


class SameHostRedirects(httpx2.BaseTransport):
    """A transport that repeats a request where the same host asks for it, or where it changes from http to https."""

    def __init__(self, transport: httpx2.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the first response that is no redirect within the host."""
        for _ in range(_MOST_REDIRECTS):
            response = self._transport.handle_request(request)
            target = _target(request.url, response)
            if target is None:
                return response
            response.close()
            headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
            request = httpx2.Request(
                request.method,
                target,
                headers=[(b"Host", target.netloc), *headers],
                stream=request.stream,
                extensions=request.extensions,
            )
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _target(url: httpx2.URL, response: httpx2.Response) -> httpx2.URL | None:
    """Return where to send a request again; None without a redirect, or with one to another host, port or to http."""
    if response.status_code not in REDIRECTS:
        return None
    try:
        target = url.join(response.headers["Location"])
    except (KeyError, httpx2.InvalidURL):
        return None
    is_same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    is_upgrade = (url.scheme, target.scheme, target.host) == ("http", "https", url.host)
    return target if is_same or is_upgrade else None
