"""A home before its first stack: left alone, named in errors, started once by two commands."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.local import stack as embedded
from resources.local_stack import EmbeddedStack, StackNotUpError


@pytest.mark.parametrize("act", [embedded.down, embedded.wipe, embedded.status])
def test_a_home_without_a_stack_is_left_alone(act, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    home = tmp_path / "none"
    act(home)
    assert not home.exists()


def test_revive_without_a_stack_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackNotUpError) as raised:
        embedded.revive(tmp_path)
    assert str(raised.value) == f"The embedded stack of {tmp_path} is not up: start it with `cippus up`."


def test_two_ups_at_once_start_one_stack_beside_an_unfinished_one(tmp_path: Path) -> None:
    (tmp_path / "postgres.unfinished").mkdir()
    (tmp_path / "postgres.unfinished" / "PG_VERSION").write_text("a killed initdb's")
    program = "import sys; from pathlib import Path; from pipelines.local.stack import up; print(up(Path(sys.argv[1])))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    try:
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [process.communicate(timeout=90)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert printed[0] == printed[1] == f"{EmbeddedStack.read(tmp_path / 'stack.json')}\n"
        # Of the two roots of everything that names this home, one is Postgres and one is S3.
        cluster = embedded._Settings.of(tmp_path).servers(tmp_path)[0].process.marker
        servers = [cluster, f"-dir={tmp_path / 's3'}"]
        found = [argument for arguments in every_command() for argument in arguments if argument in servers]
        assert sorted(found) == sorted(servers)
    finally:
        embedded.down(tmp_path)


def every_command() -> Iterator[list[str]]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_text(errors="replace").split("\0")
        except OSError:  # ended meanwhile
            continue
