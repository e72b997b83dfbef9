"""An OpenAI-compatible endpoint: its address, its client, and what a failure says about money and another attempt."""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import openai
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from resources.errors import CippusError, InputError, PermanentFailure, TransientFailure
from resources.llm.redirects import REDIRECTS, SameHostRedirects

TIMEOUT = httpx2.Timeout(120.0, connect=10.0)
MAX_WAIT_SECONDS = 30.0
_SHOWN_CHARACTERS = 300
# TEI answers 424 when its backend failed; proxies answer 425, 520 to 524 and 529 when a server is not ready.
TRANSIENT = frozenset((408, 409, 424, 425, 429, 500, 502, 503, 504, *range(520, 525), 529))
_TOO_LARGE, _TOO_MANY, _BAD_REQUEST = 413, 429, frozenset((400, 422))
_TELLS_A_LIMIT = re.compile(
    r"batch|too (?:many|long|large|big)|maximum|at most|exceed|context length|l(?:arg|ong)er than|less than|"
    r"number of inputs",
    re.IGNORECASE,
)
"""What servers write with 400 or 422 about a request with too many or too long inputs; TEI alone answers 413."""
_INTERNAL, _TOO_LARGE_FOR_LLAMA = 500, re.compile(r"too large to process", re.IGNORECASE)
"""llama.cpp answers 500 when an input has more tokens than its physical batch size."""
_QUOTA_EXHAUSTED = re.compile(
    r"insufficient[_ ]quota|exceeded your current quota|billing_hard_limit|credit balance|out of credits", re.IGNORECASE
)
"""What providers write with 429 when an account has no money left: waiting does not help."""
_NOT_BILLED = frozenset((409, 425, 429))
"""Transient statuses that refuse a request before it is worked on. After the others it may have been billed."""


class EndpointSettingError(InputError):
    """An endpoint's address, model or key is invalid; the message is one sentence, without the key."""


class EndpointError(CippusError):
    """An endpoint did not answer a request; it is permanent or transient."""


class PermanentEndpointError(EndpointError, PermanentFailure):
    """The same request will fail again: a wrong key, model, address or text, or a response of the wrong shape."""


class TransientEndpointError(EndpointError, TransientFailure):
    """The same request may succeed later: overload, a restart, a broken connection."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BadRequestError(PermanentEndpointError):
    """The endpoint refuses this request, and may accept others."""


class RequestTooLargeError(BadRequestError):
    """A request has more texts or tokens than the endpoint accepts; half of them may be accepted."""


class QuotaExhaustedError(PermanentEndpointError):
    """The account has no quota or money left. Somebody must raise it."""


class Billing(Enum):
    """Whether a failed request may have been billed."""

    NO = "no"
    UNKNOWN = "unknown"


def _wait_seconds(state: RetryCallState) -> float:
    """Return the server's Retry-After, or a random time below 0.5 s, 1 s, 2 s, …; at most 30 s."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TransientEndpointError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, MAX_WAIT_SECONDS)
    return wait_random_exponential(multiplier=0.5, max=MAX_WAIT_SECONDS)(state)


RETRY = Retrying(
    stop=stop_after_attempt(8),
    wait=_wait_seconds,
    retry=retry_if_exception_type(TransientEndpointError),
    reraise=True,
)
"""The retry policy of every request to an endpoint. The SDK's own retries are off: it repeats paid calls blindly."""


