"""What the commands share: the two consoles, JSON, and the embedded stack that they need."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.local import stack
from resources.errors import InputError
from resources.settings import Environment, environment, home, writable_home

out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    out.print_json(json.dumps(value, default=str))


def require_utf8(what: str, *texts: str) -> None:
    """InputError for a text with lone surrogates, which is what the shell's other bytes become."""
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        message = f"{what} is not valid text; expected UTF-8."
        raise InputError(message)


def require_stack() -> None:
    """Restart what died of the embedded stack; StackNotUpError when it was never started or was stopped."""
    if environment() is not Environment.PRODUCTION:
        with err.status("looking for Postgres and S3"):
            stack.revive(home())
    writable_home()
