"""Print the JSON of `cippus checks --json` as Markdown, for the summary of a CI job."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return a line of counts, and a table of the checks that failed or were not evaluated."""
    failed = [one for one in found["checks"] if not one["passed"]]
    rows = [(f"{one['asset']}: {one['check']}", one["severity"], one["description"]) for one in failed]
    rows += [(name, "not evaluated", reason) for name, reason in found["broken"].items()]
    passed = len(found["checks"]) - len(failed)
    counts = f"{passed} passed, {len(failed)} failed, {len(found['broken'])} not evaluated"
    table = [
        "| check | result | what was found |",
        "|---|---|---|",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
    ]
    return "\n".join(["## Checks", "", counts, "", *(table if rows else [])])


def _cell(text: str) -> str:
    """Return a text of data as one cell, in which nothing is markup."""
    return "".join(f"&#{ord(each)};" if each in "|<>&`*_[]\\" else each for each in " ".join(text.split()))


if __name__ == "__main__":
    sys.stdout.write(as_markdown(json.loads(Path(sys.argv[1]).read_text())) + "\n")
