"""Cast values to a declared type from any type of a source, most often text."""

import json
from collections.abc import Iterable

import polars as pl
import pyarrow as pa

_TIMESTAMP = (
    r"^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:[0-5]\d)(?:\.(\d{1,6}))?"
    r"(?:Z|([+-])(\d{2})(?::?(\d{2}))?(?::?(\d{2}))?)?$"
)
_PARTS = ("day", "time", "fraction", "sign", "hours", "minutes", "seconds")
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_WHOLE = r"^\s*([+-]?\d{1,40})(?:\.0*)?\s*$"
_SPACE, _PLAIN = r"[ \t\n\r\x0b\x0c]", r'[^,{}"\\ \t\n\r\x0b\x0c]'
_ELEMENT = rf'"(?:[^"\\]|\\.)*"|{_PLAIN}(?:[^,{{}}"\\]*{_PLAIN})?'
_SPACED = rf"{_SPACE}*(?:{_ELEMENT}){_SPACE}*"
_BOUNDS = r"^\[-?\d+:-?\d+\]="
_ARRAY = rf"(?s)^(?:\[-?\d+:-?\d+\]=)?\{{(?:{_SPACED}(?:,{_SPACED})*|{_SPACE}*)\}}$"
"""A one-dimensional array as Postgres prints it, with bounds if they do not begin at 1."""
_TRUTH = {"t": True, "true": True, "f": False, "false": False}
FIRST_TIMESTAMP, LAST_TIMESTAMP = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in microseconds from 1970: Postgres' infinity and what lies beyond most readers cannot show."""
_MICROSECONDS = {"days": 86_400_000_000, "ms": 1_000, "us": 1}
_EXACT_FLOAT = 2**53
"""The largest whole number below which every whole number is a float."""


def recast(values: pl.Series, declared: pa.DataType) -> pl.Series:
    """Cast values to the declared type. The result is null where a value is null or cannot be cast.

    Values may be text, as Postgres or JSON writes it, or any numeric, temporal, boolean or list type of polars. The
    declared type may be text, integer, float, boolean, timestamp in UTC, or list of text; others raise TypeError.
    """
    [dtype] = pl.DataFrame(pl.from_arrow(pa.table({"": pa.array([], declared)}))).dtypes
    if values.dtype == pl.Null or (values.dtype == dtype and not isinstance(dtype, pl.Datetime)):
        return values.cast(dtype)
    if dtype == pl.String:
        return _as_text(values)
    if dtype.is_integer():
        return _as_integer(values).cast(dtype, strict=False)
    if isinstance(dtype, pl.Datetime):
        return _as_timestamp(values)
    if dtype == pl.List(pl.String):
        return _as_texts(values)
    if dtype == pl.Boolean:
        return _as_boolean(values)
    if dtype.is_float():
        return values.cast(dtype, strict=False)
    message = f"Values cannot be cast to {declared}; declare a type that recast supports."
    raise TypeError(message)


