"""Send requests to another node of a cluster when one does not answer."""

from collections import deque
from collections.abc import Sequence

import httpx


class NodeTransport(httpx.BaseTransport):
    """Sends each request to the node that answered last, and goes on to the next where no connection is made.

    A request that a node may have received is not repeated here: its error is raised, and the next request, which is
    the repeated one by the retry policy, goes to another node. Proxies of the environment are not used.
    """

    def __init__(self, nodes: Sequence[str], transport: httpx.BaseTransport | None = None) -> None:
        self._nodes = deque(dict.fromkeys(map(httpx.URL, nodes)))
        self._transport = transport or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer of the first node that takes it."""
        for left in reversed(range(len(self._nodes))):
            node = self._nodes[0]
            request.url = request.url.copy_with(scheme=node.scheme, host=node.host, port=node.port or 6333)
            request.headers["host"] = request.url.netloc.decode()
            try:
                return self._transport.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent
                self._skip(node)
                if not left:
                    raise
            except httpx.TransportError:
                self._skip(node)
                raise
        message = "A cluster has at least one node."
        raise ValueError(message)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _skip(self, node: httpx.URL) -> None:
        """Ask this node last, unless another thread has done so."""
        if self._nodes[0] == node:
            self._nodes.rotate(-1)
