"""`cippus evaluate ask` on a few questions to a small site."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.search.ask import Asker
from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.cli.evaluation.ask import AskEvaluation, evaluate_ask
from resources.errors import InputError
from resources.local_stack import EmbeddedStack
from tests.worlds.small_site import post_id, shared_site

QUESTIONS: list[tuple[Any, ...]] = [
    ("Who talks about sustainable fashion?", True, [post_id("anna", 0), post_id("anna", 2)]),
    ("Who repairs steam locomotives?", False, []),
    ("Who paints with watercolours?", True, [post_id("anna", 1)]),
]


def folder_of(folder: Path, questions: list[tuple[Any, ...]]) -> Path:
    for name in ("accounts", "posts"):
        rows = pl.DataFrame(pl.from_arrow(SOURCE_TABLES[name].schema.empty_table()))
        rows.write_parquet(folder / f"{name}.parquet")
    schema: dict[str, Any] = {"question": pl.String, "answerable": pl.Boolean, "post_ids": pl.List(pl.String)}
    pl.DataFrame(questions, schema=schema, orient="row").write_parquet(folder / "questions.parquet")
    return folder


def evaluated(folder: Path, stack: EmbeddedStack) -> AskEvaluation:
    site = shared_site(stack)
    return evaluate_ask(folder, site.lake, Asker(site.searcher), lambda _done, _total: None, quotes_only=True)


def test_citations_and_abstention_are_measured(tmp_path: Path, stack: EmbeddedStack) -> None:
    found = evaluated(folder_of(tmp_path, QUESTIONS), stack).to_json()
    assert found["citation_precision"] == 0.5  # bela/0 says it too, and is not listed
    assert found["citation_recall"] == 0.25  # anna/2 fits less well
    assert (found["answerable_answered"], found["unanswerable_abstained"]) == (0.5, 1.0)
    assert found["abstention_right"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["asked"][0]["wrong"] == (post_id("bela", 0),)


@pytest.mark.parametrize(
    ("questions", "sentence"),
    [
        ([], "has no rows; expected questions"),
        ([("Who?", True, [])], "post_ids exactly if it is answerable"),
        ([(" ", False, [])], "a question needs a text"),
        ([("Who?", True, ["p-none"])], "No post of .* is in the corpus"),
    ],
)
def test_a_folder_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, stack: EmbeddedStack, questions: list[tuple[Any, ...]], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        evaluated(folder_of(tmp_path, questions), stack)
