"""Find texts that a spreadsheet has changed for good: ids shown as rounded numbers or as dates, and its errors.

What they were before cannot be known, so they are refused. Zeros that it took from the start of an id leave no trace.
"""

import polars as pl

EXACT_DIGITS = 15
"""A spreadsheet writes zeros for the digits of a number that follow."""
_LEAST_ZEROS = 6
"""Zeros in place of further digits, of all long ids together, that are no chance: one file in a million has them."""
_LONG = rf"^[1-9][0-9]{{{EXACT_DIGITS},}}$"
_CUT = rf"^[1-9][0-9]{{{EXACT_DIGITS - 1}}}0+$"
_ROUNDED = r"^[+-]?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}$"
_MONTH = (
    "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mär|Mai|Juni?|Juli?|Sept|Okt|Dez|"
    r"janv\.?|févr\.?|mars|avr\.?|mai|juin|juil\.?|août|sept\.?|oct\.?|nov\.?|déc\.?|ene|abr|ago|dic)"
)
_DATE = rf"^(?:[0-9]{{1,2}}(?:-|\. ?){_MONTH}(?:[- ][0-9]{{2,4}})?|{_MONTH}[- ][0-9]{{2}})$"
_ERROR = r"^#(?:N/A|NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|#+)$"
_MEND = "a spreadsheet did that, so format the column as text before you fill it"


def changed(name: str) -> pl.Expr:
    """Return why a text column's values are not what was written, null for values that may be."""
    text = pl.col(name).str.strip_chars()
    return (
        pl.when(text.str.contains(_ROUNDED) | _is_cut(text))
        .then(pl.lit(f"{name} is a rounded number: a spreadsheet or a column of doubles did that, so keep ids as text"))
        .when(text.str.contains(_DATE))
        .then(pl.lit(f"{name} is a day of a calendar: {_MEND}"))
        .when(text.str.contains(_ERROR))
        .then(pl.lit(f"{name} is an error of a formula, or of a column that was too narrow: {_MEND}"))
    )


def _is_cut(text: pl.Expr) -> pl.Expr:
    """Return whether ids end in zeros for further digits: only if all long ones of the column do, and not by chance."""
    long = text.filter(text.str.contains(_LONG)).unique()
    zeros = (long.str.len_chars() - EXACT_DIGITS).sum()
    is_proven = long.str.contains(_CUT).all() & (zeros >= _LEAST_ZEROS)
    return text.str.contains(_LONG) & is_proven
