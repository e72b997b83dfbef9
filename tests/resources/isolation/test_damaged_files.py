"""Fifty damaged files of each format: read, or refused with one sentence, and never the end of this process."""

from pathlib import Path

import pytest

from tests.worlds.damaged_files import FORMATS, fuzz


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    for body in FORMATS[name].originals:
        FORMATS[name].read(body, tmp_path)
    found = fuzz(name, range(50), tmp_path)
    assert found["read"] + found["refused"] == 50
    assert all(reason and "\n" not in reason and len(reason) < 600 for reason in found["reasons"])
