"""The ledger keeps entries by asset and bucket."""

import pytest

from resources.delta.state import Entry, Intake, LedgerResource
from resources.s3.client import S3Resource


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


def test_what_was_taken_in_is_known_until_it_is_taken_out(ledger: LedgerResource) -> None:
    assert ledger.taken("audience/reports") == frozenset()
    ledger.take("audience/reports", "1f", "landing/é.csv")
    ledger.take("audience/reports", "2f", "landing/b.csv")
    assert ledger.taken("audience/reports") == {"1f", "2f"}
    assert ledger.taken_key("audience/reports", "1f") == "landing/é.csv"
    assert ledger.taken_key("audience/reports", "3f") == ""
    ledger.forget_taken("audience/reports", ["1f", "3f"])
    assert ledger.taken("audience/reports") == {"2f"}
    assert ledger.taken("audience") == frozenset()


@pytest.mark.parametrize("damaged", [b"no json", b'{"inputs": "of another kind"}', b"[]", b""])
def test_the_last_intake_counts_and_a_damaged_one_is_none(ledger: LedgerResource, damaged: bytes) -> None:
    assert ledger.intake("label/gold") == Intake()
    ledger.record_intake("label/gold", Intake("1f", "a run"))
    assert ledger.intake("label/gold") == Intake("1f", "a run")
    ledger.s3.put("ledger/label/gold/intake.json", damaged)
    assert ledger.intake("label/gold") == Intake()
