"""Two writers, maintenance and an erasure on one lake table, each stopped at a chosen request while others go on."""

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from obstore.store import S3Store

from resources.delta.file_cache import FILE_CACHE
from resources.delta.maintenance import MOST_SMALL_FILES, LakeMaintenance
from resources.delta.purge import delete_history
from resources.delta.table import LakeResource, TableSpec
from resources.s3.client import S3Resource
from tests.worlds.gate import PATIENCE_SECONDS, gated

DAY = datetime(2026, 1, 1, tzinfo=UTC)
ERASED = "account-that-is-erased"
MOST_REQUESTS = 45
"""An actor that is alone sends between 10 and about this many requests."""
_BUCKETS = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """The end of an interleaving: rows by key, expected rows by key, applications, errors, objects with the account."""

    rows: Mapping[str, int]
    expected: Mapping[str, int]
    applications: Mapping[str, int | None]
    errors: Mapping[str, BaseException]
    remains: tuple[str, ...]

    def problem(self) -> str:
        """Return what is wrong, or an empty string."""
        if self.errors:
            return "; ".join(f"{name} failed: {error!r}" for name, error in self.errors.items())
        if self.rows != self.expected:
            return f"the rows are {self.rows}, expected were {self.expected}"
        if self.applications != {"setup": 2, "first": 1, "second": 1}:
            return f"the recorded applications are {self.applications}"
        return f"the account is still in {', '.join(self.remains)}" if self.remains else ""


def spec_of(name: str) -> TableSpec:
    """Return a lake table with two buckets, a change feed and moving keys."""
    fields = [("account_bucket", pa.int32()), ("key", pa.string()), ("account_id", pa.string())]
    fields += [("value", pa.int64()), ("updated_at", pa.timestamp("us", tz="UTC"))]
    return TableSpec(name, pa.schema(fields), ("key",), feeds=True, moves=True)


def rows_of(spec: TableSpec, values: Mapping[str, int], day: int, account: str = "a") -> pl.DataFrame:
    """Return rows; a key's bucket is its number's last bit."""
    made = [(int(key[1:]) % 2, key, account, value, DAY + timedelta(days=day)) for key, value in values.items()]
    return pl.DataFrame(made, schema=spec.polars_schema, orient="row")


@dataclass(frozen=True)
class Template:
    """The objects of a table's folder, by their key below it, and the table's rows. Each play begins with a copy."""

    objects: Mapping[str, bytes]
    rows: Mapping[str, int]

    @classmethod
    def build(cls, s3: S3Resource) -> "Template":
        """Build a table with one small file more than maintenance leaves alone, and with rows of the account."""
        spec, lake = spec_of("lake/template"), LakeResource(s3=s3)
        rows = {f"k{number}": 0 for number in range(8)}
        lake.merge_newer(spec, rows_of(spec, rows, 0), _BUCKETS, {"setup": 1})
        for part in range(MOST_SMALL_FILES):
            added = {f"k{100 + 2 * part}": part}
            lake.append(spec, rows_of(spec, added, 0))
            rows |= added
        lake.merge_newer(spec, rows_of(spec, {"k901": 1, "k902": 1}, 0, ERASED), _BUCKETS, {"setup": 2})
        items = [item.key for item in s3.list_objects(f"{spec.name}/")]
        return cls({key.removeprefix(f"{spec.name}/"): s3.get(key) or b"" for key in items}, rows)


def play(s3: S3Resource, template: Template, seed: int) -> Outcome:
    """Run four actors on a copy of the table, by a schedule of this seed, and return what is left."""
    rng = random.Random(seed)  # noqa: S311 - the schedule must be repeatable
    spec = spec_of(f"lake/interleaved-{seed}")
    copy = S3Store.from_url(s3.uri(spec.name), **s3.obstore_options)  # a third of boto3's CPU
    for path, body in template.objects.items():
        copy.put(path, body)
    first = {f"k{rng.randrange(12)}": 1 for _ in range(4)}
    second = {f"k{rng.randrange(12)}": 2 for _ in range(4)}

    def writes(values: Mapping[str, int], day: int, app: str) -> Callable[[LakeResource], None]:
        def write(own: LakeResource) -> None:
            own.merge_newer(spec, rows_of(spec, values, day), _BUCKETS, {app: 1})

        return write

    def maintain(own: LakeResource) -> None:
        LakeMaintenance(own).compact(spec)
        LakeMaintenance(own).clean(spec)

    def erase(own: LakeResource) -> None:
        own.delete_where(spec, f"account_id = '{ERASED}'")
        for _ in range(2):  # a slow writer may see two of them
            delete_history(own.s3, spec.name)

    actors = {"first": writes(first, 1, "first"), "second": writes(second, 2, "second")}
    errors = _run_by_schedule(rng, s3, {**actors, "maintenance": maintain, "erasure": erase})
    found = pl.read_delta(DeltaTable(s3.uri(spec.name), storage_options=s3.delta_options))
    delete_history(s3, spec.name)  # an erasure is repeated until nothing is found
    versions = LakeResource(s3=s3).applied(spec, ["setup", "first", "second"])
    objects = [item.key for item in s3.list_objects(f"{spec.name}/")]
    remains = tuple(key for key in objects if ERASED.encode() in (s3.get(key) or b""))
    rows = dict(found.select("key", "value").iter_rows())
    return Outcome(rows, {**template.rows, **first, **second}, versions, errors, remains)


def without_cache() -> AbstractContextManager[object]:
    """Make every actor read S3, as a process of its own does."""
    return patch.object(FILE_CACHE, "_most", 0)


def _run_by_schedule(
    rng: random.Random, s3: S3Resource, actors: Mapping[str, Callable[[LakeResource], None]]
) -> dict[str, BaseException]:
    """Start actors in a random order, each up to a random request; then end each in another order."""
    errors: dict[str, BaseException] = {}
    with ExitStack() as proxies:
        started = []
        for name in rng.sample(sorted(actors), len(actors)):
            own, gate = proxies.enter_context(gated(s3, rng.randint(1, MOST_REQUESTS)))

            def act(name: str = name, own: S3Resource = own, held: threading.Event = gate.held) -> None:
                try:
                    actors[name](LakeResource(s3=own))
                except BaseException as error:
                    errors[name] = error
                finally:
                    held.set()

            thread = threading.Thread(target=act)
            thread.start()
            gate.held.wait(PATIENCE_SECONDS)
            started.append((thread, gate))
        for thread, gate in rng.sample(started, len(started)):
            gate.let_go()
            thread.join(PATIENCE_SECONDS)
    return errors
