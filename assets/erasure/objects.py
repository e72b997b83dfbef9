"""Deletion of rows from objects: the windows of raw/*, and every file that was dropped under landing/."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.erasure import files_named, with_files_replaced
from resources.catalogues import audience
from resources.erasure.delimited import read_delimited
from resources.erasure.tombstones import ACCOUNT, FIELD_KINDS, HANDLE, KIND_COLUMN_OF, KIND_COLUMNS, Subject
from resources.s3.client import S3Resource

Removed = dict[str, Counter[str]]
"""Layer → what was removed: rows, files, bytes."""
_MANIFEST = re.compile(r"(raw/[^/]+/source=[^/]+)/manifests/(\d+)\.json")
_PLAN = re.compile(r"(raw/[^/]+/source=[^/]+)/window=(\d+)/plan-.*")
_JSON_COLUMN, _QUERY, _PARQUET = "row_json", "query", b"PAR1"


def erase_windows(s3: S3Resource, subject: Subject, keys: Sequence[str]) -> Removed:
    """Rewrite files of raw/* without the account's rows, and the documents that name them.

    Order: write the new file, then the documents, then delete the old file. After a crash a window has one of the two
    files, and the next attempt deletes a file that no document names. Memory: one file.
    """
    removed: Removed = {}
    for folder, window_keys in groupby(sorted(keys), lambda key: "/".join(key.split("/")[:3]) + "/"):
        counts = removed.setdefault("/".join(folder.split("/")[:2]), Counter())
        documents = {item.key: s3.get_json(item.key) for item in s3.list_objects(folder) if item.key.endswith(".json")}
        named = set(files_named(list(documents.values())))
        replaced: dict[str, dict[str, Any] | None] = {}
        for key in window_keys:
            replaced |= _rewritten_window(s3, subject, key, is_named=key in named, counts=counts)
        for key, document in documents.items():
            updated = with_files_replaced(document, replaced)
            if updated != document:
                s3.put_json(key, updated)
        s3.delete(list(replaced))
        counts["files"] += len(replaced)
    return removed


def _rewritten_window(
    s3: S3Resource, subject: Subject, key: str, *, is_named: bool, counts: Counter[str]
) -> dict[str, dict[str, Any] | None]:
    """Return the file's key → its new entry in the documents; nothing if the file has no row of the account."""
    body = s3.get(key)
    if body is None:
        return {}
    kept, owned = _without(pq.ParquetFile(io.BytesIO(body)).read(), subject)
    if not owned:
        return {}
    counts.update(rows=owned if is_named else 0, bytes=len(body))
    if not is_named or kept.num_rows == 0:
        return {key: None}
    rewritten = _as_parquet(kept)
    new_key = f"{key.rpartition('/')[0]}/part-{uuid4().hex}.parquet"
    s3.put(new_key, rewritten)
    counts["bytes"] -= min(len(rewritten), len(body))  # a small file may grow
    return {key: {"key": new_key, "rows": kept.num_rows, "size_bytes": len(rewritten)}}


def erase_plans(s3: S3Resource, tables: Iterable[str]) -> int:
    """Delete the plans of first loads, whose ranges are keys, of complete windows. Return the number of objects.

    The records of the parts go first: without its plan nobody would find them. The plan of an incomplete window stays.
    """
    deleted = 0
    for table in tables:
        keys = [item.key for item in s3.list_objects(f"raw/{table}/")]
        complete = {found.groups() for key in keys if (found := _MANIFEST.fullmatch(key))}
        plans = [key for key in keys if (found := _PLAN.fullmatch(key)) and found.groups() in complete]
        s3.delete(sorted(plans, key=lambda key: key.endswith("/plan.json")))
        deleted += len(plans)
    return deleted


def erase_landed(s3: S3Resource, subject: Subject, keys: Iterable[str]) -> Removed:
    """Rewrite dropped files (Parquet, CSV, JSON lines) without the rows that name the account or its items.

    A file without any other row is deleted. A file in another format, or with broken quotes, stays, and the scan
    reports it. Memory: one file, which people made by hand.
    """
    removed: Removed = {}
    for key in keys:
        body = s3.get(key) or b""
        if body.startswith(_PARQUET):
            rewritten, rows = _parquet_without(body, subject)
        elif key.startswith(audience.LANDING) or key.lower().endswith(".csv"):
            rewritten, rows = _text_without(key, body, subject)
        elif key.lower().endswith(".jsonl"):
            rewritten, rows = _json_lines_without(body, subject)
        else:
            continue
        if not rows:
            continue
        if rewritten:
            s3.put(key, rewritten)
        else:
            s3.delete([key])
        counts = removed.setdefault(key.rpartition("/")[0], Counter())
        counts.update(rows=rows, files=1, bytes=len(body) - len(rewritten))
    return removed


def _parquet_without(body: bytes, subject: Subject) -> tuple[bytes, int]:
    try:
        kept, owned = _without(pq.ParquetFile(io.BytesIO(body)).read(), subject)
    except pa.ArrowException:
        return body, 0
    return (_as_parquet(kept) if kept.num_rows else b""), owned


def _text_without(key: str, body: bytes, subject: Subject) -> tuple[bytes, int]:
    """Return the text with its lines unchanged, without the account's, and the number of rows removed."""
    text = read_delimited(key, body)
    try:
        rows = list(text.rows())
    except csv.Error:
        return body, 0
    kept = [lines for lines, cells in rows if not _is_owned_line(text.names, cells, subject)]
    return (text.encoded(kept) if kept else b""), len(rows) - len(kept)


def _json_lines_without(body: bytes, subject: Subject) -> tuple[bytes, int]:
    """Return the lines unchanged, without those of the account, and their number."""
    lines = body.splitlines(keepends=True)
    kept = [line for line in lines if not _is_owned_document(line.decode("utf-8-sig", errors="replace"), subject)]
    return b"".join(kept), len(lines) - len(kept)


def _is_owned_line(names: Sequence[str], cells: Sequence[str], subject: Subject) -> bool:
    """Return whether a line is the account's. If it has more or fewer cells than the header, any cell may say so."""
    values = [(name, cell.strip()) for name, cell in zip(names, cells, strict=False)]
    is_complete = len(cells) == len(names)
    stated = [value for name, value in values if name == "account_id"] if is_complete else map(str.strip, cells)
    return subject.account_id in stated or _is_owned(dict(values), subject)


def _without(rows: pa.Table, subject: Subject) -> tuple[pa.Table, int]:
    owned = owned_rows(rows, subject)
    return rows.filter(pa.array(~owned)), int(owned.sum())


def owned_rows(rows: pa.Table, subject: Subject) -> npt.NDArray[np.bool_]:
    """Return for each row whether it names the account or one of its items. Read the columns of ids only."""
    columns = [name for name in rows.column_names if name in {*FIELD_KINDS, *KIND_COLUMNS, _JSON_COLUMN, _QUERY}]
    owned = [
        _is_owned(row, subject) or _is_owned_document(row.get(_JSON_COLUMN), subject)
        for row in rows.select(columns).to_pylist()
    ]
    return np.array(owned, bool)


def _is_owned(row: Mapping[str, Any], subject: Subject) -> bool:
    """Return whether a row, name → value, names the account or one of its items. Ids are compared as texts.

    A judged query that names it counts too.

    A post of the account may have been another's before, so its rows count whoever they name. Another account may
    have taken over the handle since, so a handle counts only in rows of no other account.
    """
    owner = _as_text(row.get("account_id"))
    is_of_other = bool(owner.strip()) and owner != subject.account_id
    for name, value in row.items():
        if name in FIELD_KINDS and not (is_of_other and name == HANDLE):
            kind_column = KIND_COLUMN_OF.get(name, "")
            kinds = KIND_COLUMNS.get(kind_column, {}).get(_as_text(row.get(kind_column)), FIELD_KINDS[name])
            if subject.owns(kinds, _as_text(value)):
                return True
    return any(subject.owns((ACCOUNT, HANDLE), word.strip("@")) for word in _as_text(row.get(_QUERY)).split())


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(value) if isinstance(value, str | int) else ""


def _is_owned_document(text: str | None, subject: Subject) -> bool:
    """Return whether a rejected row is the account's. A rejected line without names has a list of ``cells``."""
    row = _parsed(text)
    if not isinstance(row, Mapping):
        return False
    owner = _as_text(row.get("account_id")).strip()
    cells = None if owner else _parsed(row.get("cells"))
    is_named = isinstance(cells, list) and subject.account_id in (str(cell).strip() for cell in cells)
    return is_named or _is_owned({**row, "account_id": owner}, subject)


def _parsed(text: Any) -> Any:
    """Return a JSON value, or None if the text is no JSON."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _as_parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_index=True)
    return buffer.getvalue()
