"""Erasing from objects that hold rows: the windows of raw/*, and everything that was dropped under landing/."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.transforms.erasure import files_named, with_files_replaced
from resources.catalogues import audience
from resources.erasure.delimited import read_separated
from resources.erasure.tombstones import FIELD_KINDS, HANDLE, KIND_COLUMN_OF, KIND_COLUMNS, Subject
from resources.s3.client import S3Resource

_MANIFEST = re.compile(r"(raw/[^/]+/source=[^/]+)/manifests/(\d+)\.json")
_PLAN = re.compile(r"(raw/[^/]+/source=[^/]+)/window=(\d+)/plan-.*")
_JSON_COLUMN, _PARQUET = "row_json", b"PAR1"


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


def erase_plans(s3: S3Resource, tables: Iterable[str]) -> int:
    """Delete the plans of first loads, whose ranges are keys, where the window is whole; returns how many objects.

    The records of the parts first: without its plan nobody would find them. A plan that is still needed stays.
    """
    deleted = 0
    for table in tables:
        listed = [item.key for item in s3.list_objects(f"raw/{table}/")]
        whole = {found.groups() for key in listed if (found := _MANIFEST.fullmatch(key))}
        gone = [key for key in listed if (found := _PLAN.fullmatch(key)) and found.groups() in whole]
        s3.delete(sorted(gone, key=lambda key: key.endswith("/plan.json")))
        deleted += len(gone)
    return deleted


def erase_landed(s3: S3Resource, subject: Subject, keys: Iterable[str]) -> "dict[str, Counter[str]]":
    """Rewrite dropped files (Parquet, separated text) without the rows that name the account or something of its own.

    A file without any other row goes. What is in another format stays, or has quotes that are not in order, and the
    scan says so. Folder → what was removed. Memory: one file, which people made by hand.
    """
    removed: dict[str, Counter[str]] = {}
    for key in keys:
        body = s3.get(key)
        if body is None:
            continue
        if body.startswith(_PARQUET):
            written, gone = _without(body, subject)
        elif key.startswith(audience.LANDING) or key.endswith(".csv"):
            written, gone = _text_without(key, body, subject)
        else:
            continue
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


def _text_without(key: str, body: bytes, subject: Subject) -> tuple[bytes | None, int]:
    """The lines of separated text as they are written there, without the account's."""
    text = read_separated(key, body)
    kept: list[str] = []
    gone = 0
    try:
        for lines, cells in text.rows():
            if _is_owned_line(text.names, cells, subject):
                gone += 1
            else:
                kept.append(lines)
    except csv.Error:
        return body, 0
    return (text.encoded(kept) if kept else None), gone


def _is_owned_line(names: Sequence[str], cells: Sequence[str], subject: Subject) -> bool:
    """Whether a line is the account's; where its cells are not those of the header, any of them may say so."""
    stated = cells if len(cells) != len(names) else [cell for name, cell in zip(names, cells, strict=True)
                                                     if name == "account_id"]  # fmt: skip
    if subject.account_id in (cell.strip() for cell in stated):
        return True
    return _is_owned({name: cell.strip() for name, cell in zip(names, cells, strict=False)}, subject)


def owned_rows(rows: pa.Table, subject: Subject) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """For each row, whether it names the account or something of its own; a handle counts beside no other account.

    A post of its own was perhaps another's before, and a handle may be another's since. Ids are compared as texts,
    whatever type a column has.
    """
    texts = {name: _as_texts(rows[name]) for name in rows.column_names if name in FIELD_KINDS}
    signs = {name: rows[name].cast(pa.string()) for name in KIND_COLUMNS if name in rows.column_names}
    named = pa.table({**{name: column for name, column in texts.items() if column is not None}, **signs})
    owned, by_handle = np.zeros(rows.num_rows, bool), np.zeros(rows.num_rows, bool)
    owners = np.full(rows.num_rows, None, object)
    if _JSON_COLUMN in rows.column_names:
        documents = [_document(text) for text in rows[_JSON_COLUMN].to_pylist()]
        owned |= np.array([_is_owned(document, subject) for document in documents], bool)
        owners = np.array([_owner(document) for document in documents], object)
    for name in named.column_names:
        if name == "account_id":
            owners = np.array(named[name].to_pylist(), object)
            owned |= _owned_by_name(named, name, subject)
        elif name == HANDLE:
            by_handle |= _owned_by_name(named, name, subject)
        elif name in FIELD_KINDS:
            owned |= _owned_by_name(named, name, subject)
    elsewhere = np.array([bool(owner and owner.strip()) and owner != subject.account_id for owner in owners], bool)
    found: np.ndarray[Any, np.dtype[np.bool_]] = owned | (by_handle & ~elsewhere)
    return found


def _as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of ids as texts; None for one of another kind, lists for example."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = [None if value is None else value.decode("latin-1") for value in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return column.cast(pa.string()) if is_text or pa.types.is_integer(kind) else None


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


def _document(text: str | None) -> Any:
    """A rejected row, as JSON; None when it is none."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _owner(document: Any) -> str | None:
    owner = document.get("account_id") if isinstance(document, dict) else None
    return None if owner is None else str(owner)


def _is_owned(document: Any, subject: Subject) -> bool:
    """Whether a row, name → value, is the account's; a handle counts only where it names no other account.

    A rejected line of a report has its ``cells`` as JSON in it: a list where none of them has a name.
    """
    if not isinstance(document, dict):
        return False
    owner = (_owner(document) or "").strip()
    if owner == subject.account_id:
        return True
    for name, value in document.items():
        if owner and name in {HANDLE, "cells"}:
            continue
        sign = KIND_COLUMN_OF.get(name, "")
        kinds = KIND_COLUMNS[sign].get(str(document[sign])) if sign in document else None
        if name in FIELD_KINDS and isinstance(value, str | int) and subject.owned(name, [str(value)], kinds):
            return True
        cells = _document(value) if name == "cells" and isinstance(value, str) else None
        if isinstance(cells, list) and subject.account_id in (str(cell).strip() for cell in cells):
            return True
    return False


def _as_parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_index=True)
    return buffer.getvalue()
