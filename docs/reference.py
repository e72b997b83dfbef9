"""Write the reference pages from the code: configuration, commands, assets. Needs no network and no secret."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pyarrow as pa
from dagster import AssetChecksDefinition, AssetCheckSpec, AssetKey
from typer.core import TyperGroup
from typer.main import get_command

from assets.marts.columns import Metric
from assets.marts.tables import MARTS
from assets.stages import STAGES
from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from docs.column_lineage import drawn
from pipelines.cli.main import app
from pipelines.definitions import defs
from resources.catalogues import load_verticals
from resources.delta.table import Column
from resources.settings import variables

ROOT = Path(__file__).parents[1]
_GRAPH = defs.resolve_asset_graph()


def write(folder: Path) -> None:
    """Write every reference page into a folder. Leave a page untouched when its text is unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def pages() -> Mapping[str, str]:
    """Return page name → its Markdown."""
    return {
        "configuration": configuration(),
        "commands": commands(cast("TyperGroup", get_command(app))),
        "assets": assets(),
        "source": source_tables(),
        "verticals": verticals(),
        "metrics": metrics(),
    }


def configuration() -> str:
    """Return the page of all environment variables."""
    rows = [(f"`{found.name}`", plain(found.default), plain(found.description)) for found in variables()]
    intro = "Cippus reads these environment variables and no other. An unset variable has its default."
    return _page("Configuration", intro, _table(("variable", "default", "meaning"), rows))


def commands(group: TyperGroup) -> str:
    """Return the page of all commands, with their arguments and options."""
    sections = [_command(words, command) for words, command in command_tree(group)]
    return _page("Commands", "`make setup` installs the command at `.venv/bin/cippus`.", *sections)


