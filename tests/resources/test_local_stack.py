"""Where the embedded stack is: a home closed to others, and the file that says how to reach it."""

import json
import stat
from pathlib import Path

import pytest

from resources.errors import InputError
from resources.local_stack import EmbeddedStack, private_home


def test_a_home_is_closed_to_others_and_a_shared_folder_is_refused(tmp_path: Path) -> None:
    assert stat.S_IMODE(private_home(tmp_path / "a" / "new").stat().st_mode) == 0o700
    (tmp_path / "old").mkdir(mode=0o755)
    assert stat.S_IMODE(private_home(tmp_path / "old").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    with pytest.raises(InputError, match="which all users of this machine share: name a folder of its own"):
        private_home(tmp_path / "shared")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o1777


def test_the_stack_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = EmbeddedStack("postgresql://u:p@127.0.0.1:1/d", "http://127.0.0.1:2", "key", "secret")
    written.write(tmp_path / "stack.json")
    assert EmbeddedStack.read(tmp_path / "stack.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]
    assert json.loads((tmp_path / "stack.json").read_text())["s3_region"] == "us-east-1"
