"""Compare methods and models: quality, dollars and speed, from what was measured and what tokens cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from assets.transforms.summaries.evaluation import Evaluation
from assets.transforms.verticals.intervals import shares

TASKS = {"post": "tag posts", "account": "tag accounts"}
"""Kind of item → the task of tagging it."""
SUMMARISE, OPINIONS = "summarise accounts", "summarise reviews"
"""Tasks of summaries. Nobody has written references of accounts; reviews have some, so ROUGE is measured on them."""
EXTRACTIVE, BY_MODEL = "extractive", "language model"
LOCAL, AS_ANSWERED = "this machine", "as answered"
MACRO_F1, SUPPORTED = "macro F1 of held-out labels", "share of claims that posts support"
ROUGE = "ROUGE-1 of summaries that people wrote"
NO_REFERENCES = "Sentences are quoted; the task “summarise reviews” compares them with references."
NOT_EVALUATED = "Never measured with this encoder; `cippus evaluate summaries DIR --save` measures it."
NEVER_ASKED = "No answer of this model is stored; published_score is all that is known."
PROMISED = "Never timed here; mart/estimates has the hours that are promised or that a rate limit allows."
ONLY_UNCERTAIN = "Only uncertain posts are sent; the provider's time was not measured."
ASSUMED = "Assumed from a data sheet; `cippus measure llm --save` measures it."
NOT_CHARGED, NOT_IN_LEDGER = "Runs on this machine.", "Calls to an embeddings endpoint are not in the ledger."
_MILLION, _HOUR = 1_000_000, 3600
_QUALITY = ("quality", "quality_low", "quality_high", "measured_items", "measured_accounts", "quality_note")
Row = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    """Posts per second of a stage, and how that is known; None and the reason without a timed run."""

    posts_per_second: float | None
    note: str


@dataclass(frozen=True)
class Host:
    """What runs a local method: the encoder, how fast its stages go, and what an hour of the machine costs.

    ``is_local``: false where an endpoint embeds, whose price is not known. ``posts``: posts of the corpus.
    """

    encoder: str
    usd_per_hour: float
    posts: int
    is_local: bool = True

    def figures(self, pace: Pace) -> Row:
        """Return the columns of cost and speed of a method whose posts go at ``pace``."""
        cost: Row = dict.fromkeys(("usd_per_million_posts", "usd_low", "usd_high"), 0.0 if self.is_local else None)
        hours = _hours(pace.posts_per_second)
        machine = None if hours is None or not self.is_local else hours * self.usd_per_hour
        return {
            "model": self.encoder,
            "provider": LOCAL if self.is_local else "embeddings endpoint",
            "lane": "local" if self.is_local else "live",
            "posts": self.posts,
            **cost,
            "machine_usd_per_million_posts": machine,
            "cost_note": NOT_CHARGED if self.is_local else NOT_IN_LEDGER,
            **_speed(pace),
        }


def in_turn(paces: Sequence[Pace]) -> Pace:
    """Return the pace of stages that a post passes one after the other; that of one without a run is not known."""
    rates = [pace.posts_per_second for pace in paces]
    if any(rate is None for rate in rates):
        return next(pace for pace in paces if pace.posts_per_second is None)
    return Pace(1 / sum(1 / rate for rate in rates if rate), " ".join(pace.note for pace in paces))


def tagging(measured: pl.DataFrame, methods: Sequence[str], host: Host, pace: Pace) -> list[Row]:
    """Return a row per kind of item and method that runs on the host. ``measured``: rows of vertical/methods."""
    found = {(row["item_kind"], row["method"]): row for row in measured.iter_rows(named=True)}
    return [
        {
            "task": task,
            "method": method,
            "quality_measure": MACRO_F1,
            **_macro_f1(found.get((kind, method)), kind),
            **host.figures(pace),
        }
        for (kind, task), method in product(TASKS.items(), methods)
    ]


def _macro_f1(row: Row | None, kind: str) -> Row:
    if row is None:
        return {"quality_note": f"No {kind} has a label that the method can be measured on."}
    return {
        "quality": row["macro_f1"],
        "quality_low": row["macro_f1_low"],
        "quality_high": row["macro_f1_high"],
        "measured_items": row["items"],
        "measured_accounts": row["accounts"],
        "quality_note": f"{row['verticals']} verticals, five folds by account.",
    }


def cascade(measured: pl.DataFrame, method: str, asked: pl.DataFrame, posts: int) -> list[Row]:
    """Return a row per kind of item and language model that tagged uncertain posts.

    ``asked``: (model, answers, usd); ``posts``: all of the corpus, of which the others cost nothing.
    """
    found = {(row["item_kind"], row["method"]): row for row in measured.iter_rows(named=True)}
    return [
        {
            "task": task,
            "method": method,
            "model": model,
            "provider": AS_ANSWERED,
            "lane": AS_ANSWERED,
            "quality_measure": MACRO_F1,
            **_macro_f1(found.get((kind, method)), kind),
            "posts": posts,
            **dict.fromkeys(("usd_per_million_posts", "usd_low", "usd_high"), usd / posts * _MILLION),
            "cost_note": f"Charged for {answers:,} uncertain posts of {posts:,}.",
            **_speed(Pace(None, ONLY_UNCERTAIN)),
        }
        for kind, task in TASKS.items()
        for model, answers, usd in asked.sort("model").select("model", "answers", "usd").iter_rows()
    ]


def extractive(host: Host, pace: Pace) -> Row:
    """Return the row of summaries without a language model."""
    return {
        "task": SUMMARISE,
        "method": EXTRACTIVE,
        "quality_measure": SUPPORTED,
        "quality_note": NO_REFERENCES,
        **host.figures(pace),
    }


def answered(answers: pl.DataFrame, pace: Pace) -> list[Row]:
    """Return a row per model. ``answers``: (account_id, model, claims, claims_of_answer, usd, posts)."""
    found = []
    for (model,), rows in answers.sort("model", "account_id").group_by("model", maintain_order=True):
        kept, total = (rows[name].to_numpy().astype(np.float64)[:, None] for name in ("claims", "claims_of_answer"))
        [share] = shares(kept, total)
        low, high = share.interval if share.trials else (None, None)
        posts, usd = int(rows["posts"].sum()), float(rows["usd"].sum())
        found.append(
            {
                "task": SUMMARISE,
                "method": BY_MODEL,
                "model": str(model),
                "provider": AS_ANSWERED,
                "lane": AS_ANSWERED,
                "quality_measure": SUPPORTED,
                "quality": share.value,
                "quality_low": low,
                "quality_high": high,
                "measured_items": round(share.trials),
                "measured_accounts": rows.height,
                "quality_note": f"{rows.height:,} answers." if share.trials else "No answer has a claim.",
                "posts": posts,
                **dict.fromkeys(("usd_per_million_posts", "usd_low", "usd_high"), usd / posts * _MILLION),
                "cost_note": f"Charged for {rows.height:,} accounts with {posts:,} posts.",
                **_speed(pace),
            }
        )
    return found


def evaluated(evaluations: Sequence[Evaluation], host: Host, pace: Pace) -> list[Row]:
    """Return a row of the extractive method, measured or not, and one per language model that was evaluated."""
    of_host = [it for it in evaluations if (it.method, it.model) == (EXTRACTIVE, host.encoder)]
    local = _rouge(of_host[0]) if of_host else {"quality_note": NOT_EVALUATED}
    rows: list[Row] = [
        {"task": OPINIONS, "method": EXTRACTIVE, "quality_measure": ROUGE, **local, **host.figures(pace)}
    ]
    for it in evaluations:
        if it.method == BY_MODEL:
            usd = None if it.usd is None else it.usd / it.reviews * _MILLION
            rows.append(
                {
                    "task": OPINIONS,
                    "method": BY_MODEL,
                    "model": it.model,
                    "provider": AS_ANSWERED,
                    "lane": AS_ANSWERED,
                    "quality_measure": ROUGE,
                    **_rouge(it),
                    "posts": it.reviews,
                    **dict.fromkeys(("usd_per_million_posts", "usd_low", "usd_high"), usd),
                    "cost_note": f"Charged for {it.entities:,} summaries of {it.reviews:,} reviews.",
                    **_speed(Pace(None, "An evaluation is not timed.")),
                }
            )
    return rows


def _rouge(it: Evaluation) -> Row:
    return {
        "quality": it.rouge1,
        "quality_low": it.low,
        "quality_high": it.high,
        "measured_items": it.references,
        "measured_accounts": it.entities,
        "quality_note": f"{it.references:,} references of {it.entities:,} reviewed entities, measured on {it.day}.",
    }


def offered(estimates: pl.DataFrame, posts: int, asked: Sequence[Row], measured: str) -> list[Row]:
    """Return a row per model that is offered, for what a run sends, with its quality in the rows of `answered`.

    ``measured``: how the source of a speed begins that was measured; other speeds are assumed.
    """
    qualities = {row["model"]: {name: row[name] for name in _QUALITY} for row in asked}
    least = pl.col("input_tokens") == pl.col("input_tokens").min()
    first = pl.col("workload") == pl.col("workload").filter(least).first()
    found = []
    for row in estimates.filter(first).filter("is_offered").iter_rows(named=True):
        pace = Pace(None, PROMISED)
        if row["lane"] == "self-hosted":
            is_measured = f"; speed {measured}" in row["price_source"]
            pace = Pace(posts / (row["hours"] * _HOUR), row["price_source"]) if is_measured else Pace(None, ASSUMED)
        per_million = _MILLION / posts
        found.append(
            {
                "task": SUMMARISE,
                "method": BY_MODEL,
                **{name: row[name] for name in ("model", "provider", "lane", "size")},
                "published_score": row["mmlu"],
                "quality_measure": SUPPORTED,
                "quality_note": NEVER_ASKED,
                **qualities.get(row["model"], {}),
                "posts": posts,
                "usd_per_million_posts": row["usd"] * per_million,
                "usd_low": row["usd_low"] * per_million,
                "usd_high": row["usd_high"] * per_million,
                "cost_note": f"Estimated, tokens {row['tokens_known_by']}: {row['workload']}.",
                **_speed(pace),
            }
        )
    return found


def _hours(posts_per_second: float | None) -> float | None:
    return None if posts_per_second is None else _MILLION / posts_per_second / _HOUR


def _speed(pace: Pace) -> Row:
    return {
        "posts_per_second": pace.posts_per_second,
        "hours_per_million_posts": _hours(pace.posts_per_second),
        "speed_note": pace.note,
    }
