"""The two consoles, text of data, JSON output and the embedded stack, for all commands."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from resources.errors import InputError
from resources.plain_text import plain
from resources.settings import Environment, environment, home, writable_home

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    out.print_json(json.dumps(value, default=str), ensure_ascii=True)


def shown(value: object) -> str:
    """Return a text of data for Rich: what looks like markup is text, and control characters are written as \\x1b.

    Every text that is not a constant of the code passes through it. It stays in one line, so that no data looks like a
    line of the command.
    """
    return escape(plain(value))


def require_utf8(subject: str, *texts: str) -> None:
    """Raise InputError for a text with lone surrogates, which Python makes of bytes that are not UTF-8."""
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        message = f"{subject} is not valid text; expected UTF-8."
        raise InputError(message)


def require_stack() -> None:
    """Restart stopped servers of the embedded stack. Raise StackNotUpError unless `cippus up` started it."""
    if environment() is not Environment.PRODUCTION:
        from pipelines.local import stack

        with err.status("looking for Postgres and S3"):
            stack.revive(home())
    writable_home()
