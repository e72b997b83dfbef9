"""The generated reference pages are complete: commands, stages, assets, variables, verticals, source tables."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

from typer.core import TyperGroup
from typer.main import get_command

from assets.marts.tables import MARTS
from assets.stages import STAGES, TABLES
from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from docs import reference
from pipelines.cli.main import app
from pipelines.definitions import defs
from resources.catalogues import load_verticals
from resources.settings import variables
from tests.docs.definitions import assets_by_group, checks_by_group, commands, option_names, reads_by_group
from tests.docs.texts import ROOT, names, table_rows

GENERATED = reference.pages()
GRAPH = defs.resolve_asset_graph()


def test_cippus_commands_are_the_commands() -> None:
    """The generated page has every command, its help and its options."""
    sections = re.split(r"^## cippus ", GENERATED["commands"], flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == list(commands())
    group = cast("TyperGroup", get_command(app))
    assert {name.split()[0] for name in commands()} == set(group.list_commands(group.context_class(group)))
    for section, command in zip(sections, commands().values(), strict=True):
        assert reference.plain(command.help) in section
        table = table_rows(section, "argument or option") if command.params else []
        listed = {name for row in table for name in names(row[0])}
        assert {name for name in listed if name.startswith("--")} == option_names(command) - {"--help"} - {
            name for option in command.params if option.param_type_name == "argument" for name in option.opts
        }
        assert all(row[2] for row in table), command.name


def test_stage_table_is_the_definitions() -> None:
    rows = table_rows(GENERATED["assets"], "group")
    groups = [names(row[0])[0] for row in rows]
    files = {module.__name__.replace(".", "/") + ".py" for module in STAGES}
    assert sorted(groups) == sorted(assets_by_group())
    for group, (_, reads, writes, file, checks) in zip(groups, rows, strict=True):
        assert set(names(reads)) == reads_by_group()[group], group
        assert set(names(writes)) == assets_by_group()[group], group
        assert set(names(checks)) == checks_by_group()[group], group
        [path] = names(file)
        assert path in files
        assert f"{group}/*" in (ROOT / path).read_text().partition("\n")[0], path
    assert {names(row[3])[0] for row in rows} == files


def test_stage_table_is_in_the_order_of_the_definitions() -> None:
    files = list(dict.fromkeys(names(row[3])[0] for row in table_rows(GENERATED["assets"], "group")))
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
            names(row[0])[0] for row in (table_rows(section, "column") if name in columns else [])
        ], name
        checks = {found.name for found in graph.asset_check_keys if found.asset_key == key}
        rows = table_rows(section, "check") if checks else []
        assert {names(row[0])[0] for row in rows} == checks, name
        assert all(row[1] for row in rows), name


def test_the_lineage_of_each_column_is_drawn() -> None:
    sections = {part.partition("\n")[0]: part for part in re.split(r"^##+ ", GENERATED["assets"], flags=re.MULTILINE)}
    for key in GRAPH.get_all_asset_keys():
        lineage = GRAPH.get(key).metadata.get("dagster/column_lineage")
        drawing = re.search(r"<svg.*</svg>", sections[key.to_user_string()])
        assert (drawing is None) == (lineage is None), key
        if drawing and lineage:
            texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing[0])
            sources = {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for deps in lineage.deps_by_column.values()
                       for dep in deps}  # fmt: skip
            assert sorted(texts) == sorted([*sources, *lineage.deps_by_column]), key
            assert drawing[0].count("<path") == sum(map(len, lineage.deps_by_column.values())), key


def test_variables_are_the_declared_ones() -> None:
    rows = table_rows(GENERATED["configuration"], "variable")
    assert [names(row[0])[0] for row in rows] == [variable.name for variable in variables()]
    for (name, meaning, default), row in zip(variables(), rows, strict=True):
        assert [cell.strip() for cell in row[1:]] == [reference.plain(default), reference.plain(meaning)], name
        assert len(meaning) > 5, name


def test_verticals_are_the_catalogues() -> None:
    listed = [names(row[0])[0] for row in table_rows(GENERATED["verticals"], "name")]
    assert listed == [vertical.name for vertical in load_verticals()]


def test_columns_are_the_source_schemas() -> None:
    expected = {name: table.schema.names for name, table in SOURCE_TABLES.items()} | {"labels": LABELS_SCHEMA.names}
    sections = re.split(r"^## ", GENERATED["source"], flags=re.MULTILINE)[1:]
    assert {
        part.partition("\n")[0]: [names(row[0])[0] for row in table_rows(part, "column")] for part in sections
    } == expected


def test_unchanged_reference_pages_are_left_alone(tmp_path: Path) -> None:
    reference.write(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    changed = tmp_path / "source.md"
    changed.write_text("old")
    reference.write(tmp_path)
    assert changed.read_text() == GENERATED["source"]
    assert {path for path, time in written.items() if path.stat().st_mtime_ns != time} == {changed}


def test_descriptions_are_shown_as_they_are() -> None:
    assert reference.plain("raw/* of list<item>, `a*b`") == r"raw/\* of list\<item>, `a*b`"
    assert reference.plain("[a](b)") == r"\[a](b)"


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


def test_every_column_of_a_mart_is_defined_once_in_the_same_words() -> None:
    """The page of metrics has each column of each mart, and its words are those of the column's description."""
    sections = re.split(r"^## ", GENERATED["metrics"], flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == [spec.name for spec in MARTS]
    for spec, section in zip(MARTS, sections, strict=True):
        rows = table_rows(section, "column")
        assert [names(row[0])[0] for row in rows] == spec.schema.names
        for (name, column), row in zip(spec.columns.items(), rows, strict=True):
            words = [cell.strip() for cell in row[1:]]
            assert words[0], name
            assert words[3], f"{name} does not say what null means"
            shown = reference.plain(column.description).replace("|", "\\|")
            assert all(word in shown for word in words), name


def test_marts_have_as_of_and_internal_columns_last() -> None:
    for spec in MARTS:
        last = [name for name in spec.schema.names if name != "account_bucket"][-1]
        assert last == "as_of", spec.name
        assert "account_bucket" not in spec.schema.names[:-1], spec.name
