"""The entry point of the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.__main__ import keep_others_from_writing

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("given", "mode"), [(0o000, 0o644), (0o002, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_nobody_else_may_write_to_what_a_command_makes(tmp_path: Path, given: int, mode: int) -> None:
    before = os.umask(given)
    try:
        keep_others_from_writing()
        (tmp_path / "new").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize("stream", ["out", "err"])
def test_output_may_have_characters_that_its_encoding_lacks(encoding: str, stream: str) -> None:
    script = (
        "from pipelines.cli.__main__ import write_any_text; write_any_text(); "
        f"from pipelines.cli.terminal import {stream}; {stream}.print('“é” \\ud800 !')"
    )
    variables = {**os.environ, "PYTHONIOENCODING": encoding}
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, check=True)
    printed = (found.stdout + found.stderr).decode(encoding)
    assert printed.endswith("!\n")
    assert ("é" in printed) == (encoding != "ascii")


def test_a_closed_stream_is_no_error() -> None:
    script = "from pipelines.cli.__main__ import write_any_text; write_any_text()"
    command = f'"$0" -c "{script}" >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", command, sys.executable], cwd=ROOT, check=True)
