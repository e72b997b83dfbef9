"""vertical/model_tags: what a language model says of the posts that the local taggers are uncertain of."""

from dataclasses import dataclass, field
from threading import Lock

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asking import DONE, WAITING, AskedTable, Outcomes, Round, Row, require_endpoint, settled
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage
from assets.transforms.text.orders import gives_orders
from assets.transforms.verticals.taggers import prompt
from assets.transforms.verticals.taggers.cascade import is_uncertain, merged
from assets.transforms.verticals.taggers.features import Vectors, features
from assets.transforms.verticals.taggers.interface import Tagger
from assets.transforms.verticals.taggers.methods import STANDING
from assets.verticals.taggers import TAGGERS, described, fitted_taggers
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.llm.lane import OFF
from resources.llm.request import Answer, Message, Request
from resources.llm.resource import LlmResource
from resources.models.embedder import EmbeddingModel

_GIVES_ORDERS, _NO_ANSWER = "It gives orders to a language model.", "The answer is not a list of verticals."
_OF_CHUNKS = (
    *("account_bucket", "account_id", "post_id", "chunk_no"),
    *("text", "text_hash", "text_language", "content_hash"),
)
_SAID = CHUNKS.sources("text")
MODEL_TAGS = TableSpec.of(
    "vertical/model_tags",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "post_id": CHUNKS.copied("post_id"),
        "text_hash": CHUNKS.copied("text_hash"),
        "verticals": Column(
            pa.list_(pa.string()), "Verticals that the model names; null without an answer.", _SAID, "attribute"
        ),
        "state": Column(pa.string(), "State: `waiting` for an answer, or `done`."),
        "reason": Column(pa.string(), "Why there is no answer; null if there is one."),
        "request_id": Column(pa.string(), "Hash of what was sent. Nothing is sent again while it is the same.", _SAID),
        "model": Column(pa.string(), "Model that answered; null without an answer."),
        "input_tokens": Column(pa.int64(), "Tokens that were read for the post."),
        "output_tokens": Column(pa.int64(), "Tokens that were written for the post."),
        "usd": Column(pa.string(), "What the answer cost in USD, an exact decimal number."),
        "recipe": Column(pa.string(), "Hash of prompt, catalogue and model. The post is sent again when they change."),
    },
    ("post_id",),
)


@dataclass
class Asking:
    """How posts are asked for. ``llm``: the model's name, which is part of a request's id."""

    lake: LakeResource
    model: EmbeddingModel
    llm: str
    recipe: str
    _described: dict[str, Vectors] = field(default_factory=dict)
    _taggers: dict[str, Tagger] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def rows(self, bucket: int, chunks: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Request]]:
        """Return a waiting row per uncertain post of ``chunks``, and request id → request."""
        rows, requests = [], dict[str, Request]()
        uncertain = self._uncertain(bucket, chunks)
        first = chunks.filter(pl.col("post_id").is_in(uncertain.implode())).sort("post_id", "chunk_no")
        for post in first.unique("post_id", keep="first", maintain_order=True).iter_rows(named=True):
            id_, state, reason = "", DONE, _GIVES_ORDERS
            if not gives_orders(post["text"]):
                request = self._request(post["account_id"], post["text"])
                id_, state, reason = request.id(self.llm), WAITING, "It is being sent."
                requests[id_] = request
            own = {name: post[name] for name in ("account_id", "post_id", "text_hash")}
            rows.append({"account_bucket": bucket, **own, "state": state, "reason": reason, "request_id": id_,
                         "recipe": self.recipe})  # fmt: skip
        return pl.DataFrame(rows, schema=MODEL_TAGS.polars_schema), requests

    def _uncertain(self, bucket: int, chunks: pl.DataFrame) -> pl.Series:
        if chunks.is_empty():
            return chunks["post_id"]
        with self._lock:
            if not self._taggers:
                found_taggers = fitted_taggers(self.lake).items()
                self._taggers.update((name, found) for name, (found, _) in found_taggers if name in STANDING)
                self._described.update(described(self.lake))
        rows, vectors = with_vectors(self.lake, bucket, chunks, self.model)
        is_read = vectors.any(axis=1)
        posts, found = features(rows.filter(pl.Series(is_read, dtype=pl.Boolean)), vectors[is_read], self._described)
        local = merged({name: tagger.probabilities(found) for name, tagger in self._taggers.items()})
        return posts.filter(pl.Series(is_uncertain(local), dtype=pl.Boolean))["post_id"]

    def _request(self, account: str, text: str) -> Request:
        titles = {found.name: found.title for found in load_verticals()}  # descriptions would cost three times as much
        messages = [Message("system", prompt.system(titles)), Message("user", prompt.content(text))]
        return Request(
            messages,
            prompt.MAX_TOKENS,
            prompt.schema(list(titles)),
            prompt_version=prompt.PROMPT_VERSION,
            account_ids=(account,),
        )


