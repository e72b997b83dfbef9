"""Tables and progress bars of the commands."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.cli.terminal import shown

if TYPE_CHECKING:
    from assets.transforms.search.ranking import RankedAccount
    from pipelines.cli.lineage import CheckOutcome, LineageReport
    from pipelines.samples.load import LoadReport
    from resources.local_stack import EmbeddedStack

_EXCERPT_CHARACTERS = 160


def dollars(amount: float) -> str:
    """Return an amount with cents, and a smaller one with two significant digits, so that no price reads as 0."""
    places = 2 if amount in (0, math.inf) or amount >= 0.1 else 1 - math.floor(math.log10(amount))
    return f"{amount:,.{places}f}"


@contextmanager
def counting_rows(console: Console) -> Iterator[Callable[[str, int], None]]:
    """Show a row counter per table while rows are read."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def on_rows(table: str, rows: int) -> None:
            if table not in tasks:
                tasks[table] = progress.add_task(f"loading {shown(table)}", total=None)
            progress.advance(tasks[table], rows)

        yield on_rows


def show_stack(console: Console, home: Path, stack: "EmbeddedStack") -> None:
    """Print the addresses of the servers."""
    table = Table.grid(padding=(0, 2))
    table.add_row("Postgres", shown(stack.postgres_dsn))
    table.add_row("S3", f"{shown(stack.s3_endpoint)}  bucket cippus")
    table.add_row("home", shown(str(home)))
    console.print(table, highlight=False, soft_wrap=True)


def show_status(console: Console, parts: Mapping[str, bool]) -> None:
    """Print which servers run."""
    for part, is_running in parts.items():
        console.print(f"{part:10} {'[green]running' if is_running else '[yellow]not running'}", highlight=False)


def show_load(console: Console, folder: Path, report: "LoadReport") -> None:
    """Print the counts of the rows of a loaded folder."""
    names = ("read", "inserted", "updated", "unchanged", "stale", "rejected")
    table = Table("table", *names, title=f"loaded {shown(str(folder))}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, found in report.tables.items():
        counts = found.read, found.inserted, found.updated, found.unchanged, found.stale, found.rejected.total()
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)
    for name, found in report.tables.items():
        for reason, count in sorted(found.rejected.items()):
            console.print(f"[yellow]{name}: {count:,} rejected: {shown(reason)}")
        if found.ignored_columns:
            ignored = shown(", ".join(found.ignored_columns))
            console.print(f"[yellow]{name}: columns not in the schema were ignored: {ignored}")
    if report.labels:
        console.print(f"{report.labels:,} label rows dropped into landing/labels/")


def show_run(console: Console, report: "LineageReport") -> None:
    """Print the result of each asset. ``written`` is inserted + updated + deleted."""
    table = Table(
        "asset", "rows", "skipped", "written", "seconds", "also", title=f"lineage in {report.wall_seconds:.1f} s"
    )
    for column in table.columns[1:5]:
        column.justify = "right"
    for key, metadata in report.assets.items():
        written = sum(metadata.get(name, 0) for name in ("inserted", "updated", "deleted"))
        numbers = metadata.get("rows", 0), metadata.get("skipped", 0), written
        counts = {name: value for name, value in metadata.items() if isinstance(value, int)}
        also = shown(", ".join(f"{name} {value:,}" for name, value in counts.items() if name not in _SHOWN and value))
        table.add_row(shown(key), *(f"{number:,}" for number in numbers), f"{metadata.get('seconds', 0):.2f}", also)
    console.print(table)


_SHOWN = {"rows", "skipped", "inserted", "updated", "deleted", "seconds", "bytes", "buckets_skipped",
          "dagster/row_count", "s3_requests", "s3_wasted_percent", "s3_waited_seconds"}  # fmt: skip


def show_checks(console: Console, outcomes: "Sequence[CheckOutcome]", broken: Mapping[str, str]) -> None:
    """Print the result of every check, and the checks that could not run."""
    table = Table("asset", "check", "result", "what was found")
    for found in outcomes:
        result = "[green]passed" if found.passed else f"[red]{found.severity}"
        table.add_row(shown(found.asset), shown(found.check), result, "" if found.passed else shown(found.description))
    for name, message in broken.items():
        table.add_row(shown(name), "", "[red]not evaluated", shown(message))
    console.print(table)
    passed = sum(found.passed for found in outcomes)
    console.print(f"{passed} passed, {len(outcomes) - passed} failed, {len(broken)} not evaluated", highlight=False)


def show_accounts(console: Console, query: str, ranked: "Sequence[RankedAccount]") -> None:
    """Print ranked accounts, each with its best posts."""
    table = Table("#", "account", "score", "evidence", title=f"“{shown(query)}”", show_lines=True)
    for place, account in enumerate(ranked, start=1):
        posts = "\n".join(
            f"[dim]{shown(found.post_id)}[/dim] {shown(' '.join(found.text[:_EXCERPT_CHARACTERS].split()))}"
            for found in account.evidence
        )
        table.add_row(str(place), shown(account.handle or account.account_id), f"{account.score:.4f}", posts)
    console.print(table if ranked else f"No account was found for “{shown(query)}”.")
