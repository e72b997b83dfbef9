"""Search of stored formats: Parquet, Delta logs, JSON, CSV, raw bytes."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.catalogues.audience import LANDING
from resources.erasure.delimited import decoded, read_delimited, wide_encodings
from resources.erasure.terms import FREE_TEXT, Matches
from resources.erasure.tombstones import ACCOUNT, FIELD_KINDS, KIND_COLUMN_OF, KIND_COLUMNS

_CHUNK_BYTES = 8 << 20
_HEAD_BYTES = 4096
_CSV_ROWS = 10_000
_PARQUET = b"PAR1"
_TEXT_TYPES, _ID_TYPES = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"), ("INT32", "INT64")
_DELTA_STATISTICS = "stats"
"""The column of a Delta checkpoint that holds JSON, like the log."""


def search_parquet(source: pa.NativeFile, matches: Matches) -> None:
    """Search every text of every row group: values, dictionaries with unused entries, statistics, footer metadata.

    Only text and ids are read, so vectors cost nothing. Memory: one text column of one row group, each distinct value
    once. Raise ValueError if the source is not Parquet.
    """
    metadata = pq.read_metadata(source)
    schema = metadata.schema.to_arrow_schema()
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    texts = [column.path for column in columns if column.physical_type in _TEXT_TYPES]
    ids = [column.path for column in columns if column.physical_type in _ID_TYPES and _names_id(column.path)]
    flat_texts = [path for path in texts if path in schema.names]
    parquet = pq.ParquetFile(source, metadata=metadata, read_dictionary=flat_texts)
    for value in (metadata.metadata or {}).values():
        matches.search_bytes(value)
    for group in range(metadata.num_row_groups):
        _search_statistics(metadata.row_group(group), matches)
        for name in dict.fromkeys(path.split(".")[0] for path in (*texts, *ids)):
            kind_column = KIND_COLUMN_OF.get(name)
            if kind_column in schema.names:
                rows = parquet.read_row_group(group, columns=[name, kind_column])
                _search_by_kind(rows, name, str(kind_column), matches)
            else:
                for chunk in parquet.read_row_group(group, columns=[name])[name].chunks:
                    for leaf, values in _texts(name, chunk):
                        _search_texts(leaf, values, None, matches)


def _names_id(path: str) -> bool:
    return not FIELD_KINDS.keys().isdisjoint(path.split("."))


def _search_statistics(group: pq.RowGroupMetaData, matches: Matches) -> None:
    for index in range(group.num_columns):
        column = group.column(index)
        found = column.statistics
        path = column.path_in_schema.split(".")
        name = path[0] if path[0] in FREE_TEXT else path[-1]
        # The bounds of Delta statistics are truncated JSON. The rows hold all of it.
        if found is not None and found.has_min_max and name != _DELTA_STATISTICS:
            types = (str, int) if name in FIELD_KINDS else (str,)
            bounds = {str(value) for value in (found.min, found.max) if isinstance(value, types)}
            # Only a row states its kind, so the bounds of such a column match no id.
            matches.search_values(name, bounds, () if name in KIND_COLUMN_OF else None)


def _search_by_kind(rows: pa.Table, name: str, kind_column: str, matches: Matches) -> None:
    texts = rows[name].cast(pa.string()).combine_chunks()
    kinds = rows[kind_column].cast(pa.string()).combine_chunks()
    for value in pc.unique(kinds).to_pylist():
        is_kind = pc.is_null(kinds) if value is None else pc.equal(kinds, value)
        _search_texts(name, pc.unique(texts.filter(is_kind)), KIND_COLUMNS[kind_column].get(value), matches)


def _search_texts(name: str, texts: pa.Array, kinds: Sequence[str] | None, matches: Matches) -> None:
    if name in FIELD_KINDS:
        matches.search_values(name, texts.drop_null().to_pylist(), kinds)
    elif name == _DELTA_STATISTICS:  # bounds by column: another account's id may contain this one
        for text in texts.drop_null().to_pylist():
            if not matches.search_json(text):
                matches.search_bytes(text.encode())
    else:
        matches.search_texts(texts.to_pylist())
        if name not in FREE_TEXT:
            is_document = pc.or_(pc.starts_with(texts, "{"), pc.starts_with(texts, "["))
            is_candidate = pc.or_(is_document, pc.equal(texts, matches.terms.subject.account_id))
            matches.search_values(name, texts.filter(pc.fill_null(is_candidate, False)).to_pylist())


def _texts(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield (name, distinct texts) of each leaf. A dictionary yields all entries, unused ones too."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _texts(name, array.dictionary)
    elif pa.types.is_map(kind):
        yield from _texts("key", array.keys)
        yield from _texts("value", array.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(name, array.flatten())
    elif pa.types.is_struct(kind):
        for field, values in zip(kind, array.flatten(), strict=True):
            yield from _texts(field.name, values)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        decoded = [value.decode("latin-1") for value in pc.unique(array).drop_null().to_pylist()]
        yield name, pa.array(decoded, pa.string())
    elif (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_integer(kind) and name in FIELD_KINDS)
    ):
        yield name, pc.unique(array).cast(pa.string())


def search_json(body: bytes, matches: Matches) -> None:
    """Search a JSON document, or JSON lines like Delta's log. Search unparsable lines as bytes."""
    _, _, text = decoded(body)
    if matches.search_json(text):
        return
    for line in text.splitlines():
        if line.strip() and not matches.search_json(line):
            matches.search_bytes(line.encode())


