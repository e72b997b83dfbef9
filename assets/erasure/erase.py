"""Erasing an account from every layer, and the receipt."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets import audit, shortlists
from assets.corpus import CHUNKS
from assets.embeddings import PLACE, VECTORS, slices
from assets.erasure.needs import require_needs
from assets.erasure.objects import Removed, erase_landed, erase_plans, erase_windows
from assets.erasure.points import erase_points
from assets.erasure.receipt import Receipt, without_texts
from assets.erasure.subject import subject_of
from assets.lake import LAKE_TABLES
from assets.qdrant.collection import stage_of
from assets.qdrant.points import PointWriter
from assets.stages import TABLES, WRITTEN, is_own
from assets.transforms.source.schema import account_bucket
from resources.delta.purge import delete_history
from resources.delta.state import LedgerResource
from resources.delta.table import BUCKET, LakeResource
from resources.erasure.scan import Findings, Scan
from resources.erasure.terms import SearchTerms
from resources.erasure.tombstones import ErasureResource, Subject, Tombstone
from resources.errors import InputError
from resources.llm.answers import FOLDER as ANSWERS
from resources.llm.answers import forget_account
from resources.llm.batches.book import FOLDER as BATCHES
from resources.llm.batches.book import Job
from resources.llm.batches.erasing import forget_account as forget_account_in_batches
from resources.llm.batches.erasing import with_erased
from resources.llm.embedder import EmbedderResource
from resources.s3.client import S3Resource
from resources.s3.versions import delete_leftovers
from resources.sources.redshift import STAGING
from resources.spend.store import S3Store
from resources.vectors.resource import QdrantResource
from resources.vectors.store import SLICE

_TABLE_THREADS, _FOLDERS_SHOWN = 4, 10


class UnknownAccountError(InputError):
    """Nothing of the account is stored, and it was never erased: most likely a mistyped id."""


@dataclass(frozen=True)
class Erasing:
    """The parts of an erasure.

    ``update_tables`` updates all stages from the corpus on, ``update_index`` the collection and its measurements.
    ``end_batch`` takes in or cancels a batch at a provider, given its asset, scope and job.
    ``vacuum`` overwrites deleted objects in the embedded S3 server, and returns the freed bytes. ``home`` is the folder
    of the embedded engine and S3, if there are any.
    """

    s3: S3Resource
    lake: LakeResource
    ledger: LedgerResource
    erasures: ErasureResource
    embedder: EmbedderResource
    qdrant: QdrantResource
    scan: Scan
    buckets: Sequence[int]
    update_tables: Callable[[], None]
    update_index: Callable[[], None]
    vacuum: Callable[[], int] | None = None
    end_batch: Callable[[str, str, Job], None] = lambda _asset, _scope, _job: None
    on_step: Callable[[str], None] = lambda _step: None
    home: Path | None = None

    def terms(self, account_id: str, canaries: Sequence[str]) -> SearchTerms:
        """Return the search terms of an account. Create the erasure key if there is none."""
        subject = subject_of(self.s3, self.lake, self.erasures, account_id, len(self.buckets))
        return SearchTerms(subject, tuple(canaries))

    def generations(self) -> dict[str, str]:
        """Return id → name of each generation whose files keep deleted points: those of the embedded engine."""
        if self.qdrant.url:
            return {}
        with self.qdrant.generations() as generations:
            return {generation.id: generation.name for generation in generations.all()}


def look(parts: Erasing, terms: SearchTerms) -> Findings:
    """Scan everything. An embedded generation from before the last attempt counts as found: it was not rebuilt."""
    findings = parts.scan.run(terms, is_own)
    existing = parts.generations()
    for id_ in parts.erasures.tombstone(terms.subject).generations:
        if id_ in existing:
            place = f"qdrant/{existing[id_]}"
            findings.places[place] = {**findings.places.get(place, {}), "generation": 1}
    return findings


def erase(parts: Erasing, account_id: str, canaries: Sequence[str] = (), *, ahead: bool = False) -> Receipt:
    """Remove an account from everything that is stored, and prove it. Repeat it after a crash.

    The tombstone comes first, so nothing is extracted again. The next attempt finds and removes the rest. A completed
    erasure that finds nothing costs one scan. With ``ahead``, an account that is not stored yet is erased too; without
    it that is an UnknownAccountError, raised before anything is written. So is MissingNeedError.
    """
    require_needs(parts)
    terms = parts.terms(account_id, canaries)
    subject, tombstone = terms.subject, parts.erasures.tombstone(terms.subject)
    receipt = Receipt(subject.account, len(tombstone.attempts) + 1, len(terms.canaries), parts.on_step)
    with receipt.step("scan before"):
        receipt.found_before = receipt.found_after = look(parts, terms)
    before = receipt.found_before
    is_new = not tombstone.attempts
    if is_new and not before.names_account and not subject.items and not ahead:
        raise UnknownAccountError(
            f"Nothing of account {account_id!r} is stored, and it was never erased. Check the account id."
        )
    if tombstone.complete and not before.places and not _forget_names(parts, subject, receipt):
        return _filed(parts, receipt, tombstone, terms)
    if ahead and is_new and not before.places:
        return _filed(parts, receipt, parts.erasures.begin(subject), terms)
    tombstone = parts.erasures.begin(subject, parts.generations())
    _remove(parts, subject, receipt)
    with receipt.step("scan after"):
        receipt.found_after = look(parts, terms)
        receipt.found_after.unsearched |= {
            f"batch {job.batch or job.name}": "the provider has its files until it ends; erase again then"
            for _, _, job in with_erased(S3Store(parts.s3))
        }
    return _filed(parts, receipt, tombstone, terms)


def _forget_names(parts: Erasing, subject: Subject, receipt: Receipt) -> bool:
    """Take the account out of shortlists, their names and the events that repeat them, where no scan finds a handle."""
    with receipt.step("shortlists"):
        named = S3Store(parts.s3), subject.account_id, subject.has_handle
        receipt.add(shortlists.FOLDER, lists=(lists := shortlists.forget_account(*named)))
        receipt.add(audit.FOLDER, events=(events := audit.forget_account(*named)))
    return bool(lists or events)


def _filed(parts: Erasing, receipt: Receipt, tombstone: Tombstone, terms: SearchTerms) -> Receipt:
    receipt.notes += [*_not_erased(parts, terms), *foreign_objects(receipt.found_after or receipt.found_before)]
    secrets = (*terms.canaries, *terms.id_patterns)
    parts.erasures.file_receipt(without_texts(receipt.to_json(), secrets))
    if receipt.is_clean:
        parts.erasures.complete(tombstone)
    return receipt


def foreign_objects(found: Findings) -> list[str]:
    """Return a note on the folders of other owners that name the account or cannot be read."""
    reasons: dict[str, set[str]] = {}
    for key, reason in found.foreign.items():
        reasons.setdefault(key.rpartition("/")[0], set()).add(reason)
    folders = [f"{folder} ({', '.join(sorted(reasons[folder]))})" for folder in sorted(reasons)]
    if not folders:
        return []
    more = f" and {len(folders) - _FOLDERS_SHOWN:,} more" * (len(folders) > _FOLDERS_SHOWN)
    note = "Not written by Cippus, and it names the account or cannot be read; delete the export: "
    return [f"{note}{', '.join(folders[:_FOLDERS_SHOWN])}{more}."]


def _not_erased(parts: Erasing, terms: SearchTerms) -> Iterator[str]:
    """Yield what is not erased and what is not searched."""
    yield "The source database still has the account, and was not searched. Cippus never extracts it again."
    if not terms.is_distinctive:
        yield (
            "The id is a number or short, so it was searched only where a column or field says what it is: not in "
            "names, free text, logs and databases."
        )
    if parts.qdrant.url:
        with parts.qdrant.generations() as generations:
            whole = ", ".join(generations.whole_snapshots())
        yield (
            "The segments and logs of the Qdrant server's nodes were rewritten without the account, or belonged to "
            "generations that were deleted; its snapshots of the collection were deleted. Snapshots in object storage "
            "and of volumes were not searched." + (f" Delete those of the whole server: {whole}." if whole else "")
        )
    else:
        yield (
            "Segments of the embedded index are compressed, and are not searched for deleted points; generations from "
            "before the erasure count as found."
        )
    if parts.vacuum is None:
        yield (
            "Backups and replicas of the bucket, Dagster's own Postgres with its events and metadata, and compute logs "
            "outside the bucket were not searched."
        )


def _remove(parts: Erasing, subject: Subject, receipt: Receipt) -> None:
    bucket = account_bucket(subject.account_id, len(parts.buckets))
    before = receipt.found_before
    with receipt.step("landing"):
        _add_all(receipt, erase_landed(parts.s3, subject, before.under("landing/")))
    with receipt.step("raw"):
        windows = [key for key in before.under("raw/") if key.endswith(".parquet")]
        _add_all(receipt, erase_windows(parts.s3, subject, windows))
        receipt.add("plans", files=erase_plans(parts.s3, LAKE_TABLES))
        staged = [item.key for item in parts.s3.list_objects(STAGING)]
        parts.s3.delete(staged)  # unloaded by Redshift; unused without the window's manifest
        receipt.add("staging", files=len(staged))
    rows = _rows_of_tables(parts)
    with receipt.step("lake"):
        for spec in LAKE_TABLES.values():
            parts.lake.delete_where(spec, f"{BUCKET} = {bucket} AND account_id = {_literal(subject.account_id)}")
    with receipt.step("vectors"):
        _delete_vectors(parts, subject, bucket)
    with receipt.step("derived tables"):
        parts.update_tables()
    with receipt.step("answers"):  # after the tables have taken in those of other accounts
        receipt.add(ANSWERS, answers=forget_account(S3Store(parts.s3), subject.account_id))
        receipt.add(BATCHES, lines=forget_account_in_batches(S3Store(parts.s3), subject.account_id))
    with receipt.step("batches at the provider"):
        for asset, scope, job in list(with_erased(S3Store(parts.s3))):
            parts.end_batch(asset, scope, job)
    _forget_names(parts, subject, receipt)
    with receipt.step("points"):
        writer = PointWriter(parts.lake, parts.embedder.model())
        counts = erase_points(
            parts.qdrant, subject, writer, parts.buckets, lambda gone: parts.ledger.forget(stage_of(gone))
        )
        receipt.add("qdrant", **counts)
        parts.update_index()
    with receipt.step("histories"):
        _delete_histories(parts, rows, receipt)
    with receipt.step("leftovers"):
        leftovers = delete_leftovers(parts.s3, WRITTEN)
        receipt.add("object versions", versions=leftovers.versions, uploads=leftovers.uploads)
    if parts.vacuum is not None:
        with receipt.step("vacuum"):
            receipt.add("s3 volumes", bytes=parts.vacuum())


def _delete_vectors(parts: Erasing, subject: Subject, bucket: int) -> None:
    """Delete the vectors of the account's texts from each bucket where no other account's text needs them.

    Its texts are those of its chunks, and every text of its bucket with a vector and no chunk: the owner of such a text
    is unknown. Other buckets may have copies, because vectors are only ever added. A vector that stays moves to the
    slice of an account that needs it. This is one commit: a later attempt could not recognise the texts without chunk.
    Memory: the bucket's hashes, and the vectors that stay.
    """
    chunks, place = parts.lake.scan(CHUNKS), [BUCKET, "content_hash"]
    is_own_chunk = pl.col("account_id") == subject.account_id
    needed = chunks.filter(~is_own_chunk).select(place)
    stored = parts.lake.scan(VECTORS).select(place)
    unneeded = stored.filter(pl.col(BUCKET) == bucket).join(needed, on=place, how="anti").select("content_hash")
    texts = pl.concat([chunks.filter(is_own_chunk).select("content_hash"), unneeded]).unique().collect()
    copies = stored.join(texts.lazy(), on="content_hash", how="semi").join(needed, on=place, how="anti")
    conditions = list(_conditions(copies.unique().collect(engine="streaming").sort(place)))
    own_slice = slices(pl.Series([subject.account_id]))[0]
    staying = _resliced(parts.lake, own_slice, chunks.filter(~is_own_chunk))
    conditions += [f"({SLICE} = {own_slice} AND {condition})" for condition in _conditions(staying)]
    if conditions:
        parts.lake.delete_where(VECTORS, " OR ".join(conditions), staying)


def _conditions(vectors: pl.DataFrame) -> Iterator[str]:
    """Yield an SQL condition per bucket that selects these vectors."""
    for (bucket,), rows in vectors.group_by(BUCKET, maintain_order=True):
        literals = ", ".join(_literal(value) for value in rows["content_hash"])
        yield f"({BUCKET} = {bucket} AND content_hash IN ({literals}))"


def _resliced(lake: LakeResource, own_slice: int, others: pl.LazyFrame) -> pl.DataFrame:
    """Return the vectors of a slice that other accounts' chunks need, with the slice of the first such chunk."""
    place = [BUCKET, "content_hash"]
    stored = lake.scan(VECTORS).filter(pl.col(SLICE) == own_slice)
    needing = others.join(stored.select(place), on=place, how="semi").select(*place, *PLACE).collect()
    firsts = needing.sort(PLACE).unique(place, keep="first", maintain_order=True)
    moved = firsts.select(*place, slices(firsts["account_id"])).filter(pl.col(SLICE) != own_slice)
    return stored.drop(SLICE).join(moved.lazy(), on=place).select(VECTORS.schema.names).collect()


def _rows_of_tables(parts: Erasing) -> dict[str, int]:
    """Return table → rows of its newest version. Tables of another owner in the bucket are left out."""
    tables = [spec for spec in TABLES if parts.lake.open(spec) is not None]
    return {spec.name: sum(contents.rows for contents in parts.lake.contents(spec).values()) for spec in tables}


def _delete_histories(parts: Erasing, rows_before: Mapping[str, int], receipt: Receipt) -> None:
    """Delete every table's history. Any version may hold the account."""
    rows = _rows_of_tables(parts)
    with ThreadPoolExecutor(_TABLE_THREADS) as pool:
        histories = pool.map(lambda folder: delete_history(parts.s3, folder), rows)
        for folder, past in zip(rows, histories, strict=True):
            gone = max(0, rows_before.get(folder, 0) - rows[folder])
            receipt.add(folder, rows=gone, versions=past.versions, files=past.files, bytes=past.size_bytes)


def _add_all(receipt: Receipt, removed: Removed) -> None:
    for layer, counts in removed.items():
        receipt.add(layer, **counts)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
