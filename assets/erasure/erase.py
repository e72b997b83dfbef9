"""Erasing an account from every layer, and the receipt."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from deltalake import DeltaTable

from assets.corpus import CHUNKS
from assets.embeddings import PLACE, VECTORS, slices
from assets.erasure.objects import erase_landed, erase_plans, erase_windows
from assets.erasure.points import build_anew, delete_points
from assets.erasure.receipt import Clock, Receipt
from assets.erasure.subject import subject_of
from assets.lake import LAKE_TABLES
from assets.qdrant.collection import stage_of
from assets.qdrant.points import PointWriter
from assets.stages import TABLES, WRITTEN, is_own
from assets.transforms.source.schema import account_bucket
from resources.delta.purge import forget_past
from resources.delta.state import LedgerResource
from resources.delta.table import BUCKET, LakeResource
from resources.erasure.scan import Findings, Scan
from resources.erasure.terms import Needles
from resources.erasure.tombstones import ErasureResource, Subject, Tombstone
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource
from resources.s3.client import S3Resource
from resources.s3.versions import delete_leftovers
from resources.sources.redshift import STAGING
from resources.vectors.resource import QdrantResource
from resources.vectors.store import SLICE

_HISTORIES_AT_ONCE, _FOLDERS_TOLD = 4, 10


class UnknownAccountError(InputError):
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


def look(parts: Erasing, account_id: str, canaries: Sequence[str] = ()) -> tuple[Needles, Findings]:
    """What is stored of an account now, without changing anything but making the key."""
    needles = Needles(subject_of(parts.s3, parts.lake, parts.erasures, account_id, len(parts.buckets)), tuple(canaries))
    return needles, parts.scan.run(needles, is_own)


def erase(parts: Erasing, account_id: str, canaries: Sequence[str] = (), *, ahead: bool = False) -> Receipt:
    """Remove an account from everything that is stored, and prove it; safe to be killed and called again.

    The tombstone comes first, so that nothing is extracted anew; everything after it is found and removed again by
    the next attempt. An account that was erased and of which nothing is found costs one scan. With ``ahead``, an
    account of which nothing is stored yet is erased too; else it is UnknownAccountError, before anything is written.
    """
    started, clock = datetime.now(UTC).isoformat(), Clock(parts.on_step)
    with clock("scan before"):
        needles, before = look(parts, account_id, canaries)
    subject = needles.subject
    standing = parts.erasures.tombstone(subject)
    receipt = Receipt(subject.account, len(standing.attempts) + 1, started, before, seconds=clock.seconds)
    receipt.canaries = len(needles.canaries)
    if not standing.attempts and not before.names_account and not subject.items and not ahead:
        message = f"Nothing of account {account_id!r} is stored, and it was never erased; expected an account id."
        raise UnknownAccountError(message)
    if standing.complete and not before.places:
        receipt.found_after = before
        return _filed(parts, receipt, standing)
    tombstone = parts.erasures.begin(subject)
    if ahead and not standing.attempts and not before.places:
        receipt.found_after = before  # the past was looked through too, and there is nothing to remove
        return _filed(parts, receipt, tombstone)
    _remove(parts, subject, before, receipt, clock)
    with clock("scan after"):
        receipt.found_after = parts.scan.run(needles, is_own)
    return _filed(parts, receipt, tombstone)


def _filed(parts: Erasing, receipt: Receipt, tombstone: Tombstone) -> Receipt:
    receipt.notes += _kept_elsewhere(parts)
    receipt.notes += kept_by_others(receipt.found_after or receipt.found_before)
    parts.erasures.file_receipt(receipt.to_json())
    if receipt.is_clean:
        parts.erasures.complete(tombstone)
    return receipt


def kept_by_others(found: Findings) -> list[str]:
    """A note of the folders in which others keep something of the account, or something that cannot be read."""
    reasons: dict[str, set[str]] = {}
    for key, reason in found.foreign.items():
        reasons.setdefault(key.rpartition("/")[0], set()).add(reason)
    told = [f"{folder} ({', '.join(sorted(reasons[folder]))})" for folder in sorted(reasons)]
    if not told:
        return []
    more = f" and {len(told) - _FOLDERS_TOLD:,} more" * (len(told) > _FOLDERS_TOLD)
    said = "Not Cippus' own, and it names the account or cannot be read; delete the export: "
    return [f"{said}{', '.join(told[:_FOLDERS_TOLD])}{more}."]


def _kept_elsewhere(parts: Erasing) -> list[str]:
    notes = ["The source database is not Cippus': what it still has of the account is never extracted again."]
    if parts.qdrant.url:
        notes.append(
            "The Qdrant server keeps deleted points in its segments and log until its optimisers have rewritten them, "
            "and in its snapshots."
        )
    if parts.vacuum is None:
        notes.append("Backups and replicas of the bucket, and Dagster's own Postgres, are not looked at.")
    return notes


def _remove(parts: Erasing, subject: Subject, before: Findings, receipt: Receipt, clock: "Clock") -> None:
    bucket = account_bucket(subject.account_id, len(parts.buckets))
    with clock("landing"):
        _take_all(receipt, erase_landed(parts.s3, subject, before.under("landing/")))
    with clock("raw"):
        windows = [key for key in before.under("raw/") if key.endswith(".parquet")]
        _take_all(receipt, erase_windows(parts.s3, subject, windows))
        receipt.take("plans", files=erase_plans(parts.s3, LAKE_TABLES))
        staged = [item.key for item in parts.s3.list_objects(STAGING)]
        parts.s3.delete(staged)  # what Redshift unloaded; nothing of it counts before its window's manifest
        receipt.take("staging", files=len(staged))
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
        left = delete_leftovers(parts.s3, WRITTEN)
        receipt.take("object versions", versions=left.versions, uploads=left.uploads)
    if parts.vacuum is not None:
        with clock("vacuum"):
            receipt.take("s3 volumes", bytes=parts.vacuum())


def _delete_vectors(parts: Erasing, subject: Subject, bucket: int) -> None:
    """Delete the vectors of the account's texts, in each bucket where no other account's text needs them.

    Its texts are those of its chunks, and those that its bucket has a vector of and no chunk: whose text that was is
    not known. Another bucket has a copy where somebody there had the same text once, since vectors are only ever added.
    What stays lies with the account that needs it from now on. All of it is one commit, because another attempt could
    not tell the second kind. Memory: the bucket's hashes, and the vectors that stay.
    """
    chunks, place = parts.lake.scan(CHUNKS), [BUCKET, "content_hash"]
    is_own = pl.col("account_id") == subject.account_id
    needed = chunks.filter(~is_own).select(place)
    held = parts.lake.scan(VECTORS).select(place)
    unneeded = held.filter(pl.col(BUCKET) == bucket).join(needed, on=place, how="anti").select("content_hash")
    texts = pl.concat([chunks.filter(is_own).select("content_hash"), unneeded]).unique().collect()
    copies = held.join(texts.lazy(), on="content_hash", how="semi").join(needed, on=place, how="anti")
    gone = copies.unique().collect(engine="streaming").sort(place)
    conditions = list(_conditions(gone))
    own_slice = slices(pl.Series([subject.account_id]))[0]
    staying = _resliced(parts.lake, own_slice, chunks.filter(~is_own))
    conditions += [f"({SLICE} = {own_slice} AND {condition})" for condition in _conditions(staying)]
    if conditions:
        parts.lake.delete_where(VECTORS, " OR ".join(conditions), staying)


def _conditions(vectors: pl.DataFrame) -> Iterator[str]:
    """What the vectors of some buckets and hashes are, in SQL."""
    for (of_bucket,), rows in vectors.group_by(BUCKET, maintain_order=True):
        literals = ", ".join(_literal(value) for value in rows["content_hash"])
        yield f"({BUCKET} = {of_bucket} AND content_hash IN ({literals}))"


def _resliced(lake: LakeResource, own_slice: int, others: pl.LazyFrame) -> pl.DataFrame:
    """The vectors of a slice that chunks of other accounts need, in the slice of the first of those."""
    place = [BUCKET, "content_hash"]
    lying = lake.scan(VECTORS).filter(pl.col(SLICE) == own_slice)
    needing = others.join(lying.select(place), on=place, how="semi").select(*place, *PLACE).collect()
    firsts = needing.sort(PLACE).unique(place, keep="first", maintain_order=True)
    moved = firsts.select(*place, slices(firsts["account_id"])).filter(pl.col(SLICE) != own_slice)
    return lying.drop(SLICE).join(moved.lazy(), on=place).select(VECTORS.schema.names).collect()


def _erase_points(parts: Erasing, subject: Subject, receipt: Receipt) -> None:
    with parts.qdrant.generations() as generations:
        receipt.take("qdrant", points=delete_points(generations, subject))
        if not parts.qdrant.url:
            writer = PointWriter(parts.lake, parts.embedder.model())
            dropped = build_anew(generations, writer, parts.buckets, lambda gone: parts.ledger.forget(stage_of(gone)))
            receipt.take("qdrant", generations=dropped)


def _rows_of_tables(parts: Erasing) -> dict[str, int]:
    """Table → rows of its newest version, from its log; another team's tables in the bucket are not looked at."""
    tables = [spec.name for spec in TABLES if parts.lake.open(spec) is not None]
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


def _take_all(receipt: Receipt, removed: "Mapping[str, Counter[str]]") -> None:
    for layer, counts in removed.items():
        receipt.take(layer, **counts)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
