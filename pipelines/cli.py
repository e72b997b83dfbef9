"""The `cippus` command.

Belongs here: arguments and exit codes. Not here: what a command does (lineage.py, demo/, assets/), how it looks
(presentation.py).
"""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from dagster import BetaWarning
from deltalake.exceptions import DeltaError
from rich.console import Console

from pipelines import presentation
from pipelines.demo import stack
from pipelines.demo.dataset import prepare, record_load
from pipelines.demo.folder import InputError, open_folder
from pipelines.demo.load import LoadReport, load_folder
from pipelines.demo.server_process import ServerError
from pipelines.run_lock import RunInProgressError, only_run
from resources.embedded import EmbeddedStack, StackNotUpError
from resources.environments import Environment, SettingError, environment, home, writable_home
from resources.qdrant import VectorIndexError
from resources.rds import SourceUnavailableError

warnings.filterwarnings("ignore", category=BetaWarning)  # BackfillPolicy is beta, which is not the user's concern

# Imports of the lineage take seconds, so the commands that need it import it themselves.

app = typer.Typer(
    help="Creator data from a database to Parquet, Delta, embeddings, Qdrant, vertical tags, summaries and marts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EXAMPLE_SEARCHES = ("vegan recipes", "electric car reviews", "marathon training")
BAD_INPUT, FAILED = 2, 1


class BenchName(StrEnum):
    """The benchmarks."""

    OVERHEAD = "overhead"


REFUSED = (InputError, StackNotUpError, SettingError, RunInProgressError)
UNSUCCESSFUL = (ServerError, VectorIndexError, SourceUnavailableError, BotoCoreError, ClientError, DeltaError, OSError)


def main() -> None:
    """Run the command. Bad input is one sentence on stderr and exit 2; a failure is one and exit 1."""
    try:
        app()
    except (*REFUSED, *UNSUCCESSFUL) as error:
        sentence = f"cippus: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        err.print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
        sys.exit(BAD_INPUT if isinstance(error, REFUSED) else FAILED)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A folder of your own instead of the sample creators.")] = None,
    accounts: Annotated[int, typer.Option(min=1, help="How many sample creators to invent.")] = 300,
) -> None:
    """From nothing to search results: start the stack, load creators, run the lineage, check it, search."""
    _require_embedded("demo")
    with prepare(home(), data, accounts) as folder:
        _load(folder, _up())
    _run(None)
    _checks(as_json=False)
    for query in EXAMPLE_SEARCHES:
        search(query, limit=3)


@app.command()
def up(as_json: Json = False) -> None:
    """Start the embedded Postgres and S3, or find them running."""
    found = _up()
    if as_json:
        _print_json(asdict(found))
    else:
        presentation.show_stack(out, home(), found)


@app.command()
def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Also delete the data that they hold.")] = False,
) -> None:
    """Stop the embedded servers; their data stays."""
    with err.status("stopping Postgres and S3"):
        if wipe and home().exists():
            with only_run(home()):
                stack.wipe(home())
        else:
            stack.down(home())
    what = "wiped" if wipe else "down; its data stays"
    out.print(f"The embedded stack of {home()} is {what}.", highlight=False, soft_wrap=True)


@app.command()
def status(as_json: Json = False) -> None:
    """Say which part of the embedded stack is running."""
    parts = stack.status(home())
    if as_json:
        _print_json(parts)
    else:
        presentation.show_status(out, parts)


@app.command()
def load(
    directory: Annotated[Path, typer.Argument(help="Folder with accounts.parquet and posts.parquet.")],
    as_json: Json = False,
) -> None:
    """Load a folder of Parquet files into the embedded Postgres, and its labels into landing/labels/."""
    open_folder(directory)  # before anything is started for it
    report = _load(directory, _up(), quiet=as_json)
    record_load(home())
    if as_json:
        _print_json(asdict(report))


@app.command()
def run(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the report to this file.")] = None,
) -> None:
    """Run the whole lineage once, and show what each asset did."""
    _run(json_file)


