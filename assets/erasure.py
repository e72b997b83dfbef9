"""Erasing an account from every layer, and the receipt.

Belongs here: what is done in which order, the lake's tables and vectors, the receipt. Not here: files with rows
(erasure_objects.py), points (erasure_index.py), the command, its lock and its servers (pipelines/erasing.py).
"""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.erasure_index import build_anew, delete_points
from assets.erasure_objects import erase_landed, erase_windows
from assets.index_points import PointWriter
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TABLES
from assets.qdrant import stage_of
from assets.transforms.source_schema import POSTS, SOURCE_TABLES, account_bucket
from resources.embedder import EmbedderResource
from resources.erasure_needles import Needles
from resources.erasure_scan import Findings, Scan
from resources.erasures import HANDLE, ErasureResource, Subject, Tombstone
from resources.lake import BUCKET, LakeResource, TableSpec
from resources.lake_history import delta_tables, forget_past
from resources.ledger import LedgerResource
from resources.object_leftovers import delete_leftovers
from resources.qdrant import QdrantResource
from resources.s3 import S3Resource

_HISTORIES_AT_ONCE = 4
_KIND_OF_TABLE = {"posts": "post", "testimonials": "testimonial"}


class UnknownAccountError(ValueError):
    """Nothing of such an account is stored, and it was never erased: most likely the id is mistyped."""


@dataclass(frozen=True)
class Erasing:
    """What an erasure works on, and what it has others do.

    ``settle_tables`` brings the stages from the corpus on, all buckets, in line with the lake; ``settle_index`` the
    collection and what is measured on it; ``vacuum`` has the embedded S3 server overwrite what was deleted, and
    returns the bytes that it freed. ``buckets`` are all account buckets.
    """

    s3: S3Resource
    lake: LakeResource
    ledger: LedgerResource
    erasures: ErasureResource
    embedder: EmbedderResource
    qdrant: QdrantResource
    scan: Scan
    buckets: Sequence[int]
    settle_tables: Callable[[], None]
    settle_index: Callable[[], None]
    vacuum: Callable[[], int] | None = None
    on_step: Callable[[str], None] = lambda _step: None


