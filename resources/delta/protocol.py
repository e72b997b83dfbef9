"""Refuse tables that use parts of the Delta protocol that Cippus does not implement."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from resources.errors import PermanentFailure

READER_VERSION, WRITER_VERSIONS, FEATURES_VERSION = 1, range(1, 5), 7
"""Tables are created with reader version 1 and writer version 2, or 4 with a change feed. Writer version 7 lists its
features by name. Versions 5 and 6 bring column mapping and identity columns."""
WRITER_FEATURES = frozenset({"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"})
"""Features of writer versions 1 to 4. All but the change feed are refused where a table uses them."""
_REFUSED_SETTINGS = (
    "delta.appendOnly",
    "delta.enableDeletionVectors",
    "delta.columnMapping.mode",
    "delta.constraints.",
)
_COLUMN_RULE = re.compile(r'"(delta\.[\w.]+)"\s*:')
"""Metadata of a column: an invariant, a generated or identity column, or a mapped name."""


class UnsupportedTableError(PermanentFailure):
    """A table uses a Delta feature that Cippus does not implement; nothing was written."""

    def __init__(self, table: str, features: str) -> None:
        super().__init__(
            f"{table} uses Delta features that Cippus does not support ({features}); nothing was written. Drop them "
            "with the engine that set them, or delete the table and let Cippus write it again."
        )


@contextmanager
def refusing_unknown_features(uri: str) -> Iterator[None]:
    """Raise UnsupportedTableError where delta-rs cannot open a table because of its protocol."""
    try:
        yield
    except DeltaError as error:
        _, is_protocol, reason = str(error).partition("Unsupported: ")
        if is_protocol:
            raise UnsupportedTableError(uri, reason) from error
        raise


def require_readable(table: DeltaTable) -> None:
    """Raise UnsupportedTableError for a table whose rows cannot be read from its data files alone."""
    found = table.protocol()
    reasons = [f"reader feature {name}" for name in sorted(found.reader_features or ())]
    if not reasons and found.min_reader_version > READER_VERSION:
        reasons = [f"reader version {found.min_reader_version}"]
    _refuse(table, reasons)


def require_writable(table: DeltaTable) -> None:
    """Raise UnsupportedTableError for a table that has rules which this writer does not keep."""
    require_readable(table)
    _refuse(table, [*_writer_reasons(table)])


def _refuse(table: DeltaTable, reasons: list[str]) -> None:
    if reasons:
        raise UnsupportedTableError(table.table_uri.rstrip("/"), ", ".join(reasons))


def _writer_reasons(table: DeltaTable) -> Iterator[str]:
    found = table.protocol()
    if found.min_writer_version not in (*WRITER_VERSIONS, FEATURES_VERSION):
        yield f"writer version {found.min_writer_version}"
    yield from (f"writer feature {name}" for name in sorted({*(found.writer_features or ())} - WRITER_FEATURES))
    for name, value in sorted(table.metadata().configuration.items()):
        if name.startswith(_REFUSED_SETTINGS) and value not in ("false", "none"):
            yield f"table property {name}={value}"
    yield from (f"column property {name}" for name in sorted({*_COLUMN_RULE.findall(table.schema().to_json())}))
