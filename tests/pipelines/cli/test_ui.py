"""What the Dagster UI asks for by GraphQL: runs of commands under their job, columns and their lineage."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey
from rich.console import Console

from pipelines.cli.lineage import CODE_LOCATION, instance_folder, settle
from pipelines.definitions import defs

QUERY = """query Shown($location: String!) {
  job: pipelineOrError(params: {pipelineName: "lake_maintenance", repositoryName: "__repository__",
                                repositoryLocationName: $location}) {
    ... on Pipeline { runs(limit: 5) { pipelineName status } }
  }
  assets: assetNodes {
    assetKey { path }
    metadataEntries {
      label
      ... on TableColumnLineageMetadataEntry {
        lineage { columnName columnDeps { assetKey { path } columnName } }
      }
      ... on TableSchemaMetadataEntry { schema { columns { name description tags { key value } } } }
      ... on CodeReferencesMetadataEntry { codeReferences { ... on LocalFileCodeReference { filePath lineNumber } } }
    }
  }
}"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The answer to QUERY on an instance with one run of a command. The run fails, as nothing is started."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIPPUS_HOME", str(home))
        settle(home, "lake_maintenance", Console(quiet=True))
    environ = {**os.environ, "CIPPUS_HOME": str(home), "DAGSTER_HOME": str(instance_folder(home))}
    command = [str(Path(sys.executable).with_name("dagster-graphql")), "-m", "pipelines.definitions", "-t", QUERY]
    variables = ["-v", json.dumps({"location": CODE_LOCATION})]
    done = subprocess.run([*command, *variables], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith('{"data"')]
    return json.loads(line)["data"]


def entries(answer: Any, asset: str, kind: str) -> Any:
    [found] = [node for node in answer["assets"] if "/".join(node["assetKey"]["path"]) == asset]
    return next((entry for entry in found["metadataEntries"] if entry["label"] == f"dagster/{kind}"), None)


def test_a_run_of_a_command_is_under_its_job(answer: Any) -> None:
    assert answer["job"]["runs"] == [{"pipelineName": "lake_maintenance", "status": "FAILURE"}]


def test_the_lineage_of_every_column_is_the_declared_one(answer: Any) -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        declared = graph.get(key).metadata.get("dagster/column_lineage")
        found = entries(answer, key.to_user_string(), "column_lineage")
        assert (found is None) == (declared is None), key
        if found and declared:
            assert {
                line["columnName"]: [
                    (AssetKey(dep["assetKey"]["path"]), dep["columnName"]) for dep in line["columnDeps"]
                ]
                for line in found["lineage"]
            } == {
                column: [(dep.asset_key, dep.column_name) for dep in deps]
                for column, deps in declared.deps_by_column.items()
            }


def test_a_text_can_be_followed_from_the_source_to_the_mart(answer: Any) -> None:
    """One column of each stage, from rds to the summary that analysts read."""
    path = [("mart/creators", "summary")]
    while not path[-1][0].startswith("rds/"):
        asset, column = path[-1]
        [line] = [line for line in entries(answer, asset, "column_lineage")["lineage"] if line["columnName"] == column]
        dep = line["columnDeps"][-1]
        path.append(("/".join(dep["assetKey"]["path"]), dep["columnName"]))
    assert path == [
        ("mart/creators", "summary"),
        ("summary/account_summaries", "summary"),
        ("summary/model_summaries", "claims"),
        ("lake/posts", "text"),
        ("raw/posts", "text"),
        ("rds/posts", "text"),
    ]


def test_columns_show_their_description_and_personal_data(answer: Any) -> None:
    columns = {found["name"]: found for found in entries(answer, "lake/posts", "column_schema")["schema"]["columns"]}
    assert columns["text"]["description"] == "Text of the post."
    assert columns["text"]["tags"] == [{"key": "cippus/personal_data", "value": "text"}]
    assert columns["likes"]["tags"] == []


def test_an_asset_leads_to_its_code(answer: Any) -> None:
    [reference] = entries(answer, "corpus/terms", "code_references")["codeReferences"]
    assert Path(reference["filePath"]).name == "corpus.py"
    assert "def terms" in Path(reference["filePath"]).read_text().split("\n", reference["lineNumber"] - 1)[-1][:600]
