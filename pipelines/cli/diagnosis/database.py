"""The source database: connection, version, permissions, clock, and rows that no window reads."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from assets.raw.unread import CLOCK_FIX, CLOCK_SET_BACK, waits_until
from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.cli.diagnosis.clock import compare_clocks
from pipelines.cli.diagnosis.registry import Finding, Parts, Status, diagnosis
from resources.settings import clock_skew_seconds, old_transaction_seconds

OLDEST_POSTGRES = 13
_MOST_UNDATED = 1_000
_FIX = "Start the database, and correct its address in CIPPUS_POSTGRES_DSN or its secret; locally, run cippus up."
_GRANTS = "Run pipelines/deploy/source-role.sql as the owner of the database."


@diagnosis("source", _FIX)
def connection(parts: Parts) -> Iterator[Finding]:
    """Test connection, version and clock of the Postgres, and the settings of a Redshift."""
    if parts.postgres is None:
        parts.made.source.safe_high_water_mark()
        columns = {name: parts.made.source.columns(name) for name in SOURCE_TABLES}
        missing = [name for name, found in columns.items() if not found]
        if missing:
            text = f"{parts.made.source.name} has no table {', '.join(missing)}, or its role does not see it."
            yield Finding.error(text, "Run pipelines/deploy/redshift-role.sql, and set CIPPUS_REDSHIFT_SCHEMA.")
        else:
            yield Finding.ok(f"{parts.made.source.name} answers.")
        return
    began = datetime.now(UTC)
    found = parts.postgres.health(tuple(SOURCE_TABLES), "updated_at")
    yield compare_clocks("Postgres", found.now, began, datetime.now(UTC))
    version = f"Postgres {found.version // 10_000} of {found.database} answers"
    if found.version // 10_000 < OLDEST_POSTGRES:
        yield Finding.warning(f"{version} and is no longer maintained.", f"Upgrade to {OLDEST_POSTGRES} or newer.")
    else:
        yield Finding.ok(f"{version} to {found.user}.")
    for table in found.tables:
        if not table.exists:
            text = f"The source has no table public.{table.name}, or {found.user} does not see it."
            yield Finding.error(text, f"Create it or correct the database in the address. {_GRANTS}")
        elif not table.is_readable:
            yield Finding.error(f"{found.user} may not read public.{table.name}.", _GRANTS)
        elif table.has_policies:
            text = f"Row-level security hides rows of public.{table.name} from {found.user}."
            yield Finding.error(text, f"ALTER ROLE {found.user} BYPASSRLS")
        elif not table.is_indexed:
            text = f"public.{table.name} has no index on updated_at, so every window reads the whole table."
            yield Finding.warning(text, _GRANTS)
    if all(table.is_readable for table in found.tables):
        yield Finding.ok(f"{found.user} may read {', '.join(SOURCE_TABLES)}.")


@diagnosis("high-water mark", _FIX)
def mark(parts: Parts) -> Iterator[Finding]:
    """Test that the mark is known, that no old transaction holds it back, and that no clock was set back."""
    if parts.postgres is None:
        return
    if until := waits_until(parts.postgres, parts.raw_store, timedelta(seconds=clock_skew_seconds())):
        yield Finding.warning(CLOCK_SET_BACK.format(until), CLOCK_FIX)
    oldest, limit = parts.postgres.oldest_transaction(), old_transaction_seconds()
    if oldest is not None and (datetime.now(UTC) - oldest.since).total_seconds() > limit:
        fix = f"End it in its application, or run {oldest.remedy}."
        yield Finding.warning(f"Rows wait for an open transaction: {oldest.describe()}.", fix)
    else:
        yield Finding.ok(f"No transaction is open for more than {limit:,.0f} seconds.")


@diagnosis("rows without updated_at", "Create an index on updated_at, so that they can be counted.", Status.WARNING)
def undated(parts: Parts) -> Iterator[Finding]:
    """Count the rows that no window reads."""
    if parts.postgres is None:
        return
    found = {name: parts.postgres.count_undated(name, "updated_at", _MOST_UNDATED) for name in SOURCE_TABLES}
    for name, rows in found.items():
        if rows:
            more = " or more" if rows == _MOST_UNDATED else ""
            text = f"{rows:,}{more} rows of {name} have no updated_at, so no window reads them."
            yield Finding.warning(text, f"Set updated_at of {name} to now() where it is null.")
    if not any(found.values()):
        yield Finding.ok("Every row of the source has an updated_at.")
