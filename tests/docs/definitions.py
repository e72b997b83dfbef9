"""What the definitions and the command line have, to compare with what the documentation says."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

from dagster import AssetKey
from typer.core import TyperGroup
from typer.main import get_command

from docs import reference
from pipelines.cli.main import app
from pipelines.definitions import defs


def commands() -> Mapping[str, Any]:
    """Return the words behind `cippus` → the command."""
    tree = reference.command_tree(cast("TyperGroup", get_command(app)))
    return {words.removeprefix("cippus "): command for words, command in tree}


def group_of(key: AssetKey) -> str:
    return key.path[0]


def assets_by_group() -> dict[str, set[str]]:
    """Group → its asset keys."""
    found = defaultdict(set)
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        found[group_of(key)].add(key.to_user_string())
    return found


def reads_by_group() -> dict[str, set[str]]:
    """Group → the other groups that it reads."""
    graph = defs.resolve_asset_graph()
    found: dict[str, set[str]] = defaultdict(set)
    for key in graph.get_all_asset_keys():
        found[group_of(key)] |= {group_of(parent) for parent in graph.get(key).parent_keys} - {group_of(key)}
    return found


def checks_by_group() -> dict[str, set[str]]:
    """Group → the names of its checks."""
    found = defaultdict(set)
    for key in defs.resolve_asset_graph().asset_check_keys:
        found[group_of(key.asset_key)].add(key.name)
    return found


def reachable(reads: Mapping[str, set[str]]) -> dict[str, set[str]]:
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


def option_names(command: Any) -> set[str]:
    return {name for option in command.params for name in option.opts}


def called_command(line: str, commands: Mapping[str, Any]) -> tuple[str, set[str]] | None:
    """The command that a line calls and the options that it gives, or None when it calls no `cippus`."""
    called = re.fullmatch(r"(?:CIPPUS_ENV=\w+ )?(?:\.venv/bin/)?cippus ([a-z0-9].*)", line.partition(" #")[0].strip())
    if called is None:
        return None
    words = called[1].split()
    name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
    return name, {word for word in words if word.startswith("--")}
