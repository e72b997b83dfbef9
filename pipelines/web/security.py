"""What a browser must be kept from: other sites' forms, foreign scripts, frames, and other names of this host."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SAFE = {"GET", "HEAD", "OPTIONS"}


class Guard:
    """ASGI middleware: refuse requests to unknown hosts and forms of other sites; set the headers of every answer.

    A page of another site may send a form here, but it cannot send this site's Origin. A name that another site points
    at this machine is no known host.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], user_header: str = "") -> None:
        """``hosts`` are names without ports. With a ``user_header``, requests without it are refused."""
        self._app, self._hosts, self._user_header = app, {host.casefold() for host in hosts}, user_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caching = "max-age=3600" if scope["path"].startswith("/static/") else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**HEADERS, "Cache-Control": caching}.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, sentence = refusal
            await PlainTextResponse(f"{sentence}\n", status)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return 400, "This page is not served under this name; start it with `cippus web --name NAME` to allow it."
        if scope["method"] not in _SAFE and not _is_from_here(headers, host):
            return 403, "This form was not sent by this page, so nothing was changed; open the page and send it there."
        if self._user_header and scope["path"] != "/healthz" and not headers.get(self._user_header, "").strip():
            return 401, f"The proxy in front of this page did not say who asks; it must set {self._user_header}."
        return None


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        found = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    return f"[{found}]" if ":" in found else found


def _is_from_here(headers: Headers, host: str) -> bool:
    """Return whether a browser says that a page of this host sent the request. Browsers send Origin with each POST."""
    origin = headers.get("origin")
    if origin is None or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return urlsplit(origin).netloc.casefold() == host.casefold()
