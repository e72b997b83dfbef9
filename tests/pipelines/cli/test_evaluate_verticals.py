"""`cippus evaluate verticals` on small labelled folders."""

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.cli.evaluation.verticals import VerticalEvaluation, evaluate_verticals, show_evaluation
from pipelines.cli.terminal import out
from resources.catalogues import load_verticals
from resources.errors import InputError
from tests.fakes.embedder import CountingEmbedder

CATALOGUE = load_verticals()
FOOD = next(found for found in CATALOGUE if found.name == "food")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HUSKY = "My husky sleeps all day."  # no description says this: only labels can teach it
Label = tuple[str, str, str, bool]


def written(folder: Path, posts: dict[str, str], labels: list[Label]) -> Path:
    """Write a folder with one account per post."""
    folder.mkdir()
    rows = [{"post_id": post, "account_id": f"of {post}", "text": text} for post, text in posts.items()]
    accounts = [{"account_id": row["account_id"]} for row in rows]
    for name, given in (("posts", rows), ("accounts", accounts)):
        schema = SOURCE_TABLES[name].schema
        empty = pl.DataFrame(pl.from_arrow(schema.empty_table()))
        frame = pl.DataFrame(given).with_columns(updated_at=pl.lit(NOW))
        pl.concat([empty, frame], how="diagonal_relaxed").select(empty.columns).write_parquet(
            folder / f"{name}.parquet"
        )
    columns = ["item_kind", "item_id", "vertical", "is_member"]
    pl.DataFrame(labels, schema=columns, orient="row").write_parquet(folder / "labels.parquet")
    return folder


def folder_of(folder: Path, start: int) -> Path:
    """30 posts: a third repeats a description of food, a third says HUSKY, which is labelled pets, a third is noise."""
    texts = [FOOD.descriptions[0], HUSKY, None]
    posts = {f"p{n}": texts[n % 3] or f"Noise number {n}." for n in range(start, start + 30)}
    labels = [("post", f"p{n}", "food", n % 3 == 0) for n in range(start, start + 30)]
    labels += [("post", f"p{n}", "pets", n % 3 == 1) for n in range(start, start + 30)]
    labels += [("account", f"of p{n}", "food", n % 3 == 0) for n in range(start, start + 30)]
    return written(folder, posts, labels)


def evaluate(folder: Path, train: Path | None = None, method: str | None = None) -> VerticalEvaluation:
    return evaluate_verticals(folder, train, method, CountingEmbedder(), CATALOGUE)


def test_labels_teach_what_no_description_says_and_nothing_is_fitted_on_the_judged_folder(tmp_path: Path) -> None:
    test, train = folder_of(tmp_path / "test", 0), folder_of(tmp_path / "train", 300)
    found = evaluate(test, train, "probe")
    said = found.to_json()
    assert said.keys() == {"post", "account", "encoder", "notes"}
    post = said["post"]
    assert post["per_vertical"].keys() == {"food", "pets"}
    assert said["account"]["per_vertical"].keys() == {"food"}
    for name in ("food", "pets"):
        of_vertical = post["per_vertical"][name]
        assert (of_vertical["recall"], of_vertical["support"]) == (1, 10)
        assert of_vertical["intervals"]["recall"][0] > 0.6
        assert of_vertical["f1"] > 0.8
    mean = sum(of_vertical["f1"] for of_vertical in post["per_vertical"].values()) / 2
    assert post["macro_f1"] == pytest.approx(mean, abs=1e-4)
    turned = pl.read_parquet(test / "labels.parquet").with_columns(is_member=~pl.col("is_member"))
    turned.write_parquet(test / "labels.parquet")
    again = evaluate(test, train, "probe")
    assert again.per_vertical["post"]["called"].equals(found.per_vertical["post"]["called"])


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    labels = [("post", "a", "food", True), ("post", "gone", "food", True), ("post", "a", "no vertical", True)]
    folder = written(tmp_path / "odd", {"a": FOOD.descriptions[0], "b": "Noise."}, labels)
    found = evaluate(folder)
    assert found.method == {"post": "zero_shot"}
    assert found.per_vertical["post"]["recall"].to_list() == [1]
    assert sorted(found.notes) == [
        "1 labels not used: item is not in the folder.",
        "1 labels not used: vertical is not in the catalogue.",
    ]
    assert json.dumps(found.to_json())
    with out.capture() as printed:
        show_evaluation(out, found)
    assert "food" in printed.get()


@pytest.mark.parametrize(
    ("labels", "method", "train", "message"),
    [
        ([("post", "gone", "food", True)], None, False, "no label of a post or account"),
        ([("post", "a", "food", False)], None, False, "No item of .* is a member"),
        ([("post", "a", "food", True)], "guess", False, "must be one of zero_shot, probe"),
        ([("post", "a", "food", True)], "probe", False, "give a labelled folder with --train"),
    ],
)
def test_bad_input_has_one_sentence(
    tmp_path: Path, labels: list[Label], method: str | None, train: bool, message: str
) -> None:
    folder = written(tmp_path / "bad", {"a": "A text."}, labels)
    with pytest.raises(InputError, match=message):
        evaluate(folder, folder if train else None, method)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "none", {"a": "A text."}, [])
    (folder / "labels.parquet").unlink()
    with pytest.raises(InputError, match="has no labels"):
        evaluate(folder)
