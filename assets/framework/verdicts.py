"""Verdicts of asset checks, by bucket: buckets that passed are not read again, buckets that failed hold others back.

A verdict counts while the bucket has the contents that were judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from resources.delta.state import LedgerResource
from resources.delta.table import ABSENT, LakeResource, TableSpec


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
    """The buckets of one table that failed a guarding check: nothing is computed from them."""

    lake: LakeResource
    ledger: LedgerResource
    spec: TableSpec

    @property
    def _folder(self) -> str:
        return f"held/{self.spec.name}"

    def read(self) -> dict[int, str]:
        """Return bucket → the checks that failed on its current contents. Costs one listing if there are none."""
        failed = [*map(_parsed, self.ledger.taken(self._folder))]
        contents = self.lake.contents(self.spec, sorted({bucket for _, bucket, _ in failed})) if failed else {}
        found: dict[int, list[str]] = {}
        for check, bucket, judged in sorted(failed):
            if contents.get(bucket, ABSENT).fingerprint == judged:
                found.setdefault(bucket, []).append(check)
        return {bucket: ", ".join(checks) for bucket, checks in found.items()}

    def replace(self, check: str, judged: Sequence[int], failed: Iterable[int]) -> None:
        """Record which of the judged buckets failed a check. The others are no longer held by it."""
        before = {
            identity
            for identity in self.ledger.taken(self._folder)
            if _parsed(identity)[0] == check and _parsed(identity)[1] in judged
        }
        buckets = sorted(failed)
        contents = self.lake.contents(self.spec, buckets) if buckets else {}
        now = {_identity(check, bucket, contents.get(bucket, ABSENT).fingerprint) for bucket in buckets}
        for identity in sorted(now - before):
            self.ledger.take(self._folder, identity, check)
        self.ledger.forget_taken(self._folder, before - now)


def _identity(check: str, bucket: int, judged: str) -> str:
    return f"{check}.{bucket}.{judged}"


def _parsed(identity: str) -> tuple[str, int, str]:
    check, bucket, judged = identity.split(".")
    return check, int(bucket), judged
