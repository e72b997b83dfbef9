"""The `cippus` command."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipelines.cli import (
    ask,
    batches,
    cluster,
    doctor,
    erase,
    estimate,
    evaluate,
    export,
    governor,
    index,
    lake,
    measure,
    presentation,
    readmit,
    search,
    spend,
    testimonials,
    verticals,
    web,
)
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, shown
from pipelines.local.run_lock import only_run
from resources.errors import InputError, as_cippus_error
from resources.settings import Environment, environment, go_without_governor, home, is_governed

if TYPE_CHECKING:
    from pipelines.samples.load import LoadReport
    from resources.local_stack import EmbeddedStack

app = typer.Typer(
    help="Creator data from a database to Parquet, Delta, embeddings, Qdrant, vertical tags, summaries and marts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
EXAMPLE_SEARCHES = ("vegan recipes", "electric car reviews", "marathon training")
FAILED = 1
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

# Commands import the lineage and its libraries themselves: these imports take seconds, and --help needs none of them.


def main() -> None:
    """Run the command. Report an error in one line on stderr, and exit with its code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _UsageError as refused:  # typer would print its message with the control characters of the arguments
        if message := refused.format_message():  # none beside the help
            err.print(shown(f"cippus: {message}"), style="red", highlight=False, soft_wrap=True)
        sys.exit(refused.exit_code)
    except typer.Abort:
        sys.exit(FAILED)
    except SystemExit:
        raise
    except KeyboardInterrupt:
        with suppress(Exception):  # the interrupt must end the command, whatever cannot be told
            batches.say_what_goes_on()
        raise
    except BaseException as raised:  # panics of Rust libraries are no Exception
        error = as_cippus_error(raised)
        if error is None:  # a defect: the traceback is what helps
            raise
        if not isinstance(error, InputError):
            from resources.s3 import usage

            error = usage.lost() or error  # clients of a lost governor report refused connections
        # A sentence about input is ours, whatever lines the input has. Libraries say more in further lines.
        sentence = str(error) if isinstance(error, InputError) else str(error).splitlines()[0]
        err.print(shown(f"cippus: {sentence}"), style="red", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Folder of Parquet files to load, not sample creators.")] = None,
    accounts: Annotated[int, typer.Option(min=1, help="Number of sample creators.")] = 300,
) -> None:
    """Start the embedded stack, load creators, run the lineage and its checks, and search."""
    from pipelines.samples.dataset import prepare

    _require_embedded("demo")
    with prepare(home(), data, accounts) as folder:
        _load(folder, _up())
    _say("Running every step of the lineage; with the sample creators it takes about 4 minutes on two cores.")
    run()
    _say("Running the checks.")
    checks()
    for query in EXAMPLE_SEARCHES:
        search.search(query, limit=3)
    out.print(
        f"Now run `cippus web`, open http://127.0.0.1:{web.DEFAULT_PORT}, search for “{EXAMPLE_SEARCHES[0]}”, click a "
        "creator, and ask a question under Ask.",
        highlight=False,
        soft_wrap=True,
    )


def _say(sentence: str) -> None:
    err.print(sentence, highlight=False, soft_wrap=True)


@app.command()
def up(as_json: Json = False) -> None:
    """Start the embedded Postgres and S3 if they are not running, and show their addresses."""
    found = _up()
    if as_json:
        print_json(asdict(found))
    else:
        presentation.show_stack(out, home(), found)


@app.command()
def down(wipe: Annotated[bool, typer.Option("--wipe", help="Also delete all their data.")] = False) -> None:
    """Stop the embedded servers. Their data is kept."""
    from pipelines.local import stack

    with err.status("stopping Postgres and S3"):
        if wipe and home().exists():
            with only_run(home()):
                stack.wipe(home())
        else:
            stack.down(home())
    state = "wiped" if wipe else "down; its data stays"
    out.print(f"The embedded stack of {shown(home())} is {state}.", highlight=False, soft_wrap=True)


@app.command()
def status(as_json: Json = False) -> None:
    """Show which embedded servers run, and the traffic of this host's request governors."""
    from pipelines.local import stack
    from resources.s3.governor.process import HOME_FOLDER, running

    parts, governors = stack.status(home()), [found.status() for found in running(home() / HOME_FOLDER)]
    if as_json:
        print_json({**parts, "governors": governors})
    else:
        presentation.show_status(out, parts)
        governor.show(out, governors)


@app.command()
def load(
    directory: Annotated[Path, typer.Argument(help="Folder with accounts.parquet and posts.parquet.")],
    as_json: Json = False,
) -> None:
    """Load a folder of Parquet files into the embedded Postgres, and its labels into landing/labels/."""
    from pipelines.samples.dataset import record_load
    from pipelines.samples.folder import open_folder

    open_folder(directory)  # raises before a server is started
    report = _load(directory, _up(), quiet=as_json)
    record_load(home())
    if as_json:
        print_json(asdict(report))


