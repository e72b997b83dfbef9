"""The README, the Makefile, the changelog and CI: whatever command, path, variable, asset or check they name exists."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import yaml
from dagster import AssetKey
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from assets.audience import LANDING as AUDIENCE_LANDING
from assets.framework.asset import s3_metadata
from assets.labels import LANDING
from assets.raw.windows import RawConfig
from assets.stages import STAGES
from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from assets.transforms.text.corpus import Dropped
from pipelines.cli.main import app
from pipelines.definitions import defs
from resources.catalogues import load_verticals
from resources.delta.table import TableSpec
from resources.s3.usage import PrefixUsage, Usage
from resources.settings import variables
from resources.sources.redshift import STAGING
from resources.vectors.generations import PREVIOUS, SERVING, Generation, IndexConfig
from tests.benchmarks.__main__ import BENCHES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))

FOREIGN_NAMES = {
    ".cippus", ".venv", ".venv/bin/cippus", ".venv/bin/pre-commit install", "If-None-Match", "pg_monitor",
    "erasure/", "left_in", "pg_read_all_stats", "public", "_SUCCESS", "post", "account", "…_at",
}  # fmt: skip
"""What the README sets in code font and is no name of this project's."""


def _table(header: str) -> list[list[str]]:
    """The cells of the rows of all the README's tables whose header line starts so."""
    tables = README.split(f"\n| {header} |")[1:]
    assert tables, header
    rows = [row for table in tables for row in table.split("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def commands() -> Mapping[str, TyperCommand]:
    return cast("Mapping[str, TyperCommand]", cast("TyperGroup", get_command(app)).commands)


def _group(key: AssetKey) -> str:
    return key.path[0]


def _assets() -> dict[str, set[str]]:
    """Group → its asset keys."""
    found = defaultdict(set)
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        found[_group(key)].add(key.to_user_string())
    return found


def _group_reads() -> dict[str, set[str]]:
    """Group → the other groups that it reads."""
    graph = defs.resolve_asset_graph()
    found: dict[str, set[str]] = defaultdict(set)
    for key in graph.get_all_asset_keys():
        found[_group(key)] |= {_group(parent) for parent in graph.get(key).parent_keys} - {_group(key)}
    return found


def _checks() -> dict[str, set[str]]:
    """Group → the names of its checks."""
    found = defaultdict(set)
    for key in defs.resolve_asset_graph().asset_check_keys:
        found[_group(key.asset_key)].add(key.name)
    return found


def _reachable(reads: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Group → every group that it reads, directly or not."""
    found = {}
    for start in reads:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = reads[waiting.pop()] - seen
            seen |= new
            waiting += new
        found[start] = seen
    return found


def test_make_commands_are_the_makefiles() -> None:
    listed = {name.removeprefix("make ") for row in _table("command") for name in _names(row[0])[:1]}
    assert {name for name in listed if not name.startswith("cippus ")} == TARGETS
    assert set(re.findall(r"^    make ([a-z]+)", README, re.MULTILINE)) <= TARGETS


def test_make_alone_lists_the_commands_and_every_target_is_phony() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == TARGETS


def test_ci_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    called = re.findall(r"^make ([a-z]+)$", script, re.MULTILINE)
    assert called == ["check", "test"]
    assert "CI is `.ci/run`: `make check` and `make test`." in README


def test_cippus_commands_are_the_commands(commands: Mapping[str, TyperCommand]) -> None:
    listed = {name.split()[1] for row in _table("command") for name in _names(row[0]) if name.startswith("cippus ")}
    assert listed == set(commands)


def test_picture_has_the_groups_and_their_dependencies() -> None:
    [picture] = re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL)
    drawn: dict[str, set[str]] = defaultdict(set)
    for line in picture.splitlines()[1:]:
        nodes = re.split("-->", re.sub(r"\[\(\w+\)\]", "", line))
        chain = [node.strip() for node in nodes]
        for before, after in pairwise(chain):
            drawn[after].add(before)
            drawn.setdefault(before, set())
    reads = {group: _group_reads()[group] for group in _assets()}
    assert set(drawn) == set(reads)
    assert all(drawn[group] <= reads[group] for group in reads)
    assert _reachable(drawn) == _reachable(reads)


def test_stage_table_is_the_definitions() -> None:
    rows = _table("group")
    groups = [_names(row[0])[0] for row in rows]
    files = {module.__name__.replace(".", "/") + ".py" for module in STAGES}
    assert sorted(groups) == sorted(_assets())
    for group, (_, reads, writes, file, checks) in zip(groups, rows, strict=True):
        assert set(_names(reads)) == _group_reads()[group], group
        assert set(_names(writes)) == _assets()[group], group
        assert set(_names(checks)) == _checks()[group], group
        [path] = _names(file)
        assert path in files
        assert f"{group}/*" in (ROOT / path).read_text().partition("\n")[0], path
    assert {_names(row[3])[0] for row in rows} == files


def test_stage_table_is_in_the_order_of_the_definitions() -> None:
    files = list(dict.fromkeys(_names(row[3])[0] for row in _table("group")))
    assert files == [module.__name__.replace(".", "/") + ".py" for module in STAGES]


def test_variables_are_the_declared_ones() -> None:
    assert {_names(name)[0] for name, _ in _table("variable")} == {variable.name for variable in variables()}


def test_columns_are_the_source_schemas() -> None:
    expected = {f"{name}.parquet": table.schema.names for name, table in SOURCE_TABLES.items()}
    expected["labels.parquet"] = LABELS_SCHEMA.names
    assert {_names(file)[0]: _names(columns) for file, columns in _table("file")} == expected


def test_reasons_are_the_corpus() -> None:
    [sentence] = re.findall(r"has its reason in `corpus/decisions`:(.*?)\.\n", README, re.DOTALL)
    assert _names(sentence) == list(Dropped)


def test_every_name_in_code_font_exists(commands: Mapping[str, TyperCommand]) -> None:
    assets, checks = _assets(), _checks()
    options = {name for command in commands.values() for option in command.params for name in option.opts}
    known = {
        *FOREIGN_NAMES,
        *(variable.name for variable in variables()),
        *options,
        *assets,
        *(key for keys in assets.values() for key in keys),
        *(name for names in checks.values() for name in names),
        *(column for table in SOURCE_TABLES.values() for column in table.schema.names),
        *LABELS_SCHEMA.names,
        *SOURCE_TABLES,
        *RawConfig.model_fields,
        STAGING,
        *(f"{name}.parquet" for name in [*SOURCE_TABLES, "labels"]),
        *Dropped,
        *(schedule.name for schedule in defs.schedules or []),
        *(sensor.name for sensor in defs.sensors or []),
        *(job.name for job in defs.jobs or []),
        *(vertical.name for vertical in load_verticals()),
        SERVING,
        PREVIOUS,
        *(Generation(number, "", IndexConfig("", 0, "")).name for number in (1, 2)),
        LANDING,
        AUDIENCE_LANDING,
        TableSpec.__name__,
        *s3_metadata(Usage([PrefixUsage("bucket", "prefix", "read", 1, 1, 0, 0, 0, 0, 0.0, 500.0)])),
        "STAGES",
        "ASSETS",
    }
    for name in _names(PROSE):
        make = re.fullmatch(r"make ([a-z]+)(?: (?:ARGS|PYTHON)=.*)?", name)
        cippus = re.fullmatch(r"(?:CIPPUS_ENV=production )?cippus ([a-z0-9-]+)(?: .*)?", name)
        if make:
            assert make.group(1) in TARGETS
        elif cippus:
            assert cippus.group(1) in commands
        else:
            assert name in known or (ROOT / name).exists(), f"README names {name}, which does not exist."


def test_foreign_names_are_named() -> None:
    assert set(_names(PROSE)) >= FOREIGN_NAMES


def test_command_examples_are_valid(commands: Mapping[str, TyperCommand]) -> None:
    named = [name.split() for row in _table("command") for name in _names(row[0])]
    assert {words[2] for words in named if words[:2] == ["cippus", "evaluate"]} == {"search"}
    benches = {name.removeprefix("NAME=") for words in named if words[:2] == ["make", "bench"] for name in words[2:]}
    assert benches == set(BENCHES)
    for words, said in ((_names(row[0])[0].split(), row[1]) for row in _table("command")):
        if words[0] == "cippus" and (named_options := set(re.findall(r"`(--[a-z-]+)`", said))):
            assert named_options <= {name for option in commands[words[1]].params for name in option.opts}


def test_changelog_has_this_version_and_pre_commit_runs_our_tools() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        tool = hook["entry"].split()
        known = tool[1] in TARGETS if tool[0] == "make" else tool[0].removeprefix(".venv/bin/") in MAKEFILE
        assert known, hook["entry"]


def test_everything_that_runs_by_itself_is_said() -> None:
    [sentence] = re.findall(r"\*\*What runs by itself\*\*(.*?)In production", README, re.DOTALL)
    named = {schedule.name for schedule in defs.schedules or []} | {sensor.name for sensor in defs.sensors or []}
    assert named <= set(_names(sentence))
