"""Read what a batch answered, check off every request by its id, and price it. Order and repetitions mean nothing.

Everything that the provider may have billed is charged: answers, answers twice, and answers to requests that are not
ours. A request whose answer the provider lost is charged as its counts or its usage say, and at its bound otherwise.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from resources.llm.batches.book import Wanted
from resources.llm.batches.provider import RemoteBatch
from resources.llm.completions import Prices, completion_of, parsed_text, tokens_of
from resources.spend.prices import Usage

_OK = 200
LOST = "The batch lost its answer, which may have been billed."


@dataclass
class Reading:
    """What was read of a batch. ``broken``: lines that are no JSON, as in a file that came in part."""

    usd: Decimal = Decimal(0)
    usage: Usage = field(default_factory=Usage)
    answered: int = 0
    broken: int = 0
    foreign: int = 0
    repeated: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    _charged: set[str] = field(default_factory=set)

    def results(
        self, paths: Iterable[Path], wanted: Mapping[str, Wanted], prices: Prices, at: dt.datetime
    ) -> Iterator[dict[str, Any]]:
        """Yield a result for each wanted request with an answer, or with a refusal, once. Memory: the ids."""
        for path in paths:
            with path.open("rb") as lines:
                for line in lines:
                    if line.strip() and (found := self._result(line, wanted, prices, at)) is not None:
                        yield found

    def _result(
        self, line: bytes, wanted: Mapping[str, Wanted], prices: Prices, at: dt.datetime
    ) -> dict[str, Any] | None:
        try:
            found = json.loads(line)
            id_, response = str(found["custom_id"]), found.get("response") or {}
            body, status = response.get("body") or {}, response.get("status_code", _OK)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.broken += 1
            return None
        try:
            answer = completion_of(body)
            answer["choices"][0]["message"]["content"]
        except (ValueError, KeyError, TypeError, IndexError):
            self._refuse(id_, status, wanted)
            return None
        usage = tokens_of(answer)
        usd = prices.charge(usage, dt.datetime.fromtimestamp(answer["created"], dt.UTC) if answer["created"] else at)
        token = f"{answer.get('id') or line!r} {usage}"  # one answer may stand in several lines
        if token not in self._charged:
            self._charged.add(token)
            self.answered, self.usd, self.usage = self.answered + 1, self.usd + usd, self.usage + usage
        if id_ not in wanted:
            self.foreign += 1
            return None
        if self.seen.get(id_) == "answer":
            self.repeated += 1
            return None
        self.seen[id_] = "answer"
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        return {
            "id": id_,
            "text": text,
            "finish_reason": choice.get("finish_reason") or "",
            "model": answer.get("model") or prices.model,
            "usage": vars(usage),
            "usd": str(usd),
            "value": parsed_text(text),
            "account_ids": list(wanted[id_].account_ids),
        }

    def _refuse(self, id_: str, status: Any, wanted: Mapping[str, Wanted]) -> None:
        """Note a request that has an error in place of an answer: refused for good, or not worked on."""
        if id_ in wanted and id_ not in self.seen:
            self.seen[id_] = "refused" if isinstance(status, int) and status in (400, 413, 422) else "not answered"


@dataclass(frozen=True)
class Rest:
    """What is charged beside the answers, and the requests that have none. ``lost``: not to be sent again."""

    usd: Decimal
    lost: tuple[str, ...]
    refused: tuple[str, ...]
    is_whole: bool


def rest_of(read: Reading, batch: RemoteBatch, wanted: Mapping[str, Wanted], prices: Prices, at: dt.datetime) -> Rest:
    """Return what a batch billed beside the answers that were read, by its usage or its counts.

    Without either, a request that a completed batch does not mention is charged at its bound. A batch that ended early
    has not worked on the others. ``is_whole`` is false while another download may bring more.
    """
    missing = [id_ for id_ in wanted if id_ not in read.seen]
    refused = tuple(id_ for id_, what in read.seen.items() if what == "refused")
    usd, may_be_billed = Decimal(0), False
    if batch.usage is not None:
        excess = Usage(
            max(0, batch.usage.input_tokens - read.usage.input_tokens),
            max(0, batch.usage.output_tokens - read.usage.output_tokens),
        )
        may_be_billed = excess != Usage()
        usd = prices.charge(excess, at) if may_be_billed else usd
    elif batch.completed is not None:
        extra = max(0, batch.completed - read.answered)
        may_be_billed = extra > 0
        usd = sum(sorted((Decimal(wanted[id_].usd) for id_ in missing), reverse=True)[:extra], usd)
    elif batch.state == "completed":
        may_be_billed = bool(missing)
        usd = sum((Decimal(wanted[id_].usd) for id_ in missing), usd)
    is_whole = not read.broken and not (may_be_billed and missing)
    return Rest(usd, tuple(missing) if may_be_billed else (), refused, is_whole)