@dataclass(frozen=True)
class Endpoint:
    """The address of an endpoint, and the model to request there. ``kind`` names it in errors.

    ``url`` is the part before ``/chat/completions`` or ``/embeddings``, such as ``http://host:8080/v1``. A query, such
    as ``?api-version=2024-10-21``, is sent with every request. Raises EndpointSettingError for an invalid address,
    without a model, or for a key that no header can carry.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    kind: str = "embeddings"
    transport: httpx2.BaseTransport | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            shown = self.url.rpartition("@")[2]  # user and password come before it
            raise EndpointSettingError(
                f"The {self.kind} endpoint is {shown!r}, expected http:// or https:// and a host without a key."
            )
        if not self.model:
            raise EndpointSettingError(
                f"The {self.kind} endpoint {self.url} has no model, expected the name that it serves."
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise EndpointSettingError(
                f"The key of the {self.kind} endpoint {self.url} is not printable ASCII in one line."
            )

    def client(self, connections: int) -> openai.OpenAI:
        """Return a client without retries. Close it, or use it as a context manager."""
        query = dict(parse_qsl(urlsplit(self.url).query))
        headers: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        if "api-version" in query and self.api_key:
            headers["api-key"] = self.api_key  # Azure reads its keys from there
        limits = httpx2.Limits(max_connections=connections)
        # A proxy or .netrc of the machine must not see texts or keys.
        transport = self.transport or httpx2.HTTPTransport(limits=limits, trust_env=False)
        return openai.OpenAI(
            base_url=self.base,
            api_key=self.api_key or "none",  # the SDK requires one; a server without keys ignores it
            default_headers=headers,
            default_query=query,
            max_retries=0,
            http_client=httpx2.Client(timeout=TIMEOUT, trust_env=False, transport=SameHostRedirects(transport)),
        )

    @property
    def base(self) -> str:
        """The address without its query, which may hold a key."""
        return self.url.partition("?")[0].rstrip("/")

    def failure(self, path: str, error: openai.OpenAIError) -> tuple[EndpointError, Billing]:
        """Return the error to raise for one of the SDK's, and whether the request may have been billed."""
        url = f"{self.base}/{path}"
        if isinstance(error, openai.APIStatusError):
            return self._refusal(url, error)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            message = f"{url} did not answer: {type(cause).__name__} {cause}."
            is_unsent = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return TransientEndpointError(message), Billing.NO if is_unsent else Billing.UNKNOWN
        return TransientEndpointError(f"{url} answered something else than JSON: {error}."), Billing.UNKNOWN

    def _refusal(self, url: str, error: openai.APIStatusError) -> tuple[EndpointError, Billing]:
        status, reason = error.status_code, error.response.reason_phrase
        shown = error.response.text[:_SHOWN_CHARACTERS].strip()
        if self.api_key:
            shown = shown.replace(self.api_key, "[key]")
        message = f"{url} answered {status} {reason} for {self.model}: {shown!r}."
        if status in REDIRECTS:
            target = error.response.headers.get("Location", "").partition("?")[0]
            message = f"{message} It redirects to {target!r}, another host; set that address if it may have the key."
        if _is_too_large(status, error.response.text):
            return RequestTooLargeError(message), Billing.NO
        if status == _TOO_MANY and _QUOTA_EXHAUSTED.search(error.response.text):
            return QuotaExhaustedError(f"{message} Its quota is exhausted: raise it, then run again."), Billing.NO
        if status in _BAD_REQUEST:
            return BadRequestError(message), Billing.NO
        if status not in TRANSIENT:
            return PermanentEndpointError(message), Billing.NO
        asked = error.response.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isascii() and asked.isdigit() else None
        return TransientEndpointError(message, seconds), Billing.NO if status in _NOT_BILLED else Billing.UNKNOWN


def _is_too_large(status: int, text: str) -> bool:
    """Return whether a refusal says that a request has too many or too long inputs."""
    tells = status in _BAD_REQUEST and _TELLS_A_LIMIT.search(text)
    return bool(status == _TOO_LARGE or tells or (status == _INTERNAL and _TOO_LARGE_FOR_LLAMA.search(text)))


def _is_address(url: str) -> bool:
    try:
        address = urlsplit(url)
        is_valid = address.scheme in ("http", "https") and bool(address.hostname) and "@" not in address.netloc
        return is_valid and (address.port or 1) > 0
    except ValueError:
        return False
