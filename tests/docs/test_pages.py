"""README and docs: every command, path, variable, asset or check that they name exists."""

import importlib
import re
from collections import defaultdict
from dataclasses import fields
from itertools import pairwise

from assets.audience import LANDING as AUDIENCE_LANDING
from assets.framework.reporting import s3_metadata
from assets.labels.issues import SHEET
from assets.labels.votes import LANDING
from assets.raw.windows import RawConfig
from assets.stages import TABLES
from assets.transforms.search.attributes import AboutAccount
from assets.transforms.search.names import NameMatch
from assets.transforms.search.ranking import Evidence, RankedAccount
from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from assets.transforms.text.corpus import Dropped
from assets.verticals.taggers import current_methods
from pipelines.definitions import defs
from resources.catalogues import load_verticals
from resources.s3.usage import PrefixUsage, Usage
from resources.settings import variables
from resources.sources.redshift import STAGING
from resources.vectors.generations import PREVIOUS, SERVING, Generation, IndexConfig
from tests.benchmarks.command import BENCHES
from tests.docs.definitions import (
    assets_by_group,
    called_command,
    checks_by_group,
    commands,
    option_names,
    reachable,
    reads_by_group,
)
from tests.docs.texts import README, ROOT, TARGETS, names, table_rows

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not {"reference", "_build"} & {*path.relative_to(ROOT).parts}
}
"""Path → text of every page that a person wrote."""
PROSE = re.sub(r"```.*?```", "", "\n".join(PAGES.values()), flags=re.DOTALL)
COMMANDS = commands()
CODE_LINES = re.findall(r"^    (\S.*)$", PROSE, re.MULTILINE)

FOREIGN_NAMES = {
    ".venv/bin/python -m tests.pipelines.test_definitions", "create_collection", "reference/",
    ".cippus", ".venv", ".venv/bin/cippus", ".venv/bin/pre-commit install", "If-None-Match", "pg_monitor",
    "erasure/", "erasure/lifted/", "left_in", "not_searched",
    "pg_read_all_stats", "public", "_SUCCESS", "post", "account", "ledger/", "quicksight/",
    "docs/_build/html", "docs/reference/", "now()", "ARGS=--json", 'ARGS="-k words"', "cippus --help",
    "QDRANT_BINARY", "TRINO_HOME", "TRINO_JAVA",
    "dense", "bm25", "hybrid", "dagster-k8s/config", "dg dev", "dg check defs", "dg list defs", "dagster.yaml",
}  # fmt: skip
"""Names in code font that no code of this project defines."""
CODE_NAMES = {
    "SourceTable": "assets.transforms.source.schema",
    "SOURCE_TABLES": "assets.transforms.source.schema",
    "LAKE_TABLES": "assets.lake",
    "TableSpec": "resources.delta.table",
    "STAGES": "assets.stages",
    "ASSETS": "assets.lake.merging",
    "WRITTEN": "assets.stages",
    "Stage": "assets.framework.incremental",
    "refresh_table": "assets.framework.incremental",
    "RunMetrics": "assets.framework.incremental",
    "SCHEMAS": "pipelines.samples.creators",
    "FIELD_KINDS": "resources.erasure.tombstones",
    "KIND_COLUMNS": "resources.erasure.tombstones",
    "FREE_TEXT": "resources.erasure.terms",
    "FIRST_STAGES": "pipelines.automation.sensors.buckets",
    "WATCHED": "pipelines.automation.sensors.buckets",
    "ACROSS_BUCKETS": "pipelines.jobs.asset_jobs",
    "AUDIENCE": "pipelines.jobs.asset_jobs",
    "POLICIES": "pipelines.automation.freshness",
    "QuarantineResource": "resources.raw.quarantine",
    "RETRY": "resources.vectors.server.calls",
    "open_search": "assets.search.query",
}
"""Identifier that a page names → its module."""


def test_make_commands_are_the_makefiles() -> None:
    named = [names(row[0])[0].split() for row in table_rows(PAGES["docs/contributing.md"], "command")]
    assert {words[1] for words in named if words[0] == "make" and len(words) == 2} == TARGETS
    assert {words[1] for words in named} == TARGETS
    assert {name for line in CODE_LINES for name in re.findall(r"^make ([a-z-]+)", line)} <= TARGETS


def test_readme_is_short_and_its_links_and_pictures_exist() -> None:
    assert len(README.splitlines()) <= 110
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert {link for link in links if not (ROOT / link).exists()} == set()
    assert {page for page in PAGES if page.startswith("docs/guides/")} <= set(links)
    assert (ROOT / "docs/images/lineage.png").stat().st_size < 400_000


