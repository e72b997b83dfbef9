"""A landed window that cannot be merged is set aside: its rows go to quarantine once, and the next run goes on."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.raw.setting_aside import WindowOfTable, windows_aside
from assets.transforms.source.schema import ACCOUNTS, with_bucket
from pipelines.checks.catalogue import CHECKS
from pipelines.checks.evaluation import judge
from resources.delta.state import LedgerResource
from resources.errors import InputError
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource
from resources.raw.writer import WindowFile
from tests.worlds.loaded import empty_world, world_name
from tests.worlds.source_accounts import BUCKETS, Accounts


def settled(stack: EmbeddedStack, name: str, folder: Path) -> Accounts:
    """Three accounts, landed and merged."""
    world = replace(empty_world(stack, name, folder), governor=None)
    world.execute("TRUNCATE accounts, posts, testimonials")
    made = Accounts(world)
    for key in "abc":
        made.put(key, key)
    made.extract()
    made.merge()
    return made


@pytest.fixture
def accounts(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> Accounts:
    return settled(stack, world_name(request.node.nodeid), tmp_path)


@pytest.fixture(scope="module")
def unchanged(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    """Shared by tests that write nothing."""
    return settled(stack, "set_aside_unchanged", tmp_path_factory.mktemp("unchanged"))


def window(accounts: Accounts, number: int = 2, source: str = "") -> WindowOfTable:
    return WindowOfTable(accounts.raw_store, accounts.world.lake, accounts.quarantine, "accounts", number, source)


def newest(accounts: Accounts) -> Manifest:
    found = accounts.raw_store.newest("postgres", "accounts")
    assert found is not None
    return found


def poison(accounts: Accounts) -> None:
    """Land a window with a column of the wrong type, as an earlier version or an edit by hand could."""
    accounts.put("d", "d")
    accounts.put("a", "changed")
    accounts.extract()
    landed = newest(accounts)
    files: list[WindowFile] = []
    for file in landed.files:
        rows = accounts.raw_store.read([file]).drop("account_bucket").with_columns(followers=pl.lit("many"))
        with accounts.raw_store.writer("postgres", "accounts", landed.number, BUCKETS) as writer:
            writer.add(with_bucket(ACCOUNTS, rows.to_arrow(), BUCKETS))
            files += writer.finish()
    accounts.raw_store.replace(replace(landed, files=tuple(files)))


def set_aside_rows(accounts: Accounts) -> list[tuple[str, str]]:
    frames = QuarantineResource(s3=accounts.world.s3).rows()
    return sorted((row["row_key"], row["reason"]) for frame in frames for row in frame.iter_rows(named=True))


REASON = "Set aside with window 2 of postgres: odd columns"


def assert_checks_pass(accounts: Accounts) -> None:
    s3 = accounts.world.s3
    given: dict[str, Any] = {"raw_store": accounts.raw_store, "s3": s3, "lake": accounts.world.lake}
    checked = 0
    for check in CHECKS:
        if check.asset in ("raw/accounts", "lake/accounts") and check.resources.keys() <= given.keys():
            verdict = judge(check, {**given, "ledger": LedgerResource(s3=s3)}, range(BUCKETS))
            assert verdict is None or not verdict.found, check.name
            checked += verdict is not None
    assert checked


def test_a_poisoned_window_blocks_the_table_until_it_is_set_aside(accounts: Accounts) -> None:
    poison(accounts)
    with pytest.raises(Exception, match=r"Window 2 of postgres/accounts cannot be merged: .*cippus lake set-aside"):
        accounts.merge()
    window(accounts).set_aside("odd columns")
    assert set_aside_rows(accounts) == [("a", REASON), ("d", REASON)]
    assert windows_aside(accounts.quarantine) == [("postgres", "accounts", 2)]
    accounts.put("e", "e")
    accounts.extract()
    accounts.merge()
    assert {key: bio for key, (bio, _) in accounts.standing().items()} == {key: key for key in "abce"}
    assert_checks_pass(accounts)


def test_the_key_reconciliation_reads_rows_that_were_set_aside_from_the_source(accounts: Accounts) -> None:
    poison(accounts)
    window(accounts).set_aside("odd columns")
    assert accounts.compare().window is not None
    accounts.merge()
    assert accounts.standing() == accounts.in_source()


def test_restored_rows_are_merged_and_leave_the_quarantine(accounts: Accounts) -> None:
    accounts.put("d", "d")
    accounts.put("a", "old")
    accounts.extract()
    window(accounts).set_aside("odd columns")
    accounts.put("a", "new")
    accounts.extract()
    accounts.merge()
    assert set(accounts.standing()) == set("abc")
    landed = window(accounts).restore()
    assert landed.number == 4
    accounts.merge()
    assert accounts.standing() == accounts.in_source(), "a newer version wins over a restored one"
    assert (set_aside_rows(accounts), windows_aside(accounts.quarantine)) == ([], [])
    assert_checks_pass(accounts)
    with pytest.raises(InputError, match=r"Window 2 of postgres/accounts is not set aside"):
        window(accounts).restore()


class KilledError(Exception):
    """Stands for kill -9 at one request."""


@pytest.mark.parametrize("back", [False, True])
def test_killed_at_any_write_it_can_be_repeated(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """Each round has a window of its own, and is killed one write later than the one before."""
    s3, number, expected = type(accounts.world.s3), 1, list[str]()

    def dying(call: Any, writes: Iterator[int], at: int) -> Any:
        def wrapped(self: Any, *args: Any, **named: Any) -> Any:
            if next(writes) == at:
                raise KilledError
            return call(self, *args, **named)

        return wrapped

    for at in range(5 if back else 3):
        accounts.put(f"d{at}", "d")
        accounts.put(f"e{at}", "e")
        accounts.extract()
        number = newest(accounts).number
        chosen = window(accounts, number)
        action = chosen.restore if back else partial(chosen.set_aside, "odd columns")
        if back:
            chosen.set_aside("odd columns")
        with monkeypatch.context() as patch:
            writes = itertools.count()
            for name in ("put", "delete"):
                patch.setattr(s3, name, dying(getattr(s3, name), writes, at))
            with contextlib.suppress(KilledError):
                action()
        with contextlib.suppress(InputError):  # the restore had ended
            action()
        expected += [] if back else [f"d{at}", f"e{at}"]
        assert [key for key, _ in set_aside_rows(accounts)] == sorted(expected)
        accounts.merge()
        assert accounts.standing().keys() == accounts.in_source().keys() - set(expected)
    assert_checks_pass(accounts)


def test_only_buckets_that_have_not_merged_are_set_aside(accounts: Accounts) -> None:
    for number in range(20):
        accounts.put(f"n{number}", "n")
    accounts.extract()
    whole = newest(accounts)
    [first, *others] = sorted({file.bucket for file in whole.files})
    accounts.merge([first])
    changed = window(accounts).set_aside("odd columns")
    assert {file.bucket for file in changed.files} == {first}
    assert {file.bucket for file in changed.aside} == set(others)
    merged = {key for key in accounts.standing() if key.startswith("n")}
    assert {key for key, _ in set_aside_rows(accounts)} == {f"n{number}" for number in range(20)} - merged


def test_a_file_that_cannot_be_read_is_one_row_of_the_quarantine(accounts: Accounts) -> None:
    accounts.put("d", "d")
    accounts.extract()
    [file] = newest(accounts).files
    accounts.world.s3.put(file.key, b"PAR1 not a file PAR1")
    window(accounts).set_aside("odd columns")
    [(key, reason)] = set_aside_rows(accounts)
    assert key == file.key
    assert reason.startswith(f"{REASON}. The file cannot be read: ")


@pytest.mark.parametrize(("table", "number", "source", "sentence"), [
    ("posst", 1, "", "There is no table 'posst'; expected one of accounts, posts, testimonials."),
    ("accounts", 9, "", "raw/accounts has no window 9; its windows are: postgres 1 to 1."),
    ("accounts", 1, "redshift", "raw/accounts has no windows of 'redshift'; expected postgres."),
    ("accounts", 1, "", "Window 1 of postgres/accounts has no rows that are not in the lake"),
    ("posts", 1, "", "raw/posts has no window 1; its windows are: none."),
])  # fmt: skip
def test_what_cannot_be_set_aside_is_refused_and_nothing_is_written(
    unchanged: Accounts, table: str, number: int, source: str, sentence: str
) -> None:
    objects = unchanged.world.objects()
    asked = replace(window(unchanged, number, source), table=table)
    with pytest.raises(InputError, match=sentence):
        asked.set_aside("odd columns")
    assert unchanged.world.objects() == objects


def test_a_number_that_several_sources_have_needs_its_source(accounts: Accounts) -> None:
    store: RawStoreResource = accounts.raw_store
    store.complete(replace(newest(accounts), source="redshift"))
    with pytest.raises(InputError, match="add --source postgres or redshift"):
        window(accounts, 1).set_aside("odd columns")
    assert window(accounts, 1, "redshift").set_aside("odd columns").source == "redshift"


def test_a_manifest_of_an_earlier_version_is_read(unchanged: Accounts) -> None:
    found = newest(unchanged)
    stored = {name: value for name, value in asdict(found).items() if not name.startswith("aside")}
    assert Manifest.from_json(stored) == found
