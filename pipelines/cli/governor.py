"""`cippus s3-governor`, and the display of governors in a terminal."""

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipelines.cli.supervisor import on_stop
from pipelines.cli.terminal import err, shown
from resources.local_stack import write_private
from resources.s3.governor.settings import GovernorSettings, read_token
from resources.settings import writable_home

_COLUMNS = ("prefix", "verb", "requests", "503s", "wasted", "lost", "waited", "rate")


def s3_governor(  # noqa: PLR0913  # options of a command
    port: Annotated[int, typer.Option(help="Loopback port to listen on; 0 for any free one.")],
    upstream: Annotated[str | None, typer.Option(help="URL of the S3 service (default: the environment's).")] = None,
    depth: Annotated[int, typer.Option(help="Number of path segments of a key that share a request limit.")] = 2,
    deadline: Annotated[
        float, typer.Option(help="Seconds until a request fails; must be below the clients' own time-outs.")
    ] = 12.0,
    max_writes: Annotated[float | None, typer.Option(help="Maximum writes per second to one prefix.")] = None,
    max_reads: Annotated[float | None, typer.Option(help="Maximum reads per second to one prefix.")] = None,
    emf: Annotated[
        str, typer.Option(help="Target of CloudWatch metrics: udp://host:port, a file, or - for standard output.")
    ] = "",
    ca_file: Annotated[str, typer.Option(help="PEM certificates to verify the service's with.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send (default: one is made).")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder that keeps learned limits over restarts.")] = None,
) -> None:
    """Pace, retry and count the requests of S3 clients that use http://cippus:TOKEN@127.0.0.1:PORT as their proxy."""
    # No other command needs its event loop.
    from resources.s3.governor.service import serve
    from resources.wiring import s3_resource

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings = GovernorSettings(
        upstream=s3_resource().upstream if upstream is None else upstream,
        port=port,
        depth=depth,
        deadline=deadline,
        folder=folder,
        ca_file=ca_file,
        max_writes=max_writes,
        max_reads=max_reads,
        emf=emf,
    )
    settings.make_folder()
    settings.tls()  # raises for certificates that cannot be read, before a token is made
    settings = replace(settings, token=read_token(token_file or _made_token(folder)))
    with on_stop(_finish_requests):
        serve(settings, lambda line: print(line, flush=True))  # noqa: T201  # scripts wait for this line


def _made_token(folder: Path | None) -> Path:
    """Return a file with a token, in the governor's folder or the home; make it if there is none. Its owner reads it.

    It stays, so that clients keep their address when the governor starts again.
    """
    path = (folder or writable_home()) / "s3-governor.token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    err.print(f"cippus: clients send the token in {shown(path)}", highlight=False, soft_wrap=True)
    return path


def _finish_requests() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # the governor takes no more requests and finishes those that it has
    threading.main_thread().join()


def show(console: Console, governors: Sequence[Mapping[str, Any]]) -> None:
    """Print the running governors: their process, and the counts of each prefix since they started."""
    for status in governors:
        line = f"governor   [green]running[/] process {status['pid']} for {shown(status['upstream'])}"
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
            table.add_row(shown(f"{found['bucket']}/{found['prefix']}"), shown(found["verb"]), *numbers, *rest)
        console.print(table)
