"""Tombstones (keyed hashes of erased accounts, so that they do not come back) and receipts, under `erasure/`."""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import ConfigurableResource
from pydantic import Field

from resources.errors import InputError
from resources.s3.client import S3Resource

PREFIX = "erasure/"
ACCOUNT, POST, TESTIMONIAL, HANDLE = "account", "post", "testimonial", "handle"
FIELD_KINDS: Mapping[str, tuple[str, ...]] = {
    "account_id": (ACCOUNT,),
    "post_id": (POST,),
    "post_ids": (POST,),
    "duplicate_of": (POST,),
    "testimonial_id": (TESTIMONIAL,),
    "handle": (HANDLE,),
    "item_id": (ACCOUNT, POST),
    "row_key": (ACCOUNT, POST, TESTIMONIAL),
}
"""Column, JSON key or CSV header → the kinds of things that its values name."""
KIND_COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "item_kind": {"post": (POST,), "account": (ACCOUNT,)},
    "source_table": {
        "accounts": (ACCOUNT,),
        "posts": (POST,),
        "testimonials": (TESTIMONIAL,),
        "labels": (ACCOUNT, POST),
    },
}
"""A column beside ``item_id`` or ``row_key`` that says which of their kinds a row is about: an account and another's
post may well have the same id."""
KIND_COLUMN_OF = {"item_id": "item_kind", "row_key": "source_table"}
_LEAST_KEY_CHARACTERS = 32
_CHECK = f"{PREFIX}key.json"


class ErasureKeyError(InputError):
    """The key of the tombstones is missing, too short, or another one than they were made with."""


@dataclass(frozen=True)
class KeyedHash:
    """HMAC-SHA256 of (kind, id), the first 128 bits in hexadecimal: without the key nobody can look an id up."""

    key: bytes = field(repr=False)

    def __call__(self, kind: str, value: str) -> str:
        """The hash of one id."""
        return hmac.digest(self.key, f"{kind}\0{value}".encode(), "sha256")[:16].hex()


@dataclass(frozen=True)
class Tombstones:
    """The accounts that were erased, by hash. Empty, and without a key, when there are none."""

    accounts: frozenset[str] = frozenset()
    hashed: KeyedHash | None = None

    def __bool__(self) -> bool:
        return bool(self.accounts)

    def accounts_among(self, ids: Iterable[str]) -> set[str]:
        """Those ids that are an erased account's."""
        hashed = self.hashed
        return {id_ for id_ in ids if hashed(ACCOUNT, id_) in self.accounts} if self and hashed else set()


@dataclass(frozen=True)
class Subject:
    """An account that is erased, and by hash everything that is its own: posts, testimonials, its handle."""

    account_id: str
    hashed: KeyedHash
    items: frozenset[str] = frozenset()

    @property
    def account(self) -> str:
        """The account's own hash: the name of its tombstone."""
        return self.hashed(ACCOUNT, self.account_id)

    def owns(self, kinds: Sequence[str], value: str) -> bool:
        """Whether a value names the account or something of its own."""
        return any(
            value == self.account_id if kind == ACCOUNT else bool(self.items) and self.hashed(kind, value) in self.items
            for kind in kinds
        )

    def owned(self, name: str, values: Iterable[str | None], kinds: Sequence[str] | None = None) -> set[str]:
        """The distinct values of a column of that name that the account owns."""
        of_column = FIELD_KINDS.get(name, ()) if kinds is None else kinds
        return {value for value in set(values) if value is not None and self.owns(of_column, value)}


@dataclass(frozen=True)
class Tombstone:
    """What is kept of an erasure: hashes, when each attempt began, and whether one was seen to be complete."""

    account: str
    items: frozenset[str] = frozenset()
    attempts: tuple[str, ...] = ()
    complete: bool = False


