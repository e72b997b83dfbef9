"""README, docs, Makefile, changelog and CI: every command, path, variable, asset or check that they name exists."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from dagster import AssetKey
from typer.core import TyperGroup
from typer.main import get_command

from assets.audience import LANDING as AUDIENCE_LANDING
from assets.framework.asset import s3_metadata
from assets.labels import LANDING
from assets.raw.windows import RawConfig
from assets.stages import STAGES, TABLES
from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from assets.transforms.text.corpus import Dropped
from docs import reference
from pipelines.cli.main import app
from pipelines.definitions import defs
from resources.catalogues import load_verticals
from resources.s3.usage import PrefixUsage, Usage
from resources.settings import variables
from resources.sources.redshift import STAGING
from resources.vectors.generations import PREVIOUS, SERVING, Generation, IndexConfig
from tests.benchmarks.__main__ import BENCHES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not {"reference", "_build"} & {*path.relative_to(ROOT).parts}
}
"""Path → text of every page that a person wrote."""
PROSE = re.sub(r"```.*?```", "", "\n".join(PAGES.values()), flags=re.DOTALL)
CODE_LINES = re.findall(r"^    (\S.*)$", PROSE, re.MULTILINE)
GENERATED = reference.pages()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))

FOREIGN_NAMES = {
    ".cippus", ".venv", ".venv/bin/cippus", ".venv/bin/pre-commit install", "If-None-Match", "pg_monitor",
    "erasure/", "left_in", "pg_read_all_stats", "public", "_SUCCESS", "post", "account", "ledger/", "quicksight/",
    "docs/_build/html", "now()", "ARGS=--json", 'ARGS="-k words"', "cippus --help", "dense", "bm25", "hybrid",
}  # fmt: skip
"""Names in code font that no code of this project defines."""
CODE_NAMES = {
    "SourceTable": "assets.transforms.source.schema",
    "SOURCE_TABLES": "assets.transforms.source.schema",
    "LAKE_TABLES": "assets.lake",
    "TableSpec": "resources.delta.table",
    "STAGES": "assets.stages",
    "ASSETS": "assets.lake",
}
"""Identifier that a page names → its module."""


def _table(text: str, header: str) -> list[list[str]]:
    """Return the cells of all rows of all tables in a text whose header line starts so."""
    tables = f"\n{text}".split(f"\n| {header} |")[1:]
    assert tables, header
    rows = [row for table in tables for row in table.split("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in rows]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def commands() -> Mapping[str, Any]:
    """The words behind `cippus` → command."""
    tree = reference.command_tree(cast("TyperGroup", get_command(app)))
    return {words.removeprefix("cippus "): command for words, command in tree}


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


def _opts(command: Any) -> set[str]:
    return {name for option in command.params for name in option.opts}


def _words(line: str, commands: Mapping[str, Any]) -> tuple[str, set[str]] | None:
    """The command that a line calls and the options that it gives, or None when it calls no `cippus`."""
    called = re.fullmatch(r"(?:CIPPUS_ENV=\w+ )?(?:\.venv/bin/)?cippus ([a-z0-9].*)", line.partition(" #")[0].strip())
    if called is None:
        return None
    words = called[1].split()
    name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
    return name, {word for word in words if word.startswith("--")}


def test_make_commands_are_the_makefiles() -> None:
    named = [_names(row[0])[0].split() for row in _table(PAGES["docs/contributing.md"], "command")]
    assert {words[1] for words in named if words[0] == "make" and len(words) == 2} == TARGETS
    assert {words[1] for words in named} == TARGETS
    assert {name for line in CODE_LINES for name in re.findall(r"^make ([a-z]+)", line)} <= TARGETS


def test_make_alone_lists_the_commands_and_every_target_is_phony() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == TARGETS
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z]+)", listed, re.MULTILINE)) == TARGETS


def test_ci_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    called = re.findall(r"^make ([a-z]+)$", script, re.MULTILINE)
    assert called == ["check", "test"]
    assert "CI is `.ci/run`: `make check` and `make test`." in README


def test_make_check_builds_the_docs_and_fails_on_a_warning() -> None:
    recipes = dict(re.findall(r"^([a-z]+):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
    assert "$(MAKE) --no-print-directory docs" in recipes["check"]
    assert "sphinx-build --fail-on-warning --keep-going --nitpicky" in recipes["docs"]


def test_readme_is_short_and_its_links_and_pictures_exist() -> None:
    assert len(README.splitlines()) <= 110
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert {link for link in links if not (ROOT / link).exists()} == set()
    assert {page for page in PAGES if page.startswith("docs/guides/")} <= set(links)
    assert (ROOT / "docs/images/lineage.png").stat().st_size < 400_000


def test_cippus_commands_are_the_commands(commands: Mapping[str, Any]) -> None:
    """The generated page has every command, its help and its options."""
    sections = re.split(r"^## cippus ", GENERATED["commands"], flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == list(commands)
    group = cast("TyperGroup", get_command(app))
    assert {name.split()[0] for name in commands} == set(group.list_commands(group.context_class(group)))
    for section, command in zip(sections, commands.values(), strict=True):
        assert command.help in section
        table = _table(section, "argument or option") if command.params else []
        listed = {name for row in table for name in _names(row[0])}
        assert {name for name in listed if name.startswith("--")} == _opts(command) - {"--help"} - {
            name for option in command.params if option.param_type_name == "argument" for name in option.opts
        }
        assert all(row[2] for row in table), command.name


def test_every_command_is_named_in_a_page(commands: Mapping[str, Any]) -> None:
    called = [_words(line, commands) for line in [*_names(PROSE), *CODE_LINES]]
    assert {found[0] for found in called if found} == set(commands)


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
    rows = _table(GENERATED["assets"], "group")
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
    files = list(dict.fromkeys(_names(row[3])[0] for row in _table(GENERATED["assets"], "group")))
    assert files == [module.__name__.replace(".", "/") + ".py" for module in STAGES]


def test_every_asset_has_its_description_columns_and_checks() -> None:
    graph = defs.resolve_asset_graph()
    sections = {part.partition("\n")[0]: part for part in re.split(r"^##+ ", GENERATED["assets"], flags=re.MULTILINE)}
    columns = {
        **{spec.name: spec.schema.names for spec in TABLES},
        **{f"rds/{name}": table.schema.names for name, table in SOURCE_TABLES.items()},
        **{f"raw/{name}": [*table.schema.names, "account_bucket"] for name, table in SOURCE_TABLES.items()},
    }
    for key in graph.get_all_asset_keys():
        name = key.to_user_string()
        section = sections[name]
        assert reference.plain(graph.get(key).description or "") in section, name
        assert columns.get(name, []) == [
            _names(row[0])[0] for row in (_table(section, "column") if name in columns else [])
        ], name
        checks = {found.name for found in graph.asset_check_keys if found.asset_key == key}
        rows = _table(section, "check") if checks else []
        assert {_names(row[0])[0] for row in rows} == checks, name
        assert all(row[1] for row in rows), name


def test_variables_are_the_declared_ones() -> None:
    rows = _table(GENERATED["configuration"], "variable")
    assert [_names(row[0])[0] for row in rows] == [variable.name for variable in variables()]
    for found, row in zip(variables(), rows, strict=True):
        shown = [cell.strip() for cell in row[1:]]
        assert shown == [reference.plain(found.default), reference.plain(found.description)], found.name
        assert len(found.description) > 5, found.name


def test_verticals_are_the_catalogues() -> None:
    listed = [_names(row[0])[0] for row in _table(GENERATED["verticals"], "name")]
    assert listed == [vertical.name for vertical in load_verticals()]


def test_columns_are_the_source_schemas() -> None:
    expected = {f"{name}.parquet": table.schema.names for name, table in SOURCE_TABLES.items()}
    expected["labels.parquet"] = LABELS_SCHEMA.names
    table = _table(PAGES["docs/own-data.md"], "file")
    assert {_names(file)[0]: _names(columns) for file, columns in table} == expected
    sections = re.split(r"^## ", GENERATED["source"], flags=re.MULTILINE)[1:]
    generated = {part.partition("\n")[0]: [_names(row[0])[0] for row in _table(part, "column")] for part in sections}
    assert {f"{name}.parquet": names for name, names in generated.items()} == expected


def test_policies_are_the_source_tables() -> None:
    listed = {_names(row[0])[0]: row[1] for row in _table(PAGES["docs/own-data.md"], "table")}
    assert listed == {name: table.policy for name, table in SOURCE_TABLES.items()}


def test_reasons_are_the_corpus() -> None:
    [sentence] = re.findall(r"has its reason in `corpus/decisions`:(.*?)\. ", PAGES["docs/own-data.md"], re.DOTALL)
    assert _names(sentence) == list(Dropped)


def test_every_name_in_code_font_exists(commands: Mapping[str, Any]) -> None:
    assets, checks = _assets(), _checks()
    known = {
        *FOREIGN_NAMES,
        *(variable.name for variable in variables()),
        *(name for command in commands.values() for name in _opts(command)),
        *re.findall(r'"(--[a-z]+)"', (ROOT / "tests" / "benchmarks" / "__main__.py").read_text()),
        *assets,
        *(f"{group}/*" for group in assets),
        *(key for keys in assets.values() for key in keys),
        *(name for names in checks.values() for name in names),
        *(column for table in SOURCE_TABLES.values() for column in table.schema.names),
        "account_bucket",
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
        *CODE_NAMES,
        *s3_metadata(Usage([PrefixUsage("bucket", "prefix", "read", 1, 1, 0, 0, 0, 0, 0.0, 500.0)])),
    }
    unknown = set()
    for page, text in PAGES.items():
        for name in _names(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            make = re.fullmatch(r"make ([a-z]+)(?: (?:ARGS|PYTHON|NAME)=.*)?", name)
            cippus = _words(name, commands)
            if make:
                assert make.group(1) in TARGETS
            elif cippus:
                assert cippus[0] in commands
            elif name not in known and not (ROOT / name).exists():
                unknown.add(f"{page} names {name}, which does not exist.")
    assert unknown == set()


def test_foreign_and_code_names_are_named() -> None:
    assert set(_names(PROSE)) >= FOREIGN_NAMES | set(CODE_NAMES)
    for name, module in CODE_NAMES.items():
        assert hasattr(importlib.import_module(module), name), name


def test_command_examples_are_valid(commands: Mapping[str, Any]) -> None:
    for line in [*_names(PROSE), *CODE_LINES]:
        if called := _words(line, commands):
            assert called[1] <= _opts(commands[called[0]]), line


def test_benches_are_listed() -> None:
    named = [_names(row[0])[0].split() for row in _table(PAGES["docs/contributing.md"], "command")]
    benches = {word.removeprefix("NAME=") for words in named for word in words if word.startswith("NAME=")}
    assert benches == set(BENCHES)
    everywhere = set(re.findall(r"make bench NAME=([a-z]+)", "\n".join(PAGES.values())))
    assert everywhere == set(BENCHES)


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
    listed = [_names(row[0])[0] for row in _table(PAGES["docs/production.md"], "name")]
    named = {schedule.name for schedule in defs.schedules or []} | {sensor.name for sensor in defs.sensors or []}
    assert set(listed) == named


def test_reference_is_written_without_network_and_secrets(tmp_path: Path) -> None:
    code = (
        "import socket, sys, warnings; warnings.simplefilter('ignore')\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from pathlib import Path\n"
        "from docs import reference\n"
        "reference.write(Path(sys.argv[1]))\n"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CIPPUS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code, str(tmp_path / "reference")]
    subprocess.run(command, env=environ, cwd=ROOT, check=True)
    written = {path.stem: path.read_text() for path in (tmp_path / "reference").iterdir()}
    assert written == GENERATED
    assert not (tmp_path / "home").exists()
