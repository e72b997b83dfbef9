"""quicksight/*: every mart as CSV with a manifest, because QuickSight does not read Parquet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.marts.tables import MARTS
from assets.transforms.marts import csv_files
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, Changes, Contents, LakeResource, TableSpec, fingerprint
from resources.s3.client import DamagedObjectError, S3Resource
from resources.settings import bucket_count

_FORM = "4"
"""Change it to have every file written again."""
MOST_FILES = 512
"""A manifest may name 1,000 files. More buckets share files; both numbers are powers of two."""


@dataclass(frozen=True)
class Export:
    """The CSV files of one mart. Each holds one bucket, or several where there are more buckets than MOST_FILES."""

    s3: S3Resource
    lake: LakeResource
    spec: TableSpec

    @property
    def prefix(self) -> str:
        """The folder of the mart's files and manifest."""
        return f"quicksight/{self.spec.name.removeprefix('mart/')}/"

    @property
    def form(self) -> str:
        """Form and columns of the files. With others, every file is written again."""
        return fingerprint([_FORM, *self.spec.schema.names])

    @property
    def _record(self) -> str:
        return f"ledger/{self.prefix}files.json"

    def stored(self) -> dict[str, tuple[str, int]]:
        """Return key → entity tag and size of everything in the folder."""
        return {item.key: (item.etag, item.size_bytes) for item in self.s3.list_objects(self.prefix)}

    def contents(self, _: Sequence[int]) -> dict[int, Contents]:
        """Return the fingerprint of all files."""
        found = sorted((key, *about) for key, about in self.stored().items())
        of_files = fingerprint(f"{key} {etag}" for key, etag, _ in found)
        return {WHOLE: Contents(of_files, len(found), sum(size for _, _, size in found))}

    def buckets_by_file(self) -> dict[str, list[int]]:
        """Return key → the buckets whose rows the file holds."""
        files: dict[str, list[int]] = {}
        for bucket in sorted(self.lake.contents(self.spec)) or [WHOLE]:
            number = bucket * min(bucket_count(), MOST_FILES) // bucket_count()
            name = "all" if bucket == WHOLE else f"{number:04}"
            files.setdefault(f"{self.prefix}data/{name}.csv", []).append(bucket)
        return files

    def refresh(self, _bucket: int, metrics: RunMetrics) -> Changes:
        """Write the files whose rows changed, delete those of buckets that are gone, and write the manifest."""
        files, contents = self.buckets_by_file(), self.lake.contents(self.spec)
        wanted = {key: fingerprint([self.form, *_parts(contents, buckets)]) for key, buckets in files.items()}
        recorded, stored = self._recorded(), self.stored()
        stale = [
            key for key, rows in wanted.items() if key not in stored or recorded.get(key) != [rows, stored[key][0]]
        ]
        for key in stale:
            frames = [self.lake.scan(self.spec, None if bucket == WHOLE else bucket) for bucket in files[key]]
            rows = csv_files.ordered(frames, self.spec.schema.names, self.spec.key)
            self.s3.put(key, csv_files.as_csv(rows))
            metrics.counts["rows_exported"] += rows.height
        metrics.counts["files_written"] += len(stale)
        gone = [key for key in stored if key.startswith(f"{self.prefix}data/") and key not in wanted]
        self.s3.delete(gone)
        self.s3.put_json(
            f"{self.prefix}manifest.json", csv_files.quicksight_manifest(self.s3.uri(f"{self.prefix}data/"))
        )
        written = self.stored()
        self.s3.put_json(self._record, {key: [rows, written[key][0]] for key, rows in wanted.items() if key in written})
        return Changes(updated=len(stale), deleted=len(gone), unchanged=len(wanted) - len(stale))

    def _recorded(self) -> Mapping[str, list[str]]:
        """Return key → fingerprint of the rows and entity tag, as the file was last written."""
        try:
            return self.s3.get_json(self._record) or {}
        except DamagedObjectError:
            return {}


def _parts(contents: Mapping[int, Contents], buckets: Iterable[int]) -> list[str]:
    return [f"{bucket}:{contents[bucket].fingerprint}" for bucket in buckets if bucket in contents]


@asset(
    key=["quicksight", "exports"],
    code_version=_FORM,
    deps=[spec.name.split("/") for spec in MARTS],
    description="The marts as CSV under quicksight/. One file per mart and account bucket, with the rows of that mart, "
    "and a QuickSight manifest per mart. QuickSight does not read Parquet.",
    owners=["team:analytics"],
    kinds={"csv", "quicksight"},
)
def exports(context: AssetExecutionContext, s3: S3Resource, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Export the files whose rows changed. Memory: one file."""
    total = RunMetrics()
    for spec in MARTS:
        export = Export(s3, lake, spec)
        stage = Stage(export.prefix.rstrip("/"), (spec,), export.form, partitioned=False)
        done = refresh(context, lake, ledger, stage, export.contents, export.refresh)
        total += done
        total.fingerprint = fingerprint([total.fingerprint, done.buckets[WHOLE].fingerprint])
    return total


ASSETS = [exports]
