"""Chat completions on the wire: send, stream, find a stored one; each with the usage that it is billed for."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openai

from resources.errors import CippusError
from resources.llm.answers import Claim
from resources.llm.endpoint import Billing, Endpoint, EndpointError, TransientEndpointError
from resources.llm.request import Answer, Request
from resources.spend.ledger import settled
from resources.spend.log import Record
from resources.spend.prices import SELF_HOSTED, Lane, PriceBook, Usage

METADATA = "cippus_call"
Kept = tuple[Answer, Record]
"""An answer, and the record that settles its call."""


class CallFailedError(CippusError):
    """A call has no answer: the error to raise, and whether it may have been billed."""

    def __init__(self, error: EndpointError, billing: Billing) -> None:
        super().__init__(str(error))
        self.error, self.billing = error, billing


@dataclass(frozen=True)
class Prices:
    """Where a model's price comes from: the book, the provider's and the model's name in it, and the lane."""

    book: PriceBook
    provider: str
    model: str
    lane: Lane = Lane.LIVE

    @property
    def is_free(self) -> bool:
        """Return whether tokens cost nothing: you run the endpoint, and pay for its hours."""
        return self.provider == SELF_HOSTED

    def bound(self, request: Request, at: dt.datetime) -> Decimal:
        """Return the most USD that a request can cost. Raises UnknownPriceError."""
        return self.book.bound(self.provider, self.model, self.lane, at, request.most())

    def charge(self, usage: Usage, at: dt.datetime) -> Decimal:
        """Return the USD of a billed call."""
        return Decimal(0) if self.is_free else self.book.charge(self.provider, self.model, self.lane, at, usage)


class Completions:
    """The completions of one model at one endpoint.

    ``finds_stored``: the endpoint keeps completions, so that an answer whose connection broke is found there.
    """

    def __init__(self, endpoint: Endpoint, prices: Prices, connections: int, *, finds_stored: bool = False) -> None:
        self.endpoint, self.prices = endpoint, prices
        self._stored, self._client = finds_stored, endpoint.client(connections)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, claim: Claim, request: Request) -> Kept:
        """Return the answer to a request. Raises CallFailedError."""
        try:
            response = self._client.chat.completions.with_raw_response.create(**self._body(claim, request))
            return self._priced(
                claim, completion_of(json.loads(response.content)), has_schema=request.schema is not None
            )
        except openai.OpenAIError as error:
            raise CallFailedError(*self.endpoint.failure("chat/completions", error)) from None
        except ValueError as error:
            raise self._nocompletion_of(error) from None

    def stream(self, claim: Claim, request: Request) -> Iterator[str | Kept]:
        """Yield the parts of the text as they come, then the whole answer. Raises CallFailedError."""
        body = {**self._body(claim, request), "stream": True, "stream_options": {"include_usage": True}}
        text, reason, last = "", "", {}
        try:
            with self._client.chat.completions.create(**body) as events:
                for event in events:
                    last = event.model_dump()
                    for choice in last["choices"]:
                        reason = choice["finish_reason"] or reason
                        if part := choice["delta"].get("content"):
                            text += part
                            yield part
            message = {"message": {"content": text}, "finish_reason": reason}
            whole = completion_of({**last, "choices": [message]})
        except openai.OpenAIError as error:
            raise CallFailedError(*self.endpoint.failure("chat/completions", error)) from None
        except ValueError as error:
            raise self._nocompletion_of(error) from None
        yield self._priced(claim, whole, has_schema=request.schema is not None)

    def look_up(self, claim: Claim) -> Kept | None:
        """Return a completion that the provider kept. None if it has none, or none yet."""
        if not self._stored:
            return None
        try:
            response = self._client.chat.completions.with_raw_response.list(
                metadata={METADATA: claim.call}, model=self.endpoint.model, limit=1
            )
            found = json.loads(response.content)["data"]
            return self._priced(claim, completion_of(found[0]), has_schema=True) if found else None
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return None  # the next reconciliation asks again

    def _body(self, claim: Claim, request: Request) -> dict[str, Any]:
        marks = {"store": True, "metadata": {METADATA: claim.call}} if self._stored else {}
        return {**request.body(self.endpoint.model), **marks}

    def _nocompletion_of(self, error: ValueError) -> CallFailedError:
        message = f"{self.endpoint.url} answered something else than a completion: {error}."
        return CallFailedError(TransientEndpointError(message), Billing.UNKNOWN)

    def _priced(self, claim: Claim, found: dict[str, Any], *, has_schema: bool) -> Kept:
        tokens = tokens_of(found)
        usd = self.prices.charge(tokens, dt.datetime.fromtimestamp(found["created"], dt.UTC))
        choice = found["choices"][0]
        text, model = choice["message"]["content"] or "", found.get("model") or self.endpoint.model
        value = parsed_text(text) if has_schema else None
        answer = Answer(
            *(claim.id, text, choice["finish_reason"] or "", model, tokens, str(usd)),
            value=value,
            account_ids=claim.account_ids,
        )
        record = settled(
            claim.call, usd, lane=Lane.LIVE.value, input_tokens=tokens.input_tokens, output_tokens=tokens.output_tokens
        )
        return answer, record


def completion_of(found: Any) -> dict[str, Any]:
    """Return a completion. Raises ValueError unless it has choices, a time and the billed tokens."""
    try:
        is_complete = bool(found["choices"]) and {"prompt_tokens", "completion_tokens"} <= set(found["usage"])
        is_complete = is_complete and isinstance(found["created"], int | float)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no usage or no choices ({error})") from None
    if not is_complete:
        raise ValueError("it has no usage or no choices")
    result: dict[str, Any] = found
    return result


def tokens_of(completion: Mapping[str, Any]) -> Usage:
    """Return the billed tokens of a completion."""
    usage = completion["usage"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], cached)


def parsed_text(text: str) -> Any:
    """Return the value of a text in JSON; None for any other text."""
    try:
        return json.loads(text)
    except ValueError:
        return None
