"""The ledger: which inputs each bucket of each asset was last made from, so that an unchanged rerun only looks."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from dagster import ConfigurableResource

from resources.s3.client import DamagedObjectError, S3Resource


@dataclass(frozen=True)
class Entry:
    """What was true when a bucket of an asset was last brought up to date: fingerprints of inputs and output."""

    inputs: str
    output: str


@dataclass(frozen=True)
class Intake:
    """What an asset last took in of its dropped files: their digest (by default that of none), and the run that did."""

    digest: str = f"{0:032x}"
    run_id: str = "none"


class LedgerResource(ConfigurableResource):  # type: ignore[type-arg]
    """One small JSON object per asset and bucket under ``ledger/``; concurrent runs own different buckets.

    Losing an entry costs a recomputation that writes nothing; it never costs correctness, because an entry only
    counts while the output still has the fingerprint that it names.
    """

    s3: S3Resource

    def _key(self, asset: str, bucket: int) -> str:
        return f"ledger/{asset}/{bucket}.json"

    def entries(self, asset: str, buckets: Iterable[int]) -> Mapping[int, Entry]:
        """Bucket → entry, for those buckets that have one."""
        wanted = list(buckets)
        with ThreadPoolExecutor(max_workers=8) as pool:
            found = pool.map(lambda bucket: self._entry(asset, bucket), wanted)
            return {bucket: entry for bucket, entry in zip(wanted, found, strict=True) if entry}

    def _entry(self, asset: str, bucket: int) -> Entry | None:
        """One entry; a damaged one counts as lost."""
        try:
            found = self.s3.get_json(self._key(asset, bucket))
            return Entry(**found) if found else None
        except (DamagedObjectError, TypeError):
            return None

    def record(self, asset: str, bucket: int, entry: Entry) -> None:
        """Write an entry, once its output is committed."""
        self.s3.put_json(self._key(asset, bucket), asdict(entry))

    def intake(self, asset: str) -> Intake:
        """What an asset last took in of its dropped files, and the run that did; a damaged record counts as none."""
        try:
            found = self.s3.get_json(f"ledger/{asset}/intake.json")
            return Intake(**found) if found else Intake()
        except (DamagedObjectError, TypeError):
            return Intake()

    def record_intake(self, asset: str, intake: Intake) -> None:
        """Write that a run is done with an asset's dropped files, changed or not; last of all."""
        self.s3.put_json(f"ledger/{asset}/intake.json", asdict(intake))

    def taken(self, asset: str) -> frozenset[str]:
        """The identities of the dropped files whose rows an asset holds; a request per 1,000."""
        folder = f"ledger/{asset}/taken/"
        return frozenset(item.key.removeprefix(folder) for item in self.s3.list_objects(folder))

    def take(self, asset: str, identity: str, key: str) -> None:
        """Write that a dropped file was taken in; once its rows are committed."""
        self.s3.put(f"ledger/{asset}/taken/{identity}", key.encode())

    def taken_key(self, asset: str, identity: str) -> str:
        """The key of a file that was taken in; blank where the record is gone meanwhile."""
        body = self.s3.get(f"ledger/{asset}/taken/{identity}") or b""
        return body.decode()

    def untake(self, asset: str, identities: Iterable[str]) -> None:
        """Delete the record of files whose rows were taken out again."""
        self.s3.delete([f"ledger/{asset}/taken/{identity}" for identity in sorted(identities)])

    def forget(self, asset: str) -> None:
        """Delete every entry of an asset that there will be no more."""
        self.s3.delete([item.key for item in self.s3.list_objects(f"ledger/{asset}/")])