@dataclass
class Receipt:
    """What one erasure did. It holds hashes and figures, never ids or contents.

    ``removed``: layer → rows, files, bytes, versions, points; ``seconds`` by step.
    """

    account: str
    attempt: int
    started_at: str
    found_before: Findings
    found_after: Findings | None = None
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    canaries: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the scan at the end found nothing."""
        return self.found_after is not None and not self.found_after.places

    def take(self, layer: str, **figures: int) -> None:
        """Add to what was removed of a layer; zeros are left out."""
        held = Counter(self.removed.get(layer, {}))
        held.update({name: figure for name, figure in figures.items() if figure})
        if held:
            self.removed[layer] = dict(sorted(held.items()))

    def to_json(self) -> dict[str, Any]:
        """The receipt as it is filed and printed."""
        after = self.found_after or Findings()
        return {
            "account": self.account,
            "attempt": self.attempt,
            "cippus": version("cippus"),
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC).isoformat(),
            "complete": self.is_clean,
            "removed": dict(sorted(self.removed.items())),
            "canaries_searched": self.canaries,
            "found_before": self.found_before.to_json(),
            "found_after": {**after.to_json(), "left_in": sorted(after.places)},
            "seconds": {name: round(taken, 3) for name, taken in self.seconds.items()},
            "notes": self.notes,
        }


def look(parts: Erasing, account_id: str, canaries: Sequence[str] = ()) -> tuple[Needles, Findings]:
    """What is stored of an account now, without changing anything but making the key."""
    needles = Needles(_subject(parts, account_id), tuple(canaries))
    return needles, parts.scan.run(needles)


def erase(parts: Erasing, account_id: str, canaries: Sequence[str] = (), *, ahead: bool = False) -> Receipt:
    """Remove an account from everything that is stored, and prove it; safe to be killed and called again.

    The tombstone comes first, so that nothing is extracted anew; everything after it is found and removed again by
    the next attempt. An account that was erased and of which nothing is found costs one scan. With ``ahead``, an
    account of which nothing is stored yet is erased too; else it is UnknownAccountError, before anything is written.
    """
    started, clock = datetime.now(UTC).isoformat(), _Clock(parts.on_step)
    with clock("scan before"):
        needles, before = look(parts, account_id, canaries)
    subject = needles.subject
    standing = parts.erasures.tombstone(subject)
    receipt = Receipt(subject.account, len(standing.attempts) + 1, started, before, seconds=clock.seconds)
    receipt.canaries = len(needles.canaries)
    if not standing.attempts and not before.places and not subject.items and not ahead:
        message = f"Nothing of account {account_id!r} is stored, and it was never erased; expected an account id."
        raise UnknownAccountError(message)
    if standing.complete and not before.places:
        receipt.found_after = before
        return _filed(parts, receipt, standing)
    tombstone = parts.erasures.begin(subject)
    _remove(parts, subject, before, receipt, clock)
    with clock("scan after"):
        receipt.found_after = parts.scan.run(needles)
    return _filed(parts, receipt, tombstone)


def _filed(parts: Erasing, receipt: Receipt, tombstone: Tombstone) -> Receipt:
    receipt.notes += _kept_elsewhere(parts)
    parts.erasures.file_receipt(receipt.to_json())
    if receipt.is_clean:
        parts.erasures.complete(tombstone)
    return receipt


def _kept_elsewhere(parts: Erasing) -> list[str]:
    notes = ["The source database is not Cippus': what it still has of the account is never extracted again."]
    if parts.qdrant.url:
        notes.append(
            "The Qdrant server keeps deleted points in its segments and log until its optimisers have rewritten them, "
            "and in its snapshots."
        )
    if parts.vacuum is None:
        notes.append("Backups and replicas of the bucket are not looked at.")
    return notes


def _remove(parts: Erasing, subject: Subject, before: Findings, receipt: Receipt, clock: "_Clock") -> None:
    bucket = account_bucket(subject.account_id, len(parts.buckets))
    with clock("landing"):
        _take_all(receipt, erase_landed(parts.s3, subject, before.under("landing/")))
    with clock("raw"):
        windows = [key for key in before.under("raw/") if key.endswith(".parquet")]
        _take_all(receipt, erase_windows(parts.s3, subject, windows))
    rows = _rows_of_tables(parts)
    with clock("lake"):
        for spec in LAKE_TABLES.values():
            parts.lake.delete_where(spec, f"{BUCKET} = {bucket} AND account_id = {_literal(subject.account_id)}")
    with clock("vectors"):
        _delete_vectors(parts, subject, bucket)
    with clock("derived tables"):
        parts.settle_tables()
    with clock("points"):
        _erase_points(parts, subject, receipt)
        parts.settle_index()
    with clock("histories"):
        _forget_histories(parts, rows, receipt)
    with clock("leftovers"):
        left = delete_leftovers(parts.s3, _stored_prefixes(parts))
        receipt.take("object versions", versions=left.versions, uploads=left.uploads)
    if parts.vacuum is not None:
        with clock("vacuum"):
            receipt.take("s3 volumes", bytes=parts.vacuum())


def _subject(parts: Erasing, account_id: str) -> Subject:
    """The account and what is its own now; what was its own at an earlier attempt, the tombstone says."""
    bucket = account_bucket(account_id, len(parts.buckets))
    items = {("post", key) for key in _standing_keys(parts.lake, LAKE_POSTS, account_id, bucket, POSTS.key)}
    for name, kind in _KIND_OF_TABLE.items():
        key = SOURCE_TABLES[name].key
        once = _extracted_keys(parts.s3, name, key, account_id, bucket)
        elsewhere = parts.lake.scan(LAKE_TABLES[name]).filter(
            pl.col(key).is_in(pl.Series(sorted(once), dtype=pl.String).implode())
            & pl.col("account_id").ne_missing(account_id)
        )
        items |= {(kind, value) for value in once - set(elsewhere.select(key).collect()[key])}
    items |= {(HANDLE, handle) for handle in _own_handles(parts.lake, account_id)}
    return parts.erasures.subject(account_id, items)


def _standing_keys(lake: LakeResource, spec: TableSpec, account_id: str, bucket: int, key: str) -> set[str]:
    owned = lake.scan(spec, bucket).filter(pl.col("account_id") == account_id)
    return set(owned.select(key).collect()[key])


def _extracted_keys(s3: S3Resource, table: str, key: str, account_id: str, bucket: int) -> set[str]:
    """Keys of a table that were extracted with this account, ever. Reads two columns of its bucket's files."""
    found: set[str] = set()
    for item in s3.list_objects(f"raw/{table}/"):
        if item.key.endswith(".parquet") and f"/{BUCKET}={bucket}/" in item.key:
            body = s3.get(item.key)
            rows = pq.ParquetFile(io.BytesIO(body or b"")).read([key, "account_id"])
            found |= set(rows.filter(pc.equal(rows["account_id"], account_id))[key].drop_null().to_pylist())
    return found


