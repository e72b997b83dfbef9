"""Seeded hostile texts: Unicode blocks, combining marks, controls, directions, nesting, markup and plain size."""

import random
import unicodedata
from collections.abc import Callable
from functools import cache

MARKER, BOLD = "m4rk", "[bold]b0ld"
"""Words inside pieces of MARKUP. An output that has the second one without its tag has taken it for markup."""
MARKUP = (
    f"{BOLD}[/bold]",
    f"[/x]{MARKER}",
    f"<b>{MARKER}</b>",
    f"<script>{MARKER}</script>",
    f'"><img src=x onerror={MARKER}>',
    f"[{MARKER}](javascript:alert)",
    f"`{MARKER}`**{MARKER}**",
    f"| {MARKER} |",
    f"=HYPERLINK({MARKER})",
    f"+{MARKER}",
    f"{{{{{MARKER}}}}}",
    f"&lt;b&gt;{MARKER}",
)
CONTROLS = (
    *("\x1b]52;c;aGk=\x07", "\x1b]0;title\x1b\\", "\x1b[31m", "\x9b31m", "\x9d0;t\x9c", "\x07", "\x08" * 3, "\x7f"),
    *("\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff", "\u00ad", "\u200b", "\ufff9", "\U000e0001"),
)
DIRECTIONS = tuple("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WORDS = (
    "sourdough",
    "gravel",
    "Ärger",
    "été",
    "наука",
    "今日は",
    "ไทยแลนด์",
    "مرحبا",
    "#tag",
    "@name",
    "https://x.y/z",
    "a.b",
)
_EMOJI = ("👩\u200d🍳", "🏴\U000e0067\U000e0062\U000e007f", "👍🏽", "🇩🇪", "❤\ufe0f", "5\ufe0f\u20e3")
_OPENING, _CLOSING = ("[", "(", "{", '"', "“", "<b>", "&amp;", "`", "> ", "**", "[["), ("]", ")", "}", "</b>", ";")


def _repeated(parts: tuple[str, ...]) -> Callable[[random.Random, int], str]:
    def text(draw: random.Random, size: int) -> str:
        made, length = list[str](), 0
        while length < size:
            made.append(draw.choice(parts))
            made.append(draw.choice((" ", " ", "", "\n")))
            length += len(made[-1]) + len(made[-2])
        return "".join(made)[:size]

    return text


def _block(draw: random.Random, size: int) -> str:
    """Return characters of three blocks of 128 code points."""
    starts = [draw.randrange(0x20, 0xE01F0, 0x80) for _ in range(3)]
    codes = (draw.choice(starts) + draw.randrange(0x80) for _ in range(size))
    return "".join(chr(code) if code and not 0xD800 <= code < 0xE000 else " " for code in codes)


@cache
def _marks() -> tuple[str, ...]:
    return tuple(chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code)))


def _of_marks(draw: random.Random, size: int) -> str:
    return "".join(
        draw.choice("aeoñй가 ") + "".join(draw.choices(_marks(), k=draw.choice((1, 3, size)))) for _ in range(9)
    )[:size]


def _nested(draw: random.Random, size: int) -> str:
    opening = draw.choice(_OPENING)
    return (opening * size)[: size // 2] + draw.choice(_WORDS) + (draw.choice(_CLOSING) * size)[: size // 2]


def _one_run(draw: random.Random, size: int) -> str:
    return (
        draw.choice(("a", "ß", "字", " ", "\n", ".", "-", "@", "#", "_", "%", "\\", "'", "1", "\u00a0", "\u200d"))
        * size
    )[:size]


FAMILIES: dict[str, Callable[[random.Random, int], str]] = {
    "blocks": _block,
    "marks": _of_marks,
    "controls": _repeated((*CONTROLS, *_WORDS)),
    "directions": _repeated((*DIRECTIONS, "abc", "مرحبا", "שלום")),
    "nesting": _nested,
    "runs": _one_run,
    "words": _repeated(_WORDS),
    "emoji": _repeated((*_EMOJI, *_WORDS[:3])),
    "markup": _repeated(MARKUP),
    "all": _repeated((*MARKUP, *CONTROLS, *DIRECTIONS, *_EMOJI, *_WORDS)),
}
"""Family → a text of about a number of characters."""


def text_of(draw: random.Random, size: int) -> str:
    """Return a text of any family, as a database can hold it: without NUL and surrogates."""
    text = FAMILIES[draw.choice(tuple(FAMILIES))](draw, size)
    return text.replace("\0", "").encode("utf-8", "replace").decode()