def answered(rows: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
    """Return rows with the outcomes of their requests: the verticals that the model names, or a reason."""
    return settled(rows, outcomes, _named)


def _named(_row: Row, found: Answer) -> Row:
    named = prompt.verticals_of(found.value, [vertical.name for vertical in load_verticals()])
    return {"reason": _NO_ANSWER if named is None else None, "verticals": named}


@asset(
    table=MODEL_TAGS,
    code_version=prompt.PROMPT_VERSION,
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["vertical", "taggers"]],
    description="What a language model says of posts that the local taggers are uncertain of; empty unless "
    "CIPPUS_LLM_TAGGING is set. One row per post that was sent: the verticals that the model names, or why there is no "
    "answer. A post is sent again only when its text, the prompt, the catalogue or the model changed.",
    owners=["team:data-science"],
    kinds={"delta", "openai"},
)
def model_tags(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    llm: LlmResource,
) -> RunMetrics:
    """Send the uncertain posts of stale buckets that have no answer. Answers stay while their text is the same."""
    mode = llm.tagging
    require_endpoint(llm, "CIPPUS_LLM_TAGGING", mode, "tagging")
    table = AskedTable(MODEL_TAGS, "posts", context, lake, llm, llm.tagging_lane)
    model = embedder.model()
    recipe = fingerprint([prompt.PROMPT_VERSION, catalogue_hash(load_verticals()), llm.model])
    asking = Asking(lake, model, llm.model, recipe)
    version = OFF if mode == OFF else fingerprint([recipe, model.name, mode])
    inputs = (CHUNKS,) if mode == OFF else (CHUNKS, VECTORS, TAGGERS)
    stage = Stage(MODEL_TAGS.name, inputs, version=version, awaits=(TAGGERS,))

    def bring_up_to_date(bucket: int, tally: RunMetrics) -> Changes:
        if mode == OFF:
            return _without_asking(table, bucket)
        with table.round(bucket, tally) as asked_now:
            return _asked(asking, asked_now)

    return table.refresh(ledger, stage, bring_up_to_date)


def _without_asking(table: AskedTable, bucket: int) -> Changes:
    """Drop the rows whose post changed."""
    lake, stored = table.lake, table.stored(bucket)
    if stored.is_empty():
        return Changes()
    posts = lake.scan_cached(CHUNKS, bucket).select("post_id", "text_hash").unique().collect()
    return lake.sync(MODEL_TAGS, stored.join(posts, on=["post_id", "text_hash"], how="semi"), bucket)


def _asked(asking: Asking, asked_now: Round) -> Changes:
    bucket, stored = asked_now.bucket, asked_now.table.stored(asked_now.bucket)
    columns = [
        "account_bucket",
        "account_id",
        "post_id",
        "chunk_no",
        "text",
        "text_hash",
        "text_language",
        "content_hash",
    ]
    chunks = asking.lake.scan_cached(CHUNKS, bucket).select(columns).collect()
    known = asked_now.take_in(stored)
    stored = answered(stored, known).filter(recipe=asking.recipe).join(chunks, on=["post_id", "text_hash"], how="semi")
    kept = stored.filter((pl.col("state") == DONE) | pl.col("request_id").is_in(list(known)))
    rows, requests = asking.rows(bucket, chunks.join(kept, on="post_id", how="anti"))
    return asked_now.ask(kept, rows, requests, answered)[1]
