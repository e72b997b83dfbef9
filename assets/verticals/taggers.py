"""vertical/taggers: methods fitted on labels."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.transforms.verticals.taggers.features import Vectors
from assets.transforms.verticals.taggers.interface import Method, Tagger
from assets.transforms.verticals.taggers.methods import methods, packed, packed_arrays, unpacked, unpacked_arrays
from assets.verticals.examples import Fit, LabelledPosts, describe
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource

_FITTING = "3"
MADE_OF = GOLD.sources("is_member") + VECTORS.sources("vector")
TAGGERS = TableSpec.of(
    "vertical/taggers",
    {
        "method": Column(pa.string(), "Name of the method."),
        "posts": Column(pa.int64(), "Labelled posts that it is fitted on.", GOLD.sources("item_id")),
        "version": Column(pa.string(), "Hash of labels, catalogue, encoder and method, and of the texts.", MADE_OF),
        "made_of_texts": Column(
            pa.list_(pa.int64()),
            "Hashes of the labelled texts. It is fitted again when over 2 % of them change.",
            CHUNKS.sources("content_hash"),
        ),
        "parameters": Column(pa.binary(), "Fitted parameters, as NumPy arrays: weights and curves, no text.", MADE_OF),
        "descriptions": Column(
            pa.binary(),
            "Vectors of the catalogue's descriptions by vertical, as NumPy arrays: to score takes no encoder.",
        ),
    },
    ("method",),
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


def described(lake: LakeResource) -> dict[str, Vectors]:
    """Return vertical → vectors of its descriptions, as the taggers were fitted with. Raises InputError without any."""
    rows = lake.scan(TAGGERS).drop_nulls("descriptions").sort("method").select("descriptions").head(1).collect()
    if rows.is_empty():
        raise InputError("vertical/taggers has no descriptions: materialize it first.")
    found = unpacked_arrays(rows.item())
    return {vertical.name: found[vertical.name] for vertical in load_verticals()}


@asset(
    table=TAGGERS,
    code_version=_FITTING,
    deps=[["label", "gold"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    description="Methods of tagging, fitted on label/gold. One row per method: its parameters, which need no label to "
    "score a post, and the vectors of the catalogue's descriptions. Zero-shot compares posts with these; the probe "
    "learns from labels too.",
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
        stored = fits(current)
        versions = {name: source.version(method, stored.get(name)) for name, method in current_methods().items()}
        kept = current.select(TAGGERS.schema.names).filter(is_current(versions)).drop_nulls("descriptions")
        fresh = [name for name in versions if name not in set(kept["method"])]
        rows = []
        if fresh:
            examples, vectors = source.read(), packed_arrays(describe(load_verticals(), embedder.model()))
            for name in fresh:
                tagger = current_methods()[name].fit(examples.posts, examples.labels, examples.accounts)
                if tagger.covers.any():  # with too few labels a probe tags nothing
                    rows.append((name, len(examples.posts), versions[name], source.texts, packed(tagger), vectors))
        tally.counts["methods_fitted"] = len(fresh)
        return pl.concat([kept, pl.DataFrame(rows, schema=kept.schema, orient="row")])

    stage = Stage(TAGGERS.name, (GOLD, CHUNKS, VECTORS), methods_version(embedder), partitioned=False)
    return refresh_table(context, lake, ledger, stage, TAGGERS, fit)


def fits(rows: pl.DataFrame) -> dict[str, Fit]:
    """Return method → its stored fit, of the rows of vertical/taggers."""
    return {name: Fit(*fit) for name, *fit in rows.select("method", "version", "made_of_texts").iter_rows()}


def methods_version(embedder: EmbedderResource) -> str:
    """Return a hash of the methods' rules, the catalogue and the encoder."""
    versions = [f"{name}/{method.version}" for name, method in current_methods().items()]
    return fingerprint([_FITTING, catalogue_hash(load_verticals()), embedder.model().name, *versions])


def is_current(versions: dict[str, str]) -> pl.Expr:
    """Return whether a row is of the version of its method."""
    named = pl.DataFrame(list(versions.items()), schema={"method": pl.String, "version": pl.String}, orient="row")
    return pl.struct("method", "version").is_in(named.to_struct().implode())
