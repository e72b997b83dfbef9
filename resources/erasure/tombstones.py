"""Tombstones (keyed hashes of erased accounts, which keep them from coming back) and receipts, under `erasure/`."""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from dagster import ConfigurableResource
from pydantic import Field, TypeAdapter

from resources.errors import InputError
from resources.s3.client import S3Resource

PREFIX = "erasure/"
ACCOUNT, POST, TESTIMONIAL, HANDLE = "account", "post", "testimonial", "handle"
FIELD_KINDS: Mapping[str, tuple[str, ...]] = {
    "account_id": (ACCOUNT,),
    "account_ids": (ACCOUNT,),
    "post_id": (POST,),
    "post_ids": (POST,),
    "duplicate_of": (POST,),
    "testimonial_id": (TESTIMONIAL,),
    "testimonial_ids": (TESTIMONIAL,),
    "sample": (POST, TESTIMONIAL),
    "handle": (HANDLE,),
    "item_id": (ACCOUNT, POST),
    "row_key": (ACCOUNT, POST, TESTIMONIAL),
}
"""Column, JSON key or CSV header → the kinds of its ids."""
KIND_COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "item_kind": {"post": (POST,), "account": (ACCOUNT,)},
    "source_table": {
        "accounts": (ACCOUNT,),
        "posts": (POST,),
        "testimonials": (TESTIMONIAL,),
        "labels": (ACCOUNT, POST),
    },
}
"""A column that states the kind of the ``item_id`` or ``row_key`` beside it → its values → kinds.

An account and another account's post may have the same id.
"""
KIND_COLUMN_OF = {"item_id": "item_kind", "row_key": "source_table"}
_MIN_KEY_CHARACTERS = 32
_KEY_CHECK = f"{PREFIX}key.json"


class ErasureKeyError(InputError):
    """The erasure key is missing, too short, or not the key of the existing tombstones."""


@dataclass(frozen=True)
class KeyedHash:
    """HMAC-SHA256 of (kind, id), the first 128 bits in hexadecimal. Without the key nobody can look up an id."""

    key: bytes = field(repr=False)

    def __call__(self, kind: str, value: str) -> str:
        """Return the hash of one id."""
        return hmac.digest(self.key, f"{kind}\0{value}".encode(), "sha256")[:16].hex()


@dataclass(frozen=True)
class Tombstones:
    """The hashes of all erased accounts. Empty, and without a key, if there are none."""

    accounts: frozenset[str] = frozenset()
    hashed: KeyedHash | None = None

    def __bool__(self) -> bool:
        return bool(self.accounts)

    def accounts_among(self, ids: Iterable[str]) -> set[str]:
        """Return the ids of erased accounts."""
        hashed = self.hashed
        return {id_ for id_ in ids if hashed(ACCOUNT, id_) in self.accounts} if self and hashed else set()


@dataclass(frozen=True)
class Subject:
    """The account to erase, and the hashes of the items that it owns: posts, testimonials, its handle."""

    account_id: str
    hashed: KeyedHash
    items: frozenset[str] = frozenset()

    @property
    def account(self) -> str:
        """The hash of the account. It is the name of its tombstone."""
        return self.hashed(ACCOUNT, self.account_id)

    def owns(self, kinds: Sequence[str], value: str) -> bool:
        """Return whether a value is the id of the account or of one of its items."""
        return any(
            value == self.account_id if kind == ACCOUNT else bool(self.items) and self.hashed(kind, value) in self.items
            for kind in kinds
        )

    def has_handle(self, word: str) -> bool:
        """Return whether a word is the account's handle."""
        return self.owns((HANDLE,), word)


@dataclass(frozen=True)
class Tombstone:
    """The record of an erasure: hashes, the start of every attempt, and whether a scan found nothing afterwards.

    ``generations``: ids of the embedded index's generations at the last attempt. Their files may hold the account.
    """

    account: str
    items: frozenset[str] = frozenset()
    attempts: tuple[str, ...] = ()
    complete: bool = False
    generations: tuple[str, ...] = ()


