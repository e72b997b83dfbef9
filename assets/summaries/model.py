"""summary/model_summaries: accounts in claims of a language model, each supported by posts."""

from collections.abc import Callable
from functools import partial

import polars as pl
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.summaries.asking import Asking
from assets.summaries.model_table import DONE, MODEL_SUMMARIES, WAITING
from assets.transforms.summaries.prompt import PROMPT_VERSION
from assets.transforms.summaries.standing import current_summaries, text_names
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, fingerprint, in_columns
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource
from resources.llm.lane import OFF, Lane, asked
from resources.llm.request import Answer
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
    if mode != OFF and not llm.url:
        raise InputError(
            f"CIPPUS_LLM_SUMMARIES is {mode}, but CIPPUS_LLM_URL is not set; set it, or {OFF} the summaries."
        )
    model = embedder.model()
    recipe = fingerprint([PROMPT_VERSION, llm.model, llm.summary_language, str(llm.summary_tokens), model.name])
    asking = Asking(lake, model, llm.model, llm.summary_language, llm.summary_tokens, recipe)
    stage = Stage(MODEL_SUMMARIES.name, (CHUNKS, VECTORS), version=OFF if mode == OFF else f"{recipe}/{mode}")

    def bring_up_to_date(bucket: int, tally: RunMetrics) -> Changes:
        if mode == OFF:
            return _without_asking(lake, bucket)
        with llm.lane(context.run.run_id, stage.name, str(bucket)) as lane:
            return _asked(asking, lane, bucket, tally, context.log.error)

    tally = refresh(context, lake, ledger, stage, partial(lake.contents, MODEL_SUMMARIES), bring_up_to_date)
    # The next run looks at them again, whether their posts have changed or not.
    ledger.forget(stage.name, [bucket for bucket, found in tally.buckets.items() if found.counts["accounts_waiting"]])
    return tally


def _without_asking(lake: LakeResource, bucket: int) -> Changes:
    """Drop the rows whose account changed. An account that waits keeps its row: its answer may be paid."""
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


def _asked(asking: Asking, lane: Lane, bucket: int, tally: RunMetrics, report: Callable[[str], None]) -> Changes:
    lake = asking.lake
    stored = in_columns(MODEL_SUMMARIES, lake.bucket_rows(MODEL_SUMMARIES, bucket)).select(MODEL_SUMMARIES.schema.names)
    columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "text_language", "content_hash", "tokens"]
    chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
    names = text_names(chunks)
    known = {found.id: found for found in lane.find(stored.filter(state=WAITING)["request_id"].to_list())}
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
    # On record before anything is sent, so that an answer is taken in even if the account changes meanwhile.
    changes = lake.sync(MODEL_SUMMARIES, pl.concat([kept, rows]), bucket)
    outcomes = asked(lane, [requests[id_] for id_ in rows["request_id"] if id_], report)
    result = pl.concat([kept, asking.verified(rows, outcomes, chunks)])
    changes = changes + lake.sync(MODEL_SUMMARIES, result, bucket)
    lane.forget([id_ for id_, found in (known | outcomes).items() if isinstance(found, Answer) or found.is_final])
    tally.counts["accounts_answered"] += sum(isinstance(found, Answer) for found in (known | outcomes).values())
    tally.counts["accounts_waiting"] += result.filter(state=WAITING).height
    tally.counts["claims_dropped"] += int(result["claims_dropped"].sum())
    return changes


def _standing(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose cited posts are unchanged, and whose account has nearly the same texts."""
    cited = rows.with_columns(post_ids=pl.col("post_ids").list.eval(pl.element().explode()))
    return rows.join(current_summaries(cited, names), on="account_id", how="semi")


ASSETS = [model_summaries]
