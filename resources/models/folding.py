"""Fold spellings of one word into one: case, accents, width, styled letters, digits, optional marks of each script."""

import re
import unicodedata
from functools import cache

# Latin, Greek and Cyrillic accents. й and ї are letters of their own: the endings of Russian words need them.
_ACCENTS = re.compile("[\u0300-\u0305\u0307\u0309-\u036f]|(?<![\u0418\u0438])\u0306|(?<![\u0406\u0456])\u0308")
# Marks and signs that writers leave out at will: tatweel, Arabic vowel signs and hamza marks, Hebrew points, the
# nukta of Devanagari, joiners, soft hyphens, direction marks and other characters without a shape.
_OPTIONAL = re.compile(
    "(?<=[\u0620-\u06ff])\u0640|[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08ff"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u093c"
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
_SMALL_CAPITALS = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqqrstuvwyz"
# Letters without a decomposition that are typed on a plain keyboard as others; letters of Persian and Urdu, and forms
# of alef, yeh, kaf and heh, which Arabic, Persian and Urdu keyboards write with different characters.
_LETTERS = "øłđðħıŧĸəٱىیېےکڪہھەँ", "olddhitkeاييييككهههं"
_DEAD_N = re.compile("\u0928\u094d(?=[\u0915-\u0939])")
"""हिन्दी is also written हिंदी."""
_LIGATURES = {"æ": "ae", "œ": "oe", "þ": "th", "ß": "ss", "ŋ": "ng"}
_FIRST_DIGIT_BEYOND_LATIN, _LAST_DIGIT = 0x660, 0x1FBFA
_MOST_MARKS = 30
"""Marks after one character, as in the Stream-Safe Text Format (UAX #15). Clean text has no more of them."""
_POSSIBLE_MARKS = re.compile(f"[^\x00-\u02ff\u2000-\u20cf\u2100-\u2bff]{{{_MOST_MARKS}}}")
"""A long run of characters that may be marks. The pattern of those that are takes .1 s to make."""
_NEGATIVE = (0x1F150, 0x1F170)
"""The first of the 26 white letters in black circles, and in black squares."""


def fold(text: str) -> str:
    """Return a text in lower case, in which characters that readers take for one another are the same.

    Normalization takes quadratic time in the length of a run of marks, so the marks after _MOST_MARKS are left out.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    if text.isascii():
        return text.lower()
    text = unstyled(text)
    if _POSSIBLE_MARKS.search(text):
        text = _long_runs().sub(r"\1", text)
    decomposed = unicodedata.normalize("NFKD", text)
    plain = _OPTIONAL.sub("", _ACCENTS.sub("", decomposed)).casefold()
    return _DEAD_N.sub("\u0902", unicodedata.normalize("NFC", plain).translate(_table()))


@cache
def _long_runs() -> re.Pattern[str]:
    """Return a pattern of runs of marks that decomposition moves; its group 1 is the part to keep."""
    codes = (code for code in range(0x300, 0x20000) if not 0xD800 <= code < 0xE000)
    marks = "".join(chr(code) for code in codes if unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0]))
    return re.compile(f"([{marks}]{{{_MOST_MARKS}}})[{marks}]+")


def unstyled(text: str) -> str:
    """Return a text with plain letters for small capitals and for white letters in black circles and squares."""
    return text if text.isascii() else text.translate(_styled())


@cache
def _styled() -> dict[int, str]:
    negative = {first + number: chr(ord("A") + number) for first in _NEGATIVE for number in range(26)}
    return {**str.maketrans(*_SMALL_CAPITALS), **negative}  # type: ignore[dict-item]


@cache
def _table() -> dict[int, str]:
    """Return code point → its replacement, for letters and for the digits of every script."""
    codes = range(_FIRST_DIGIT_BEYOND_LATIN, _LAST_DIGIT)
    digits = {code: str(unicodedata.decimal(chr(code))) for code in codes if chr(code).isdecimal()}
    return {**str.maketrans(*_LETTERS), **str.maketrans(_LIGATURES), **digits}  # type: ignore[dict-item]
