"""The folders that people and tools drop files into, and the dropped files that no stage reads."""

from collections.abc import Callable
from dataclasses import dataclass

from assets import audience
from assets.labels import votes as labels
from assets.search import judgements
from resources.raw import quarantine
from resources.s3.access import PROBE
from resources.s3.client import S3Object, S3Resource
from resources.sources.rds_export import RdsExportResource

LANDING = "landing/"
_MARKERS = (".", "_")


@dataclass(frozen=True)
class DropFolder:
    """A folder that a stage reads: its prefix, which of its files are read, and these files in words."""

    prefix: str
    takes: Callable[[S3Object], bool]
    wanted: str


@dataclass(frozen=True)
class FileNotTaken:
    """A dropped file that no stage reads, and why."""

    key: str
    size_bytes: int
    reason: str


DROP_FOLDERS = (
    DropFolder(labels.LANDING, labels.is_label_file, "files named *.parquet, *.csv or *.jsonl"),
    DropFolder(judgements.LANDING, judgements.is_judgement_file, "files named *.parquet"),
    DropFolder(audience.LANDING, audience.is_report, "CSV files"),
    DropFolder(quarantine.PREFIX, lambda _: True, "rejected rows, which Cippus writes"),
)


def files_not_taken(s3: S3Resource, rds_exports: RdsExportResource) -> list[FileNotTaken]:
    """Return the dropped files under landing/ that no stage reads, by key. Costs one listing.

    Markers of tools, such as ``_SUCCESS``, and probes of `cippus doctor` are not files. A file that a stage cannot use
    is in quarantine/rows instead.
    """
    folders = list(DROP_FOLDERS)
    if exports := rds_exports.own_prefix:
        folders.append(DropFolder(exports, lambda _: True, "snapshot exports"))
    dropped = (item for item in s3.list_objects(LANDING) if not _is_marker(item))
    left = [item for item in dropped if not any(item.key.startswith(f.prefix) and f.takes(item) for f in folders)]
    return [FileNotTaken(item.key, item.size_bytes, _reason(item, folders)) for item in sorted(left, key=_key)]


def _key(item: S3Object) -> str:
    return item.key


def _is_marker(item: S3Object) -> bool:
    """Return whether an object is a tool's: the marker of a folder, an empty ``_SUCCESS``, a checksum, or a probe."""
    name = item.key.rpartition("/")[2]
    return (
        not name
        or name.startswith(PROBE)
        or (name.startswith(_MARKERS) and (not item.size_bytes or name.endswith(".crc")))
    )


def _reason(item: S3Object, folders: list[DropFolder]) -> str:
    for folder in folders:
        if item.key.startswith(folder.prefix):
            return f"{folder.prefix} takes only {folder.wanted}"
    prefixes = ", ".join(folder.prefix for folder in folders if folder.prefix != quarantine.PREFIX)
    return f"no stage reads this folder; files are read from {prefixes}"
