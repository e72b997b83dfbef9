"""The sheet of all costs of an estimate: the language model, embedding, vectors in memory, S3; once and a month."""

from collections.abc import Mapping, Sequence
from typing import Any

from assets.transforms.estimates import Option
from resources.catalogues.prices import Service

FIRST = 5
"""Row of the first option on its sheet, from 1."""
_LEAST_QUALITY = 80
_GB = 1_000_000_000
_INPUTS = (
    ("posts embedded a second", 50.0, "", "multilingual-e5-small on two cores; `make bench NAME=embed` measures yours"),
    ("USD an hour of the machine that embeds", 0.0, "compute", ""),
    ("bytes of memory a post", 1_500.0, "", "a vector of 384 numbers in 8 bits, its graph, its payload"),
    ("USD of memory by GB and month", 0.0, "memory", ""),
    (
        "bytes on S3 a post",
        2_500.0,
        "",
        "lake, corpus, vectors in 32 bits, tags, marts; sample data has 1,900 to 2,600",
    ),
    ("USD of storage by GB and month", 0.0, "storage", ""),
    ("S3 writes for 1,000 posts", 1.0, "", "first load of large windows; small windows have more"),
    ("USD of 1,000 S3 writes", 0.0, "writes", ""),
)
"""Name, value, or the service whose price is the value, source."""
_FIRST_INPUT, _HEAD = 3, 13
Sheet = Any


def column_of(workload: int) -> str:
    """Return the column of a workload on the sheets Assumptions and All in, by its number from 0."""
    return chr(ord("B") + workload)


def span(number: int, column: str, rows: int) -> str:
    """Return a column of options on the sheet of the workload ``number``, from 1."""
    return f"'Options {number}'!${column}${FIRST}:${column}${FIRST + rows - 1}"


def cheapest(rows: Sequence[Option], least: float) -> Option | None:
    """Return the cheapest option still offered whose score is at least ``least``."""
    scored = [o for o in rows if not o.offer.retired and o.offer.mmlu and float(o.offer.mmlu) >= least]
    return min(scored, key=lambda option: option.usd.value, default=None)


def fit_of(option: Option) -> str:
    """Return whether the largest account is within the model's context, in a word."""
    return {True: "yes", False: "no", None: "unknown"}[option.fits]


def write_all_in(
    sheet: Sheet, formats: dict[str, Any], found: Sequence[Sequence[Option]], services: Mapping[str, Service]
) -> None:
    """Write the sheet: yellow inputs, and a column of USD for each workload. ``services``: prices by id."""
    sheet.set_column(0, 0, 48)
    sheet.set_column(1, len(found), 26)
    sheet.write(0, 0, "What everything costs: once for all posts, and every month", formats["bold"])
    values = []
    for row, (name, value, service, source) in enumerate(_INPUTS, _FIRST_INPUT - 1):
        priced = services[service] if service else None
        values.append(float(priced.usd) if priced else value)
        sheet.write(row, 0, name)
        sheet.write(row, 1, values[-1], formats["input"])
        sheet.write(row, 2, f"{priced.name}: {priced.source} {priced.date}" if priced else source)
    names = [rows[0].workload.name for rows in found]
    sheet.set_row(_HEAD - 1, 48)
    heading = f"USD, with the cheapest model of MMLU {_LEAST_QUALITY} or more"
    sheet.write_row(_HEAD - 1, 0, [heading, *names], formats["head"])
    for number, rows in enumerate(found):
        for row, (name, formula, worth) in enumerate(_lines(number, rows, values), _HEAD):
            sheet.write(row, 0, name, formats["bold"] if name.startswith("all") else None)
            sheet.write_formula(row, number + 1, formula, formats["usd"], worth)


def _lines(number: int, rows: Sequence[Option], values: Sequence[float]) -> list[tuple[str, str, float]]:
    """Return (name, formula, value) of each line of a workload."""
    workload, best = rows[0].workload, cheapest(rows, _LEAST_QUALITY)
    posts = f"Assumptions!${column_of(number)}$10"
    rate, hourly, vector, memory, stored, storage, writes, requests = (
        f"$B${row}" for row in range(_FIRST_INPUT, _FIRST_INPUT + len(_INPUTS))
    )
    usd, offered, score = (span(number + 1, column, len(rows)) for column in "HMD")
    v_rate, v_hourly, v_vector, v_memory, v_stored, v_storage, v_writes, v_requests = values
    n = workload.posts
    model = best.usd.value if best else 0.0
    once = [
        ("language model", f'=_xlfn.MINIFS({usd},{offered},"yes",{score},">={_LEAST_QUALITY}")', model),
        ("embedding", f"={posts}/{rate}/3600*{hourly}", n / v_rate / 3600 * v_hourly),
        ("S3 requests", f"={posts}/1000*{writes}/1000*{requests}", n / 1000 * v_writes / 1000 * v_requests),
    ]
    monthly = [
        ("vectors in memory, a month", f"={posts}*{vector}/{_GB}*{memory}", n * v_vector / _GB * v_memory),
        ("S3 storage, a month", f"={posts}*{stored}/{_GB}*{storage}", n * v_stored / _GB * v_storage),
    ]
    column, first = column_of(number), _HEAD + 1
    last = first + len(once) - 1
    return [
        *once,
        ("all of it, once", f"=SUM({column}{first}:{column}{last})", sum(line[2] for line in once)),
        *monthly,
        ("all of it, a month", f"=SUM({column}{last + 2}:{column}{last + 3})", sum(line[2] for line in monthly)),
    ]
