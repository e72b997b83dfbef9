"""Decoding what the lineage stores, so that a scan can look at it: Parquet, Delta logs, JSON, CSV, raw bytes."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.erasure.delimited import read_separated
from resources.erasure.terms import FREE_TEXT, Sightings
from resources.erasure.tombstones import ACCOUNT, FIELD_KINDS, KIND_COLUMN_OF, KIND_COLUMNS

_CHUNK_BYTES = 8 << 20
_CSV_ROWS = 10_000
_STATISTICS = "stats"
"""The column of a Delta checkpoint that holds JSON as the log does."""


def look_into_parquet(parquet: pq.ParquetFile, seen: Sightings) -> None:
    """Every text of every row group: values, dictionaries (unreferenced entries too), statistics, footer metadata.

    ``parquet`` was opened with ``text_columns`` as dictionaries. Numbers that are no ids are
    not read, so vectors cost nothing.
    Memory: one text column of one row group, each distinct value once.
    """
    for value in (parquet.metadata.metadata or {}).values():
        seen.raw(value)
    roots = text_roots(parquet.schema)
    for group in range(parquet.num_row_groups):
        _look_at_statistics(parquet.metadata.row_group(group), seen)
        for root in roots:
            sign = KIND_COLUMN_OF.get(root)
            with_sign = [root, sign] if sign in parquet.schema_arrow.names else [root]
            rows = parquet.read_row_group(group, columns=with_sign)
            _look_at_column(rows, root, sign if len(with_sign) > 1 else None, seen)


def text_columns(schema: pq.ParquetSchema) -> list[str]:
    """The flat text columns, which are read as dictionaries."""
    return [schema.column(i).path for i in range(len(schema)) if _is_text(schema, i) and schema.column(i).path in
            schema.to_arrow_schema().names]  # fmt: skip


def text_roots(schema: pq.ParquetSchema) -> list[str]:
    """The top-level columns that hold texts anywhere, or numbers as ids."""
    paths = {i: schema.column(i).path.split(".") for i in range(len(schema))}
    return list(dict.fromkeys(path[0] for i, path in paths.items() if _is_text(schema, i) or _is_id(schema, i, path)))


def _is_id(schema: pq.ParquetSchema, index: int, path: Sequence[str]) -> bool:
    return bool(set(path) & set(FIELD_KINDS)) and schema.column(index).physical_type in ("INT32", "INT64")


def _is_text(schema: pq.ParquetSchema, index: int) -> bool:
    return bool(schema.column(index).physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"))


def _look_at_statistics(group: pq.RowGroupMetaData, seen: Sightings) -> None:
    for index in range(group.num_columns):
        column = group.column(index)
        found = column.statistics
        if found is not None and found.has_min_max:
            # The rows tell which kind of item a name is of; the bounds of many rows do not.
            path = column.path_in_schema.split(".")
            name = path[0] if path[0] in FREE_TEXT else path[-1]
            kinds = (str, int) if name in FIELD_KINDS else (str,)
            if name == _STATISTICS:
                continue  # cut-off beginnings of JSON that the rows, all of them read, have whole
            bounds = {str(value) for value in (found.min, found.max) if isinstance(value, kinds)}
            seen.named(name, bounds, () if name in KIND_COLUMN_OF else None)


def _look_at_column(rows: pa.Table, root: str, sign: str | None, seen: Sightings) -> None:
    for chunk in rows[root].chunks:
        if sign is None:
            for name, texts in _texts(root, chunk):
                _look_at_texts(name, texts, None, seen)
    if sign is not None:
        plain = rows[root].cast(pa.string()).combine_chunks()
        signs = rows[sign].cast(pa.string()).combine_chunks()
        for value in pc.unique(signs).to_pylist():
            here = pc.is_null(signs) if value is None else pc.equal(signs, value)
            _look_at_texts(root, pc.unique(plain.filter(here)), KIND_COLUMNS[sign].get(value), seen)


def _look_at_texts(name: str, texts: pa.Array, kinds: Sequence[str] | None, seen: Sightings) -> None:
    if name in FIELD_KINDS:
        seen.named(name, (value for value in texts.to_pylist() if value is not None), kinds)
        return
    if name == _STATISTICS:  # bounds by column: another's id may well hold the account's
        for text in (value for value in texts.to_pylist() if value is not None):
            if not seen.json_text(text):
                seen.raw(text.encode())
        return
    seen.texts(texts.to_pylist())
    if name in FREE_TEXT:
        return
    told = pc.or_(pc.starts_with(texts, "{"), pc.equal(texts, seen.needles.subject.account_id))
    seen.named(name, texts.filter(pc.fill_null(told, False)).to_pylist())


def _texts(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """(name, distinct texts) of an array's leaves; of a dictionary all entries, used or not."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _texts(name, array.dictionary)
    elif pa.types.is_map(kind):
        yield from _texts("key", array.keys)
        yield from _texts("value", array.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(name, array.flatten())
    elif pa.types.is_struct(kind):
        for field, below in zip(kind, array.flatten(), strict=True):
            yield from _texts(field.name, below)
    elif (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_integer(kind) and name in FIELD_KINDS)
    ):
        yield name, pc.unique(array).cast(pa.string())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = [value.decode("latin-1") for value in pc.unique(array).to_pylist() if value is not None]
        yield name, pa.array(values, pa.string())


def look_into_json(body: bytes, seen: Sightings) -> None:
    """A JSON document, or one a line, as Delta's log is; what is neither is looked at as bytes."""
    text = body.decode(errors="replace")
    if seen.json_text(text):
        return
    for line in text.splitlines():
        if line.strip() and not seen.json_text(line):
            seen.raw(line.encode())


def look_into_csv(key: str, body: bytes, seen: Sightings) -> None:
    """Separated text with a header, cell by cell; where quotes are not in order, line by line and as bytes too.

    10,000 rows at a time. A cell that stands under no header is an account's id where it equals it.
    """
    text = read_separated(key, body)
    rows = (cells for _, cells in text.rows())
    try:
        while some := list(islice(rows, _CSV_ROWS)):
            _look_at_cells(text.names, some, seen)
    except csv.Error:
        _look_at_cells((), text.lines(), seen)
        seen.raw(body)


def _look_at_cells(names: Sequence[str], rows: Iterable[Sequence[str]], seen: Sightings) -> None:
    found: dict[tuple[str, Sequence[str] | None], set[str]] = {}
    for cells in rows:
        values = dict(zip(names, cells, strict=False))
        for name, value in zip(names, cells, strict=False):
            sign = KIND_COLUMN_OF.get(name)
            kinds: Sequence[str] | None = None
            if sign and values.get(sign):
                kinds = KIND_COLUMNS[sign].get(values[sign])
            found.setdefault((name, kinds), set()).add(value.strip())
        if len(cells) != len(names):
            found.setdefault(("", (ACCOUNT,)), set()).update(cell.strip() for cell in cells)
    for (name, of_name), texts in found.items():
        seen.named(name, texts, of_name)


def look_into_bytes(file: BinaryIO, seen: Sightings, *, as_word: bool) -> None:
    """Any file, 8 MB at a time; what lies across two chunks is seen too."""
    before = b""
    while chunk := file.read(_CHUNK_BYTES):
        if content := (before + chunk).strip(b"\0"):  # engines make their files long beforehand
            seen.raw(content, as_word=as_word)
        before = chunk[-seen.needles.longest :]
