"""Seeded damage to files of every format that is dropped: what is read of it, or the reason why not."""

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.dropped_files import judgement_rows, label_rows, report
from assets.transforms.search.votes import FILE_SCHEMA as JUDGEMENTS_SCHEMA
from assets.transforms.source.contract import recast_rows
from assets.transforms.source.schema import ACCOUNTS, LABELS_SCHEMA, POSTS
from pipelines.samples.folder import open_folder
from resources.catalogues.audience import load_audience_columns
from resources.errors import PermanentFailure
from resources.isolation.process import Limits, UnreadableFileError, read
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource
from resources.s3.parquet import read_local
from resources.sources.rds_export import RdsExportResource

THEN = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(memory_bytes=1 << 30, seconds=60)
_WHOLE, _UNUSABLE = "read", "refused"


class OneObject(S3Resource):
    """A bucket whose every object has the same content."""

    latin_1: str = ""
    names: list[str] = []  # noqa: RUF012 -- Dagster copies the field

    def get(self, key: str, etag: str = "") -> bytes | None:
        return self.latin_1.encode("latin-1")

    def list_objects(self, prefix: str) -> Iterator[S3Object]:
        return iter(S3Object(key, len(self.latin_1), "e") for key in self.names if key.startswith(prefix))


def damaged(rng: random.Random, body: bytes) -> bytes:
    """Return the file with one to three damages: bits flipped, cut, spliced, or a length field that is huge."""
    found = bytearray(body)
    for _ in range(rng.randint(1, 3)):
        rng.choice([_flip, _cut, _splice, _length, _length])(rng, found)
    return bytes(found)


def _place(rng: random.Random, body: bytearray) -> int:
    """A position, half of the time near the end, where Parquet has its metadata."""
    size = max(1, len(body))
    return rng.randrange(max(0, size - 400), size) if rng.random() < 0.5 else rng.randrange(size)


def _flip(rng: random.Random, body: bytearray) -> None:
    for _ in range(rng.randint(1, 8)):
        if body:
            body[_place(rng, body)] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, body: bytearray) -> None:
    at = _place(rng, body)
    del body[at : at + rng.choice([1, 2, 7, 64, len(body)])]


def _splice(rng: random.Random, body: bytearray) -> None:
    at, source = _place(rng, body), _place(rng, body)
    body[at:at] = body[source : source + rng.randint(1, 200)]


def _length(rng: random.Random, body: bytearray) -> None:
    value = rng.choice([b"\xff\xff\xff\x7f", b"\xff" * 4, b"\xfe" + b"\xff" * 7 + b"\x01", b"\0" * 4, b"\x80" * 9])
    at = len(body) - 8 if rng.random() < 0.2 else _place(rng, body)
    body[max(0, at) : max(0, at) + len(value)] = value


@dataclass(frozen=True)
class Format:
    """A kind of dropped file: whole files, and the function that reads one as its stage does."""

    originals: tuple[bytes, ...]
    read: Callable[[bytes, Path], object]

    def damaged(self, seed: int) -> bytes:
        """Return the damaged file of a seed. An odd seed flips one bit only, so that most of the file is read."""
        rng = random.Random(seed)  # noqa: S311
        original = rng.choice(self.originals)
        if not seed % 2:
            return damaged(rng, original)
        body = bytearray(original)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        return bytes(body)

    def outcome(self, seed: int, folder: Path) -> tuple[str, str]:
        """Return whether the damaged file of a seed was read or refused, and the reason."""
        try:
            self.read(self.damaged(seed), folder)
        except (PermanentFailure, pa.ArrowException) as error:
            return _UNUSABLE, str(error)
        return _WHOLE, ""


def _parquet(table: pa.Table) -> tuple[bytes, ...]:
    bodies = []
    for options in ({"compression": "zstd"}, {"compression": "gzip", "use_dictionary": False}, {"compression": "none"}):
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=200, **options)
        bodies.append(sink.getvalue())
    return tuple(bodies)


_ITEMS = [f"item {n % 70}" for n in range(500)]
_LABELS = pa.table(
    [["post", "account"] * 250, _ITEMS, ["food"] * 500, [True, None] * 250, *[[None] * 500] * 3], schema=LABELS_SCHEMA
)  # fmt: skip
_POST = {"post_id": "p", "account_id": "a", "network": "x", "text": "text " * 9, "hashtags": ["a", None],
         "posted_at": THEN, "updated_at": THEN, "likes": 7}  # fmt: skip