@app.command()
def run(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the report to this file.")] = None,
    no_governor: Annotated[
        bool, typer.Option("--no-governor", help="Send requests to S3 directly, without request limits.")
    ] = False,
) -> None:
    """Materialize every asset once, and show the result of each."""
    if no_governor:
        go_without_governor()
    if json_file is not None and json_file.is_dir():
        message = f"{json_file} is a folder; expected a file to write the report to."
        raise InputError(message)
    if json_file is not None and not json_file.resolve().parent.is_dir():
        message = f"{json_file.resolve().parent} is not a folder; expected one to write {json_file.name} into."
        raise InputError(message)
    require_stack()
    if not is_governed():
        warning = "cippus: the request governor is off: S3 may reject requests above its limits."
        err.print(warning, style="yellow", soft_wrap=True)
    from pipelines.cli.lineage import run_lineage

    report = run_lineage(home(), err)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_json(), indent=2, default=str))
    presentation.show_run(out, report)
    for step, message in report.failures.items():
        err.print(shown(f"cippus: {step} failed: {message}"), style="red", highlight=False, soft_wrap=True)
    if report.failures:
        raise typer.Exit(FAILED)


@app.command()
def checks(as_json: Json = False) -> None:
    """Run every asset check. Exit 1 if a check of severity ERROR fails."""
    require_stack()
    from pipelines.checks.catalogue import CHECKS
    from pipelines.cli.lineage import run_checks

    outcomes, broken = run_checks(home(), err)
    if as_json:
        print_json({"checks": [asdict(found) for found in outcomes], "broken": broken})
    else:
        presentation.show_checks(out, outcomes, broken, len(CHECKS))
    if broken or any(not found.passed and found.severity == "ERROR" for found in outcomes):
        raise typer.Exit(FAILED)


app.command()(doctor.doctor)
app.command()(search.search)
app.command()(ask.ask)
app.command("testimonials")(testimonials.print_testimonials)
app.command()(verticals.verticals)
app.command()(web.web)
app.command()(index.reconcile)
app.command()(index.rollback)
app.command()(cluster.cluster)
app.command()(erase.erase)
app.command()(export.export)
app.command()(readmit.readmit)
app.command("s3-governor")(governor.s3_governor)


@app.command()
def dev(port: Annotated[int, typer.Option(min=1, max=65535, help="Loopback port of the UI.")] = 3000) -> None:
    """Serve the Dagster UI on the embedded stack."""
    from pipelines.local.server_process import ServerError, why_not_free

    if reason := why_not_free(port):
        message = f"Port {port} of 127.0.0.1 cannot be used: {reason}. Choose another: cippus dev --port {port + 1}"
        raise InputError(message)
    _up()
    from pipelines.cli.lineage import serving_ui
    from pipelines.cli.user_interface import DAGSTER_DEV, serve

    with serving_ui(home()) as instance_folder:
        variables = {**os.environ, "DAGSTER_HOME": str(instance_folder), "CIPPUS_HOME": str(home())}
        address = ("-h", "127.0.0.1", "-p", str(port))
        code = serve([*DAGSTER_DEV, "-m", "pipelines.definitions", *address], port, variables)
    message = f"The Dagster UI ended by itself with code {code}; its last lines above say why."
    raise ServerError(message)


app.add_typer(evaluate.evaluation, name="evaluate")
app.add_typer(lake.lake, name="lake")
app.add_typer(spend.spend, name="spend")
app.add_typer(batches.batches, name="batches")
app.add_typer(estimate.estimate, name="estimate")
app.add_typer(measure.measure, name="measure")


def _require_embedded(command: str) -> None:
    if environment() is Environment.PRODUCTION:
        message = f"`cippus {command}` works on the embedded stack, which CIPPUS_ENV=production does not have."
        raise InputError(message)


def _up() -> "EmbeddedStack":
    from pipelines.local import stack
    from pipelines.local.home_folder import usable_home

    _require_embedded("up")
    with err.status("starting Postgres and S3"):
        return stack.up(usable_home())


def _load(directory: Path, target: "EmbeddedStack", *, quiet: bool = False) -> "LoadReport":
    from pipelines.samples.load import load_folder

    # Rows that a load commits during a table's first extraction could end up behind its window.
    with only_run(home()), presentation.counting_rows(err) as on_rows:
        report = load_folder(directory, target, on_rows)
    if not quiet:
        presentation.show_load(out, directory, report)
    return report


if __name__ == "__main__":
    main()
