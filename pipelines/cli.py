"""The `cippus` command.

Belongs here: arguments, tables, exit codes. Not here: what a command does (lineage.py, demo/, assets/).
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from dagster import BetaWarning
from rich.console import Console
from rich.table import Table

warnings.filterwarnings("ignore", category=BetaWarning)  # BackfillPolicy: beta, not deprecated

from pipelines.demo.folder import InputError
from pipelines.demo.load import LoadReport, load_folder  # noqa: E402
from pipelines.demo.stack import down as stop_stack  # noqa: E402
from pipelines.demo.stack import revive, status  # noqa: E402
from pipelines.demo.stack import up as start_stack  # noqa: E402
from resources.embedded import StackNotUpError  # noqa: E402
from resources.environments import Environment, environment, home  # noqa: E402

app = typer.Typer(
    help="Cippus carries creator data from a database to Parquet, Delta, embeddings, Qdrant, tags and marts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EXAMPLE_SEARCHES = ("vegan recipes", "electric car reviews", "marathon training")


def main() -> None:
    """Run the command; bad input is one sentence on stderr and exit 2."""
    try:
        app()
    except (InputError, StackNotUpError) as error:
        err.print(f"cippus: {error}", style="red", highlight=False, soft_wrap=True)
        sys.exit(2)


def _print_json(value: Any) -> None:  # noqa: ANN401
    out.print_json(json.dumps(value, default=str))


def _require_stack() -> None:
    """Restart what died of the embedded stack; StackNotUpError when it was never started or was stopped."""
    if environment() is not Environment.PRODUCTION:
        revive(home())


@app.command()
def up(as_json: Json = False) -> None:
    """Start the embedded Postgres and S3, or find them running."""
    stack = start_stack(home())
    if as_json:
        _print_json(asdict(stack))
    else:
        out.print(f"Postgres  {stack.postgres_dsn}\nS3        {stack.s3_endpoint}\nhome      {home()}", highlight=False)


@app.command()
def down() -> None:
    """Stop the embedded servers; their data stays."""
    stop_stack(home())
    out.print(f"The embedded stack of {home()} is down; its data stays.", highlight=False)


@app.command()
def load(directory: Annotated[Path, typer.Argument(help="Folder with accounts.parquet, posts.parquet, …")]) -> None:
    """Load a folder of Parquet files into the embedded Postgres, and its labels into landing/labels/."""
    _show_load(load_folder(directory, start_stack(home())))


@app.command()
def run(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the report to this file.")] = None,
) -> None:
    """Run the whole lineage once, and show what each asset did."""
    from pipelines.lineage import RunInProgressError, run_lineage  # noqa: PLC0415 -- seconds of imports

    _require_stack()
    try:
        report = run_lineage(home(), err)
    except RunInProgressError as error:
        raise InputError(str(error)) from None
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_json(), indent=2, default=str))
    _show_run(report.assets, report.wall_seconds)
    if report.failures:
        for step, message in report.failures.items():
            err.print(f"cippus: {step} failed: {message}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def checks(as_json: Json = False) -> None:
    """Evaluate every asset check; exit 1 if one of severity ERROR fails."""
    from pipelines.lineage import RunInProgressError, run_checks  # noqa: PLC0415 -- seconds of imports

    _require_stack()
    try:
        outcomes, broken = run_checks(home(), err)
    except RunInProgressError as error:
        raise InputError(str(error)) from None
    failed = [found for found in outcomes if not found.passed]
    if as_json:
        _print_json({"checks": [asdict(found) for found in outcomes], "broken": broken})
    else:
        table = Table("asset", "check", "result", "what was found")
        for found in outcomes:
            result = "[green]passed" if found.passed else f"[red]{found.severity}"
            table.add_row(found.asset, found.check, result, found.description)
        for name, message in broken.items():
            table.add_row(name, "", "[red]could not be evaluated", message)
        out.print(table)
        out.print(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed, {len(broken)} could not be evaluated")
    if broken or any(found.severity == "ERROR" for found in failed):
        raise typer.Exit(1)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What the creators should be about.")],
    vertical: Annotated[str | None, typer.Option(help="Only accounts tagged with this vertical.")] = None,
    network: Annotated[str | None, typer.Option(help="Only posts of this network.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many accounts.")] = 10,
    as_json: Json = False,
) -> None:
    """Rank accounts for a query, each with its best posts as evidence."""
    from assets.search import Searcher  # noqa: PLC0415 -- seconds of imports
    from resources.catalogues import load_verticals  # noqa: PLC0415
    from resources.qdrant import CollectionMissingError, SearchFilter  # noqa: PLC0415

    names = [found.name for found in load_verticals()]
    if vertical is not None and vertical not in names:
        message = f"Unknown vertical {vertical!r}, expected one of: {', '.join(names)}."
        raise InputError(message)
    _require_stack()
    searcher = Searcher(*_search_resources())
    try:
        ranked = searcher.accounts(query, SearchFilter(vertical=vertical, network=network), limit)
    except (CollectionMissingError, ValueError) as error:
        hint = " Run `cippus run` first." if isinstance(error, CollectionMissingError) else ""
        raise InputError(f"{error}{hint}") from None
    if as_json:
        _print_json({"query": query, "accounts": [asdict(account) for account in ranked]})
    else:
        _show_accounts(query, ranked)


def _search_resources() -> tuple[Any, Any, Any]:
    from dagster import build_resources  # noqa: F401, PLC0415

    from resources.environments import resources  # noqa: PLC0415

    made = resources()
    return made["lake"], made["embedder"], made["qdrant"]


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A folder of your own instead of the sample creators.")] = None,
    accounts: Annotated[int, typer.Option(min=1, help="How many sample creators to invent.")] = 300,
) -> None:
    """From nothing to search results: start the stack, load creators, run the lineage, check it, search."""
    from pipelines.demo.creators import generate  # noqa: PLC0415

    start = start_stack(home())
    if data is not None:
        _show_load(load_folder(data, start))
    else:
        with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
            generate(Path(folder), accounts=accounts)
            _show_load(load_folder(Path(folder), start))
    run(None)
    checks(as_json=False)
    for query in EXAMPLE_SEARCHES:
        search(query, None, None, 3, as_json=False)


@app.command()
def dev(port: Annotated[int, typer.Option(help="Loopback port of the UI.")] = 3000) -> None:
    """Serve the Dagster UI on the embedded stack."""
    from pipelines.lineage import instance_folder  # noqa: PLC0415

    start_stack(home())
    variables = {**os.environ, "DAGSTER_HOME": str(instance_folder(home())), "CIPPUS_HOME": str(home())}
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    sys.exit(subprocess.run(command, env=variables, check=False).returncode)


@app.command("status")
def show_status(as_json: Json = False) -> None:
    """Say which part of the embedded stack is running."""
    parts = status(home())
    if as_json:
        _print_json(parts)
    else:
        for part, running in parts.items():
            out.print(f"{part:10} {'running' if running else 'not running'}", highlight=False)


def _show_load(report: LoadReport) -> None:
    out.print(report)


def _show_run(assets: dict[str, dict[str, Any]], seconds: float) -> None:
    table = Table("asset", "rows", "skipped", "written", "seconds", title=f"lineage in {seconds:.1f} s")
    for key, metadata in assets.items():
        written = sum(metadata.get(name, 0) for name in ("inserted", "updated", "deleted"))
        numbers = (metadata.get("rows", 0), metadata.get("skipped", 0), written)
        table.add_row(key, *(f"{number:,}" for number in numbers), f"{metadata.get('seconds', 0):.2f}")
    out.print(table)


def _show_accounts(query: str, ranked: list[Any]) -> None:
    table = Table("#", "account", "score", "evidence", title=f"“{query}”", show_lines=True)
    for place, account in enumerate(ranked, start=1):
        posts = "\n".join(f"[dim]{found.score:.4f}[/dim] {found.text[:110]}" for found in account.evidence)
        table.add_row(str(place), account.account_id, f"{account.score:.4f}", posts)
    out.print(table)


if __name__ == "__main__":
    main()
