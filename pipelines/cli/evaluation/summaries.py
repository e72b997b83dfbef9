"""`cippus evaluate summaries`: compare summaries with those that people wrote."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from assets.embeddings import embedded
from assets.transforms.marts.comparison import BY_MODEL, EXTRACTIVE
from assets.transforms.summaries.accounts import summarise
from assets.transforms.summaries.evaluation import Evaluation
from assets.transforms.summaries.posts import chosen_posts
from assets.transforms.text.cleaning import clean
from pipelines.cli.evaluation.model_summaries import Summary, written_by
from pipelines.cli.evaluation.review_folder import open_reviews
from resources.llm.lane import Lane
from resources.models.analyzer import document_terms
from resources.models.embedder import EmbeddingModel
from resources.models.languages import identify

ROUGE = ("rouge1", "rouge2", "rougeL")
_RESAMPLES, _SEED = 1_000, 1
FIRST_REVIEW = "first_review"


@dataclass(frozen=True)
class Figure:
    """A mean over entities, and its 95 % bootstrap interval; None with a single entity."""

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class SummaryEvaluation:
    """Method → figure → value, as fractions, and the size of the set."""

    methods: Mapping[str, Mapping[str, Figure]]
    entities: int
    references: int
    reviews: int
    encoder: str
    usd: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return method → {figure: mean, …, "intervals": {figure: [low, high]}}, and the counts."""
        found: dict[str, Any] = {
            method: {
                **{name: round(figure.mean, 5) for name, figure in figures.items()},
                "intervals": {
                    name: figure.interval and [round(end, 5) for end in figure.interval]
                    for name, figure in figures.items()
                },
            }
            for method, figures in self.methods.items()
        }
        spent = {} if self.usd is None else {"usd": self.usd}
        return {**found, "entities": self.entities, "references": self.references, **spent}

    def to_keep(self, day: str) -> list[Evaluation]:
        """Return what mart/model_comparison needs of each method; the first review is only a mark to beat."""
        return [self._to_keep(name, day) for name in self.methods if name != FIRST_REVIEW]

    def _to_keep(self, name: str, day: str) -> Evaluation:
        is_local, rouge = name == EXTRACTIVE, self.methods[name]["rouge1"]
        low, high = rouge.interval or (None, None)
        return Evaluation(
            method=EXTRACTIVE if is_local else BY_MODEL,
            model=self.encoder if is_local else name,
            rouge1=rouge.mean,
            low=low,
            high=high,
            entities=self.entities,
            references=self.references,
            reviews=self.reviews,
            day=day,
            usd=None if is_local or self.usd is None else float(self.usd),
        )


def evaluate_summaries(folder: Path, model: EmbeddingModel, lane: Lane | None = None) -> SummaryEvaluation:
    """Compare each method's summaries with the references of a folder. Raises InputError for a bad folder.

    ROUGE is the F measure with Porter stems, the mean over an entity's references, then over entities. ``lane``: of a
    language model that is measured too.
    """
    reviews, references = open_reviews(folder)
    texts: dict[str, dict[str, str]] = {}
    for entity, review, text in reviews.iter_rows():
        texts.setdefault(entity, {})[review] = clean(text)
    extractive = _extractive(reviews, model)
    made = {EXTRACTIVE: extractive, FIRST_REVIEW: _first_review(reviews)}
    figures = {name: _measured(found, references, texts, {}) for name, found in made.items()}
    usd = None
    if lane is not None:
        written, checked, usd = written_by(lane, model, texts)
        figures[lane.model] = _measured(extractive | written, references, texts, checked)
    return SummaryEvaluation(
        figures, len(references), sum(map(len, references.values())), reviews.height, model.name, usd
    )


def show_evaluation(console: Console, found: SummaryEvaluation) -> None:
    """Print the figures as a table."""
    names = list(next(iter(found.methods.values())))
    table = Table("method", *names, title=f"entities: {found.entities:,}, references: {found.references:,}")
    for method, figures in found.methods.items():
        table.add_row(method, *map(_shown, figures.values()))
    console.print(table, markup=False)
    if found.entities == 1:
        console.print("One entity has no interval; give more.", style="yellow")


def _shown(figure: Figure) -> str:
    return f"{figure.mean:.3f}" + (" [{:.3f}, {:.3f}]".format(*figure.interval) if figure.interval else "")


def _extractive(reviews: pl.DataFrame, model: EmbeddingModel) -> dict[str, Summary]:
    """Summarise each entity as the lineage summarises a brand: a review is a testimonial, by a person of its own."""
    texts = [clean(text) for text in reviews["text"]]
    chunks = reviews.select(
        pl.lit(0, pl.Int32).alias("account_bucket"),
        pl.col("entity_id").alias("account_id"),
        pl.col("review_id").alias("post_id"),
        pl.lit(0).alias("chunk_no"),
        pl.Series("text", texts),
        pl.Series("text_language", identify(texts), pl.String),
    )
    chosen = chosen_posts(chunks, embedded(model, texts))
    made = {}
    for (entity,), rows in chosen.group_by("account_id", maintain_order=True):
        own = reviews.filter(entity_id=entity).select("text", post_id="review_id")
        found = summarise(rows, own, document_terms, opinions=True).row(0, named=True)
        made[str(entity)] = list(zip(found["summary"].split("\n"), found["post_ids"], strict=True))
    return made


def _first_review(reviews: pl.DataFrame) -> dict[str, Summary]:
    """Return the whole of each entity's first review: the least that a summary has to beat."""
    first = reviews.group_by("entity_id", maintain_order=True).first()
    return {entity: [(clean(text), review)] for entity, review, text in first.iter_rows()}


def _measured(
    summaries: Mapping[str, Summary],
    references: Mapping[str, Sequence[str]],
    texts: Mapping[str, Mapping[str, str]],
    checked: Mapping[str, tuple[float, float]],
) -> dict[str, Figure]:
    """Return the figures of a method. ``checked``: entity → citation precision and unsupported, where a model wrote."""
    rows: dict[str, list[float]] = {name: [] for name in (*ROUGE, "citation_precision", "unsupported")}
    for entity, written in references.items():
        summary = summaries[entity]
        text = " ".join(sentence for sentence, _ in summary)
        scores = [_scorer()(reference, text) for reference in written]
        for name in ROUGE:
            rows[name].append(float(np.mean([score[name].fmeasure for score in scores])))
        said = texts[entity]
        holds = [_quoted(sentence) in said[review] for sentence, review in summary]
        anywhere = [any(_quoted(sentence) in text for text in said.values()) for sentence, _ in summary]
        precision, unsupported = checked.get(entity, (float(np.mean(holds)), 1 - float(np.mean(anywhere))))
        rows["citation_precision"].append(precision)
        rows["unsupported"].append(unsupported)
    return {name: _figure(np.array(values)) for name, values in rows.items()}


def _quoted(sentence: str) -> str:
    return sentence.removesuffix("…")


@cache
def _scorer() -> Callable[[str, str], Any]:
    from rouge_score.rouge_scorer import RougeScorer

    score: Callable[[str, str], Any] = RougeScorer(list(ROUGE), use_stemmer=True).score
    return score


def _figure(values: np.ndarray[Any, np.dtype[np.float64]]) -> Figure:
    """Return the mean over entities with its bootstrap interval."""
    if len(values) == 1:
        return Figure(float(values[0]), None)
    draws = np.random.default_rng(_SEED).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Figure(float(values.mean()), (float(low), float(high)))
