"""The life of a request to a language model: on record before it is sent, taken in once, then forgotten by its lane."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl
from dagster import AssetExecutionContext

from assets.framework.incremental import RunMetrics, Stage, refresh
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, TableSpec, in_columns
from resources.errors import InputError
from resources.llm.lane import OFF, Lane, asked
from resources.llm.request import Answer, Request, Unanswered
from resources.llm.resource import LlmResource

WAITING, DONE = "waiting", "done"
"""States of a row: its request has no answer yet, or nothing is asked for it until its item changes."""
Outcomes = Mapping[str, Answer | Unanswered]
"""Request id → the answer, or why there is none."""
Row = Mapping[str, Any]


def due(rows: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
    """Return the waiting rows whose requests have an outcome."""
    return rows.filter(_is_due(outcomes))


def settled(rows: pl.DataFrame, outcomes: Outcomes, read: Callable[[Row, Answer], Row]) -> pl.DataFrame:
    """Return rows with the outcomes of their requests. ``read``: waiting row, answer → the table's own columns."""
    done = [
        {**row, **_columns(row, outcomes[row["request_id"]], read)} for row in due(rows, outcomes).iter_rows(named=True)
    ]
    return pl.concat([rows.filter(~_is_due(outcomes)), pl.DataFrame(done, schema=rows.schema)])


def _is_due(outcomes: Outcomes) -> pl.Expr:
    is_known = pl.col("request_id").is_in(list(outcomes))
    return ((pl.col("state") == WAITING) & is_known).fill_null(value=False)


def _columns(row: Row, found: Answer | Unanswered, read: Callable[[Row, Answer], Row]) -> Row:
    if isinstance(found, Unanswered):
        return {"reason": found.reason, "state": DONE if found.is_final else WAITING}
    return {
        "state": DONE,
        "model": found.model,
        "input_tokens": found.usage.input_tokens,
        "output_tokens": found.usage.output_tokens,
        "usd": found.usd,
        **read(row, found),
    }


@dataclass(frozen=True)
class AskedTable:
    """A table with a row per item that a language model is asked about: (request_id, state, reason, …).

    ``items`` is the noun that is counted. ``llm`` and ``mode`` say which model is asked, and in which lane.
    """

    spec: TableSpec
    items: str
    context: AssetExecutionContext
    lake: LakeResource
    llm: LlmResource
    mode: str

    def stored(self, bucket: int) -> pl.DataFrame:
        """Return the rows of a bucket in the columns of today."""
        return in_columns(self.spec, self.lake.bucket_rows(self.spec, bucket)).select(self.spec.schema.names)

    def refresh(
        self, ledger: LedgerResource, stage: Stage, bring_up_to_date: Callable[[int, RunMetrics], Changes]
    ) -> RunMetrics:
        """Bring stale buckets up to date. The next run looks at one with waiting rows again, changed or not."""
        contents = partial(self.lake.contents, self.spec)
        tally = refresh(self.context, self.lake, ledger, stage, contents, bring_up_to_date)
        waiting = f"{self.items}_waiting"
        ledger.forget(stage.name, [bucket for bucket, found in tally.buckets.items() if found.counts[waiting]])
        return tally

    @contextmanager
    def round(self, bucket: int, tally: RunMetrics) -> Iterator["Round"]:
        """Yield the round of a bucket: what a run takes in and sends."""
        with self.llm.lane(self.context.run.run_id, self.spec.name, str(bucket), self.mode) as lane:
            yield Round(self, bucket, lane, tally)


@dataclass(frozen=True)
class Round:
    """The requests of one bucket in one run. Take in first, then ask."""

    table: AskedTable
    bucket: int
    lane: Lane
    tally: RunMetrics
    known: dict[str, Answer | Unanswered] = field(default_factory=dict)

    def take_in(self, stored: pl.DataFrame) -> Outcomes:
        """Return what is known of the requests that rows wait for."""
        self.known.update(
            (found.id, found) for found in self.lane.find(stored.filter(state=WAITING)["request_id"].to_list())
        )
        return self.known

    def ask(
        self,
        kept: pl.DataFrame,
        rows: pl.DataFrame,
        requests: Mapping[str, Request],
        read: Callable[[pl.DataFrame, Outcomes], pl.DataFrame],
    ) -> tuple[pl.DataFrame, Changes]:
        """Send the requests of new rows beside the kept ones, and store what is answered. Return the bucket's rows.

        ``read`` returns rows with the outcomes of their requests.
        """
        lake, spec = self.table.lake, self.table.spec
        # On record before anything is sent, so that whichever run comes next takes the answer in.
        changes = lake.sync(spec, pl.concat([kept, rows]), self.bucket)
        ids = rows["request_id"].unique(maintain_order=True)
        outcomes = asked(self.lane, [requests[id_] for id_ in ids if id_], self.table.context.log.error)
        result = pl.concat([kept, read(rows, outcomes)])
        changes = changes + lake.sync(spec, result, self.bucket)
        every = self.known | outcomes
        self.lane.forget([id_ for id_, found in every.items() if isinstance(found, Answer) or found.is_final])
        self.tally.counts[f"{self.table.items}_answered"] += sum(isinstance(it, Answer) for it in every.values())
        self.tally.counts[f"{self.table.items}_waiting"] += result.filter(state=WAITING).height
        return result, changes


def require_endpoint(llm: LlmResource, variable: str, mode: str, work: str) -> None:
    """Raise InputError if a variable asks for a model and no address is set. ``work``: what the model does, a noun."""
    if mode != OFF and not llm.url:
        raise InputError(f"{variable} is {mode}, but CIPPUS_LLM_URL is not set; set it, or {OFF} the {work}.")
