"""What an asset's definition says in the UI: columns, their lineage, personal data, addresses, code."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dagster import AssetKey, AssetsDefinition, CodeReferencesMetadataValue, TableColumnLineage, TableSchema

from assets.framework.description import PERSONAL, column_lineage, column_schema, personal_tags
from assets.stages import ASSETS, TABLES
from pipelines.definitions import defs
from resources.delta.table import Column, TableSpec

GRAPH = defs.resolve_asset_graph()
PARENT = TableSpec.of("lake/posts", {"text": Column(pa.string(), "Text.", personal="text")}, ("text",))


def metadata(key: AssetKey) -> Mapping[str, Any]:
    return GRAPH.get(key).metadata


def tables() -> list[AssetKey]:
    """Every asset that is a table: those of the source, the raw files and the Delta tables."""
    sources = [key for key in GRAPH.get_all_asset_keys() if key.path[0] in {"rds", "raw"}]
    return sorted([*sources, *(AssetKey(spec.name.split("/")) for spec in TABLES)])


def test_a_column_says_where_it_comes_from() -> None:
    table = TableSpec.of(
        "corpus/cippus_text",
        {
            "text": PARENT.copied("text"),
            "tokens": Column(pa.int32(), "Number of tokens.", PARENT.sources("text")),
            "recipe": Column(pa.string(), "Rules."),
        },
        ("text",),
    )
    assert table.schema == pa.schema([("text", pa.string()), ("tokens", pa.int32()), ("recipe", pa.string())])
    deps = column_lineage(table).deps_by_column
    assert {
        name: [(dep.asset_key.to_user_string(), dep.column_name) for dep in found] for name, found in deps.items()
    } == {
        "text": [("lake/posts", "text")],
        "tokens": [("lake/posts", "text")],
    }
    schema = {column.name: column for column in column_schema(table).columns}
    assert (schema["text"].description, schema["text"].tags) == ("Text.", {PERSONAL: "text"})
    assert (schema["tokens"].type, schema["tokens"].tags) == ("int32", {})
    assert personal_tags(table) == {PERSONAL: "text"}


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        PARENT.sources("txt")


@pytest.mark.parametrize("key", tables(), ids=AssetKey.to_user_string)
def test_every_column_is_described(key: AssetKey) -> None:
    schema = metadata(key)["dagster/column_schema"]
    assert isinstance(schema, TableSchema)
    assert schema.columns
    for column in schema.columns:
        assert re.fullmatch(r"(?:[A-Z0-9]|nDCG).{3,}\.", column.description or ""), column.name
        assert set(column.tags.values()) <= {"id", "name", "text", "attribute"}


@pytest.mark.parametrize("key", tables(), ids=AssetKey.to_user_string)
def test_every_source_of_a_column_is_a_column_of_an_upstream_asset(key: AssetKey) -> None:
    node = GRAPH.get(key)
    lineage = metadata(key).get("dagster/column_lineage")
    if lineage is None:
        assert key.path[0] in {"rds", "audience", "quarantine"} or not node.parent_keys, (
            "others are made of other tables"
        )
        return
    assert isinstance(lineage, TableColumnLineage)
    for column, deps in lineage.deps_by_column.items():
        for dep in deps:
            assert dep.asset_key in node.parent_keys, f"{column} is made of {dep.asset_key}, which is not upstream"
            known = {found.name for found in metadata(dep.asset_key)["dagster/column_schema"].columns}
            assert dep.column_name in known, f"{column} is made of {dep}"


def test_personal_data_stays_marked_downstream() -> None:
    """A column with a personal source of the same name is personal too: a copy cannot lose its mark."""
    marked = {
        (key, column.name)
        for key in tables()
        for column in metadata(key)["dagster/column_schema"].columns
        if column.tags
    }
    for key in tables():
        lineage = metadata(key).get("dagster/column_lineage")
        for column, deps in (lineage.deps_by_column if lineage else {}).items():
            for dep in deps:
                if dep.column_name == column and (dep.asset_key, column) in marked:
                    assert (key, column) in marked
    assert {key for key, _ in marked} == {key for key in tables() if PERSONAL in GRAPH.get(key).tags}


def test_the_text_columns_of_a_table_are_personal_text() -> None:
    for spec in TABLES:
        for name in spec.text_columns:
            if name not in {"content_hash", "model"}:
                assert spec.columns[name].personal in {"text", "name"}, f"{spec.name}.{name}"


@pytest.mark.parametrize("definition", [made for made in ASSETS if isinstance(made, AssetsDefinition)],
                         ids=lambda made: made.key.to_user_string())  # fmt: skip
def test_every_asset_has_a_code_version_and_the_place_of_its_code(definition: AssetsDefinition) -> None:
    [spec] = definition.specs
    assert spec.code_version
    references = spec.metadata["dagster/code_references"]
    assert isinstance(references, CodeReferencesMetadataValue)
    [reference] = references.code_references
    assert spec.key.path[0] in {"raw", "lake", "mart"} or Path(reference.source.rpartition(":")[0]).is_file()
    line = Path(reference.file_path).read_text().splitlines()[reference.line_number - 1]  # type: ignore[union-attr,operator]
    assert line.lstrip().startswith("@asset"), "the decorated function"


def test_a_delta_table_has_its_address_and_its_name() -> None:
    for spec in TABLES:
        found = metadata(AssetKey(spec.name.split("/")))
        assert found["dagster/uri"] == f"s3://cippus/{spec.name}"
        assert found["dagster/table_name"] == spec.name.replace("/", ".")
        assert found["dagster/storage_kind"] == "delta"
