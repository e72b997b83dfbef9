"""The ledger: fingerprints of the inputs and the output of each asset's buckets. A rerun skips unchanged buckets."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from dagster import ConfigurableResource

from resources.delta.snapshot import in_threads
from resources.s3.client import DamagedObjectError, S3Resource

Record = TypeVar("Record")


@dataclass(frozen=True)
class Entry:
    """Fingerprints of the inputs and the output of a bucket when it was last computed.

    ``read`` has the fingerprint of each input table by name. Entries of earlier releases lack it.
    """

    inputs: str
    output: str
    read: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Intake:
    """The last intake of an asset's dropped files: their digest (by default that of no files), and the run."""

    digest: str = f"{0:032x}"
    run_id: str = "none"


class LedgerResource(ConfigurableResource):  # type: ignore[type-arg]
    """One small JSON object per asset and bucket under ``ledger/``. Concurrent runs own different buckets.

    An entry is ignored unless the output still has the recorded fingerprint. So a lost entry costs a recomputation that
    writes nothing, and the result is the same. A damaged record counts as lost.
    """

    s3: S3Resource

    def _key(self, asset: str, record: object) -> str:
        return f"ledger/{asset}/{record}.json"

    def _get(self, key: str, kind: type[Record]) -> Record | None:
        try:
            found: Any = self.s3.get_json(key)
            return kind(**found) if found else None
        except (DamagedObjectError, TypeError):
            return None

    def entries(self, asset: str, buckets: Iterable[int]) -> Mapping[int, Entry]:
        """Return bucket → entry, for the buckets that have one."""
        wanted = list(buckets)
        found = in_threads(lambda bucket: self._get(self._key(asset, bucket), Entry), wanted)
        return {bucket: entry for bucket, entry in zip(wanted, found, strict=True) if entry}

    def record(self, asset: str, bucket: int, entry: Entry) -> None:
        """Write an entry. Call it after the output is committed."""
        self.s3.put_json(self._key(asset, bucket), asdict(entry))

    def intake(self, asset: str) -> Intake:
        """Return the last intake of an asset's dropped files."""
        return self._get(self._key(asset, "intake"), Intake) or Intake()

    def record_intake(self, asset: str, intake: Intake) -> None:
        """Write that a run has processed an asset's dropped files, changed or not. Call it last."""
        self.s3.put_json(self._key(asset, "intake"), asdict(intake))

    def taken(self, asset: str) -> frozenset[str]:
        """Return the identities of the dropped files whose rows an asset has. One request per 1,000."""
        folder = f"ledger/{asset}/taken/"
        return frozenset(item.key.removeprefix(folder) for item in self.s3.list_objects(folder))

    def take(self, asset: str, identity: str, key: str) -> None:
        """Write that a dropped file was taken in. Call it after its rows are committed."""
        self.s3.put(f"ledger/{asset}/taken/{identity}", key.encode())

    def taken_key(self, asset: str, identity: str) -> str:
        """Return the key of a file that was taken in, or an empty string if its record was deleted meanwhile."""
        body = self.s3.get(f"ledger/{asset}/taken/{identity}") or b""
        return body.decode()

    def forget_taken(self, asset: str, identities: Iterable[str]) -> None:
        """Delete the record of files whose rows were deleted."""
        self.s3.delete([f"ledger/{asset}/taken/{identity}" for identity in sorted(identities)])

    def forget(self, asset: str, buckets: Iterable[int] | None = None) -> None:
        """Delete the entries of some buckets, which are then stale, or every entry of an asset that is gone."""
        if buckets is None:
            self.s3.delete([item.key for item in self.s3.list_objects(f"ledger/{asset}/")])
        else:
            self.s3.delete([self._key(asset, bucket) for bucket in buckets])
