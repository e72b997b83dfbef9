"""The one way in which a table of the lake is changed: decide, write files, commit, and again when outrun."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl
from deltalake.exceptions import TableNotFoundError

from resources.delta.commit import Action, Commit, DataFile, OutrunError, bucket_of, write_commit
from resources.delta.merge import FILE, BucketWindow, Edit
from resources.delta.rewrite import carry_out
from resources.delta.snapshot import Lookup, Snapshot
from resources.delta.spec import WHOLE, Changes, TableSpec

if TYPE_CHECKING:
    from resources.delta.table import LakeResource

Decide = Callable[[Lookup, Mapping[str, int]], Edit]
"""An edit of the rows of a snapshot, from them and from application → the last version of it that the table has."""
_ATTEMPTS = 20
"""How often a change is computed anew because another writer of the same rows was first."""
COMMITS_PER_CHECKPOINT, _FILES_PER_COMMIT = 10, 1_000
"""Opening a table reads every commit since the last checkpoint, and a checkpoint lists all files: one every 10 commits,
and where there are more than 10,000 files one every so many thousands of them, so that a change's share is small."""


def change(
    lake: "LakeResource",
    spec: TableSpec,
    decide: Decide,
    buckets: Iterable[int] | None,
    applications: Mapping[str, int] | None = None,
    window: BucketWindow | None = None,
) -> Changes:
    """Decide, write, commit; again from the beginning, on the newest snapshot, while other writers are first.

    ``buckets`` are those that were read for it, None for all. Files of an attempt that was outrun are deleted. How far
    the buckets are with a ``window`` is told too, though only ``applications`` are recorded.
    """
    asked = {*(applications or {}), *(window.of(buckets or ()) if window else ())}
    for attempt in range(_ATTEMPTS):
        if attempt:
            lake.look_again(spec)
        lake.create(spec)
        snapshot = lake.snapshot(spec)
        if snapshot is None:
            raise TableNotFoundError(lake.s3.uri(spec.name))
        recorded = lake.applied(spec, asked)
        due = {app: number for app, number in (applications or {}).items() if recorded.get(app, -1) < number}
        lookup = lake.lookup(spec, snapshot)
        edit = decide(lookup, recorded)
        if not (edit.changes.written or due):
            return edit.changes
        written = carry_out(lookup.folder, snapshot, spec, edit)
        touched = _touched(edit, snapshot, buckets if spec.partitioned or buckets == () else None)
        commit = Commit("MERGE" if touched else "WRITE", written.adds, written.removes, written.changes, due, touched)
        is_outrun = _outrun(window.of(touched) if window else set(), _newcomers(lake, spec, snapshot, edit))
        try:
            with lake.committing():
                version = write_commit(lake.s3, spec.name, snapshot.version, commit, is_outrun)
        except OutrunError:
            lake.s3.delete([f"{spec.name}/{path}" for path in written.paths])
            continue
        lake.look_again(spec)
        if version % max(COMMITS_PER_CHECKPOINT, snapshot.files.height // _FILES_PER_COMMIT) == 0:
            lake.checkpoint(spec)
        return edit.changes
    message = f"{lake.s3.uri(spec.name)}: other writers of the same rows were first {_ATTEMPTS} times in a row."
    raise OutrunError(message)


def _outrun(relied_on: set[str], otherwise: Callable[[Sequence[Action]], bool]) -> Callable[[Sequence[Action]], bool]:
    """Whether a bucket that an edit was computed from went on to another window, which may change none of its files."""

    def found_in(actions: Sequence[Action]) -> bool:
        return any(action.get("txn", {}).get("appId") in relied_on for action in actions) or otherwise(actions)

    return found_in


def _newcomers(
    lake: "LakeResource", spec: TableSpec, snapshot: Snapshot, edit: Edit
) -> Callable[[Sequence[Action]], bool]:
    """Whether files that were added meanwhile, in any bucket, hold keys that were looked for and not found."""
    keys = edit.after.select(spec.key)

    def found_in(actions: Sequence[Action]) -> bool:
        if not (spec.moves and keys.height):
            return False
        added = [action["add"] for action in actions if "add" in action]
        files = [DataFile(add["path"], add["size"], 0, bucket_of(add) or 0) for add in added]
        folder = lake.folder(spec, snapshot)
        return any(next(folder.open(file).matching(keys.sort(spec.key), spec.key), None) is not None for file in files)

    return found_in


def _touched(edit: Edit, snapshot: Snapshot, buckets: Iterable[int] | None) -> frozenset[int]:
    replaced = snapshot.files.filter(pl.col(FILE).is_in(edit.before[FILE].unique().implode()))["bucket"].unique()
    read = [*snapshot.files["bucket"].unique(), WHOLE] if buckets is None else buckets
    return frozenset({*replaced, *read})
