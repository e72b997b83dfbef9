"""Numbers in every form that programs, spreadsheets and national conventions write, and those with two meanings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.numbers import AMBIGUOUS, decimal_signs, number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("5E-05", 0.00005), ("1.2e1", 12), ("1,2E+1", 12), ("1e2", 100), ("1.234e1", 12.34)),
        *((".5", 0.5), (",5", 0.5), ("5.", 5), ("+60", 60), ("+ 60", 60), ("-0", 0), ("007", 7)),
        *(("51.5", 51.5), ("51,5", 51.5), ("100.00000000000001", 100.00000000000001), ("0.125", 0.125)),
        *(("40%", 40), ("40 %", 40), ("40\u00a0%", 40), ("40\u202f%", 40), ("%40", 40), ("40\uff05", 40)),
        *(("'51.5", 51.5), ('"51,5"', 51.5), ("'51,5'", 51.5), ("\u2019 60", 60)),
        *(("1 234,5", 1234.5), ("1\u00a0234,5", 1234.5), ("1\u2009234.5", 1234.5), ("1\u202f234\u202f567", 1234567)),
        *(("1'234.5", 1234.5), ("1\u2019234,5", 1234.5), ("1.234,5", 1234.5), ("1,234.5", 1234.5)),
        *(("1.234.567", 1234567), ("1,234,567", 1234567), ("1.234.567,25", 1234567.25), ("1234.567", 1234.567)),
        *(("\u22125", -5), ("\uff15\uff11.\uff15", 51.5), ("\u0665\u0661\u066b\u0665\u066a", 51.5)),
    ],
)
def test_one_meaning(text: str, value: float) -> None:
    for signs in (frozenset[str](), {"."}, {","}, {".", ","}):
        assert number(text, signs) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", ".", ",", "%", "e5", "nan", "inf", "1_000", "0x10", "1e", "1..2", "1,,2", "1.2.3", "1,2,3"),
        *("12.34,567,8", "40%%", "%40%", "about 5", "5 6", "1 23", "1 2345", "1'23", "1e1.5", "--5", "5-"),
        *("\u2155", "1,234.567,8", "5\u00b2", "1e9999"),
    ],
)  # fmt: skip
def test_no_number(text: str) -> None:
    assert number(text, frozenset()) is None


@pytest.mark.parametrize("text", ["1.234", "12.345", "123.456", "+1.234", "1.234 %", "1,234", "123,456"])
def test_two_meanings_until_the_column_decides(text: str) -> None:
    sign = next(one for one in text if one in ".,")
    digits = "".join(filter(str.isdigit, text))
    decimal, other = float(f"{digits[:-3]}.{digits[-3:]}"), "," if sign == "." else "."
    assert number(text, frozenset()) == AMBIGUOUS
    assert number(text, {".", ","}) == AMBIGUOUS
    assert number(text, {sign}) == decimal
    assert number(text, {other}) == float(digits)


@pytest.mark.parametrize(
    ("texts", "signs"),
    [
        *((["1.234", "12,345", "7", "x", "40%"], set()), (["51,5"], {","}), (["0.125"], {"."}), (["1234.567"], {"."})),
        *((["1.234.567"], {","}), (["1,234.5"], {"."}), (["1 234,5"], {","}), (["51.5", "51,5"], {".", ","})),
        *((["1.234e1"], {"."}), ([".5"], {"."}), (["\u0665\u066b\u0665"], {","})),
    ],
)
def test_what_a_column_proves(texts: list[str], signs: set[str]) -> None:
    assert decimal_signs(texts) == signs


@given(st.floats(0, 100), st.sampled_from(["r", ".2f", "e", "g"]), st.booleans())
def test_a_number_that_is_written_is_read(value: float, form: str, has_comma: bool) -> None:
    text = repr(value) if form == "r" else f"{value:{form}}"
    text = text.replace(".", ",") if has_comma else text
    found = number(text, {"," if has_comma else "."})
    assert isinstance(found, float)
    assert math.isclose(found, float(text.replace(",", ".")), rel_tol=1e-15)


@given(st.text(st.sampled_from("0123456789.,' eE+-%\u00a0x"), max_size=12))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = number(text, decimal_signs([text]))
    assert found is None or found == AMBIGUOUS or isinstance(found, float)
