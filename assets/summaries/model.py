"""summary/model_summaries: accounts in claims of a language model, each supported by posts."""

import polars as pl
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asking import DONE, WAITING, AskedTable, Round, require_endpoint
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage
from assets.summaries.asking import Asking
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.summaries.prompt import PROMPT_VERSION
from assets.transforms.summaries.standing import current_summaries, text_names
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, fingerprint, in_columns
from resources.llm.embedder import EmbedderResource
from resources.llm.lane import OFF
from resources.llm.resource import LlmResource


@asset(
    table=MODEL_SUMMARIES,
    code_version=PROMPT_VERSION,
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["lake", "posts"]],
    description="Each account in up to five claims of a language model; empty unless CIPPUS_LLM_SUMMARIES is set. One "
    "row per account that was sent: the claims that its posts support, or why there is none. Only accounts whose cited "
    "posts or 5 % of texts changed are sent again, and all of them when the prompt or the model changed.",
    owners=["team:data-science"],
    kinds={"delta", "openai"},
)
def model_summaries(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    llm: LlmResource,
) -> RunMetrics:
    """Send the accounts of stale buckets that changed, and keep the claims that their posts support."""
    mode = llm.summaries
    require_endpoint(llm, "CIPPUS_LLM_SUMMARIES", mode, "summaries")
    model = embedder.model()
    recipe = fingerprint([PROMPT_VERSION, llm.model, llm.summary_language, str(llm.summary_tokens), model.name])
    asking = Asking(lake, model, llm.model, llm.summary_language, llm.summary_tokens, recipe)
    table = AskedTable(MODEL_SUMMARIES, "accounts", context, lake, llm, mode)
    stage = Stage(MODEL_SUMMARIES.name, (CHUNKS, VECTORS), version=OFF if mode == OFF else f"{recipe}/{mode}")

    def bring_up_to_date(bucket: int, tally: RunMetrics) -> Changes:
        if mode == OFF:
            return _without_asking(table, bucket)
        with table.round(bucket, tally) as asked_now:
            return _asked(asking, asked_now)

    return table.refresh(ledger, stage, bring_up_to_date)


def _without_asking(table: AskedTable, bucket: int) -> Changes:
    """Drop the rows whose account changed. An account that waits keeps its row: its answer may be paid."""
    lake = table.lake
    current = lake.bucket_rows(MODEL_SUMMARIES, bucket)
    stored = in_columns(MODEL_SUMMARIES, current).select(MODEL_SUMMARIES.schema.names)
    if stored.is_empty():
        return Changes()
    names = text_names(
        lake.scan_cached(CHUNKS, bucket).select("account_id", "post_id", "chunk_no", "content_hash").collect()
    )
    waiting = stored.filter(state=WAITING).join(names.select("account_id").unique(), on="account_id", how="semi")
    return lake.sync(
        MODEL_SUMMARIES, pl.concat([waiting, _standing(stored.filter(state=DONE), names)]), bucket, current
    )


def _asked(asking: Asking, asked_now: Round) -> Changes:
    lake, bucket, table = asking.lake, asked_now.bucket, asked_now.table
    stored = table.stored(bucket)
    columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "text_language", "content_hash", "tokens"]
    chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
    names = text_names(chunks)
    known = asked_now.take_in(stored)
    stored = asking.verified(stored, known, chunks)
    awaited = stored.filter(pl.col("request_id").is_in(list(known)), state=WAITING)
    done = stored.filter(state=DONE, recipe=asking.recipe)
    kept = pl.concat([_standing(done, names), awaited.join(chunks, on="account_id", how="semi")])
    rows, requests = asking.rows(bucket, chunks.join(kept, on="account_id", how="anti"), names)
    same = done.join(rows, on=["account_id", "request_id"], how="semi").drop("made_of_texts")
    kept = pl.concat(
        [kept, same.join(rows.select("account_id", "made_of_texts"), on="account_id").select(kept.columns)]
    )
    rows = rows.join(same, on="account_id", how="anti")
    result, changes = asked_now.ask(kept, rows, requests, lambda due, found: asking.verified(due, found, chunks))
    asked_now.tally.counts["claims_dropped"] += int(result["claims_dropped"].sum())
    return changes


def _standing(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose cited posts are unchanged, and whose account has nearly the same texts."""
    cited = rows.with_columns(post_ids=pl.col("post_ids").list.eval(pl.element().explode()))
    return rows.join(current_summaries(cited, names), on="account_id", how="semi")


ASSETS = [model_summaries]
