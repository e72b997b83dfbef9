"""Erasing from objects that hold rows: the windows of raw/*, and everything that was dropped under landing/.

Belongs here: rewriting a file without an account's rows, and what names the file. Not here: Delta tables and the
index (erasure.py, erasure_index.py), finding the files (resources/erasure_scan.py).
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.transforms.erasure import files_named, with_files_replaced
from resources.erasures import FIELD_KINDS, KIND_COLUMN_OF, KIND_COLUMNS, Subject
from resources.s3 import S3Resource
from resources.stored_values import csv_dialect

_JSON_COLUMN = "row_json"


def erase_windows(s3: S3Resource, subject: Subject, keys: Sequence[str]) -> "dict[str, Counter[str]]":
    """Rewrite files of raw/* without the account's rows, and the documents that name them; table → what was removed.

    The new file first, then the documents, then the old file goes: killed anywhere, a window has one of the two, and
    a file that nothing names is deleted by the next attempt. Memory: one file.
    """
    removed: dict[str, Counter[str]] = {}
    for folder in sorted({_source_folder(key) for key in keys}):
        counts = removed.setdefault("/".join(folder.split("/")[:2]), Counter())
        documents = {item.key: s3.get_json(item.key) for item in s3.list_objects(folder) if item.key.endswith(".json")}
        named = set().union(*(files_named(document) for document in documents.values()))
        replaced: dict[str, dict[str, Any] | None] = {}
        for key in (key for key in keys if _source_folder(key) == folder):
            rewritten = _rewritten_window(s3, subject, key, is_named=key in named, counts=counts)
            replaced.update(rewritten)
        for key, document in documents.items():
            now = with_files_replaced(document, replaced)
            if now != document:
                s3.put_json(key, now)
        s3.delete(list(replaced))
        counts["files"] += len(replaced)
    return removed


def _source_folder(key: str) -> str:
    """raw/{table}/source={source}/"""
    return "/".join(key.split("/")[:3]) + "/"


def _rewritten_window(
    s3: S3Resource, subject: Subject, key: str, *, is_named: bool, counts: "Counter[str]"
) -> dict[str, dict[str, Any] | None]:
    """The file's key → what the documents have to say instead; nothing when none of its rows is the account's."""
    body = s3.get(key)
    if body is None:
        return {}
    rows = pq.ParquetFile(io.BytesIO(body)).read()
    owned = owned_rows(rows, subject)
    if not owned.any():
        return {}
    counts.update(rows=int(owned.sum()) if is_named else 0, bytes=len(body))
    kept = rows.filter(pa.array(~owned))
    if not is_named or kept.num_rows == 0:
        return {key: None}
    written = _as_parquet(kept)
    made = f"{key.rpartition('/')[0]}/part-{uuid4().hex}.parquet"
    s3.put(made, written)
    counts["bytes"] -= min(len(written), len(body))  # a small file may grow
    return {key: {"key": made, "rows": kept.num_rows, "size_bytes": len(written)}}


def erase_landed(s3: S3Resource, subject: Subject, keys: Iterable[str]) -> "dict[str, Counter[str]]":
    """Rewrite dropped files (Parquet, CSV) without the rows that name the account or something of its own.

    A file without any other row goes. What is in another format stays, and the scan says so. Folder → what was
    removed. Memory: one file, which people made by hand.
    """
    removed: dict[str, Counter[str]] = {}
    for key in keys:
        body = s3.get(key)
        if body is None or not key.endswith((".parquet", ".csv")):
            continue
        written, gone = _without(body, subject) if key.endswith(".parquet") else _csv_without(body, subject)
        if not gone:
            continue
        if written is None:
            s3.delete([key])
        else:
            s3.put(key, written)
        counts = removed.setdefault(key.rpartition("/")[0], Counter())
        counts.update(rows=gone, files=1, bytes=len(body) - len(written or b""))
    return removed


def _without(body: bytes, subject: Subject) -> tuple[bytes | None, int]:
    try:
        rows = pq.ParquetFile(io.BytesIO(body)).read()
    except pa.ArrowException:
        return body, 0
    owned = owned_rows(rows, subject)
    kept = rows.filter(pa.array(~owned))
    return (_as_parquet(kept) if kept.num_rows else None), int(owned.sum())


def _csv_without(body: bytes, subject: Subject) -> tuple[bytes | None, int]:
    """The lines of a CSV as they are written there, without the account's."""
    text = body.decode(errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline=""), dialect=csv_dialect(body)))
    names, cells = (rows[0], rows[1:]) if rows else ([], [])
    padded = [[*row, *[""] * (len(names) - len(row))] for row in cells]
    table = pa.table({name: pa.array([row[i] for row in padded], pa.string()) for i, name in enumerate(names)})
    owned = owned_rows(table, subject) if cells else np.zeros(0, bool)
    buffer = io.StringIO(newline="")
    ending = "\r\n" if "\r\n" in text else "\n"
    writer = csv.writer(buffer, dialect=csv_dialect(body), lineterminator=ending)
    writer.writerow(names)
    kept = [row for row, gone in zip(cells, owned, strict=True) if not gone]
    writer.writerows(kept)
    return (buffer.getvalue().encode(errors="surrogateescape") if kept else None), int(owned.sum())


def owned_rows(rows: pa.Table, subject: Subject) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """For each row, whether it names the account or something of its own."""
    owned = np.zeros(rows.num_rows, bool)
    for name in rows.column_names:
        column = rows[name]
        if name in FIELD_KINDS and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            owned |= _owned_by_name(rows, name, subject)
        elif name == _JSON_COLUMN:
            owned |= np.array([_names_subject(text, subject) for text in column.to_pylist()], bool)
    return owned


def _owned_by_name(rows: pa.Table, name: str, subject: Subject) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    sign = KIND_COLUMN_OF.get(name, "")
    if sign not in rows.column_names:
        return _among(rows[name], subject.owned(name, rows[name].to_pylist()))
    owned = np.zeros(rows.num_rows, bool)
    for value in pc.unique(rows[sign]).to_pylist():
        kinds = KIND_COLUMNS[sign].get(value, FIELD_KINDS[name])
        here = _among(rows[sign], {value}) if value is not None else np.asarray(pc.is_null(rows[sign]))
        owned |= here & _among(rows[name], subject.owned(name, rows[name].filter(pa.array(here)).to_pylist(), kinds))
    return owned


def _among(column: pa.ChunkedArray, values: set[str]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    return np.asarray(pc.is_in(column, pa.array(sorted(values), column.type)), bool)


def _names_subject(text: str | None, subject: Subject) -> bool:
    """Whether a rejected row, as JSON, is the account's."""
    try:
        row = json.loads(text or "null")
    except ValueError:
        return False
    if not isinstance(row, dict):
        return False
    for name, value in row.items():
        sign = KIND_COLUMN_OF.get(name, "")
        kinds = KIND_COLUMNS[sign].get(str(row[sign]), FIELD_KINDS[name]) if sign in row else None
        if name in FIELD_KINDS and isinstance(value, str) and subject.owned(name, [value], kinds):
            return True
    return False


def _as_parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_index=True)
    return buffer.getvalue()
