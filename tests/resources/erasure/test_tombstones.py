"""Tombstones are keyed hashes. Without erased accounts no key is needed."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from assets.transforms.erasure import without_erased
from resources.erasure.tombstones import FIELD_KINDS, ErasureKeyError, ErasureResource, KeyedHash, Subject, Tombstones
from resources.errors import InputError
from resources.s3.client import S3Resource

KEY, OTHER_KEY = "k" * 32, "o" * 32


def test_without_tombstones_no_key_is_needed(s3: S3Resource) -> None:
    assert not ErasureResource(s3=s3).tombstones()
    assert ErasureResource(s3=s3).erased_items([("post", "a")]) == set()
    assert [item.key for item in s3.list_objects("")] == []


def test_a_missing_or_short_key_is_one_sentence(s3: S3Resource) -> None:
    with pytest.raises(ErasureKeyError, match=r"^CIPPUS_ERASURE_KEY is not set; set it to a secret of at least 32"):
        ErasureResource(s3=s3).subject("a")
    with pytest.raises(ErasureKeyError, match=r"^CIPPUS_ERASURE_KEY has 31 characters; set it to"):
        ErasureResource(s3=s3, key="k" * 31).subject("a")


def test_another_key_is_refused_before_anything_comes_back(s3: S3Resource) -> None:
    mine = ErasureResource(s3=s3, key=KEY)
    mine.begin(mine.subject("gone"))
    with pytest.raises(ErasureKeyError, match=r"is not the key of the tombstones in s3://.*/erasure/, so"):
        ErasureResource(s3=s3, key=OTHER_KEY).tombstones()


def test_the_embedded_key_is_made_once_and_is_its_owners_alone(s3: S3Resource, tmp_path: Path) -> None:
    file = tmp_path / "home" / "erasure.key"

    def hash_of_a(_: int) -> str:
        return ErasureResource(s3=s3, key_file=str(file)).subject("a").account

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(hash_of_a, range(8)))) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert len(file.read_text()) >= 32


def test_a_tombstone_remembers_items_of_every_attempt(s3: S3Resource) -> None:
    mine = ErasureResource(s3=s3, key=KEY)
    mine.begin(mine.subject("gone", [("post", "p1")]))
    later = mine.subject("gone", [("post", "p2")])
    tombstone = mine.begin(later)
    assert len(tombstone.attempts) == 2
    assert not mine.tombstone(later).complete
    mine.complete(tombstone)
    assert mine.tombstone(later).complete
    found = mine.erased_items([("post", "p1"), ("post", "p2"), ("account", "p1"), ("account", "gone"), ("post", "p3")])
    assert found == {("post", "p1"), ("post", "p2"), ("account", "gone")}
    assert mine.tombstones().accounts_among(["gone", "p1", "other"]) == {"gone"}


def test_a_lifted_tombstone_leaves_its_reason_and_the_account_comes_back(s3: S3Resource) -> None:
    mine = ErasureResource(s3=s3, key=KEY)
    for account in ("gone", "other"):
        mine.begin(mine.subject(account, [("post", "p1")]))
    key = mine.lift(mine.subject("gone"), "The person came back, ticket 12.")
    record = s3.get_json(key)
    assert record is not None
    assert (record["reason"], len(record["attempts"])) == ("The person came back, ticket 12.", 1)
    assert "gone" not in json.dumps(record)
    assert mine.tombstones().accounts_among(["gone", "other"]) == {"other"}
    assert not mine.tombstone(mine.subject("gone")).attempts
    with pytest.raises(InputError, match=r"^Account 'gone' was not erased; check the account id\.$"):
        mine.lift(mine.subject("gone"), "twice")


def test_a_lift_that_is_killed_keeps_the_tombstone_or_the_record(
    s3: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ErasureResource(s3=s3, key=KEY)
    mine.begin(mine.subject("gone"))

    def killed(self: S3Resource, keys: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(S3Resource, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            mine.lift(mine.subject("gone"), "first")
    assert mine.tombstones().accounts_among(["gone"]) == {"gone"}
    mine.lift(mine.subject("gone"), "second")
    assert len(list(s3.list_objects("erasure/lifted/"))) == 2


def test_ids_are_told_apart_by_kind() -> None:
    """In a database with numeric ids an account and another account's post may share an id."""
    hashed = KeyedHash(KEY.encode())
    subject = Subject("42", hashed, frozenset([hashed("post", "7")]))
    assert [subject.owns(FIELD_KINDS["account_id"], id_) for id_ in ("42", "7")] == [True, False]
    assert [subject.owns(FIELD_KINDS["post_id"], id_) for id_ in ("42", "7")] == [False, True]
    assert [subject.owns(FIELD_KINDS["item_id"], id_) for id_ in ("42", "7", "8")] == [True, True, False]
    assert [subject.owns((), id_) for id_ in ("42", "7")] == [False, False]
    assert KEY not in repr(subject)


def test_erased_rows_are_left_out_and_no_others() -> None:
    hashed = KeyedHash(KEY.encode())
    erased = Tombstones(frozenset([hashed("account", "b")]), hashed)
    rows = pa.table({"account_id": ["a", "b", None, "b", "c"], "n": [1, 2, 3, 4, 5]})
    assert without_erased(rows, ("account_id",), erased)["n"].to_pylist() == [1, 3, 5]
    assert without_erased(rows, ("account_id",), Tombstones()) is rows
    assert (
        without_erased(rows.filter(pa.array([False, True, False, True, False])), ("account_id",), erased).num_rows == 0
    )
