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
_LINE_ENDS = re.compile("\r\n?|[\u000b\u000c\u0085\u2028\u2029]")
_HARMFUL = re.compile("[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FENCES = re.compile("`+")


def plain(text: object) -> str:
    r"""Return a text in one line without control characters: they are written as \n and \x1b."""
    return _CONTROL.sub(_written_out, str(text))


def plain_lines(text: str) -> str:
    """Return a text of several lines of our own, without other control characters."""
    return _CONTROL_IN_LINES.sub(_written_out, text)


def without_controls(text: str) -> str:
    """Return a text as a page shows it: control and direction characters are left out, line ends are line feeds.

    Marks of right-to-left scripts, joiners and soft hyphens stay, because people write with them.
    """
    return _HARMFUL.sub("", _LINE_ENDS.sub("\n", text))


def as_code(text: object) -> str:
    """Return a text of data as code of Markdown, in which nothing is markup."""
    shown = plain(text)
    fence = "`" * (max((len(found) for found in _FENCES.findall(shown)), default=0) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
