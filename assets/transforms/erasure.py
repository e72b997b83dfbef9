"""Leaving erased accounts out, and documents that name files which were rewritten."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc


class ErasedAccounts(Protocol):
    """Who was erased; false when nobody was."""

    def __bool__(self) -> bool: ...

    def accounts_among(self, ids: Iterable[str]) -> set[str]:
        """Those ids that are an erased account's."""
        ...


def without_erased(rows: pa.Table, columns: Sequence[str], erased: ErasedAccounts) -> pa.Table:
    """The rows in none of whose ``columns`` an erased account stands. Costs a hash for each distinct id, or nothing."""
    for name in columns if erased else ():
        ids = [value for value in pc.unique(rows[name]).to_pylist() if value is not None]
        gone = erased.accounts_among(ids)
        if gone:
            rows = rows.filter(pc.invert(pc.is_in(rows[name], pa.array(sorted(gone), rows[name].type))))
    return rows


def with_files_replaced(document: Any, replaced: Mapping[str, Mapping[str, Any] | None]) -> Any:
    """A JSON document in which every entry whose ``key`` was replaced says so, wherever it stands.

    ``replaced``: key of a file → what its entry says now (key, rows, size_bytes), or None where no row is left.
    """
    if isinstance(document, list):
        return [with_files_replaced(below, replaced) for below in document if not _is_gone(below, replaced)]
    if not isinstance(document, Mapping):
        return document
    now = replaced.get(document["key"]) if isinstance(document.get("key"), str) else None
    return {name: with_files_replaced(below, replaced) for name, below in {**document, **(now or {})}.items()}


def files_named(document: Any) -> set[str]:
    """The ``key`` of every entry of a document."""
    if isinstance(document, list):
        return set().union(*(files_named(below) for below in document))
    if not isinstance(document, Mapping):
        return set()
    own = {document["key"]} if isinstance(document.get("key"), str) else set()
    return own.union(*(files_named(below) for below in document.values()))


def _is_gone(entry: Any, replaced: Mapping[str, Mapping[str, Any] | None]) -> bool:
    key = entry.get("key") if isinstance(entry, Mapping) else None
    return isinstance(key, str) and key in replaced and replaced[key] is None
