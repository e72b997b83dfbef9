"""A request to a language model, its deterministic id, and the most tokens that it can be billed for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resources.errors import PermanentFailure
from resources.spend.prices import Usage

_TOKENS_A_MESSAGE, _TOKENS_A_REQUEST = 32, 128
"""More than any chat template adds: about 4 tokens a message, and a default system prompt of up to 100."""
_LIKELY_BYTES_A_TOKEN, _LIKELY_SHARE_OF_ANSWER = 4, 0.5
"""English in the tokenizers of Llama and OpenAI has .22 to .26 tokens a byte; few answers have all tokens allowed."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation: role (system, user, assistant) and text."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """What to ask a model. Equal requests have equal ids, and are paid once.

    ``schema``: JSON schema that the answer must follow. ``prompt_version``: change it to ask the same again.
    ``account_ids``: the accounts whose texts it contains. The erasure of one of them deletes the answer. An answer to
    a request without them is deleted by every erasure, because nobody knows whose texts it was made of.
    """

    messages: Sequence[Message]
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    temperature: float = 0.0
    seed: int = 0
    prompt_version: str = "1"
    account_ids: Sequence[str] = ()

    def body(self, model: str) -> dict[str, Any]:
        """Return the body of a chat completion."""
        found: dict[str, Any] = {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        if self.schema is not None:
            form = {"name": "answer", "schema": dict(self.schema), "strict": True}
            found["response_format"] = {"type": "json_schema", "json_schema": form}
        return found

    def id(self, model: str) -> str:
        """Return the id: 32 hex digits of everything that the answer depends on."""
        parts = [self.prompt_version, self.body(model), *([sorted(self.account_ids)] if self.account_ids else [])]
        content = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def most(self) -> Usage:
        """Return the most tokens that can be billed. A token is at least one UTF-8 byte."""
        template = _TOKENS_A_MESSAGE * len(self.messages) + _TOKENS_A_REQUEST
        schema = 0 if self.schema is None else len(json.dumps(self.schema).encode())
        return Usage(self._size() + schema + template, self.max_tokens)

    def likely(self) -> Usage:
        """Return about the tokens that will be billed. Most providers do not bill a schema."""
        return Usage(self._size() // _LIKELY_BYTES_A_TOKEN, round(self.max_tokens * _LIKELY_SHARE_OF_ANSWER))

    def _size(self) -> int:
        return sum(len(text.encode()) for message in self.messages for text in (message.role, message.content))


@dataclass(frozen=True)
class Answer:
    """What a model answered, and what it cost. ``is_new``: paid now; otherwise found from before.

    ``value``: the parsed text of a request with a schema; None if the text is no JSON, such as one that was cut off.
    """

    id: str
    text: str
    finish_reason: str
    model: str
    usage: Usage
    usd: str
    is_new: bool = field(default=True, compare=False)
    value: Any = None
    account_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unanswered:
    """A request that has no answer now, and why. Ask again later, unless ``is_final``: it is refused each time."""

    id: str
    reason: str
    is_final: bool = False


class UnansweredError(PermanentFailure):
    """A request has no answer now; the message says why."""