def _nulls(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.repeat(None, values.len(), dtype=dtype, eager=True).alias(values.name)


def _as_text(values: pl.Series) -> pl.Series:
    """Decode bytes as UTF-8. Lists become null."""
    if values.dtype == pl.Binary:  # a cast in polars fails for the whole column if one value is not UTF-8
        return pl.Series(values.name, [_utf8(value) for value in values], dtype=pl.String)
    if isinstance(values.dtype, pl.Datetime):
        return _as_timestamp(values).dt.to_string("iso")
    if values.dtype == pl.Date:
        return values.zip_with(in_range(values), _nulls(values, pl.Date())).dt.to_string("iso")
    return _nulls(values, pl.String()) if values.dtype.is_nested() else values.cast(pl.String, strict=False)


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _utf8_list(values: Iterable[bytes | None] | None) -> list[str | None] | None:
    """Decode bytes as UTF-8. Return None if any of them is not."""
    try:
        return None if values is None else [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError:
        return None


def _as_integer(values: pl.Series) -> pl.Series:
    if values.dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    if values.dtype == pl.String:
        return values.str.extract(_WHOLE).cast(pl.Int64, strict=False)
    whole = values.cast(pl.Int64, strict=False) if values.dtype.is_numeric() else _nulls(values, pl.Int64())
    if values.dtype.is_float():
        return whole.set((values != values.floor()) | (values.abs() > _EXACT_FLOAT), None)
    if values.dtype.is_decimal():
        return whole.set(whole.cast(values.dtype, strict=False).ne_missing(values), None)
    return whole


def _as_boolean(values: pl.Series) -> pl.Series:
    if values.dtype != pl.String:
        return _nulls(values, pl.Boolean())
    return values.replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)


def _as_timestamp(values: pl.Series) -> pl.Series:
    """In UTC. A time without a zone is UTC; of finer units, what microseconds hold."""
    if values.dtype == pl.String:
        return _parse_timestamps(values)
    if not isinstance(values.dtype, pl.Date | pl.Datetime):
        return _nulls(values, pl.Datetime("us", "UTC"))
    # polars panics when it converts or prints a time that chrono cannot hold, so drop such values first.
    values = values.zip_with(in_range(values), _nulls(values, values.dtype))
    if values.dtype == pl.Date:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    zoned = values if getattr(values.dtype, "time_zone", None) else values.dt.replace_time_zone("UTC")
    found = zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return found.set(zoned.dt.nanosecond() % 1000 != 0, None)


def in_range(values: pl.Series) -> pl.Series:
    """Return which dates or times are in the years 1 to 9999; null where a value is null."""
    unit = "days" if values.dtype == pl.Date else getattr(values.dtype, "time_unit", "us")
    if unit == "ns":  # 64 bits of nanoseconds end in 2262
        return values.is_not_null()
    microseconds = _MICROSECONDS[unit]
    return values.to_physical().is_between(FIRST_TIMESTAMP // microseconds, LAST_TIMESTAMP // microseconds)


def _parse_timestamps(values: pl.Series) -> pl.Series:
    """Parse `2024-02-01 08:00:00.123456+05:30` and variants. `infinity` and years outside 1 to 9999 become null."""
    text = pl.col("text")
    frame = values.alias("text").to_frame()
    parts = frame.select(text, text.str.extract_groups(_TIMESTAMP).struct.rename_fields(_PARTS).struct.unnest())
    local = (pl.col("day") + " " + pl.col("time")).str.to_datetime("%F %T", time_unit="us", strict=False)
    east = sum(
        (pl.col(part).cast(pl.Int64).fill_null(0) * size for part, size in zip(_PARTS[4:], (3600, 60, 1), strict=True)),
        start=pl.lit(0, pl.Int64),
    )
    offset = pl.when(pl.col("sign") == "-").then(-east).otherwise(east)
    microseconds = pl.col("fraction").fill_null("").str.pad_end(6, "0").cast(pl.Int64)
    zoned = local + pl.duration(microseconds=microseconds, seconds=-offset)
    midnight = text.str.extract(f"({_DAY})", 1).str.to_datetime("%F", time_unit="us", strict=False)
    return parts.select(pl.coalesce(zoned, midnight).dt.replace_time_zone("UTC").alias(values.name)).to_series()


def _as_texts(values: pl.Series) -> pl.Series:
    """Parse lists of text from array literals of Postgres (`{a,"b,c",NULL}`), JSON arrays, or lists."""
    dtype = pl.List(pl.String)
    if isinstance(values.dtype, pl.List):
        inner = pl.Series([], dtype=values.dtype).explode().dtype
        if inner == pl.Binary:
            return pl.Series(values.name, [_utf8_list(value) for value in values], dtype=dtype)
        return _nulls(values, dtype) if inner.is_nested() or inner.is_temporal() else values.cast(dtype)
    if values.dtype != pl.String:
        return _nulls(values, dtype)
    literals = (
        values.set(~values.str.contains(_ARRAY), None).str.replace(_BOUNDS, "").str.extract_all(f"(?s){_ELEMENT}")
    )
    element = pl.element()
    quoted = element.str.strip_prefix('"').str.strip_suffix('"').str.replace_all(r"(?s)\\(.)", "${1}")
    plain = pl.when(element.str.to_uppercase() != "NULL").then(element)
    lists = literals.list.eval(pl.when(element.str.starts_with('"')).then(quoted).otherwise(plain))
    others = values.set(lists.is_not_null(), None)
    known = others.drop_nulls().unique()
    decoded = pl.DataFrame({"text": known, "list": pl.Series([_json_texts(text) for text in known], dtype=dtype)})
    parsed = others.alias("text").to_frame().join(decoded, on="text", how="left", maintain_order="left")["list"]
    return lists.zip_with(lists.is_not_null(), parsed)


def _json_texts(text: str) -> list[str | None] | None:
    """Return the elements of a JSON array of strings and nulls, or None for anything else."""
    try:
        found = json.loads(text)
        if not isinstance(found, list) or not all(item is None or isinstance(item, str) for item in found):
            return None
        "".join(item or "" for item in found).encode()
    except (ValueError, RecursionError):
        return None
    return found