def _own_handles(lake: LakeResource, account_id: str) -> list[str]:
    """The account's handle, unless an account elsewhere has the same: then it tells nothing."""
    accounts = lake.scan(LAKE_ACCOUNTS)
    own = accounts.filter(pl.col("account_id") == account_id).select("handle").collect()["handle"].drop_nulls()
    others = accounts.filter(pl.col("account_id") != account_id).filter(pl.col("handle").is_in(own.implode()))
    return sorted(set(own) - set(others.select("handle").collect()["handle"]))


def _delete_vectors(parts: Erasing, subject: Subject, bucket: int) -> None:
    """Delete the vectors of the account's bucket that no other account's text needs.

    Vectors that nothing needs any more go too: whose text they were of is not known. Another bucket's vector of the
    same text is its own. Memory: the bucket's hashes.
    """
    chunks = parts.lake.scan(CHUNKS, bucket).filter(pl.col("account_id") != subject.account_id)
    needed = chunks.select("content_hash").unique()
    held = parts.lake.scan(VECTORS, bucket).select("content_hash").unique()
    gone = held.join(needed, on="content_hash", how="anti").collect()["content_hash"].sort()
    if gone.len():
        literals = ", ".join(_literal(value) for value in gone)
        parts.lake.delete_where(VECTORS, f"{BUCKET} = {bucket} AND content_hash IN ({literals})")


def _erase_points(parts: Erasing, subject: Subject, receipt: Receipt) -> None:
    with parts.qdrant.generations() as generations:
        receipt.take("qdrant", points=delete_points(generations, subject))
        if not parts.qdrant.url:
            writer = PointWriter(parts.lake, parts.embedder.model())
            dropped = build_anew(generations, writer, parts.buckets, lambda gone: parts.ledger.forget(stage_of(gone)))
            receipt.take("qdrant", generations=dropped)


def _rows_of_tables(parts: Erasing) -> dict[str, int]:
    """Delta table → rows of its newest version, from its log."""
    keys = [item.key for item in parts.s3.list_objects("") if item.key.endswith(".json")]
    tables = delta_tables(keys)
    with ThreadPoolExecutor(_HISTORIES_AT_ONCE) as pool:
        return dict(zip(tables, pool.map(lambda folder: _rows(parts.s3, folder), tables), strict=True))


def _rows(s3: S3Resource, folder: str) -> int:
    table = DeltaTable(s3.uri(folder), storage_options=s3.delta_options)
    return int(pl.DataFrame(table.get_add_actions(flatten=True))["num_records"].sum())


def _forget_histories(parts: Erasing, rows_before: Mapping[str, int], receipt: Receipt) -> None:
    """Every table's past goes, since any of them may have held something of the account in it."""
    now = _rows_of_tables(parts)
    with ThreadPoolExecutor(_HISTORIES_AT_ONCE) as pool:
        done = pool.map(lambda folder: forget_past(parts.s3, folder), now)
        for folder, past in zip(now, done, strict=True):
            gone = max(0, rows_before.get(folder, 0) - now[folder])
            receipt.take(folder, rows=gone, versions=past.versions, files=past.files, bytes=past.size_bytes)


def _stored_prefixes(parts: Erasing) -> tuple[str, ...]:
    """The top folders of the bucket that the lineage writes to, its own receipts left out."""
    return tuple(folder for folder in parts.s3.list_folders("") if not folder.startswith("erasure/"))


def _take_all(receipt: Receipt, removed: "Mapping[str, Counter[str]]") -> None:
    for layer, counts in removed.items():
        receipt.take(layer, **counts)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class _Clock:
    """Seconds by step."""

    def __init__(self, on_step: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._on_step = on_step

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self._on_step(step)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = time.monotonic() - began
