"""Filtering of erased accounts, and replacement of file entries in documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc


class ErasedAccounts(Protocol):
    """The erased accounts; false if there are none."""

    def __bool__(self) -> bool: ...

    def accounts_among(self, ids: Iterable[str]) -> set[str]:
        """Return the ids of erased accounts."""
        ...


def without_erased(rows: pa.Table, columns: Sequence[str], erased: ErasedAccounts) -> pa.Table:
    """Return the rows without an erased account in any of ``columns``. Costs a hash for each distinct id."""
    for name in columns if erased else ():
        ids = _texts(pc.unique(rows[name]))
        gone = erased.accounts_among(ids)
        if gone:
            rows = rows.filter(pc.invert(pc.is_in(rows[name], pa.array(sorted(gone), rows[name].type))))
    return rows


def _texts(values: pa.Array) -> list[str]:
    """Return the values that are not null. A text that is not UTF-8 is no id of an account."""
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())  # a text of a database without an encoding may be any bytes
    found = [value for value in values.to_pylist() if value is not None]
    return [value.decode(errors="replace") if isinstance(value, bytes) else value for value in found]


def with_files_replaced(document: Any, replaced: Mapping[str, Mapping[str, Any] | None]) -> Any:
    """Return a JSON document with every entry whose ``key`` is in ``replaced`` updated, at any depth.

    ``replaced``: key of a file → its new key, rows and size_bytes, or None to remove the entry.
    """
    if isinstance(document, list):
        kept = (entry for entry in document if replaced.get(_key(entry), {}) is not None)
        return [with_files_replaced(entry, replaced) for entry in kept]
    if not isinstance(document, Mapping):
        return document
    updated = {**document, **(replaced.get(_key(document)) or {})}
    return {name: with_files_replaced(value, replaced) for name, value in updated.items()}


def files_named(document: Any) -> Iterator[str]:
    """Yield the ``key`` of every entry of a document."""
    if _key(document):
        yield _key(document)
    nested = document.values() if isinstance(document, Mapping) else document if isinstance(document, list) else ()
    for value in nested:
        yield from files_named(value)


def _key(entry: Any) -> str:
    key = entry.get("key") if isinstance(entry, Mapping) else None
    return key if isinstance(key, str) else ""