class ErasureResource(ConfigurableResource):  # type: ignore[type-arg]
    """Tombstones and receipts. ``key`` is the secret for hashing ids; without it the secret is in ``key_file``.

    The key file is created at first use, readable by its owner only. Without erased accounts no key is needed, and
    a lookup costs one listing.
    """

    s3: S3Resource
    key: str = Field(default="", repr=False)
    key_file: str = ""

    def tombstones(self) -> Tombstones:
        """Return every erased account. Raise ErasureKeyError if there are some and the key does not match.

        Their names are their hashes, so they are listed and not read. Memory: 100 B for each.
        """
        prefix = f"{PREFIX}tombstones/"
        names = [item.key.removeprefix(prefix).removesuffix(".json") for item in self.s3.list_objects(prefix)]
        return Tombstones(frozenset(names), self.hashed) if names else Tombstones()

    def erased_items(self, items: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return each (kind, id) that an erased account owned. Reads every tombstone: use it for few rows."""
        wanted, tombstones = set(items), self.tombstones()
        if not (wanted and tombstones):
            return set()
        owned = set(tombstones.accounts).union(*(self._read(account).items for account in tombstones.accounts))
        return {item for item in wanted if self.hashed(*item) in owned}

    @cached_property
    def hashed(self) -> KeyedHash:
        """The keyed hash. Raise ErasureKeyError without a key, or if the tombstones have another one."""
        hashed = KeyedHash(self._key().encode())
        check = {"check": hashed("check", PREFIX)}
        if not self.s3.put_json(_KEY_CHECK, check, if_absent=True) and self.s3.get_json(_KEY_CHECK) != check:
            raise ErasureKeyError(
                f"CIPPUS_ERASURE_KEY is not the key of the tombstones in {self.s3.uri(PREFIX)}, so erased accounts "
                "would come back. Set it to their key."
            )
        return hashed

    def _key(self) -> str:
        if not self.key and self.key_file:
            return _read_or_create_key(Path(self.key_file))
        if len(self.key) < _MIN_KEY_CHARACTERS:
            found = f"has {len(self.key)} characters" if self.key else "is not set"
            raise ErasureKeyError(
                f"CIPPUS_ERASURE_KEY {found}; set it to a secret of at least {_MIN_KEY_CHARACTERS} characters."
            )
        return self.key

    def subject(
        self, account_id: str, items: Iterable[tuple[str, str]] = (), of_others: Iterable[tuple[str, str]] = ()
    ) -> Subject:
        """Return an account with its items (kind, id), and with the items of its tombstone that no other account has.

        ``of_others`` is read only if the tombstone has items.
        """
        account = Subject(account_id, self.hashed)
        recorded = set(self.tombstone(account).items)
        for kind, value in of_others if recorded else ():
            recorded.discard(self.hashed(kind, value))
        return replace(account, items=frozenset(recorded | {self.hashed(kind, value) for kind, value in items}))

    def tombstone(self, subject: Subject) -> Tombstone:
        """Return the stored tombstone, or one without attempts if the account was never erased."""
        return self._read(subject.account)

    def _read(self, account: str) -> Tombstone:
        stored = self.s3.get_json(_tombstone_key(account)) or {}
        return TypeAdapter(Tombstone).validate_python({**stored, "account": account})

    def begin(self, subject: Subject, generations: Iterable[str] = ()) -> Tombstone:
        """Write the tombstone before anything is deleted. From now on the account is not extracted."""
        attempts = (*self.tombstone(subject).attempts, datetime.now(UTC).isoformat())
        return self._write(Tombstone(subject.account, subject.items, attempts, generations=tuple(generations)))

    def complete(self, tombstone: Tombstone) -> None:
        """Record that a scan after this erasure found nothing."""
        self._write(replace(tombstone, complete=True))

    def lift(self, subject: Subject, reason: str) -> str:
        """Delete a tombstone, so that the account is extracted again. Return the key of the record with the reason.

        The record comes first: no tombstone goes without one. Raise InputError if the account has none.
        """
        tombstone = self.tombstone(subject)
        if not tombstone.attempts:
            raise InputError(f"Account {subject.account_id!r} was not erased; check the account id.")
        now = datetime.now(UTC)
        key = f"{PREFIX}lifted/{tombstone.account}-{now.strftime('%Y%m%dT%H%M%S%f')}.json"
        record = {"account": tombstone.account, "lifted_at": now.isoformat(), "reason": reason}
        self.s3.put_json(key, {**record, "attempts": tombstone.attempts})
        self.s3.delete([_tombstone_key(tombstone.account)])
        return key

    def _write(self, tombstone: Tombstone) -> Tombstone:
        value = {**asdict(tombstone), "items": sorted(tombstone.items)}
        self.s3.put_json(_tombstone_key(tombstone.account), value)
        return tombstone

    def file_receipt(self, receipt: Mapping[str, Any]) -> str:
        """Write a receipt once, and return its key."""
        finished = datetime.fromisoformat(receipt["finished_at"]).strftime("%Y%m%dT%H%M%S%f")
        key = f"{PREFIX}receipts/{receipt['account']}-{finished}.json"
        self.s3.put(key, json.dumps(receipt, indent=2).encode(), if_absent=True)
        return key


def _tombstone_key(account: str) -> str:
    return f"{PREFIX}tombstones/{account}.json"


def _read_or_create_key(path: Path) -> str:
    """Return the key in a file. Create the file, in one step, if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner only
            file.write(secrets.token_urlsafe(48))
            file.flush()
            with suppress(FileExistsError):  # a rename would replace the key of another process; a link fails
                os.link(file.name, path)
    return path.read_text().strip()