def test_every_command_is_named_in_a_page() -> None:
    called = [called_command(line, COMMANDS) for line in [*names(PROSE), *CODE_LINES]]
    assert {found[0] for found in called if found} == set(COMMANDS)


def test_picture_has_the_groups_and_their_dependencies() -> None:
    [picture] = re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL)
    drawn: dict[str, set[str]] = defaultdict(set)
    for line in picture.splitlines()[1:]:
        nodes = re.split("-->", re.sub(r"\[\(\w+\)\]", "", line))
        chain = [node.strip() for node in nodes]
        for before, after in pairwise(chain):
            drawn[after].add(before)
            drawn.setdefault(before, set())
    reads = {group: reads_by_group()[group] for group in assets_by_group()}
    assert set(drawn) == set(reads)
    assert all(drawn[group] <= reads[group] for group in reads)
    assert reachable(drawn) == reachable(reads)


def test_columns_are_the_source_schemas() -> None:
    expected = {f"{name}.parquet": table.schema.names for name, table in SOURCE_TABLES.items()}
    expected["labels.parquet"] = LABELS_SCHEMA.names
    table = table_rows(PAGES["docs/own-data.md"], "file")
    assert {names(file)[0]: names(columns) for file, columns in table} == expected


def test_policies_are_the_source_tables() -> None:
    listed = {names(row[0])[0]: row[1] for row in table_rows(PAGES["docs/own-data.md"], "table")}
    assert listed == {name: table.policy for name, table in SOURCE_TABLES.items()}


def test_reasons_are_the_corpus() -> None:
    [sentence] = re.findall(r"has its reason in `corpus/decisions`:(.*?)\. ", PAGES["docs/own-data.md"], re.DOTALL)
    assert names(sentence) == list(Dropped)


def test_every_name_in_code_font_exists() -> None:
    assets, checks = assets_by_group(), checks_by_group()
    known = {
        *FOREIGN_NAMES,
        *(variable.name for variable in variables()),
        *(name for command in COMMANDS.values() for name in option_names(command)),
        *re.findall(r'"(--[a-z]+)"', (ROOT / "tests" / "benchmarks" / "command.py").read_text()),
        *assets,
        *(f"{group}/*" for group in assets),
        *(key for keys in assets.values() for key in keys),
        *(name for names in checks.values() for name in names),
        *(column for table in SOURCE_TABLES.values() for column in table.schema.names),
        *(column for table in TABLES for column in table.schema.names),
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
        SHEET,
        AUDIENCE_LANDING,
        *current_methods(),
        *CODE_NAMES,
        *(field.name for kind in (RankedAccount, AboutAccount, Evidence, NameMatch) for field in fields(kind)),
        *s3_metadata(Usage([PrefixUsage("bucket", "prefix", "read", 1, 1, 0, 0, 0, 0, 0.0, 500.0)])),
    }
    unknown = set()
    for page, text in PAGES.items():
        for name in names(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            make = re.fullmatch(r"make ([a-z-]+)(?: (?:ARGS|PYTHON|NAME)=.*)?", name)
            cippus = called_command(name, COMMANDS)
            if make:
                assert make.group(1) in TARGETS
            elif cippus:
                assert cippus[0] in COMMANDS
            elif name not in known and not (ROOT / name).exists():
                unknown.add(f"{page} names {name}, which does not exist.")
    assert unknown == set()


def test_foreign_and_code_names_are_named() -> None:
    assert set(names(PROSE)) >= FOREIGN_NAMES | set(CODE_NAMES)
    for name, module in CODE_NAMES.items():
        assert hasattr(importlib.import_module(module), name), name


def test_command_examples_are_valid() -> None:
    for line in [*names(PROSE), *CODE_LINES]:
        if called := called_command(line, COMMANDS):
            assert called[1] <= option_names(COMMANDS[called[0]]), line


def test_benches_are_listed() -> None:
    named = [names(row[0])[0].split() for row in table_rows(PAGES["docs/contributing.md"], "command")]
    benches = {word.removeprefix("NAME=") for words in named for word in words if word.startswith("NAME=")}
    assert benches == set(BENCHES)
    everywhere = set(re.findall(r"make bench NAME=([a-z]+)", "\n".join(PAGES.values())))
    assert everywhere == set(BENCHES)


def test_everything_that_runs_by_itself_is_said() -> None:
    listed = [names(row[0])[0] for row in table_rows(PAGES["docs/production.md"], "name")]
    named = {schedule.name for schedule in defs.schedules or []} | {sensor.name for sensor in defs.sensors or []}
    assert set(listed) == named