_POSTS = pa.Table.from_pylist([{**_POST, "post_id": f"p{n}"} for n in range(300)], schema=POSTS.schema)
_REJECTS = pa.table({name: ["x", "é", None] * 9 for name in ("source_table", "row_key", "reason", "row_json")})
_REPORT = "account_id;date;Gender: Female;Age 18-24;Shoes\n" + "a;2026-03-01;51,5;1.234;x\n" * 40
_INFO = {"status": "COMPLETE", "snapshotTime": "2026-03-01T00:00:00Z", "exportOnly": ["db.public"], "failureCause": ""}
_TABLES = {
    "perTableStatus": [
        {
            "target": "db.public.posts",
            "status": "COMPLETE",
            "warningMessage": "",
            "schemaMetadata": {"originalTypeMappings": [{"columnName": "post_id", "originalType": "text"}]},
        }
    ]
}


def _folder(body: bytes, folder: Path) -> None:
    pq.write_table(ACCOUNTS.schema.empty_table(), folder / "accounts.parquet")
    (folder / "posts.parquet").write_bytes(body)
    for _ in open_folder(folder)["posts"].batches():
        pass


def _export(body: bytes, folder: Path) -> None:
    path = folder / "part.parquet"
    path.write_bytes(body)
    for table in read_local(path, POSTS.schema.names, LIMITS):
        recast_rows(POSTS.schema, table)


def _metadata(body: bytes, _folder: Path) -> None:
    key = "exports/e/export_tables_info_e_from_1_to_1.json"
    s3 = OneObject(bucket="b", latin_1=body.decode("latin-1"), names=[key, "exports/e/db/public.posts/_SUCCESS"])
    RdsExportResource(s3=s3, location="exports").completeness("e", ["posts"])


def _quarantine(body: bytes, _folder: Path) -> None:
    s3 = OneObject(bucket="b", latin_1=body.decode("latin-1"), names=["landing/quarantine/x.parquet"])
    [rows] = QuarantineResource(s3=s3).rows()
    if rows["source_table"].to_list() == ["quarantine files"]:
        raise UnreadableFileError(rows["reason"][0])


_NAMES = ("item_kind", "item_id", "vertical", "is_member", "annotator")
_LINES = [("post", item, "food", "true", "é") for item in _ITEMS[:60]]
_LABEL_CSV = "\n".join([",".join(_NAMES), *map(",".join, _LINES)])
_LABEL_LINES = "\n".join(json.dumps(dict(zip(_NAMES, line, strict=True))) for line in _LINES)
_JUDGEMENTS = pa.table(
    [["query"] * 500, ["post"] * 500, _ITEMS, [0, 1] * 250, ["me"] * 500, [THEN] * 500], schema=JUDGEMENTS_SCHEMA
)


def _labels(name: str) -> Callable[[bytes, Path], object]:
    return lambda body, _: list(read(label_rows, name, body, limits=LIMITS))


FORMATS: Mapping[str, Format] = {
    "labels": Format(_parquet(_LABELS), _labels("l.parquet")),
    "label_csv": Format(tuple(_LABEL_CSV.encode(encoding) for encoding in ("utf-8-sig", "utf-16")), _labels("l.csv")),
    "label_lines": Format((_LABEL_LINES.encode(),), _labels("l.jsonl")),
    "judgements": Format(_parquet(_JUDGEMENTS), lambda body, _: list(read(judgement_rows, body, limits=LIMITS))),
    "audience": Format(
        tuple(_REPORT.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252")),
        lambda body, _: list(read(report, "r.csv", body, load_audience_columns(), limits=LIMITS)),
    ),
    "folder": Format(_parquet(_POSTS), _folder),
    "export": Format(_parquet(_POSTS), _export),
    "export_metadata": Format(tuple(json.dumps({**_INFO, **more}).encode() for more in ({}, _TABLES)), _metadata),
    "quarantine": Format(_parquet(_REJECTS), _quarantine),
}  # fmt: skip
"""Format → its files. Each is read by the code of its stage, in the processes of the stage."""


def fuzz(name: str, seeds: range, folder: Path) -> dict[str, Any]:
    """Read the damaged file of each seed. Return the numbers of files read and refused, and the reasons."""
    outcomes = [FORMATS[name].outcome(seed, folder) for seed in seeds]
    reasons = [reason for outcome, reason in outcomes if outcome == _UNUSABLE]
    return {"read": len(outcomes) - len(reasons), "refused": len(reasons), "reasons": reasons}
