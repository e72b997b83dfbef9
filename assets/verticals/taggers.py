"""vertical/taggers, vertical/held_out: methods fitted on labels, and what they say of items that they did not see."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.transforms.verticals.taggers.cross_validation import held_out as held_out_probabilities
from assets.transforms.verticals.taggers.interface import Method, Tagger
from assets.transforms.verticals.taggers.labels import judged
from assets.transforms.verticals.taggers.methods import methods, packed, unpacked
from assets.verticals.examples import Fit, LabelledPosts
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource

_FITTING = "2"
_MADE_OF = GOLD.sources("is_member") + VECTORS.sources("vector")
TAGGERS = TableSpec.of(
    "vertical/taggers",
    {
        "method": Column(pa.string(), "Name of the method."),
        "posts": Column(pa.int64(), "Labelled posts that it is fitted on.", GOLD.sources("item_id")),
        "version": Column(pa.string(), "Hash of labels, catalogue, encoder and method, and of the texts.", _MADE_OF),
        "made_of_texts": Column(
            pa.list_(pa.int64()),
            "Hashes of the labelled texts. It is fitted again when over 2 % of them change.",
            CHUNKS.sources("content_hash"),
        ),
        "parameters": Column(pa.binary(), "Fitted parameters, as NumPy arrays: weights and curves, no text.", _MADE_OF),
    },
    ("method",),
    partitioned=False,
)
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
            _MADE_OF,
            "attribute",
        ),
        "version": Column(pa.string(), "Version of the method that it was cross-validated with.", _MADE_OF),
    },
    ("method", "item_kind", "item_id", "vertical"),
    partitioned=False,
)


def current_methods() -> dict[str, Method]:
    """Return the methods for the catalogue of this project, by name."""
    return methods([vertical.default_threshold for vertical in load_verticals()])


def fitted_taggers(lake: LakeResource) -> dict[str, tuple[Tagger, str]]:
    """Return method → its tagger and a hash of its parameters. Raises InputError when vertical/taggers is empty."""
    known, rows = current_methods(), lake.scan(TAGGERS).select("method", "parameters").collect()
    found = {
        name: (unpacked(known[name], parameters), fingerprint([known[name].version, parameters.hex()]))
        for name, parameters in rows.iter_rows()
        if name in known
    }
    if not found:
        raise InputError("vertical/taggers has no tagger: materialize it first.")
    return {name: found[name] for name in known if name in found}


@asset(
    table=TAGGERS,
    code_version=_FITTING,
    deps=[["label", "gold"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    description="Methods of tagging, fitted on label/gold. One row per method: its parameters, which need no label to "
    "score a post. Zero-shot compares posts with the catalogue's descriptions; the probe learns from labels too.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def taggers(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Fit each method again if labels, catalogue, encoder, method or 2 % of labelled texts changed.

    Else read no vector.
    """

    def fit(_bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        source = LabelledPosts(lake, load_verticals(), embedder.model())
        stored = _fits(current)
        versions = {name: source.version(method, stored.get(name)) for name, method in current_methods().items()}
        kept = current.select(TAGGERS.schema.names).filter(_is_current(versions))
        fresh = [name for name in versions if name not in set(kept["method"])]
        rows = []
        if fresh:
            examples = source.read()
            for name in fresh:
                tagger = current_methods()[name].fit(examples.posts, examples.labels, examples.accounts)
                if tagger.covers.any():  # with too few labels a probe tags nothing
                    rows.append((name, len(examples.posts), versions[name], source.texts, packed(tagger)))
        tally.counts["methods_fitted"] = len(fresh)
        return pl.concat([kept, pl.DataFrame(rows, schema=kept.schema, orient="row")])

    stage = Stage(TAGGERS.name, (GOLD, CHUNKS, VECTORS), _version(embedder), partitioned=False)
    return refresh_table(context, lake, ledger, stage, TAGGERS, fit)


@asset(
    table=HELD_OUT,
    code_version=_FITTING,
    deps=[["label", "gold"], ["corpus", "cippus_text"], ["embedding", "cippus_text"], ["vertical", "taggers"]],
    description="What each method says of labelled items that it was not fitted on. One row per method, labelled post "
    "or account, and vertical: the label and the probability, from five folds by account. Quality, thresholds and "
    "the search for label errors are computed from it.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def held_out(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Cross-validate each method again if it was fitted again."""

    def validate(_bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        source = LabelledPosts(lake, load_verticals(), embedder.model())
        stored = _fits(lake.scan(TAGGERS).collect())
        versions = {name: source.version(method, stored.get(name)) for name, method in current_methods().items()}
        kept = current.select(HELD_OUT.schema.names).filter(_is_current(versions))
        fresh = [name for name in versions if name not in set(kept["method"])]
        parts, names = [kept], [vertical.name for vertical in load_verticals()]
        if fresh and (examples := source.read()).rows.height:
            for name in fresh:
                found = held_out_probabilities(
                    current_methods()[name], examples.posts, examples.labels, examples.accounts
                )
                rows = judged(examples.rows, found, name, examples.gold, names)
                parts.append(rows.with_columns(version=pl.lit(versions[name])).select(kept.columns))
        tally.counts["methods_validated"] = len(fresh)
        return pl.concat(parts)

    stage = Stage(HELD_OUT.name, (GOLD, CHUNKS, VECTORS, TAGGERS), _version(embedder), partitioned=False)
    return refresh_table(context, lake, ledger, stage, HELD_OUT, validate)


def _fits(rows: pl.DataFrame) -> dict[str, Fit]:
    """Return method → its stored fit, of the rows of vertical/taggers."""
    return {name: Fit(*fit) for name, *fit in rows.select("method", "version", "made_of_texts").iter_rows()}


def _version(embedder: EmbedderResource) -> str:
    versions = [f"{name}/{method.version}" for name, method in current_methods().items()]
    return fingerprint([_FITTING, catalogue_hash(load_verticals()), embedder.model().name, *versions])


def _is_current(versions: dict[str, str]) -> pl.Expr:
    named = pl.DataFrame(list(versions.items()), schema={"method": pl.String, "version": pl.String}, orient="row")
    return pl.struct("method", "version").is_in(named.to_struct().implode())