class ErasureResource(ConfigurableResource):  # type: ignore[type-arg]
    """Tombstones and receipts. ``key`` is the secret that ids are hashed with; else it is that of ``key_file``.

    The key file is made, readable by its owner alone, when a key is first needed. Where there is no erased account
    no key is needed, and looking costs one listing.
    """

    s3: S3Resource
    key: str = Field(default="", repr=False)
    key_file: str = ""

    def tombstones(self) -> Tombstones:
        """Every erased account. Raises ErasureKeyError when there are some and the key is not theirs.

        Their names are their hashes, so they are listed and not read; memory grows with the erasures, 100 B each.
        """
        prefix = f"{PREFIX}tombstones/"
        names = [item.key.removeprefix(prefix).removesuffix(".json") for item in self.s3.list_objects(prefix)]
        return Tombstones(frozenset(names), self.hashed) if names else Tombstones()

    def erased_items(self, items: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those (kind, id) that an erased account owned. Reads every tombstone: for the few rows of unknown owner."""
        wanted, tombstones = set(items), self.tombstones()
        if not (wanted and tombstones):
            return set()
        owned = set(tombstones.accounts).union(*(self._read(account).items for account in tombstones.accounts))
        return {item for item in wanted if self.hashed(*item) in owned}

    @cached_property
    def hashed(self) -> KeyedHash:
        """The keyed hash. Raises ErasureKeyError when there is no key, or tombstones were made with another one."""
        made = KeyedHash(self._key().encode())
        check = {"check": made("check", PREFIX)}
        if not self.s3.put_json(_CHECK, check, if_absent=True) and self.s3.get_json(_CHECK) != check:
            message = (
                f"CIPPUS_ERASURE_KEY is another key than the tombstones in {self.s3.uri(PREFIX)} were made with: "
                "erased accounts would come back; set it to theirs."
            )
            raise ErasureKeyError(message)
        return made

    def _key(self) -> str:
        if not self.key and self.key_file:
            return _kept_key(Path(self.key_file))
        if len(self.key) < _LEAST_KEY_CHARACTERS:
            said = f"has {len(self.key)} characters" if self.key else "is not set"
            message = f"CIPPUS_ERASURE_KEY {said}, expected a secret of at least {_LEAST_KEY_CHARACTERS} characters."
            raise ErasureKeyError(message)
        return self.key

    def subject(
        self, account_id: str, items: Iterable[tuple[str, str]] = (), of_others: Iterable[tuple[str, str]] = ()
    ) -> Subject:
        """An account with the (kind, id) that are its own, and those that its tombstone names and no other has now.

        ``of_others`` is not read where the tombstone names nothing.
        """
        found = Subject(account_id, self.hashed)
        standing = set(self._read(found.account).items)
        for kind, value in of_others if standing else ():
            standing.discard(self.hashed(kind, value))
        hashes = {self.hashed(kind, value) for kind, value in items}
        return Subject(account_id, self.hashed, frozenset(standing | hashes))

    def tombstone(self, subject: Subject) -> Tombstone:
        """What stands; without attempts when the account was never erased."""
        return self._read(subject.account)

    def _read(self, account: str) -> Tombstone:
        kept = self.s3.get_json(f"{PREFIX}tombstones/{account}.json")
        if kept is None:
            return Tombstone(account)
        return Tombstone(account, frozenset(kept["items"]), tuple(kept["attempts"]), bool(kept["complete"]))

    def begin(self, subject: Subject) -> Tombstone:
        """Write the tombstone before anything is removed: from here on the account is not extracted again."""
        attempts = (*self._read(subject.account).attempts, datetime.now(UTC).isoformat())
        return self._write(Tombstone(subject.account, subject.items, attempts))

    def complete(self, tombstone: Tombstone) -> None:
        """Say that a scan after this erasure found nothing."""
        self._write(Tombstone(tombstone.account, tombstone.items, tombstone.attempts, complete=True))

    def _write(self, tombstone: Tombstone) -> Tombstone:
        value = {
            "account": tombstone.account,
            "items": sorted(tombstone.items),
            "attempts": list(tombstone.attempts),
            "complete": tombstone.complete,
        }
        self.s3.put_json(f"{PREFIX}tombstones/{tombstone.account}.json", value)
        return tombstone

    def file_receipt(self, receipt: Mapping[str, Any]) -> str:
        """Write a receipt, once, and return its key."""
        moment = datetime.fromisoformat(receipt["finished_at"]).strftime("%Y%m%dT%H%M%S%f")
        key = f"{PREFIX}receipts/{receipt['account']}-{moment}.json"
        self.s3.put(key, json.dumps(receipt, indent=2).encode(), if_absent=True)
        return key


def _kept_key(path: Path) -> str:
    """The key in a file, which is made, whole or not at all, when there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{secrets.token_hex(4)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(made, path)  # unlike a rename, it does not replace what another process made meanwhile
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_text().strip()