def search_csv(key: str, body: bytes, matches: Matches) -> None:
    """Search delimited text cell by cell, 10,000 rows at a time. If quotes are broken, search lines and bytes too.

    A cell without a header is an account id if it equals the account's.
    """
    text = read_delimited(key, body)
    rows = (cells for _, cells in text.rows())
    try:
        while batch := list(islice(rows, _CSV_ROWS)):
            _search_cells(text.names, batch, matches)
    except csv.Error:
        _search_cells((), text.lines(), matches)
        matches.search_bytes(body)


def _search_cells(names: Sequence[str], rows: Iterable[Sequence[str]], matches: Matches) -> None:
    found: dict[tuple[str, Sequence[str] | None], set[str]] = {}
    for cells in rows:
        values = dict(zip(names, cells, strict=False))
        for name, value in zip(names, cells, strict=False):
            kind_column = KIND_COLUMN_OF.get(name, "")
            kinds = KIND_COLUMNS.get(kind_column, {}).get(values.get(kind_column, ""))
            found.setdefault((name, kinds), set()).add(value.strip())
        if len(cells) != len(names):
            found.setdefault(("", (ACCOUNT,)), set()).update(cell.strip() for cell in cells)
    for (name, of_name), texts in found.items():
        matches.search_values(name, texts, of_name)


def search_plain(name: str, file: BinaryIO, matches: Matches, whole_bytes: int | None) -> None:
    """Search a file that is not packed, in the format that its name says: JSON, delimited text, Parquet, or bytes.

    A file of more than ``whole_bytes`` is searched as bytes. The audience stage reads all of its folder as text.
    """
    is_json = name.endswith((".json", ".jsonl")) or "/_last_checkpoint" in name
    is_csv, is_parquet = name.endswith(".csv") or name.startswith(LANDING), name.endswith(".parquet")
    if not (is_json or is_csv or is_parquet):
        search_bytes(file, matches)
        return
    body = file.read() if whole_bytes is None else file.read(whole_bytes)
    if rest := file.read(1):
        search_bytes(file, matches, begun=body + rest)
        return
    if is_json:
        search_json(body, matches)
    if is_parquet and body.startswith(_PARQUET):
        search_parquet(pa.BufferReader(body), matches)
    elif is_csv and not body.startswith(_PARQUET):
        search_csv(name, body, matches)
    elif not is_json:
        matches.search_bytes(body)


def search_bytes(file: BinaryIO, matches: Matches, *, ids: bool = True, begun: bytes = b"") -> None:
    """Search any file, 8 MB at a time. The chunks overlap by the longest term. ``begun`` was read from it before.

    What seems to be text with two bytes a character is searched as such too.
    """
    before, wide = b"", None
    chunk = begun or file.read(_CHUNK_BYTES)
    overlap = 2 * matches.terms.longest
    while chunk:
        wide = wide_encodings(chunk[:_HEAD_BYTES]) if wide is None else wide
        if content := (before + chunk).strip(b"\0"):  # engines preallocate their files
            matches.search_bytes(content, ids=ids)
        for encoding in wide:
            matches.search_bytes((before + chunk).decode(encoding, errors="ignore").encode(), ids=ids)
        before = chunk[-overlap:]
        chunk = file.read(_CHUNK_BYTES)
