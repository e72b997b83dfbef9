"""The two consoles, text of data, JSON output and the embedded stack, for all commands."""

import json
import re
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from resources.errors import InputError
from resources.settings import Environment, environment, home, writable_home

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)
# Controls, invisible and direction characters, line separators, surrogates. Lines and tabs are shown by Rich; joiners
# and tags are parts of emoji and scripts.
_CONTROL = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0001]"
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    out.print_json(json.dumps(value, default=str), ensure_ascii=True)


def shown(value: object) -> str:
    """Return a text of data for Rich: what looks like markup is text, and control characters are written as \\x1b.

    Every text that is not a constant of the code passes through it.
    """
    return escape(_CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value)))


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
