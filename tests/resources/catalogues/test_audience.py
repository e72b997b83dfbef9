"""The columns of audience reports: the packaged map, and what is refused in another one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.catalogues import CatalogueError
from resources.catalogues.audience import AUDIENCE_COLUMNS_PATH, load_audience_columns, read_audience_columns

COLUMNS = load_audience_columns()


def test_packaged_columns_say_their_date_and_no_header_means_two_things() -> None:
    assert "Dated 20" in AUDIENCE_COLUMNS_PATH.read_text()
    assert not COLUMNS.roles.keys() & COLUMNS.ignored
    assert not COLUMNS.headers.keys() & (COLUMNS.roles.keys() | COLUMNS.ignored)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dates": None}, "dates is None; it must be a list of texts"),
        ({"columns": {"account_id": ["a"]}}, "it must have exactly the entries account_id"),
        ({"dimensions": {}}, "at least one dimension"),
        (
            {"dimensions": {"age": {"names": ["age"], "case": "title"}}},
            "The case of age is 'title'; it must be upper or lower",
        ),
        ({"dimensions": {"age": {"names": [1], "case": "lower"}}}, r"age is \[1\]; it must be a list of texts"),
        ({"dimensions": {"age": {"nmaes": [], "case": "lower"}}}, "Dimension 'age' must have names and case"),
        (
            {"dimensions": {"age": {"names": ["a-b", "A b"], "case": "lower"}}},
            "'A b' in dimensions is blank or repeated",
        ),
        ({"dimensions": {"age": {"names": [], "values": [], "case": "lower"}}}, "both must be mappings"),
        ({"more": []}, "must have exactly the sections"),
    ],
)
def test_an_invalid_catalogue_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "audience_columns.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(AUDIENCE_COLUMNS_PATH.read_text()), **change}))
    with pytest.raises(CatalogueError, match=message):
        read_audience_columns(path)
    path.write_text("[")
    with pytest.raises(CatalogueError, match="is not YAML"):
        read_audience_columns(path)


def test_another_map_has_another_version(tmp_path: Path) -> None:
    found = yaml.safe_load(AUDIENCE_COLUMNS_PATH.read_text())
    path = tmp_path / "audience_columns.yaml"
    path.write_text("# a comment\n" + yaml.safe_dump(found, sort_keys=False))
    assert read_audience_columns(path).version == COLUMNS.version
    found["ignored"].append("reach")
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    assert read_audience_columns(path).version != COLUMNS.version
    assert read_audience_columns(path).is_ignored("REACH")
