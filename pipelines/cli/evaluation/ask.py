"""`cippus evaluate ask`: ask the questions of a folder, and compare what is cited with the posts that answer them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from assets.corpus import CHUNKS
from assets.search.ask import Asker
from assets.transforms.search.retrieval_metrics import percentiles
from pipelines.cli.terminal import shown
from pipelines.samples.folder import open_folder
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.vectors.values import SearchFilter

FILE = "questions.parquet"
_COLUMNS: dict[str, Any] = {"question": pl.String, "answerable": pl.Boolean, "post_ids": pl.List(pl.String)}
_EXPECTED = "expected question (text), answerable (truth value) and post_ids (list of texts)"


@dataclass(frozen=True)
class Question:
    """A question, whether the posts answer it, and the posts that do."""

    question: str
    answerable: bool
    post_ids: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What became of a question: the posts that its answer cites, none if it abstained; and those it wrongly cites."""

    question: str
    answerable: bool
    cited: tuple[str, ...]
    wrong: tuple[str, ...]
    found: float
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether it was answered, or not, as it should be."""
        return bool(self.cited) == self.answerable


@dataclass(frozen=True)
class AskEvaluation:
    """Every question with its citations."""

    asked: tuple[Asked, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as shares, the latencies in milliseconds, and each question with its citations."""
        citations = sum(len(one.cited) for one in self.asked)
        wrong = sum(len(one.wrong) for one in self.asked)
        answerable = [one for one in self.asked if one.answerable]
        others = [one for one in self.asked if not one.answerable]
        return {
            "questions": len(self.asked),
            "citations": citations,
            "citation_precision": round(1 - wrong / citations, 5) if citations else None,
            "citation_recall": _share([one.found for one in answerable]),
            "abstention_right": _share([one.is_right for one in self.asked]),
            "answerable_answered": _share([one.is_right for one in answerable]),
            "unanswerable_abstained": _share([one.is_right for one in others]),
            "latency_ms": percentiles([one.seconds for one in self.asked]),
            "asked": [{**asdict(one), "right": one.is_right} for one in self.asked],
        }


def evaluate_ask(
    folder: Path, lake: LakeResource, asker: Asker, on_progress: Callable[[int, int], None], *, quotes_only: bool
) -> AskEvaluation:
    """Ask each question once. Raises InputError for a folder without questions, or whose posts are not searchable.

    A cited post is right if the question lists it. So list every post that answers a question: precision counts any
    other as wrong.
    """
    questions = read_questions(folder)
    _require_searchable(folder, lake, questions)
    asked = []
    for number, one in enumerate(questions, start=1):
        answer = asker.ask(one.question, SearchFilter(), quotes_only=quotes_only)
        cited = tuple(source.post_id for source in answer.sources)
        right = set(cited) & set(one.post_ids)
        wrong = tuple(id_ for id_ in cited if id_ not in right)
        found = len(right) / len(set(one.post_ids)) if one.post_ids else 0.0
        asked.append(Asked(one.question, one.answerable, cited, wrong, found, answer.seconds))
        on_progress(number, len(questions))
    return AskEvaluation(tuple(asked))


def read_questions(folder: Path) -> list[Question]:
    """Return the questions of a folder in the source schema. Raises InputError."""
    open_folder(folder)
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {FILE}; {_EXPECTED}.")
    try:
        rows = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    if missing := [name for name in _COLUMNS if name not in rows.columns]:
        raise InputError(f"{path} has no column {missing[0]}; {_EXPECTED}.")
    try:
        rows = rows.select(pl.col(name).cast(dtype) for name, dtype in _COLUMNS.items())
    except pl.exceptions.PolarsError:
        raise InputError(f"{path} has a column of another type; {_EXPECTED}.") from None
    found = [Question(text or "", bool(is_), tuple(ids or ())) for text, is_, ids in rows.iter_rows()]
    for number, one in enumerate(found):
        if not one.question.strip() or rows["answerable"][number] is None or one.answerable != bool(one.post_ids):
            message = f"{path} row {number}: a question needs a text, and post_ids exactly if it is answerable."
            raise InputError(message)
    if not found:
        raise InputError(f"{path} has no rows; expected questions.")
    return found


def _require_searchable(folder: Path, lake: LakeResource, questions: Sequence[Question]) -> None:
    wanted = pl.LazyFrame({"post_id": sorted({id_ for one in questions for id_ in one.post_ids})})
    held = lake.scan(CHUNKS).select("post_id").unique()
    absent = wanted.join(held, on="post_id", how="anti").collect()["post_id"].to_list()
    if wanted.collect().height and len(absent) == wanted.collect().height:
        message = f"No post of {folder / FILE} is in the corpus. Run `cippus load {folder}` and `cippus run`."
        raise InputError(message)


def show_evaluation(console: Console, found: AskEvaluation) -> None:
    """Print the figures, and the questions that went wrong."""
    figures = found.to_json()
    table = Table("figure", "value", title=f"{figures['questions']} questions, {figures['citations']} cited posts")
    for name in (
        *("citation_precision", "citation_recall", "abstention_right"),
        *("answerable_answered", "unanswerable_abstained"),
    ):
        table.add_row(name.replace("_", " "), "none" if figures[name] is None else f"{figures[name]:.3f}")
    console.print(table)
    latencies = ", ".join(f"{name} {value:g} ms" for name, value in figures["latency_ms"].items())
    console.print(f"latency: {latencies}", highlight=False)
    for one in found.asked:
        if not one.is_right or one.wrong:
            fault = f"cites {', '.join(one.wrong)}" if one.wrong else "has no answer"
            console.print(shown(f"{one.question} – {fault}"), highlight=False, soft_wrap=True)


def _share(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None
