"""The verticals' catalogue: the packaged file holds what others rely on, and an invalid one is refused by name."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from resources.catalogues import (
    VERTICALS_PATH,
    Bar,
    CatalogueError,
    Override,
    Vertical,
    catalogue_hash,
    load_verticals,
    read_verticals,
    roster_hash,
)

LABELLED_ELSEWHERE = {
    "arts_culture",
    "automotive",
    "business",
    "celebrity_pop_culture",
    "comedy",
    "daily_life",
    "education",
    "family",
    "fashion",
    "film_tv",
    "fitness_health",
    "food",
    "gaming",
    "hobbies",
    "music",
    "news_social_concern",
    "pets",
    "relationships",
    "science_technology",
    "sports",
    "travel",
    "youth_student_life",
}
FOOD: dict[str, Any] = {
    "name": "food",
    "title": "Food",
    "iab": "210",
    "default_threshold": 0.25,
    "bar": {"precision": 0.8, "recall": 0.6},
    "descriptions": ["A post about food.", "Cooking at home."],
}


def catalogue(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "verticals.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return path


def test_packaged_catalogue_covers_the_verticals_of_real_label_sets() -> None:
    names = {vertical.name for vertical in load_verticals()}
    assert names >= LABELLED_ELSEWHERE
    assert names >= {"beauty", "home_garden", "personal_finance"}


def test_packaged_descriptions_are_sentences_of_one_vertical_only() -> None:
    sentences = [text for vertical in load_verticals() for text in vertical.descriptions]
    assert len(set(sentences)) == len(sentences)
    assert all(text.endswith(".") and text[0].isupper() for text in sentences)


def test_packaged_catalogue_says_its_date_source_and_licence() -> None:
    header = VERTICALS_PATH.read_text().split("\n- name", 1)[0]
    for needed in ("Dated 20", "IAB Tech Lab Content Taxonomy 3.1", "CC-BY 3.0", "Adapted"):
        assert needed in header


def test_reads_an_entry(tmp_path: Path) -> None:
    assert read_verticals(catalogue(tmp_path, FOOD)) == (
        Vertical("food", "Food", ("A post about food.", "Cooking at home."), 0.25, "210", Bar(0.8, 0.6)),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Food & Drink"}, "snake_case"),
        ({"name": "food_"}, "snake_case"),
        ({"title": " "}, "title of food"),
        ({"iab": 210}, "iab of food"),
        ({"descriptions": ["only one"]}, "descriptions of food .*2 to 4"),
        ({"descriptions": ["a", "b", "c", "d", "e"]}, "descriptions of food .*2 to 4"),
        ({"descriptions": ["same", "same"]}, "descriptions of food .*different"),
        ({"descriptions": ["a", ""]}, "descriptions of food .*sentences"),
        ({"descriptions": "a sentence"}, "descriptions of food .*list"),
        ({"default_threshold": 0}, r"\(0, 10\)"),
        ({"default_threshold": 10.0}, r"\(0, 10\)"),
        ({"default_threshold": True}, r"\(0, 10\)"),
        ({"default_threshold": float("nan")}, r"\(0, 10\)"),
        ({"treshold": 0.3}, "exactly the keys"),
        ({"bar": {"precision": 1.0, "recall": 0.5}}, r"bar of food .*\(0, 1\)"),
        ({"bar": {"precision": "0.5", "recall": 0.5}}, r"bar of food .*\(0, 1\)"),
        ({"bar": {1: 2}}, "bar of food"),
        ({"bar": None}, "bar of food"),
        ({"override": {"decision": "drop", "reason": "weak"}}, "override of food .*a date"),
        ({"override": {"decision": "maybe", "date": dt.date(2026, 1, 2), "reason": "weak"}}, "ship or drop"),
        ({"override": {"decision": "drop", "date": "soon", "reason": "weak"}}, "override of food"),
        ({"override": {"decision": "drop", "date": dt.date(2026, 1, 2), "reason": " "}}, "a reason"),
    ],
)
def test_refuses_an_invalid_entry(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        read_verticals(catalogue(tmp_path, FOOD | change))


def test_an_override_has_its_day_and_its_reason(tmp_path: Path) -> None:
    said = {"decision": "drop", "date": dt.date(2026, 1, 2), "reason": "Weak."}
    (found,) = read_verticals(catalogue(tmp_path, FOOD | {"override": said}))
    assert found.override == Override("drop", dt.date(2026, 1, 2), "Weak.")
    assert found.override.what == "dropped by a person on 2026-01-02"
    bare = replace(found, override=None)
    assert roster_hash([found]) != roster_hash([bare]) != roster_hash([replace(bare, bar=Bar(0.8, 0.61))])
    assert catalogue_hash([found]) == catalogue_hash([bare])


def test_the_verticals_that_the_team_dropped_are_dropped_by_a_person() -> None:
    dropped = {found.name for found in read_verticals(VERTICALS_PATH) if found.override is not None}
    assert dropped == {"offensive_language", "travel", "fashion"}


def test_another_catalogue_is_read_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_VERTICALS", str(catalogue(tmp_path, FOOD)))
    assert [found.name for found in load_verticals()] == ["food"]
    monkeypatch.setenv("CIPPUS_VERTICALS", str(tmp_path / "none.yaml"))
    with pytest.raises(CatalogueError, match=r"none.yaml cannot be read: No such file"):
        load_verticals()


@pytest.mark.parametrize("count", [2, 4])
def test_two_to_four_descriptions_are_read(tmp_path: Path, count: int) -> None:
    (found,) = read_verticals(catalogue(tmp_path, FOOD | {"descriptions": list("abcd"[:count])}))
    assert found.descriptions == tuple("abcd"[:count])


def test_refuses_repeated_names_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="more than one vertical named food"):
        read_verticals(catalogue(tmp_path, FOOD, FOOD | {"title": "Other"}))
    with pytest.raises(CatalogueError, match="list of verticals"):
        read_verticals(catalogue(tmp_path))
    (tmp_path / "verticals.yaml").write_text("- [unclosed")
    with pytest.raises(CatalogueError, match="not YAML"):
        read_verticals(tmp_path / "verticals.yaml")


def test_hash_ignores_titles_taxonomy_and_the_order_of_descriptions() -> None:
    verticals = load_verticals()
    retitled = [replace(v, title=v.title + "!", iab=None, descriptions=v.descriptions[::-1]) for v in verticals]
    assert catalogue_hash(retitled) == catalogue_hash(verticals)


@given(st.permutations(load_verticals()))
def test_hash_sees_the_order_of_verticals_because_scores_are_stored_in_it(shuffled: list[Vertical]) -> None:
    is_same_order = tuple(shuffled) == load_verticals()
    assert (catalogue_hash(shuffled) == catalogue_hash(load_verticals())) == is_same_order


@given(st.sampled_from(range(len(load_verticals()))), st.sampled_from(["name", "descriptions", "default_threshold"]))
def test_hash_sees_whatever_changes_a_score(position: int, field: str) -> None:
    verticals = list(load_verticals())
    old = verticals[position]
    new: dict[str, Any] = {
        "name": f"{old.name}_x",
        "descriptions": (*old.descriptions[:-1], "Another sentence."),
        "default_threshold": old.default_threshold + 0.01,
    }
    verticals[position] = replace(old, **{field: new[field]})
    assert catalogue_hash(verticals) != catalogue_hash(load_verticals())


def test_the_hash_never_changes() -> None:
    # It is stored with what was scored: another way to hash would score every post anew.
    assert (
        catalogue_hash([Vertical("cafe", "Café", ("b", "é"), 2.0, None)])
        == "39fd71bdcebe321a3d337fed9c047d4648ac5695792e6bfb50cf65aada2c803b"
    )
