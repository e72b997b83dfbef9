"""The sheet All in: the language model, embedding, vectors in memory, S3; once and a month."""

from collections.abc import Mapping, Sequence

from assets.transforms.estimates import Option
from pipelines.cli.spreadsheet.layout import Formats, Sheet, assumption, cheapest, column_of, lowest
from resources.catalogues.prices import Service

_LEAST_QUALITY = 80
_GB = 1_000_000_000
_INPUTS = (
    ("least quality (MMLU) of the model", float(_LEAST_QUALITY), "", "the cheapest that is still offered"),
    ("posts embedded a second", 50.0, "", "multilingual-e5-small on two cores; `make bench NAME=embed` measures yours"),
    ("USD an hour of the machine that embeds", 0.0, "compute", ""),
    ("bytes of memory a post", 1_500.0, "", "a vector of 384 numbers in 8 bits, its graph, its payload; assumed"),
    ("USD of memory by GB and month", 0.0, "memory", ""),
    ("bytes on S3 a post", 3_600.0, "", "every table, of the demo's 2,065 posts: 7.4 MB; longer posts take more"),
    ("USD of storage by GB and month", 0.0, "storage", ""),
    ("S3 writes for 1,000 posts", 1.0, "", "assumed for a first load; small changes have more"),
    ("USD of 1,000 S3 writes", 0.0, "writes", ""),
)
"""Name, value, or the service whose price is the value, source."""
_FIRST_INPUT, _HEAD = 3, 14
Line = tuple[str, str, float, str]
"""Name, formula, value, format."""


def write_all_in(
    sheet: Sheet, formats: Formats, found: Sequence[list[Option]], services: Mapping[str, Service]
) -> None:
    """Write the inputs, and a column of USD for each case. ``services``: prices by id."""
    sheet.set_column(0, 0, 50)
    sheet.set_column(1, len(found), 24)
    sheet.write(0, 0, "What everything costs: once for all posts, and every month", formats["bold"])
    values = []
    for row, (name, value, service, source) in enumerate(_INPUTS, _FIRST_INPUT - 1):
        priced = services[service] if service else None
        values.append(float(priced.usd) if priced else value)
        sheet.write(row, 0, name)
        sheet.write(row, 1, values[-1], formats["input"])
        sheet.write(row, 2, f"{priced.name}: {priced.source} {priced.date}" if priced else source)
    sheet.set_row(_HEAD - 1, 64)
    sheet.write_row(_HEAD - 1, 0, ["USD", *(rows[0].workload.name for rows in found)], formats["head"])
    for case, rows in enumerate(found):
        for row, (name, formula, worth, style) in enumerate(_lines(case, rows, values), _HEAD):
            sheet.write(row, 0, name, formats["bold" if name.startswith("all") else "plain"])
            sheet.write_formula(row, case + 1, formula, formats[style], worth)
    sheet.write(_HEAD + 10, 0, "A node of vectors is rented whole: few posts cost a month of its memory all the same.")


def _lines(case: int, rows: list[Option], values: Sequence[float]) -> list[Line]:
    """Return the lines of a case."""
    workload, best = rows[0].workload, cheapest(rows, _LEAST_QUALITY)
    posts, column, first = assumption(case, "posts"), column_of(case), _HEAD + 1
    least, rate, hourly, vector, memory, stored, storage, writes, requests = (
        f"$B${row}" for row in range(_FIRST_INPUT, _FIRST_INPUT + len(_INPUTS))
    )
    _, v_rate, v_hourly, v_vector, v_memory, v_stored, v_storage, v_writes, v_requests = values
    n, model = workload.posts, best.usd.value if best else 0.0
    hours = n / v_rate / 3600
    once: list[Line] = [
        ("language model", lowest(case, len(rows), least), model, "usd"),
        ("embedding", f"={posts}/{rate}/3600*{hourly}", hours * v_hourly, "usd"),
        ("S3 requests", f"={posts}/1000*{writes}/1000*{requests}", n / 1000 * v_writes / 1000 * v_requests, "usd"),
    ]
    monthly: list[Line] = [
        ("vectors in memory, a month", f"={posts}*{vector}/{_GB}*{memory}", n * v_vector / _GB * v_memory, "usd"),
        ("S3 storage, a month", f"={posts}*{stored}/{_GB}*{storage}", n * v_stored / _GB * v_storage, "usd"),
    ]
    last = first + len(once) - 1
    return [
        *once,
        ("all of it, once", f"=SUM({column}{first}:{column}{last})", sum(line[2] for line in once), "usd"),
        *monthly,
        ("all of it, a month", f"=SUM({column}{last + 2}:{column}{last + 3})", sum(line[2] for line in monthly), "usd"),
        ("embedding, hours of one machine", f"={posts}/{rate}/3600", hours, "hours"),
        ("vectors, GB of memory", f"={posts}*{vector}/{_GB}", n * v_vector / _GB, "hours"),
    ]
