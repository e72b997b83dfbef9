"""What a browser must be kept from: other sites' forms, foreign scripts, frames, and other names of this host."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
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

    def __init__(self, app: ASGIApp, hosts: Sequence[str], user_header: str = "", api_key: str = "") -> None:
        """``hosts`` are names without ports. Requests need the ``user_header`` and ``api_key`` that are set."""
        self._app, self._hosts = app, {host.casefold() for host in hosts}
        self._user_header, self._api_key = user_header, api_key

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

        refused = self._refusal(scope)
        if refused is not None:
            status, sentence = refused
            await refusal(scope, status, sentence)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return 400, "This page is not served under this name; start it with `cippus web --name NAME` to allow it."
        is_program = bool(self._api_key) and "origin" not in headers and "sec-fetch-site" not in headers
        if scope["method"] not in _SAFE and not is_program and not _is_from_here(headers, host):
            return 403, "This form was not sent by this page, so nothing was changed; open the page and send it there."
        if scope["path"] == "/healthz":
            return None
        if self._api_key and not hmac.compare_digest(_key(headers).encode(), self._api_key.encode()):
            return 401, "This page needs the API key: as a bearer token, or as the password behind any user name."
        named = headers.getlist(self._user_header) if self._user_header else []
        if self._user_header and not any(name.strip() for name in named):
            return 401, f"The proxy in front of this page did not say who asks; it must set {self._user_header}."
        if len(named) > 1:
            return 400, f"The header {self._user_header} is there {len(named)} times; the proxy must overwrite it."
        return None


def user_of(headers: Headers, user_header: str) -> str:
    """Return who asks: as the proxy says, else the user name beside the API key; "" if nobody says so."""
    return headers.get(user_header, "").strip() if user_header else _basic(headers)[0]


def refusal(scope: Scope, status: int, sentence: str) -> Response:
    """Return the answer to a request that no view sees."""
    headers = {"WWW-Authenticate": 'Basic realm="Cippus", charset="UTF-8"'} if status == 401 else None
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": sentence}, status, headers)
    return PlainTextResponse(f"{sentence}\n", status, headers)


def _key(headers: Headers) -> str:
    """Return the key that a request has: the bearer token, or the password of basic authentication."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.casefold() == "bearer" else _basic(headers)[1]


def _basic(headers: Headers) -> tuple[str, str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user.strip(), password


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
