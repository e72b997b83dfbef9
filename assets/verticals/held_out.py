"""vertical/held_out: what each method says of labelled items that it was not fitted on."""

from collections.abc import Mapping

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.transforms.verticals.taggers import cascade
from assets.transforms.verticals.taggers.cross_validation import held_out as held_out_probabilities
from assets.transforms.verticals.taggers.interface import Floats
from assets.transforms.verticals.taggers.labels import judged
from assets.verticals.cascade import answers_version, labelled_answers
from assets.verticals.examples import Examples, LabelledPosts
from assets.verticals.model_tags import MODEL_TAGS
from assets.verticals.taggers import MADE_OF, TAGGERS, current_methods, fits, is_current, methods_version
from resources.catalogues import load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

_RULE = "2"
HELD_OUT = TableSpec.of(
    "vertical/held_out",
    {
        "method": Column(pa.string(), "Name of the method."),
        "item_kind": GOLD.copied("item_kind"),
        "item_id": GOLD.copied("item_id"),
        "account_id": GOLD.copied("account_id"),
        "vertical": GOLD.copied("vertical"),
        "is_member": GOLD.copied("is_member"),
        "probability": Column(
            pa.float64(),
            "Probability by a tagger fitted without the account's labels; null where it abstains.",
            MADE_OF,
            "attribute",
        ),
        "version": Column(pa.string(), "Version of the method that it was cross-validated with.", MADE_OF),
    },
    ("method", "item_kind", "item_id", "vertical"),
    partitioned=False,
)


@asset(
    table=HELD_OUT,
    code_version=_RULE,
    deps=[
        *(["label", "gold"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]),
        *(["vertical", "taggers"], ["vertical", "model_tags"]),
    ],
    description="What each method says of labelled items that it was not fitted on. One row per method, labelled post "
    "or account, and vertical: the label and the probability, from five folds by account. Quality, thresholds and "
    "the search for label errors are computed from it.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def held_out(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Cross-validate each method again if it was fitted again, and the language model's answers if they changed."""

    def validate(_bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        source = LabelledPosts(lake, load_verticals(), embedder.model())
        stored = fits(lake.scan(TAGGERS).collect())
        versions = {name: source.version(method, stored.get(name)) for name, method in current_methods().items()}
        found_answers = labelled_answers(lake)
        if found_answers.height:
            versions[cascade.CASCADE] = fingerprint([*versions.values(), answers_version(found_answers)])
        kept = current.select(HELD_OUT.schema.names).filter(is_current(versions))
        fresh = [name for name in versions if name not in set(kept["method"])]
        parts, names = [kept], [vertical.name for vertical in load_verticals()]
        if fresh and (examples := source.read()).rows.height:
            wanted = versions if cascade.CASCADE in fresh else fresh
            found = {
                name: held_out_probabilities(method, examples.posts, examples.labels, examples.accounts)
                for name, method in current_methods().items()
                if name in wanted
            }
            if cascade.CASCADE in fresh:
                found[cascade.CASCADE] = _of_cascade(found, examples, found_answers)
            for name in fresh:
                rows = judged(examples.rows, found[name], name, examples.gold, names)
                parts.append(rows.with_columns(version=pl.lit(versions[name])).select(kept.columns))
        tally.counts["methods_validated"] = len(fresh)
        return pl.concat(parts)

    stage = Stage(
        HELD_OUT.name, (GOLD, CHUNKS, VECTORS, TAGGERS, MODEL_TAGS), methods_version(embedder), partitioned=False
    )
    return refresh_table(context, lake, ledger, stage, HELD_OUT, validate)


def _of_cascade(local: Mapping[str, Floats], examples: Examples, answers: pl.DataFrame) -> Floats:
    """Return the held-out probabilities of the language model's answers, of those of the local methods."""
    said = cascade.answer_matrix(examples.rows, answers, [vertical.name for vertical in load_verticals()])
    languages = examples.posts.languages
    return cascade.held_out(cascade.merged(local), said, examples.labels, languages, examples.accounts)
