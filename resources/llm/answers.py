"""Answers on the store, one object per request id. The object is also the claim of the one run that may send it.

A claim is created before a call is sent. So two runs never pay for the same request, and after a crash the claim names
the lease whose log says what happened to the call.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from resources.llm.request import Answer
from resources.spend.prices import Usage
from resources.spend.store import Store, UncertainWriteError

FOLDER = "llm/answers"


@dataclass(frozen=True)
class Claim:
    """The right to send a request: the lease that pays, and the number of the attempt. ``etag`` is the object's.

    ``account_ids``: the accounts whose texts the request contains.
    """

    id: str
    lease: str
    attempt: int
    etag: str = ""
    account_ids: tuple[str, ...] = ()

    @property
    def call(self) -> str:
        """Return the name of this attempt in the ledger and at the provider."""
        return f"{self.id}.{self.attempt}"


class Answers:
    """The answers of one asset."""

    def __init__(self, store: Store, asset: str) -> None:
        self._store, self._folder = store, f"{FOLDER}/{asset}"

    def find(self, request_id: str) -> Answer | Claim | None:
        """Return the answer of a request, else who may send it, else None."""
        found = self._store.get(self._key(request_id))
        if found is None:
            return None
        content: dict[str, Any] = json.loads(found.body)
        account_ids = tuple(content.get("account_ids", ()))
        if "text" not in content:
            return Claim(request_id, content["lease"], content["attempt"], found.etag, account_ids)
        usage = Usage(**content["usage"])
        return Answer(**{**content, "usage": usage, "is_new": False, "account_ids": account_ids})

    def claim(self, wanted: Claim, instead_of: Claim | None = None) -> bool:
        """Take the right to send a request, or take it over. Return False if another run was faster."""
        key = self._key(wanted.id)
        content = {"lease": wanted.lease, "attempt": wanted.attempt, "account_ids": wanted.account_ids}
        body = json.dumps(content).encode()
        try:
            if instead_of is None:
                at = self._store.create(key, body)
            else:
                at = self._store.replace(key, body, instead_of.etag)
        except UncertainWriteError:
            at = None
        if at is not None:
            return True
        found = self.find(wanted.id)  # it may be our own write, whose answer was lost
        return isinstance(found, Claim) and replace(found, etag="") == replace(wanted, etag="")

    def put(self, answer: Answer) -> None:
        """Store an answer in place of its claim. Storing it twice changes nothing."""
        content = {
            "id": answer.id,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "model": answer.model,
            "usage": vars(answer.usage),
            "usd": answer.usd,
            "value": answer.value,
            "account_ids": answer.account_ids,
        }
        self._store.put(self._key(answer.id), json.dumps(content).encode())

    def forget(self, request_ids: Iterable[str]) -> None:
        """Delete answers that a table has taken in, and claims of calls that were not sent."""
        self._store.delete([self._key(request_id) for request_id in request_ids])

    def ids(self) -> Iterator[str]:
        """Yield the ids of the requests that have an answer or a claim. Reads none of them."""
        return (key.rpartition("/")[2].removesuffix(".json") for key in self._store.keys(f"{self._folder}/"))

    def all(self) -> Iterable[Answer]:
        """Yield every stored answer."""
        for key in self._store.keys(f"{self._folder}/"):
            found = self.find(key.rpartition("/")[2].removesuffix(".json"))
            if isinstance(found, Answer):
                yield found

    def _key(self, request_id: str) -> str:
        return f"{self._folder}/{request_id[:2]}/{request_id}.json"


def stored_answers(store: Store) -> Iterator[Answer]:
    """Yield the answers of every asset."""
    for key in store.keys(f"{FOLDER}/"):
        folder, _, name = key.removesuffix(".json").rpartition("/")
        asset = folder.removeprefix(f"{FOLDER}/").rpartition("/")[0]
        found = Answers(store, asset).find(name)
        if isinstance(found, Answer):
            yield found


def forget_account(store: Store, account_id: str) -> int:
    """Delete every answer and claim that is about an account, and answers about nobody. Return their number.

    An answer is paid again if it was not taken into a table yet and another account needs it. The ledger keeps what was
    paid.
    """
    gone = []
    for key in store.keys(f"{FOLDER}/"):
        found = store.get(key)
        content = json.loads(found.body) if found else {}
        owners = content.get("account_ids", ())
        if account_id in owners or ("text" in content and not owners):
            gone.append(key)
    store.delete(gone)
    return len(gone)
