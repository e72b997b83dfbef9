"""Shortlists: named lists of creators that people keep on the page. One object per list, changed by conditional writes.

A list has ids of accounts only, so that names and numbers are always the lake's, and an erasure finds them.
"""

import datetime as dt
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import polars as pl

from assets.audit import AROUND_WORDS
from assets.marts.creators import CREATORS
from assets.verticals.tags import TAGS
from resources.catalogues import overrides_of
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.spend.store import Store, change

FOLDER, ERASED = "shortlists/", "erased"
LONGEST_NAME, MOST_ENTRIES, MOST_LISTS = 60, 1_000, 500
SHOWN = ["handle", "display_name", "network", "country", "language", "followers", "posts", "views", "likes"]
"""Columns of mart/creators in a list and its CSV file."""
_ESCAPED, _CODE = re.compile(r"[^A-Za-z0-9._-]"), re.compile(r"(?:=[0-9A-F]{2})+")


@dataclass(frozen=True)
class Entry:
    """An account of a list: who added it, and when (ISO 8601)."""

    account_id: str
    added_by: str
    added_at: str


@dataclass(frozen=True)
class Shortlist:
    """A list, in the order in which its accounts were added."""

    name: str
    entries: tuple[Entry, ...] = ()


def shortlist_name(written: str) -> str:
    """Return a list's name without needless spaces. Raises InputError."""
    name = " ".join(unicodedata.normalize("NFC", written).split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or not _is_utf8(name):
        message = f"The shortlist is called {written[:80]!r}; a name has 1 to {LONGEST_NAME} printable characters."
        raise InputError(message)
    return name


@dataclass(frozen=True)
class Shortlists:
    """The lists on the lake's S3."""

    store: Store
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC))

    def names(self) -> list[str]:
        """Return the names of all lists, sorted."""
        keys = self.store.keys(FOLDER)
        return sorted((_name_of(key) for key in keys), key=lambda name: (name.casefold(), name))

    def get(self, name: str) -> Shortlist | None:
        """Return a list; None if there is none. Raises InputError."""
        found = self.store.get(_key(shortlist_name(name)))
        return None if found is None else _read(found.body)

    def add(self, name: str, account_ids: Sequence[str], who: str) -> int:
        """Add accounts to a list, which is made if there is none. Return how many are new. Raises InputError.

        When this returns they are on S3.
        """
        name, at, added = shortlist_name(name), self.now().isoformat(timespec="seconds"), list[str]()

        def changed(body: bytes | None) -> bytes | None:
            before = Shortlist(name) if body is None else _read(body)
            held = {entry.account_id for entry in before.entries}
            added[:] = [id_ for id_ in dict.fromkeys(account_ids) if id_ not in held]
            after = (*before.entries, *(Entry(id_, who, at) for id_ in added))
            if len(after) > MOST_ENTRIES:
                raise InputError(f"The shortlist {name!r} would have {len(after):,} creators; it may {MOST_ENTRIES:,}.")
            return _written(replace(before, entries=after)) if added or body is None else None

        if self.store.get(_key(name)) is None and len(self.names()) >= MOST_LISTS:
            raise InputError(f"There are {MOST_LISTS} shortlists already; delete one first.")
        change(self.store, _key(name), changed)
        return len(added)

    def remove(self, name: str, account_id: str) -> None:
        """Take an account out of a list."""
        key = _key(shortlist_name(name))
        change(self.store, key, lambda body: None if body is None else _without(body, account_id))

    def delete(self, name: str) -> None:
        """Delete a list."""
        self.store.delete([_key(shortlist_name(name))])


def forget_account(store: Store, account_id: str, is_handle: Callable[[str], bool] = lambda _: False) -> int:
    """Take an account out of every list. Return how many had it.

    A list whose name has the account's id is deleted. In one whose name has its handle, "erased" replaces that word:
    the others on the list stay.
    """
    lists = 0
    for key in list(store.keys(FOLDER)):
        found, name = store.get(key), _name_of(key)
        if found is None:
            continue
        left = " ".join(ERASED if is_handle(word.strip(AROUND_WORDS)) else word for word in name.split())
        body = _without(found.body, account_id)
        if account_id in name.split():
            store.delete([key])
        elif left != name:
            _rename(store, key, left, body)
        elif body != found.body:
            change(store, key, lambda body: None if body is None else _without(body, account_id))
        else:
            continue
        lists += 1
    return lists


def _rename(store: Store, key: str, name: str, body: bytes) -> None:
    """Move a list to another name: with a number behind it if a list is called so already."""
    new, number = name, 1
    while store.create(_key(new), _written(replace(_read(body), name=new))) is None:
        number += 1
        new = f"{name} {number}"
    store.delete([key])


def described(lake: LakeResource, shortlist: Shortlist) -> pl.DataFrame:
    """Return (account_id, SHOWN, verticals, vertical_overrides, added_by, added_at) of a list's live accounts, in the
    list's order."""
    entries = pl.DataFrame([asdict(entry) for entry in shortlist.entries], schema=dict.fromkeys(_FIELDS, pl.String))
    ids = pl.col("account_id").is_in(entries["account_id"].implode())
    creators = lake.scan(CREATORS).filter(ids).select("account_id", *SHOWN).collect()
    is_tag = (pl.col("item_kind") == "account") & pl.col("item_id").is_in(entries["account_id"].implode())
    tags = lake.scan(TAGS).filter(is_tag).select("item_id", "vertical").sort("vertical").collect()
    of_account = tags.group_by(account_id="item_id").agg(verticals=pl.col("vertical").str.join(", "))
    joined = entries.join(creators, on="account_id", maintain_order="left").join(
        of_account, on="account_id", how="left", maintain_order="left"
    )
    said = [" ".join(overrides_of((of or "").split(", ")).values()) for of in joined["verticals"]]
    decided = pl.Series("vertical_overrides", said, dtype=pl.String)
    return joined.select("account_id", *SHOWN, pl.col("verticals").fill_null(""), decided, "added_by", "added_at")


def live_accounts(lake: LakeResource, account_ids: Iterable[str]) -> set[str]:
    """Return those ids that are live accounts."""
    wanted = pl.Series(sorted(set(account_ids)), dtype=pl.String).implode()
    found = lake.scan(CREATORS).filter(pl.col("account_id").is_in(wanted)).select("account_id").collect()
    return set(found["account_id"])


_FIELDS = ("account_id", "added_by", "added_at")


def _without(body: bytes, account_id: str) -> bytes:
    held = _read(body)
    kept = tuple(entry for entry in held.entries if entry.account_id != account_id)
    return body if len(kept) == len(held.entries) else _written(replace(held, entries=kept))


def _read(body: bytes) -> Shortlist:
    content: dict[str, Any] = json.loads(body)
    return Shortlist(content["name"], tuple(Entry(**entry) for entry in content["entries"]))


def _written(shortlist: Shortlist) -> bytes:
    return json.dumps(asdict(shortlist), ensure_ascii=False).encode()


def _key(name: str) -> str:
    """Return the key of a name: characters besides letters, digits, `.`, `_` and `-` are =XX, as bytes of UTF-8."""
    return f"{FOLDER}{_ESCAPED.sub(lambda found: ''.join(f'={byte:02X}' for byte in found[0].encode()), name)}.json"


def _name_of(key: str) -> str:
    escaped = key.removeprefix(FOLDER).removesuffix(".json")
    return _CODE.sub(lambda found: bytes.fromhex(found[0].replace("=", "")).decode(errors="replace"), escaped)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