@app.command()
def checks(as_json: Json = False) -> None:
    """Evaluate every asset check; exit 1 if one of severity ERROR fails."""
    _checks(as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What the creators should be about.")],
    vertical: Annotated[str | None, typer.Option(help="Only accounts tagged with this vertical.")] = None,
    network: Annotated[str | None, typer.Option(help="Only posts of this network.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many accounts.")] = 10,
    as_json: Json = False,
) -> None:
    """Rank accounts for a query, each with its best posts as evidence."""
    from assets.search import Searcher
    from resources.catalogues import load_verticals
    from resources.environments import resources
    from resources.qdrant import CollectionMissingError, SearchFilter

    names = [found.name for found in load_verticals()]
    if vertical is not None and vertical not in names:
        message = f"Unknown vertical {vertical!r}; expected one of {', '.join(names)}."
        raise InputError(message)
    if any("\ud800" <= character <= "\udfff" for character in query):
        message = "The query is not valid text; expected UTF-8."
        raise InputError(message)
    _require_stack()
    made = resources()
    qdrant = made.qdrant.process_config_and_initialize()  # its key is an EnvVar until then
    searcher = Searcher(made.lake, made.embedder, qdrant)
    with err.status("searching"):
        try:
            ranked = searcher.accounts(query, SearchFilter(vertical=vertical, network=network), limit)
        except CollectionMissingError:
            message = "There is nothing to search yet: run `cippus run` first."
            raise InputError(message) from None
        except ValueError as error:
            raise InputError(str(error)) from None
    if as_json:
        _print_json({"query": query, "accounts": [asdict(account) for account in ranked]})
    else:
        presentation.show_accounts(out, query, ranked)


@app.command()
def dev(port: Annotated[int, typer.Option(help="Loopback port of the UI.")] = 3000) -> None:
    """Serve the Dagster UI on the embedded stack."""
    from pipelines.lineage import instance_folder

    _up()
    variables = {**os.environ, "DAGSTER_HOME": str(instance_folder(home())), "CIPPUS_HOME": str(home())}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    ended = subprocess.run([*command, "-h", "127.0.0.1", "-p", str(port)], env=variables, check=False)
    raise typer.Exit(ended.returncode)


@app.command()
def bench(
    name: Annotated[BenchName, typer.Argument(help="Which benchmark.")],
    as_json: Json = False,
) -> None:
    """Measure something beside its peers, in one run."""
    from pipelines.benchmarks import overhead

    _require_stack()
    result = {BenchName.OVERHEAD: overhead.measure}[name](home(), err)
    if as_json:
        _print_json(result.to_json())
    else:
        presentation.show_bench(out, result)


def _require_embedded(command: str) -> None:
    if environment() is Environment.PRODUCTION:
        message = f"`cippus {command}` works on the embedded stack, which CIPPUS_ENV=production does not have."
        raise InputError(message)


def _up() -> EmbeddedStack:
    _require_embedded("up")
    writable_home()
    with err.status("starting Postgres and S3"):
        return stack.up(home())


def _load(directory: Path, target: EmbeddedStack, *, quiet: bool = False) -> LoadReport:
    # A load beside a table's first extraction could commit rows behind the window that it cuts.
    with only_run(home()), presentation.counting_rows(err) as on_rows:
        report = load_folder(directory, target, on_rows)
    if not quiet:
        presentation.show_load(out, directory, report)
    return report


def _run(json_file: Path | None) -> None:
    from pipelines.lineage import run_lineage

    if json_file is not None and json_file.is_dir():
        message = f"{json_file} is a folder; expected a file to write the report to."
        raise InputError(message)
    if json_file is not None and not json_file.resolve().parent.is_dir():
        message = f"{json_file.resolve().parent} is not a folder; expected one to write {json_file.name} into."
        raise InputError(message)
    _require_stack()
    report = run_lineage(home(), err)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_json(), indent=2, default=str))
    presentation.show_run(out, report)
    _fail_if(report.failures)


def _checks(as_json: bool) -> None:
    from pipelines.lineage import run_checks

    _require_stack()
    outcomes, broken = run_checks(home(), err)
    if as_json:
        _print_json({"checks": [asdict(found) for found in outcomes], "broken": broken})
    else:
        presentation.show_checks(out, outcomes, broken)
    if broken or any(not found.passed and found.severity == "ERROR" for found in outcomes):
        raise typer.Exit(FAILED)


def _fail_if(failures: dict[str, str]) -> None:
    for step, message in failures.items():
        err.print(f"cippus: {step} failed: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    if failures:
        raise typer.Exit(FAILED)


def _require_stack() -> None:
    """Restart what died of the embedded stack; StackNotUpError when it was never started or was stopped."""
    if environment() is not Environment.PRODUCTION:
        with err.status("looking for Postgres and S3"):
            stack.revive(home())
    writable_home()


def _print_json(value: Any) -> None:
    out.print_json(json.dumps(value, default=str))


if __name__ == "__main__":
    main()
