"""The audit log: who exported, labelled, judged and changed shortlists. One object per event, which nothing changes.

An event names no account, unless a shortlist is called so. Raised ceilings are in the ledger, with who and why.
"""

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from resources.spend.store import Store

FOLDER = "audit/"
_DAYS_SHOWN, _MOST_SHOWN = 30, 200
AROUND_WORDS = "@.,;:!?()“”„«»'\""
"""Characters that may stand around a handle in a name of a shortlist, and in an event that repeats the name."""


@dataclass(frozen=True)
class Event:
    """Something that a person did: when (ISO 8601, UTC), who, the action, and a sentence without names of accounts."""

    at: str
    who: str
    action: str
    what: str


@dataclass(frozen=True)
class Audit:
    """The log on the lake's S3."""

    store: Store
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC))
    _known: set[str] = field(default_factory=set, repr=False, compare=False)

    def record(self, who: str, action: str, what: str) -> None:
        """Write an event. When this returns it is on S3."""
        at = self.now()
        self._write(f"{at:%Y-%m-%d}/{at:%H%M%S.%f}-{uuid.uuid4().hex[:8]}", Event(_time(at), who, action, what))

    def record_day(self, who: str, action: str, what: str) -> None:
        """Write that a person did something on this day: once a day, however often."""
        at = self.now()
        name = f"{at:%Y-%m-%d}/{action}-{who}"
        if name not in self._known:
            self._write(name, Event(_time(at), who, action, what))
            self._known.add(name)

    def events(self) -> list[Event]:
        """Return the newest events of the last _DAYS_SHOWN days, newest first, _MOST_SHOWN at most."""
        today = self.now().date()
        found: list[Event] = []
        for ago in range(_DAYS_SHOWN):
            keys = sorted(self.store.keys(f"{FOLDER}{today - dt.timedelta(days=ago):%Y-%m-%d}/"), reverse=True)
            bodies = [stored.body for key in keys if (stored := self.store.get(key)) is not None]
            found += sorted((Event(**json.loads(body)) for body in bodies), key=lambda event: event.at, reverse=True)
            if len(found) >= _MOST_SHOWN:
                break
        return found[:_MOST_SHOWN]

    def _write(self, name: str, event: Event) -> None:
        self.store.create(f"{FOLDER}{name}.json", json.dumps(asdict(event), ensure_ascii=False).encode())


def forget_account(store: Store, account_id: str, is_handle: Callable[[str], bool] = lambda _: False) -> int:
    """Delete the events that name an account or its handle, because a shortlist was called so. Return their number."""
    bodies = {key: found.body for key in store.keys(FOLDER) if (found := store.get(key)) is not None}
    gone = [
        key
        for key, body in bodies.items()
        if any(
            word == account_id or is_handle(word.strip(AROUND_WORDS))
            for word in re.split(r"[\s'\"]+", json.loads(body)["what"])
        )
    ]
    store.delete(gone)
    return len(gone)


def _time(at: dt.datetime) -> str:
    return at.isoformat(timespec="seconds")
