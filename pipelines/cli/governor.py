"""`cippus s3-governor`, and how governors look in a terminal."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resources.s3.governor.settings import GovernorSettings, read_token

_COLUMNS = ("prefix", "verb", "requests", "503s", "wasted", "lost", "waited", "rate")


def s3_governor(  # noqa: PLR0913  # options of a command
    port: Annotated[int, typer.Option(help="Loopback port to listen on; 0 for any free one.")],
    upstream: Annotated[str | None, typer.Option(help="URL of the S3 service (default: the environment's).")] = None,
    depth: Annotated[int, typer.Option(help="Path segments of a key that share a request limit.")] = 2,
    deadline: Annotated[
        float, typer.Option(help="Seconds that a request is tried for; below the clients' own time-outs.")
    ] = 12.0,
    host: Annotated[list[str] | None, typer.Option(help="Another name of the service that requests may use.")] = None,
    max_writes: Annotated[float | None, typer.Option(help="Most writes a second to one prefix.")] = None,
    max_reads: Annotated[float | None, typer.Option(help="Most reads a second to one prefix.")] = None,
    emf: Annotated[str, typer.Option(help="CloudWatch metrics: udp://host:port, a file, or - for here.")] = "",
    ca_file: Annotated[Path | None, typer.Option(help="Certificates that the service's is verified with.")] = None,
    sts_host: Annotated[str, typer.Option(help="The one host that clients may have a tunnel to.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the token that clients have to bring.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where learned limits are kept over restarts.")] = None,
) -> None:
    """Pace, repeat and count the requests of S3 clients that use http://127.0.0.1:PORT as their proxy."""
    # Its event loop is needed by no other command.
    from resources.s3.governor.service import serve
    from resources.wiring import s3_resource

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings = GovernorSettings(
        upstream=s3_resource().upstream if upstream is None else upstream,
        port=port,
        depth=depth,
        deadline=deadline,
        hosts=tuple(host or ()),
        token=read_token(token_file) if token_file else "",
        folder=folder,
        ca_file=ca_file,
        sts_host=sts_host,
        write_ceiling=max_writes,
        read_ceiling=max_reads,
        emf=emf,
    )
    serve(settings, lambda line: print(line, flush=True))  # noqa: T201  # for whoever waits for it


def show(console: Console, governors: Sequence[Mapping[str, Any]]) -> None:
    """The governors that run: their process, and what went to each prefix since they started."""
    for status in governors:
        line = f"governor   [green]running[/] process {status['pid']} for {escape(status['upstream'])}"
        console.print(line, highlight=False, soft_wrap=True)
        if not status["prefixes"]:
            continue
        table = Table(*_COLUMNS)
        table.columns[0].overflow = "fold"
        for column in table.columns[2:]:
            column.justify, column.no_wrap = "right", True
        for found in status["prefixes"]:
            numbers = f"{found['requests']:,}", f"{found['throttled']:,}", f"{found['wasted_share']:.1%}"
            rest = f"{found['given_up']:,}", f"{found['waited_seconds']:,.1f} s", f"{found['rate']:,.0f}/s"
            table.add_row(escape(f"{found['bucket']}/{found['prefix']}"), found["verb"], *numbers, *rest)
        console.print(table)
