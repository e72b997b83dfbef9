"""Read numbers as programs, spreadsheets and national conventions write them.

A point or comma before three digits may be a decimal or a thousands separator. The other cells of the column decide:
`decimal_signs` of all cells, then `number` of each. Locale libraries such as Babel need to be told the locale, which a
dropped file does not say.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass

AMBIGUOUS = "ambiguous"
_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u2008\u2009\u200a\u202f"), " ")
_SIGNS = str.maketrans(
    {
        "\u2212": "-",
        "\uff0d": "-",
        "\uff0b": "+",
        "\u2019": "'",
        "\u02bc": "'",
        "\u066c": "'",
        "\uff0c": ",",
        "\u066b": ",",
        "\uff0e": ".",
        "\uff05": "%",
        "\u066a": "%",
    }
)
_NUMBER = re.compile(r"%?\s*([+-]?)\s*([0-9.,][0-9., ']*?)(?:[eE]([+-]?[0-9]{1,3}))?\s*%?")
_GROUPED = re.compile(r"[0-9]{1,3}(?:([ '])[0-9]{3})(?:\1[0-9]{3})*(?:([.,])([0-9]*))?")
_ONE_SIGN = re.compile(r"([0-9]*)([.,])([0-9]*)")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:([.,])[0-9]{3})(?:\1[0-9]{3})+")
_BOTH_SIGNS = re.compile(r"[0-9]{1,3}(?:([.,])[0-9]{3})(?:\1[0-9]{3})*(?!\1)([.,])([0-9]*)")
_OTHER = {".": ",", ",": "."}


@dataclass(frozen=True)
class _Reading:
    """What a text can mean. ``sign`` is the decimal sign that it proves, or for two ``values`` the sign in question.

    The first of two values is meant if ``sign`` is the decimal sign, the second if it separates thousands.
    """

    values: tuple[float, ...]
    sign: str = ""


def decimal_signs(texts: Iterable[str]) -> frozenset[str]:
    """Return the decimal signs that some text of a column proves, such as the comma by ``51,5`` and ``1.234,5``."""
    found = (_reading(text) for text in texts if "." in text or "," in text or not text.isascii())
    return frozenset(one.sign for one in found if one is not None and len(one.values) == 1 and one.sign)


def number(text: str, signs: Collection[str]) -> float | str | None:
    """Return the number that a text means in a column with these decimal signs.

    Return AMBIGUOUS if both a decimal and a thousands separator are possible, and None if the text is no number.
    """
    found = _reading(text)
    if found is None:
        return None
    if len(found.values) == 1:
        return found.values[0]
    if set(signs) == {found.sign}:
        return found.values[0]
    return found.values[1] if set(signs) == {_OTHER[found.sign]} else AMBIGUOUS


def _reading(text: str) -> _Reading | None:
    """Return the numbers that a text can mean. None: no number."""
    written = _NUMBER.fullmatch(_ascii(text))
    if written is None or written[0].count("%") > 1:
        return None
    sign, mantissa, exponent = written[1], written[2].strip(), written[3]

    def value(whole: str, fraction: str = "") -> float:
        digits = "".join(filter(str.isdigit, whole))
        return float(f"{sign}{digits or 0}.{fraction or 0}e{exponent or 0}")

    if mantissa.isdigit():
        return _Reading((value(mantissa),))
    if found := _ONE_SIGN.fullmatch(mantissa):
        whole, mark, fraction = found.groups()
        if not whole and not fraction:
            return None
        is_open = exponent is None and len(fraction) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0"
        return _Reading(
            (value(whole, fraction), value(whole + fraction)) if is_open else (value(whole, fraction),), mark
        )
    if found := _GROUPED.fullmatch(mantissa):
        whole, mark, fraction = mantissa.partition(found[2] or "\0")[0], found[2] or "", found[3] or ""
        return _Reading((value(whole, fraction),), mark)
    if found := _THOUSANDS.fullmatch(mantissa):
        return _Reading((value(mantissa),), _OTHER[found[1]])
    if found := _BOTH_SIGNS.fullmatch(mantissa):
        return _Reading((value(mantissa.partition(found[2])[0], found[3]),), found[2])
    return None


def _ascii(text: str) -> str:
    """Return a text with the digits, signs and spaces of all scripts in ASCII, and without quotes around it."""
    if not text.isascii():
        digits = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text)
        text = digits.translate(_SPACES).translate(_SIGNS)
    return text.strip().strip("'\"").strip()
