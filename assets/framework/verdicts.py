"""Verdicts of asset checks, by bucket: buckets that passed are not read again, buckets that failed hold others back.

A verdict counts while the bucket has the contents that were judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from resources.delta.state import LedgerResource
from resources.delta.table import ABSENT, LakeResource, TableSpec

_HELD = "held"


@dataclass(frozen=True)
class Passed:
    """The buckets of one asset that passed its checks. Reading them costs one listing, for all checks of the asset."""

    ledger: LedgerResource
    asset: str

    @property
    def _folder(self) -> str:
        return f"passed/{self.asset}"

    @cached_property
    def _all(self) -> list[tuple[str, int, str]]:
        return [*map(_parsed, self.ledger.taken(self._folder))]

    def read(self, check: str) -> dict[int, set[str]]:
        """Return bucket → fingerprints of what a check has read there when it passed."""
        found: dict[int, set[str]] = {}
        for name, bucket, judged in self._all:
            if name == check:
                found.setdefault(bucket, set()).add(judged)
        return found

    def replace(self, check: str, before: Mapping[int, Iterable[str]], now: Mapping[int, str]) -> None:
        """Record that a check passed in some buckets, in place of their earlier records."""
        old = {_identity(check, bucket, judged) for bucket in now for judged in before.get(bucket, ())}
        new = {_identity(check, bucket, judged) for bucket, judged in now.items()}
        for identity in sorted(new - old):
            self.ledger.take(self._folder, identity, check)
        self.ledger.forget_taken(self._folder, old - new)


@dataclass(frozen=True)
class Held:
    """The buckets that failed a guarding check, of all tables: nothing is computed from them."""

    lake: LakeResource
    ledger: LedgerResource

    def read(self, specs: Iterable[TableSpec]) -> dict[str, dict[int, str]]:
        """Return table → bucket → the checks that failed on its current contents, for tables with such buckets.

        Costs one listing if there are none.
        """
        failed = self._failed()
        found: dict[str, dict[int, str]] = {}
        for spec in specs:
            of_table = [(check, bucket, judged) for table, check, bucket, judged in failed if table == spec.name]
            contents = self.lake.contents(spec, sorted({bucket for _, bucket, _ in of_table})) if of_table else {}
            checks: dict[int, list[str]] = {}
            for check, bucket, judged in sorted(of_table):
                if contents.get(bucket, ABSENT).fingerprint == judged:
                    checks.setdefault(bucket, []).append(check)
            if checks:
                found[spec.name] = {bucket: ", ".join(names) for bucket, names in checks.items()}
        return found

    def replace(self, spec: TableSpec, check: str, judged: Sequence[int], failed: Iterable[int]) -> None:
        """Record which of the judged buckets of a table failed a check. The others are no longer held by it."""
        before = {
            (check, bucket, fingerprint)
            for table, name, bucket, fingerprint in self._failed()
            if table == spec.name and name == check and bucket in judged
        }
        buckets = sorted(failed)
        contents = self.lake.contents(spec, buckets) if buckets else {}
        now = {(check, bucket, contents.get(bucket, ABSENT).fingerprint) for bucket in buckets}
        for record in sorted(now - before):
            self.ledger.take(_HELD, f"{spec.name}/{_identity(*record)}", check)
        self.ledger.forget_taken(_HELD, {f"{spec.name}/{_identity(*record)}" for record in before - now})

    def _failed(self) -> list[tuple[str, str, int, str]]:
        records = [identity.rpartition("/") for identity in self.ledger.taken(_HELD)]
        return [(table, *_parsed(record)) for table, _, record in records]


def _identity(check: str, bucket: int, judged: str) -> str:
    return f"{check}.{bucket}.{judged}"


def _parsed(identity: str) -> tuple[str, int, str]:
    check, bucket, judged = identity.split(".")
    return check, int(bucket), judged
