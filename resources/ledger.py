"""The ledger: which inputs each bucket of each asset was last made from, so that an unchanged rerun only looks.

Belongs here: reading and writing entries. Not here: deciding what counts as an input.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from dagster import ConfigurableResource

from resources.s3 import DamagedObjectError, S3Resource


@dataclass(frozen=True)
class Entry:
    """What was true when a bucket of an asset was last brought up to date: fingerprints of inputs and output."""

    inputs: str
    output: str


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

    def forget(self, asset: str) -> None:
        """Delete every entry of an asset that there will be no more."""
        self.s3.delete([item.key for item in self.s3.list_objects(f"ledger/{asset}/")])
