"""Judge results and answers on the page: one file for each person and day, like the labels of the page."""

import datetime as dt
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from assets.search.judgements import LANDING
from assets.transforms.search.votes import FILE_SCHEMA, KINDS, folded, with_judgement
from resources.errors import InputError
from resources.spend.store import Store, change

FOLDER = f"{LANDING}page/"
_LONGEST_QUERY, _MOST_A_DAY = 500, 10_000
_EMPTY = pl.DataFrame(pl.from_arrow(FILE_SCHEMA.empty_table()))


@dataclass(frozen=True)
class Judging:
    """The judgements of the page on the lake's S3."""

    store: Store
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC))
    _today: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def judge(self, who: str, query: str, item_kind: str, item_id: str, grade: int | None) -> None:
        """Keep a judgement; with grade None take it back. When this returns it is on S3. Raises InputError."""
        if not query.strip() or len(query) > _LONGEST_QUERY:
            raise InputError(f"The judged query has {len(query):,} characters; it must have 1 to {_LONGEST_QUERY}.")
        if item_kind not in KINDS or not item_id:
            raise InputError(f"The judged item is {item_kind[:20]!r}; it must be a post or an account, with its id.")
        if grade not in (None, 0, 1):
            raise InputError(f"The grade is {grade}; it must be 0 or 1.")
        at, key = self.now(), self._key(who)
        row = {"query": folded(query), "item_kind": item_kind, "item_id": item_id, "grade": grade, "judge": who}

        def changed(body: bytes | None) -> bytes | None:
            before = _read(body)
            after = self._today[key] = with_judgement(before, row, at)
            if after.height > _MOST_A_DAY:
                raise InputError(f"You gave {_MOST_A_DAY:,} judgements today; go on tomorrow.")
            return None if after.equals(before) else _written(after)

        change(self.store, key, changed)

    def given(self, who: str, query: str) -> Mapping[tuple[str, str], int]:
        """Return (item_kind, item_id) → grade of a person's judgements of a query today, as this process knows them."""
        key = self._key(who)
        if key not in self._today:
            found = self.store.get(key)
            self._today.clear()
            self._today[key] = _read(None if found is None else found.body)
        of_query = self._today[key].filter(pl.col("query") == folded(query))
        rows = of_query.select("item_kind", "item_id", "grade").iter_rows()
        return {(item_kind, item_id): grade for item_kind, item_id, grade in rows}

    def _key(self, who: str) -> str:
        return f"{FOLDER}{who}/{self.now():%Y-%m-%d}.parquet"


def _read(body: bytes | None) -> pl.DataFrame:
    if body is None:
        return _EMPTY
    return pl.read_parquet(io.BytesIO(body)).select(pl.col(name).cast(dtype) for name, dtype in _EMPTY.schema.items())


def _written(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()
