"""Change a lake table: compute an edit from the newest snapshot, write its files, commit. Retry after a conflict."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from resources.delta.commit import Action, Commit, CommitConflictError, DataFile, bucket_of, write_commit
from resources.delta.files import Folder
from resources.delta.merge import FILE, BucketWindow, Edit, MergeRule, newer
from resources.delta.open_tables import COMMITS_PER_CHECKPOINT, OpenTables
from resources.delta.rewrite import write_files
from resources.delta.snapshot import Lookup, Snapshot
from resources.delta.spec import BUCKET, WHOLE, Changes, TableSpec, typed

_ATTEMPTS = 20
"""Attempts at a change before CommitConflictError is raised."""
_FILES_PER_COMMIT = 1_000
"""A checkpoint lists all files, so a table with more than 10,000 files gets fewer: one per N commits, where N is the
number of files divided by this."""


@dataclass(frozen=True)
class Base:
    """The version of a table that an edit is computed from. ``recorded``: application → its last version there."""

    tables: OpenTables
    spec: TableSpec
    lookup: Lookup
    recorded: Mapping[str, int]


Decide = Callable[[Base], Edit]
"""Computes an edit from the version of a table that it is to be committed after."""


def change(
    tables: OpenTables,
    spec: TableSpec,
    decide: Decide,
    buckets: Iterable[int] | None,
    applications: Mapping[str, int] | None = None,
    window: BucketWindow | None = None,
) -> Changes:
    """Commit an edit and ``applications``. After a conflict, compute the edit again from the newest snapshot.

    ``buckets``: the buckets that the edit is computed from, None for all. With a ``window``, the base also has the
    recorded versions of these buckets' applications. The files of an attempt that conflicts are deleted.
    Raises CommitConflictError, UnsupportedTableError.
    """
    asked = {*(applications or {}), *(window.of(buckets or ()) if window else ())}
    for _ in range(_ATTEMPTS):
        tables.create(spec)
        snapshot = tables.writable_snapshot(spec)
        recorded = tables.applied(spec, asked)
        due = {app: number for app, number in (applications or {}).items() if recorded.get(app, -1) < number}
        lookup = tables.lookup(spec, snapshot)
        try:
            edit = decide(Base(tables, spec, lookup, recorded))
            if edit.changes.written or due:
                _commit(tables, spec, lookup, edit, buckets, due, window)
        except CommitConflictError:
            tables.refresh(spec)
        except FileNotFoundError:  # history was deleted, and a file of this snapshot with it; or a file is lost
            if not tables.is_outdated(spec, snapshot):
                raise
        else:
            return edit.changes
    message = f"{tables.s3.uri(spec.name)}: other writers of the same rows were first {_ATTEMPTS} times in a row."
    raise CommitConflictError(message)


def _commit(
    tables: OpenTables,
    spec: TableSpec,
    lookup: Lookup,
    edit: Edit,
    buckets: Iterable[int] | None,
    applications: Mapping[str, int],
    window: BucketWindow | None,
) -> None:
    """Write the files of an edit and commit them. Raises CommitConflictError."""
    snapshot = lookup.snapshot
    written = write_files(lookup.folder, snapshot, spec, edit)
    touched = _touched(edit, snapshot, buckets if spec.partitioned or buckets == () else None)
    commit = Commit(
        "MERGE" if touched else "WRITE",
        written.adds,
        written.removes,
        written.changes,
        applications,
        touched,
        relied_on=frozenset(window.of(touched) if window else ()),
    )
    conflicts = partial(_adds_keys, lookup.folder, edit.after.select(spec.key) if spec.moves else pl.DataFrame())
    with tables.commit_lock:
        version = write_commit(tables.s3, spec.name, snapshot.version, commit, conflicts)
    tables.refresh(spec)
    if version % max(COMMITS_PER_CHECKPOINT, snapshot.files.height // _FILES_PER_COMMIT) == 0:
        tables.checkpoint(spec)


def merge_edit(
    rows: pl.DataFrame, buckets: Sequence[int], rule: MergeRule, window: BucketWindow | None, base: Base
) -> Edit:
    """Return the edit that merges a window's rows into their buckets, and deletes moved keys from their old buckets."""
    schema = base.lookup.snapshot.schema
    coming = typed(rows, schema, only_given=True)
    due = coming.filter(~pl.col(BUCKET).is_in(window.at_least(window.number, base.recorded))) if window else coming
    current = base.lookup.current(base.spec, due)
    edit = newer(current, due, base.spec.key, rule)
    if window and base.spec.moves:
        elsewhere = window.of({*current[BUCKET].unique()} - {*buckets})
        known = {**base.recorded, **(base.tables.applied(base.spec, elsewhere) if elsewhere else {})}
        kept = window.kept(edit, base.spec.key, known)
        if kept.height:
            due = due.join(kept, on=list(base.spec.key), how="anti", nulls_equal=True)
            edit = newer(current, due, base.spec.key, rule)
    changes = edit.changes + Changes(unchanged=coming.height - due.height)
    return replace(edit, after=typed(edit.after, schema), changes=changes)


def _adds_keys(folder: Folder, keys: pl.DataFrame, actions: Sequence[Action]) -> bool:
    """Return whether added files, of any bucket, contain keys that this change did not find in the table."""
    if keys.is_empty():
        return False
    added = [action["add"] for action in actions if "add" in action]
    files = [DataFile(add["path"], add["size"], 0, bucket_of(add) or 0) for add in added]
    wanted = keys.sort(keys.columns)
    return any(next(folder.open(file).matching(wanted, keys.columns), None) is not None for file in files)


def _touched(edit: Edit, snapshot: Snapshot, buckets: Iterable[int] | None) -> frozenset[int]:
    replaced = snapshot.files.filter(pl.col(FILE).is_in(edit.before[FILE].unique().implode()))["bucket"].unique()
    read = [*snapshot.files["bucket"].unique(), WHOLE] if buckets is None else buckets
    return frozenset({*replaced, *read})
