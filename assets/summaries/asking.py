"""Turn accounts into requests to a language model, and its answers into claims that posts support."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from babel import Locale

from assets.embeddings import embedded, with_vectors
from assets.framework.asking import DONE, WAITING, Outcomes, Row, due, settled
from assets.lake import LAKE_POSTS
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.claims import NOT_SAID, Claim, Said, contradiction, schema, supported
from assets.transforms.search.cosines import scale_of
from assets.transforms.summaries import prompt
from assets.transforms.summaries.sample import sample
from assets.transforms.text.orders import gives_orders
from assets.transforms.text.sentences import sentences
from resources.delta.table import LakeResource
from resources.llm.request import Answer, Message, Request
from resources.models.embedder import EmbeddingModel

_SENTENCES_A_POST = 12
NO_TEXT, NO_CLAIM = "No post can be sent.", "Its posts support no claim of the answer."


@dataclass(frozen=True)
class Asking:
    """How accounts are asked for. ``llm``: the model's name, which is part of a request's id. ``language``: ISO 639-1
    code of the summaries, blank for that of the posts. ``tokens``: the most tokens of posts in a request."""

    lake: LakeResource
    model: EmbeddingModel
    llm: str
    language: str
    tokens: int
    recipe: str

    def rows(self, bucket: int, chunks: pl.DataFrame, texts: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Request]]:
        """Return a waiting row per account of ``chunks``, and request id → request. ``texts`` are of `text_names`."""
        if chunks.is_empty():
            return MODEL_SUMMARIES.empty(), {}
        made_of = dict(texts.group_by("account_id").agg(pl.col("text_name").sort()).iter_rows())
        rows, requests = [], {}
        for account, language, post_ids, contents in self._samples(bucket, chunks):
            request_id, state, reason = "", DONE, NO_TEXT
            if post_ids:
                request = self._request(account, post_ids, contents)
                request_id, state, reason = request.id(self.llm), WAITING, "It is being sent."
                requests[request_id] = request
            rows.append(
                {
                    "account_bucket": bucket,
                    "account_id": account,
                    "language": language,
                    "state": state,
                    "reason": reason,
                    "request_id": request_id,
                    "sample": post_ids,
                    "made_of_texts": made_of[account],
                    "recipe": self.recipe,
                    "claims_dropped": 0,
                }
            )
        return pl.DataFrame(rows, schema=MODEL_SUMMARIES.polars_schema), requests

    def verified(self, rows: pl.DataFrame, outcomes: Outcomes, chunks: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the outcomes of their requests: claims that the posts of ``chunks`` support, or a reason."""
        asked = due(rows, outcomes)
        if asked.is_empty():
            return rows
        sent = asked.select("account_id", post_id="sample").explode("post_id")
        texts = texts_of(chunks.join(sent, on=["account_id", "post_id"], how="semi"))
        return settled(rows, outcomes, lambda row, found: self._claims(row, found, texts))

    def _samples(self, bucket: int, chunks: pl.DataFrame) -> Iterator[tuple[str, str, list[str], list[str]]]:
        """Yield (account, language, post ids, texts). A post is sent by its first chunk, unless it gives orders."""
        engaging = pl.sum_horizontal("likes", "comments", "shares")
        figures = self.lake.scan_cached(LAKE_POSTS, bucket).select(
            "post_id", "posted_at", engagement=pl.when(engaging > 0).then(engaging).otherwise(pl.col("views") / 100)
        )
        posts = chunks.select("post_id").unique().lazy()
        known = figures.join(posts, on="post_id", how="semi").collect()
        first = chunks.sort("chunk_no").unique("post_id", keep="first", maintain_order=True)
        rows, vectors = with_vectors(self.lake, bucket, first.sort("account_id", "post_id"), self.model)
        rows = rows.join(known, on="post_id", how="left", maintain_order="left").with_row_index("_vector")
        for (account,), group in rows.group_by("account_id", maintain_order=True):
            counts = group["text_language"].fill_null("").value_counts(sort=True)
            language = counts.sort("count", "text_language", descending=[True, False])[0, 0]
            sendable = group.filter(~pl.Series([gives_orders(text) for text in group["text"]], dtype=pl.Boolean))
            post_ids = sample(sendable, vectors[sendable["_vector"].to_numpy()], self.tokens)
            by_id = dict(sendable.select("post_id", "text").iter_rows())
            yield str(account), language, post_ids, [by_id[post_id] for post_id in post_ids]

    def _request(self, account: str, post_ids: Sequence[str], texts: Sequence[str]) -> Request:
        name = Locale("en").languages.get(self.language, self.language)
        return Request(
            [Message("system", prompt.system(name)), Message("user", prompt.content(texts))],
            prompt.MAX_TOKENS,
            schema(list(prompt.ids(post_ids))),
            prompt_version=prompt.PROMPT_VERSION,
            account_ids=(account,),
        )

    def _claims(self, row: Row, found: Answer, texts: Mapping[str, str]) -> Row:
        claims, dropped = prompt.claims_of(found.value, row["sample"], texts)
        kept = supported_claims(self.model, claims, texts, self.language or row["language"] or "")
        cut = " It was cut off at the most tokens." * (found.finish_reason == "length")
        return {
            "reason": None if kept else NO_CLAIM + cut,
            "claims": [claim.text for claim in kept],
            "post_ids": [list(claim.post_ids) for claim in kept],
            "claims_dropped": len(dropped) + len(claims) - len(kept),
        }


def texts_of(chunks: pl.DataFrame) -> dict[str, str]:
    """Return post id → text, of (post_id, chunk_no, text)."""
    whole = chunks.sort("post_id", "chunk_no").group_by("post_id", maintain_order=True)
    return dict(whole.agg(pl.col("text").str.join("\n")).iter_rows())


def supported_claims(
    model: EmbeddingModel, claims: Sequence[Claim], texts: Mapping[str, str], language: str
) -> list[Claim]:
    """Return the claims that their posts carry, each with those posts alone. ``texts``: post id → text."""
    cited = sorted({post_id for claim in claims for post_id in claim.post_ids if post_id in texts})
    parts = [(id_, part) for id_ in cited for part in sentences(texts[id_])[:_SENTENCES_A_POST]]
    quotable = [(id_, part) for id_, part in parts if not gives_orders(part)]
    if not quotable:
        return []
    vectors = embedded(model, [*(claim.text for claim in claims), *(part for _, part in quotable)])
    said = [Said(*part, vector) for part, vector in zip(quotable, vectors[len(claims) :], strict=True)]
    least = scale_of(model.name).supported
    kept = []
    for claim, vector in zip(claims, vectors[: len(claims)], strict=True):
        carried, best = supported(claim, vector, said, least)
        words = [text for id_, text in quotable if id_ in carried.post_ids]
        why = contradiction(claim.text, words, best, language) if carried.post_ids else NOT_SAID
        if why is None and not gives_orders(claim.text):
            kept.append(carried)
    return kept
