"""What every test of a command needs."""

import sys
from pathlib import Path

import pytest

from pipelines.cli.main import main
from resources.local_stack import EmbeddedStack
from resources.s3 import usage
from tests.worlds.command_line import Call, Printed
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name


@pytest.fixture(autouse=True)
def _own_governors() -> None:
    """Forget governors that tests before this one ended: a command says of any failure that its governor is gone."""
    with usage.measured():
        pass


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """The small lineage after its first run, for this test alone."""
    return loaded_world(stack).clone(world_name(request.node.nodeid), tmp_path)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process, which saves seconds of imports."""

    def run(home: Path, *arguments: str, code: int = 0) -> Printed:
        monkeypatch.setenv("CIPPUS_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["cippus", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.out + captured.err
        return Printed(captured.out, captured.err)

    return run