def command_tree(group: TyperGroup, prefix: str = "cippus") -> Iterator[tuple[str, Any]]:
    """Yield the words of every command and the command; the subcommands of a group in its place."""
    context = group.context_class(group, info_name=prefix)
    for name in group.list_commands(context):
        command: Any = group.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from command_tree(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _command(words: str, command: Any) -> str:
    rows = [
        (" ".join(f"`{name}`" for name in _names(parameter)), _default(parameter), plain(parameter.help or ""))
        for parameter in command.params
        if not getattr(parameter, "hidden", False) and parameter.name != "help"
    ]
    table = [_table(("argument or option", "default", "meaning"), rows)] if rows else []
    return "\n\n".join([f"## {words}", plain(command.help), *table])


def _names(parameter: Any) -> list[str]:
    return [parameter.name.upper()] if parameter.param_type_name == "argument" else [*parameter.opts]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = getattr(parameter.default, "value", parameter.default)
    return "" if default in (None, "", False) else f"`{default}`"


def assets() -> str:
    """Return the page of all stages and their assets, with descriptions, columns and checks."""
    checks = _checks()
    sections = [_stage(group, checks) for group in stage_modules()]
    intro = (
        "A stage is one asset group, one key prefix and one folder of the lake. The order is that of the lineage. "
        "Personal data is an `id` of an account or its item, a `name`, a `text`, or an `attribute` of a person. "
        "The asset and the column have it as the tag `cippus/personal_data`."
    )
    return _page("Assets", intro, "## Stages", stage_table(), *sections)


def stage_modules() -> dict[str, ModuleType]:
    """Return asset group → the module that defines it, in lineage order."""
    return {key.path[0]: stage for stage in STAGES for definition in stage.ASSETS for key in _keys(definition)}


def stage_table() -> str:
    """Return the table of stages: what each reads and writes, its module, its checks."""
    rows = []
    for group, module in stage_modules().items():
        keys = _group_keys(group)
        parents = {parent.path[0] for key in keys for parent in _GRAPH.get(key).parent_keys} - {group}
        checks = {key.name for key in _GRAPH.asset_check_keys if key.asset_key in keys}
        writes = [key.to_user_string() for key in keys]
        path = Path(str(module.__file__)).relative_to(ROOT).as_posix()
        rows.append((f"`{group}`", _code(sorted(parents)), _code(writes), f"`{path}`", _code(sorted(checks))))
    return _table(("group", "reads", "writes", "module", "checks"), rows)


def _stage(group: str, checks: Mapping[AssetKey, Sequence[AssetCheckSpec]]) -> str:
    return "\n\n".join([f"## {group}", *(_asset(key, checks.get(key, [])) for key in _group_keys(group))])


def _asset(key: AssetKey, checks: Sequence[AssetCheckSpec]) -> str:
    node, name = _GRAPH.get(key), key.to_user_string()
    reads = _code(sorted(parent.to_user_string() for parent in node.parent_keys)) or "nothing"
    parts = [f"### {name}", plain(node.description or ""), f"Reads {reads}. Owned by {', '.join(node.owners)}."]
    parts += _described_columns(node.metadata)
    if checks:
        rows = [(f"`{check.name}`", plain(check.description or "")) for check in checks]
        parts.append(_table(("check", "meaning"), rows))
    return "\n\n".join(parts)


def _described_columns(metadata: Mapping[str, Any]) -> list[str]:
    """Return the table of an asset's columns and the drawing of their lineage, as far as the asset has them."""
    schema, lineage = metadata.get("dagster/column_schema"), metadata.get("dagster/column_lineage")
    if schema is None:
        return []
    rows = [
        (f"`{column.name}`", f"`{column.type}`", plain(column.description or ""), ", ".join(column.tags.values()))
        for column in schema.columns
    ]
    table = _table(("column", "type", "meaning", "personal data"), rows)
    return [table, *(["Columns and what they are computed from:", drawn(lineage)] if lineage else [])]


def source_tables() -> str:
    """Return the page of the tables that Cippus reads: columns, types, key, policy."""
    sections = []
    for name, table in SOURCE_TABLES.items():
        needed = _code(table.required)
        about = f"Key: `{table.key}`. Policy when the columns differ: {table.policy}. Never null: {needed}."
        sections.append("\n\n".join([f"## {name}", about, _columns(table.schema)]))
    sections.append("\n\n".join(["## labels", _columns(LABELS_SCHEMA)]))
    intro = (
        "Cippus reads these tables from the source database. `cippus load` reads the same columns from Parquet files."
    )
    return _page("Source tables", intro, *sections)


def verticals() -> str:
    """Return the page of all verticals."""
    rows = [
        (f"`{found.name}`", found.title, f"{found.default_threshold:g}", " ".join(found.descriptions))
        for found in load_verticals()
    ]
    intro = "Posts and accounts are tagged with these verticals. Edit them in `resources/catalogues/verticals.yaml`."
    return _page("Verticals", intro, _table(("name", "title", "default threshold", "descriptions"), rows))


def metrics() -> str:
    """Return the page that defines every column of every mart, in the words of the columns' descriptions."""
    sections = []
    for spec in MARTS:
        rows = [(f"`{name}`", *map(plain, _words(column))) for name, column in spec.columns.items()]
        node = _GRAPH.get(AssetKey(spec.name.split("/")))
        table = _table(("column", "meaning", "formula", "unit", "null means"), rows)
        sections.append("\n\n".join([f"## {spec.name}", plain(node.description or ""), table]))
    intro = (
        "Every column of every mart. Null is never 0: it means what the last column says. A post is live if neither it "
        "nor its account is deleted, and marts count live posts only. Counts that were never measured, negative "
        "counts, impossible dates and sums beyond 64 bits are null and are listed in `mart/data_quality`. Windows of "
        "days end at `as_of`, not at the time of the run. Times are in UTC."
    )
    return _page("Metrics", intro, *sections)


def _words(column: Column) -> tuple[str, str, str, str]:
    assert isinstance(column, Metric), column  # noqa: S101 -- every column of a mart is one
    return column.meaning, column.formula, column.unit, column.null


def plain(text: str) -> str:
    """Return a description as Markdown that shows its characters as they are; code spans stay code."""
    words = text.split("`")
    return "`".join(
        re.sub(r"([*<\\\[])", r"\\\1", word) if number % 2 == 0 else word for number, word in enumerate(words)
    )


def _columns(schema: pa.Schema) -> str:
    return _table(("column", "type"), [(f"`{field.name}`", f"`{field.type}`") for field in schema])


def _keys(definition: Any) -> Iterator[AssetKey]:
    yield from definition.keys if hasattr(definition, "keys") else [definition.key]


def _group_keys(group: str) -> list[AssetKey]:
    keys = [key for definition in stage_modules()[group].ASSETS for key in _keys(definition)]
    return [key for key in keys if key.path[0] == group]


def _checks() -> dict[AssetKey, list[AssetCheckSpec]]:
    found: dict[AssetKey, list[AssetCheckSpec]] = {}
    for definition in defs.asset_checks or []:
        for spec in cast("AssetChecksDefinition", definition).check_specs:
            found.setdefault(spec.asset_key, []).append(spec)
    return found


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts]) + "\n"
