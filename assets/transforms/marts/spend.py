"""Compute mart/spend from the summaries of ended leases."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

_PLACE = ("day", "asset", "model", "lane", "outcome")
_SCHEMA = {
    "day": pl.Date,
    **dict.fromkeys(("asset", "model", "lane", "outcome"), pl.String),
    **dict.fromkeys(("calls", "input_tokens", "output_tokens"), pl.Int64),
    "usd": pl.Float64,
}


def spend_rows(history: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return one row per day, asset, model, lane and outcome. USD are added up exactly.

    ``history``: the summaries of leases, as `Ledger.history` yields them.
    """
    totals: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, 0, 0, Decimal(0)])
    for lease in history:
        scopes = dict(scope.partition(":")[::2] for scope in lease["scopes"])
        place = (date.fromisoformat(scopes["day"]), scopes["asset"], scopes["model"])
        for row in lease["rows"]:
            total = totals[*place, row["lane"], row["outcome"]]
            for number, name in enumerate(("calls", "input_tokens", "output_tokens")):
                total[number] += row[name]
            total[3] += Decimal(row["usd"])
    rows = [(*place, *total[:3], float(total[3])) for place, total in totals.items()]
    found = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    latest: Any = found["day"].max()
    at = datetime.combine(latest, datetime.min.time(), UTC) if latest else None
    return found.with_columns(as_of=pl.lit(at, pl.Datetime("us", "UTC"))).sort(_PLACE)
