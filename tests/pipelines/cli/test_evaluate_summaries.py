"""`cippus evaluate summaries` on a small set of reviews."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.summaries.evaluations import keep, kept
from assets.transforms.summaries.evaluation import Evaluation
from pipelines.cli.evaluation.summaries import SummaryEvaluation, evaluate_summaries
from resources.errors import InputError
from tests.fakes.embedder import CountingEmbedder
from tests.fakes.llm_server import Provider
from tests.fakes.spend_store import MemoryStore
from tests.worlds.provider_llm import opened
from tests.worlds.small_site import WordEmbedder
from tests.worlds.spend import MODEL, price_at

REVIEWS = [
    ("shoes", "1", "The parcel was late. I like them."),
    ("shoes", "2", "These shoes run small, so order a size up."),
    ("shoes", "3", "The shoes run small but the colour is lovely."),
    ("shoes", "4", "Lovely colour, and the shoes run small for me."),
    ("pan", "1", "Nothing sticks to this pan at all."),
    ("pan", "2", "The handle of the pan gets hot quickly."),
]
REFERENCES = [
    ("shoes", "The shoes run small. The colour is lovely."),
    ("shoes", "Order a size up, as the shoes run small."),
    ("pan", "Nothing sticks to the pan, but its handle gets hot."),
    ("unknown", "An entity without reviews."),
]


def written(folder: Path, reviews: pl.DataFrame | None = None, references: pl.DataFrame | None = None) -> Path:
    ours = pl.DataFrame(REVIEWS, schema=["entity_id", "review_id", "text"], orient="row")
    theirs = pl.DataFrame(REFERENCES, schema=["entity_id", "summary"], orient="row")
    (ours if reviews is None else reviews).write_parquet(folder / "reviews.parquet")
    (theirs if references is None else references).write_parquet(folder / "references.parquet")
    return folder


@pytest.fixture
def found(tmp_path: Path) -> SummaryEvaluation:
    return evaluate_summaries(written(tmp_path), CountingEmbedder())


def test_what_reviews_agree_on_beats_the_first_review(found: SummaryEvaluation) -> None:
    ours, first = found.methods["extractive"], found.methods["first_review"]
    assert ours["rouge1"].mean > first["rouge1"].mean
    assert 0 < ours["rouge2"].mean < ours["rouge1"].mean <= 1
    assert (ours["citation_precision"].mean, ours["unsupported"].mean) == (1, 0)
    low, high = ours["rouge1"].interval or (1, 0)
    assert low <= ours["rouge1"].mean <= high
    assert (found.entities, found.references) == (2, 3)


def test_the_report_names_methods_and_figures(found: SummaryEvaluation) -> None:
    said = found.to_json()
    assert {"rouge1", "rouge2", "rougeL", "citation_precision", "unsupported", "intervals"} == set(said["extractive"])


def test_a_summary_equal_to_its_reference_is_perfect(tmp_path: Path) -> None:
    reviews = pl.DataFrame([("e", "1", "The soup is salty.")], schema=["entity_id", "review_id", "text"], orient="row")
    references = pl.DataFrame([("e", "The soup is salty.")], schema=["entity_id", "summary"], orient="row")
    found = evaluate_summaries(written(tmp_path, reviews, references), CountingEmbedder())
    assert found.methods["extractive"]["rougeL"].mean == 1
    assert found.to_json()["extractive"]["intervals"]["rougeL"] is None


@pytest.mark.parametrize(
    ("reviews", "references", "message"),
    [
        (pl.DataFrame({"entity_id": ["e"], "text": ["x"]}), None, "has no column 'review_id'; it has entity_id, text"),
        (None, pl.DataFrame({"entity_id": ["other"], "summary": ["x"]}), "No entity of"),
        (
            pl.DataFrame({"entity_id": ["e", "e"], "review_id": [1, 1], "text": ["x", "y"]}),
            None,
            "'1' of entity 'e' twice",
        ),
        (pl.DataFrame({"entity_id": ["e"], "review_id": ["1"], "text": [["x"]]}), None, "is no text"),
        (
            pl.DataFrame({"entity_id": ["e"], "review_id": ["1"], "text": [" \n"]}),
            None,
            r"reviews.parquet has no row with",
        ),
        (None, pl.DataFrame({"entity_id": ["pan"], "summary": [""]}), r"references.parquet has no row with"),
        (None, pl.DataFrame(schema={"entity_id": pl.String, "summary": pl.String}), r"references.parquet has no row"),
    ],
)
def test_a_bad_folder_is_one_sentence(
    tmp_path: Path, reviews: pl.DataFrame | None, references: pl.DataFrame | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_summaries(written(tmp_path, reviews, references), CountingEmbedder())


def test_a_missing_or_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no reviews\.parquet"):
        evaluate_summaries(tmp_path, CountingEmbedder())
    written(tmp_path)
    (tmp_path / "references.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        evaluate_summaries(tmp_path, CountingEmbedder())


def answer_of(body: Mapping[str, Any]) -> str:
    """Claim what two reviews say, and once what none says."""
    first, second = json.loads(body["messages"][1]["content"])["posts"][:2]
    claims = [{"text": post["text"], "post_ids": [post["id"]]} for post in (first, second)]
    return json.dumps({"claims": [*claims, {"text": "It costs 99 dollars.", "post_ids": [first["id"]]}]})


def test_a_language_model_is_measured_too_and_kept_figures_replace_older_ones(tmp_path: Path) -> None:
    store = MemoryStore()
    provider = Provider(price_at, lambda: store.now, text=answer_of)
    with opened(store, provider, Decimal(1), "run", "evaluate/summaries") as lane:
        found = evaluate_summaries(written(tmp_path), WordEmbedder(), lane)
    assert (provider.requests, Decimal(found.usd or 0)) == (2, provider.usd)
    figures = found.methods[MODEL]
    assert figures["unsupported"].mean == pytest.approx(1 / 3)
    assert figures["citation_precision"].mean == pytest.approx(2 / 3)
    assert 0 < figures["rouge1"].mean < 1
    keep(store, [Evaluation("extractive", WordEmbedder().name, 0.1, None, None, 1, 1, 1, "2026-01-01")])
    keep(store, found.to_keep("2026-01-02"))
    local, other = kept(store)
    assert (local.method, other.method, other.model) == ("extractive", "language model", MODEL)
    assert (other.reviews, other.references, other.usd) == (6, 3, float(provider.usd))
    assert (local.rouge1, local.day, local.usd) == (found.methods["extractive"]["rouge1"].mean, "2026-01-02", None)
