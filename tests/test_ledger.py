"""The ledger's entries: kept by asset and bucket, and absent until they are recorded."""

import pytest

from resources.ledger import Entry, LedgerResource
from resources.s3 import S3Resource


@pytest.fixture
def ledger(s3: S3Resource) -> LedgerResource:
    return LedgerResource(s3=s3)


def test_entries_come_back_for_the_buckets_that_have_one(ledger: LedgerResource) -> None:
    assert ledger.entries("corpus/decisions", range(3)) == {}
    first, second = Entry("in 1", "out 1"), Entry("in 2", "out 2")
    ledger.record("corpus/decisions", 0, first)
    ledger.record("corpus/decisions", 2, second)
    assert ledger.entries("corpus/decisions", iter([2, 1, 0])) == {0: first, 2: second}
    assert ledger.entries("corpus/decisions", [2]) == {2: second}


def test_assets_have_entries_of_their_own_and_the_last_one_counts(ledger: LedgerResource) -> None:
    ledger.record("corpus/decisions", 0, Entry("old", "old"))
    ledger.record("corpus/terms", 0, Entry("other", "other"))
    ledger.record("corpus/decisions", 0, Entry("new", "new"))
    assert ledger.entries("corpus/decisions", [0]) == {0: Entry("new", "new")}
    assert {item.key for item in ledger.s3.list_objects("ledger/")} == {
        "ledger/corpus/decisions/0.json",
        "ledger/corpus/terms/0.json",
    }


@pytest.mark.parametrize("damaged", [b"no json", b'{"inputs": "of an entry of another kind"}', b"[]", b""])
def test_a_damaged_entry_counts_as_lost(ledger: LedgerResource, damaged: bytes) -> None:
    ledger.record("corpus/decisions", 0, Entry("in", "out"))
    ledger.s3.put("ledger/corpus/decisions/1.json", damaged)
    assert ledger.entries("corpus/decisions", [0, 1]) == {0: Entry("in", "out")}
