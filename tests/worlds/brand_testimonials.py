"""Testimonials of brands in one bucket, and a language model at a fake provider that says what they say."""

import datetime as dt
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from assets.framework.incremental import RunMetrics
from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.brands import BRAND_TESTIMONIALS, brand_testimonials
from assets.summaries.model_testimonials import model_testimonials
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.source.schema import account_bucket
from resources.settings import bucket_count
from tests.fakes.spend_store import START
from tests.worlds.summaries import SummaryWorld

_NAMES = (f"Brand {number}" for number in itertools.count())
ACME, ZETA = itertools.islice((name for name in _NAMES if account_bucket(name, bucket_count()) == 0), 2)
"""Brands of bucket 0."""
Group = tuple[str | None, str | None]
Row = Mapping[str, Any]


def honest(body: Mapping[str, Any]) -> str:
    """Answer as an honest model: claim what the first testimonial of each rating says."""
    said = {item["rating"]: item for item in reversed(json.loads(body["messages"][1]["content"])["testimonials"])}
    return json.dumps({"claims": [{"text": item["text"], "post_ids": [item["id"]]} for item in said.values()]})


@dataclass
class BrandWorld(SummaryWorld):
    """The world of summaries, with testimonials."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.say = honest

    def tell(self, *rows: Row) -> None:
        """Make the lake hold these testimonials and no others, of ACME unless they say so, each older than the last."""
        made: list[dict[str, Any]] = [
            {"testimonial_id": f"t{number}", "brand": ACME, "account_bucket": 0, "updated_at": START,
             "created_at": START - dt.timedelta(days=number), **row} for number, row in enumerate(rows)
        ]  # fmt: skip
        self._sync(LAKE_TESTIMONIALS, made)
        ids = {row["account_id"] for row in made if row.get("account_id")}
        accounts = [{"account_bucket": 0, "account_id": id_, "updated_at": START} for id_ in sorted(ids)]
        self._sync(LAKE_ACCOUNTS, accounts)

    def quote(self) -> RunMetrics:
        """Materialize the extract."""
        return self.materialize(brand_testimonials)

    def summarise(self, mode: str = "live", **settings: Any) -> RunMetrics:
        """Materialize the extract, and then the claims of the bucket."""
        self.quote()
        return self.materialize(model_testimonials, testimonials=mode, **settings)

    def extract(self) -> dict[Group, dict[str, Any]]:
        return _by_group(self.lake.scan(BRAND_TESTIMONIALS).collect())

    def said(self) -> dict[Group, dict[str, Any]]:
        return _by_group(self.lake.scan(MODEL_TESTIMONIALS, 0).collect())


def _by_group(rows: pl.DataFrame) -> dict[Group, dict[str, Any]]:
    return {(row["brand"], row["campaign"]): row for row in rows.iter_rows(named=True)}
