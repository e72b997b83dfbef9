"""Tables and progress bars of the commands."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.cli.terminal import shown

if TYPE_CHECKING:
    from assets.search.query import Answer
    from assets.transforms.search.ranking import RankedAccount
    from pipelines.cli.lineage import CheckOutcome, LineageReport
    from pipelines.samples.load import LoadReport
    from resources.local_stack import EmbeddedStack

_EXCERPT_CHARACTERS = 160


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
          "dagster/row_count", "dagster/partition_row_count", "s3_requests",
          "s3_wasted_percent", "s3_waited_seconds"}  # fmt: skip


def show_checks(
    console: Console, outcomes: "Sequence[CheckOutcome]", broken: Mapping[str, str], declared: int = 0
) -> None:
    """Print the result of every check, the checks that could not run, and how many of ``declared`` had no data."""
    table = Table("asset", "check", "result", "what was found")
    for found in outcomes:
        result = "[green]passed" if found.passed else f"[red]{found.severity}"
        table.add_row(shown(found.asset), shown(found.check), result, "" if found.passed else shown(found.description))
    for name, message in broken.items():
        table.add_row(shown(name), "", "[red]not evaluated", shown(message))
    console.print(table)
    passed = sum(found.passed for found in outcomes)
    counts = f"{passed} passed, {len(outcomes) - passed} failed, {len(broken)} not evaluated"
    idle = "" if broken or declared <= len(outcomes) else f", {declared - len(outcomes)} had nothing to check"
    console.print(f"{counts}{idle}", highlight=False)


def show_answer(console: Console, query: str, answer: "Answer", offset: int = 0, *, facets: bool = False) -> None:
    """Print a page of ranked accounts, each with its best posts, and what a reader should know about the answer."""
    for word, instead in answer.mended.items():
        console.print(f"No post has “{shown(word)}”; searched for “{shown(instead)}” instead.", highlight=False)
    table = Table("#", "account", "fits", "evidence", title=f"“{shown(query)}”", show_lines=True)
    for place, account in enumerate(answer.accounts, start=offset + 1):
        table.add_row(str(place), _about(account), f"{account.relevance or 0.0:.0%}", _evidence(account))
    console.print(table if answer.accounts else f"No account was found for “{shown(query)}”.")
    if answer.accounts and not answer.is_complete:
        console.print("More accounts are on the next page: --page.", highlight=False)
    if facets:
        for facet, counts in answer.facets.items():
            values = ", ".join(f"{shown(value)} {count:,}" for value, count in counts.items())
            console.print(f"{facet}: {values or 'none'}", highlight=False)


def _about(account: "RankedAccount") -> str:
    about, lines = account.about, [shown(account.handle or account.account_id)]
    if about:
        facts = [about.network, about.country, about.language]
        lines.append(f"[dim]{shown(' '.join(fact for fact in facts if fact))}[/dim]")
        lines.append(f"[dim]{about.followers:,} followers[/dim]" if about.followers is not None else "")
    return "\n".join(line for line in lines if line)


def _evidence(account: "RankedAccount") -> str:
    posts = [f"[dim]{shown(found.post_id)}[/dim] {beginning(found.text)}" for found in account.evidence]
    if account.name:
        own = " · ".join(
            text for text in (account.about and (account.about.display_name, account.about.bio)) or () if text
        )
        posts.insert(0, f"[dim]{account.name.field}[/dim] {beginning(own)}")
    return "\n".join(posts)


def beginning(text: str) -> str:
    """Return the beginning of a text as one line."""
    return shown(" ".join(text[:_EXCERPT_CHARACTERS].split()))
