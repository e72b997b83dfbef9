"""The embedded stack has room for its files, or says that it has not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.local.open_files import LEAST

RAISED = """
import resource
from pipelines.local.open_files import require_open_files
require_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limited(home: Path, soft: int, hard: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["/bin/sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$0" "$@"', sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CIPPUS_HOME": str(home)}
    )


@pytest.mark.parametrize("arguments", [("up",), ("demo", "--accounts", "1")])
def test_too_few_files_are_one_sentence_and_nothing_is_started(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = limited(tmp_path / "home", 100, 100, "-m", "pipelines.cli", *arguments)
    expected = "cippus: This shell allows 100 open files, and Cippus needs 1024: raise its hard limit (`ulimit -Hn`).\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert not (tmp_path / "home" / "stack.json").exists()


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    done = limited(tmp_path, 100, 4 * LEAST, "-c", RAISED)
    assert (done.stderr, done.stdout) == ("", f"{LEAST}\n")
