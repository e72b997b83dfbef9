"""summary/model_testimonials: what testimonials say of brands, in claims of a language model that they support."""

import polars as pl
from dagster import AssetExecutionContext

from assets.framework.asking import DONE, WAITING, AskedTable, Round, require_endpoint
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage
from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.brand_asking import BrandAsking
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.source.schema import account_bucket
from assets.transforms.summaries.brand_prompt import PROMPT_VERSION, same_group
from assets.transforms.summaries.brands import GROUP, current
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.llm.lane import OFF
from resources.llm.resource import LlmResource
from resources.settings import bucket_count

_UNCHANGED = (*GROUP, "made_of")


@asset(
    table=MODEL_TESTIMONIALS,
    code_version=PROMPT_VERSION,
    deps=[["lake", "testimonials"], ["lake", "accounts"], ["summary", "brand_testimonials"]],
    description="What testimonials say of each brand and campaign, in claims of a language model; empty unless "
    "CIPPUS_LLM_TESTIMONIALS is set. One row per brand and per campaign of it: praise and criticism that its "
    "testimonials support, or why there is none. Sent again only when its testimonials, the prompt or the model "
    "changed.",
    owners=["team:data-science"],
    kinds={"delta", "openai"},
)
def model_testimonials(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    llm: LlmResource,
) -> RunMetrics:
    """Send the brands and campaigns that changed, and keep the claims that their testimonials support.

    A bucket has the brands whose names fall into it, so that a run sends a part of them at a time.
    """
    mode = llm.testimonials
    require_endpoint(llm, "CIPPUS_LLM_TESTIMONIALS", mode, "testimonials")
    model = embedder.model()
    recipe = fingerprint([PROMPT_VERSION, llm.model, llm.summary_language, str(llm.summary_tokens), model.name])
    asking = BrandAsking(lake, model, llm.model, llm.summary_language, llm.summary_tokens, recipe)
    table = AskedTable(MODEL_TESTIMONIALS, "brands", context, lake, llm, mode)
    version = OFF if mode == OFF else f"{recipe}/{mode}"
    stage = Stage(MODEL_TESTIMONIALS.name, (BRAND_TESTIMONIALS,), version=version)

    def bring_up_to_date(bucket: int, tally: RunMetrics) -> Changes:
        if mode == OFF:
            return _without_asking(table, bucket)
        with table.round(bucket, tally) as asked_now:
            return _asked(asking, asked_now)

    return table.refresh(ledger, stage, bring_up_to_date)


def groups_of(lake: LakeResource, bucket: int) -> pl.DataFrame:
    """Return the brands and campaigns (brand, campaign, made_of) of a bucket."""
    found = lake.scan(BRAND_TESTIMONIALS).select(_UNCHANGED).collect()
    buckets = [account_bucket(brand or "", bucket_count()) for brand in found["brand"]]
    return found.filter(pl.Series(buckets, dtype=pl.Int64) == bucket)


def _without_asking(table: AskedTable, bucket: int) -> Changes:
    """Drop the rows whose testimonials changed. A row that waits stays: its answer may be paid."""
    stored = table.stored(bucket)
    if stored.is_empty():
        return Changes()
    groups = groups_of(table.lake, bucket)
    waiting = without_gone(table.lake, same_group(stored.filter(state=WAITING), groups))
    standing = same_group(stored.filter(state=DONE), groups, _UNCHANGED)
    return table.lake.sync(MODEL_TESTIMONIALS, pl.concat([waiting, standing]), bucket)


def _asked(asking: BrandAsking, asked_now: Round) -> Changes:
    bucket, stored = asked_now.bucket, asked_now.table.stored(asked_now.bucket)
    groups = groups_of(asking.lake, bucket)
    known = asked_now.take_in(stored)
    stored = asking.verified(stored, known)
    awaited = same_group(stored.filter(pl.col("request_id").is_in(list(known)), state=WAITING), groups)
    done = stored.filter(state=DONE, recipe=asking.recipe)
    kept = pl.concat([same_group(done, groups, _UNCHANGED), without_gone(asking.lake, awaited)])
    rows, requests = asking.rows(bucket, groups.join(kept, on=GROUP, how="anti", nulls_equal=True))
    on = [*GROUP, "request_id"]
    now = rows.select(*on, "made_of", sent="sample")
    same = done.drop("made_of").join(now, on=on, nulls_equal=True).filter(pl.col("sent") == pl.col("sample"))
    same = same.select(kept.columns)
    rows = rows.join(same, on=GROUP, how="anti", nulls_equal=True)
    result, changes = asked_now.ask(pl.concat([kept, same]), rows, requests, asking.verified)
    asked_now.tally.counts["claims_dropped"] += int(result["claims_dropped"].sum())
    return changes


def without_gone(lake: LakeResource, rows: pl.DataFrame) -> pl.DataFrame:
    """Return waiting rows with null for each testimonial of their samples that is not live any more.

    Its place stays, because answers name testimonials by their place.
    """
    if rows.is_empty():
        return rows
    wanted = rows.select(testimonial_id=pl.col("sample").explode()).unique().lazy()
    live = current(lake.scan(LAKE_TESTIMONIALS), lake.scan(LAKE_ACCOUNTS)).select("testimonial_id")
    known = set(live.join(wanted, on="testimonial_id", how="semi").collect()["testimonial_id"])
    samples = [[id_ if id_ in known else None for id_ in sample] for sample in rows["sample"]]
    return rows.with_columns(sample=pl.Series(samples, dtype=rows.schema["sample"]))


ASSETS = [model_testimonials]
