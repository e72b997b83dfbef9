"""Texts of data in one plain line: for terminals, logs, errors and the UI, which read some characters as commands."""

import re

_INVISIBLE = (
    "\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0001"
)
# Controls, invisible and direction characters, line separators, surrogates. Joiners and tags are parts of emoji and
# scripts.
_CONTROL = re.compile(f"[\u0000-\u001f{_INVISIBLE}]")
_CONTROL_IN_LINES = re.compile(f"[\u0000-\u0008\u000b-\u001f{_INVISIBLE}]")
_FENCES = re.compile("`+")


def plain(text: object) -> str:
    r"""Return a text in one line without control characters: they are written as \n and \x1b."""
    return _CONTROL.sub(_written_out, str(text))


def plain_lines(text: str) -> str:
    """Return a text of several lines of our own, without other control characters."""
    return _CONTROL_IN_LINES.sub(_written_out, text)


def as_code(text: object) -> str:
    """Return a text of data as code of Markdown, in which nothing is markup."""
    shown = plain(text)
    fence = "`" * (max((len(found) for found in _FENCES.findall(shown)), default=0) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
