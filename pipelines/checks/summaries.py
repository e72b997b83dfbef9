"""Checks of summary/*."""

import polars as pl

from assets.corpus import CHUNKS
from assets.framework.asking import WAITING
from assets.lake import LAKE_POSTS
from assets.summaries.accounts import EXTRACTIVE, SUMMARIES
from assets.summaries.asking import supported_claims, texts_of
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.claims import Claim
from assets.transforms.text.cleaning import clean_lines
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.spend import unpaid
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.llm.resource import LlmResource
from resources.spend.resource import SpendResource


@check(
    "summary/account_summaries",
    "accounts without a summary, or citations of unknown posts",
    reads=(CHUNKS, SUMMARIES),
    by_bucket=True,
    guards=True,
)
def evidence_exists(bucket: int, lake: LakeResource) -> int:
    """Every account of the corpus has one summary, which cites only the account's own posts in the corpus."""
    chunks, summaries = lake.scan_cached(CHUNKS, bucket), lake.scan_cached(SUMMARIES, bucket)
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id")
    unknown = cited.join(chunks, on=["account_id", "post_id"], how="anti")
    return count(unknown) + differences(chunks.select("account_id").unique(), summaries)


@check(
    "summary/account_summaries",
    "sentences that their post does not say",
    reads=(SUMMARIES, LAKE_POSTS),
    by_bucket=True,
    daily=True,
)
def sentences_are_quoted(bucket: int, lake: LakeResource) -> int:
    """Every sentence of an extractive summary stands in the post that it cites, word by word."""
    lines = pl.col("summary").str.split("\n")
    is_whole = pl.col("post_ids").list.len() == lines.list.len()
    summaries = lake.scan_cached(SUMMARIES, bucket).filter(method=EXTRACTIVE)
    said = summaries.select(post_id="post_ids", sentence=lines, whole=is_whole).collect()
    cited = said.filter("whole").select("post_id", "sentence").explode("post_id", "sentence")
    posts = lake.scan_cached(LAKE_POSTS, bucket).select("post_id", "text")
    texts = posts.join(cited.lazy(), on="post_id", how="semi").collect(engine="streaming")
    of_post = {post: " ".join(clean_lines(text)) for post, text in texts.iter_rows()}
    wrong = sum(sentence.removesuffix("…") not in of_post.get(post, "") for post, sentence in cited.iter_rows())
    return wrong + said.filter(~pl.col("whole")).height


@check(
    "summary/model_summaries",
    "claims that cite no post, or posts that are not the account's in the corpus",
    reads=(CHUNKS, MODEL_SUMMARIES),
    by_bucket=True,
    guards=True,
)
def claims_cite_live_posts(bucket: int, lake: LakeResource) -> int:
    """Every claim of a language model cites at least one post, and only the account's own posts in the corpus."""
    rows = lake.scan_cached(MODEL_SUMMARIES, bucket).select("account_id", "claims", "post_ids").collect()
    lines = rows.filter(pl.col("claims").list.len() != pl.col("post_ids").list.len()).height
    cited = rows.select("account_id", post_id="post_ids").explode("post_id")
    bare = cited.filter(pl.col("post_id").list.len() == 0).height
    single = cited.explode("post_id").drop_nulls().lazy()
    return lines + bare + count(single.join(lake.scan_cached(CHUNKS, bucket), on=["account_id", "post_id"], how="anti"))


@check(
    "summary/model_summaries",
    "accounts without claims and without a reason, or foreign accounts",
    reads=(CHUNKS, MODEL_SUMMARIES),
    by_bucket=True,
)
def every_row_has_claims_or_a_reason(bucket: int, lake: LakeResource) -> int:
    """Every account that was sent has claims, or a reason why it has none, and is in the corpus."""
    rows = lake.scan_cached(MODEL_SUMMARIES, bucket)
    has_claims = pl.col("claims").list.len().fill_null(0) > 0
    odd = rows.filter(has_claims == pl.col("reason").is_not_null())
    foreign = rows.join(lake.scan_cached(CHUNKS, bucket), on="account_id", how="anti")
    repeated = count(rows) - count(rows.select("account_id").unique())
    return count(odd) + count(foreign) + repeated


@check(
    "summary/model_summaries",
    "claims that their posts do not carry",
    reads=(CHUNKS, MODEL_SUMMARIES),
    by_bucket=True,
    daily=True,
)
def claims_are_supported(bucket: int, lake: LakeResource, embedder: EmbedderResource, llm: LlmResource) -> int:
    """Every claim is near a sentence of each post that it cites, and has no number, name or negation that it lacks.

    A cosine finds missing evidence; it does not prove that a claim is true.
    """
    rows = lake.scan_cached(MODEL_SUMMARIES, bucket).filter(pl.col("claims").list.len() > 0)
    said = rows.select("account_id", "language", "claims", "post_ids").collect()
    if said.is_empty():
        return 0
    cited = said.select("account_id", post_id="post_ids").explode("post_id").explode("post_id").lazy()
    chunks = lake.scan_cached(CHUNKS, bucket).join(cited, on=["account_id", "post_id"], how="semi")
    texts = texts_of(chunks.select("post_id", "chunk_no", "text").collect())
    wrong = 0
    for _, language, claims, post_ids in said.iter_rows():
        made = [Claim(text, tuple(ids)) for text, ids in zip(claims, post_ids, strict=False)]
        kept = supported_claims(embedder.model(), made, texts, llm.summary_language or language or "")
        carried = {claim.text: set(claim.post_ids) for claim in kept}
        wrong += sum(carried.get(claim.text) != set(claim.post_ids) for claim in made)
    return wrong


@check(
    "summary/model_summaries",
    "accounts that still wait for a language model",
    reads=(MODEL_SUMMARIES,),
    by_bucket=True,
    advises=True,
)
def nothing_waits(bucket: int, lake: LakeResource) -> int:
    """Every account that was to be sent has its answer. Warns while some wait; `reason` says why."""
    return count(lake.scan_cached(MODEL_SUMMARIES, bucket).filter(state=WAITING))


@check("summary/model_summaries", "answers that the ledger did not charge, or charged otherwise", daily=True)
def spend_matches(lake: LakeResource, spend: SpendResource) -> int:
    """Every answer in the table has its tokens and its USD in the ledger."""
    rows = lake.scan(MODEL_SUMMARIES).filter(pl.col("usd").is_not_null())
    found = rows.select("request_id", "input_tokens", "output_tokens", "usd").collect()
    return unpaid(spend.ledger, found.iter_rows()) if found.height else 0
