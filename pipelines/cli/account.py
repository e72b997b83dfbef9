"""An account id and canaries from the command line, from files, or from standard input."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.terminal import require_utf8
from resources.errors import InputError

AccountId = Annotated[
    str | None,
    typer.Argument(help="The account's id, as in the source. Other users see it in the process list."),
]
AccountFile = Annotated[
    Path | None, typer.Option("--account-file", help="A file whose first line is the account's id; - for stdin.")
]


def read_account(
    account_id: str | None,
    account_file: Path | None,
    canary: list[str] | None = None,
    canaries: Path | None = None,
) -> tuple[str, list[str]]:
    """Return the account's id and the canaries, from wherever they are given.

    If both files are standard input, its first line is the id, and the others are canaries. Raise InputError for values
    that cannot be used.
    """
    if (account_id is None) == (account_file is None):
        raise InputError("Give the account's id once: as argument ACCOUNT_ID or by --account-file.")
    lines = _lines("--account-file", account_file) if account_file else []
    found = account_id if account_id is not None else next(iter(lines), "")
    if not found.strip():
        raise InputError("The account id is empty; give an id of the source.")
    if canaries is not None and str(canaries) == "-" and str(account_file) == "-":
        texts = lines[1:]
    else:
        texts = _lines("--canaries", canaries) if canaries else []
    texts = [*(canary or []), *texts]
    require_utf8("The account id or a canary", found, *texts)
    if not all(text.strip() and "\0" not in text for text in texts):
        raise InputError("A canary is empty or has a zero byte; give a text that occurs in this account's data only.")
    return found, texts


def _lines(option: str, path: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option} is {path}; give a file with one text per line: {error}") from None
    return [line for line in text.split("\n") if line.strip()]
