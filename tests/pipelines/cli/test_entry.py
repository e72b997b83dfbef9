"""The entry point of the command."""

import os
from pathlib import Path

import pytest

from pipelines.cli.__main__ import keep_others_from_writing


@pytest.mark.parametrize(("given", "mode"), [(0o000, 0o644), (0o002, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_nobody_else_may_write_to_what_a_command_makes(tmp_path: Path, given: int, mode: int) -> None:
    before = os.umask(given)
    try:
        keep_others_from_writing()
        (tmp_path / "new").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode
