"""A process that forks a `cippus` command for each line of its input, so that no command spends seconds on imports."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import IO

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ForkedCommands:
    """Commands with the variables of one environment. Definitions belong to its home: another needs another process."""

    _requests: IO[str]
    _answers: IO[str]
    _folder: Path

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Run a command in a fork, and wait until it has ended."""
        self._requests.write(json.dumps(arguments) + "\n")
        self._requests.flush()
        code = int(self._answers.readline())
        return CompletedProcess(arguments, code, *((self._folder / name).read_text() for name in ("stdout", "stderr")))


@contextmanager
def forked_commands(variables: Mapping[str, str]) -> Iterator[ForkedCommands]:
    """Start the process with these variables alone, and end it afterwards."""
    with (
        TemporaryDirectory(prefix="cippus-") as folder,
        subprocess.Popen(
            [sys.executable, "-m", __name__, folder],
            cwd=_ROOT,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield ForkedCommands(process.stdin, process.stdout, Path(folder))
        process.stdin.close()


def main() -> None:
    """Fork, and answer with the exit code of each command."""
    import pipelines.cli.main  # first: it silences Dagster's warnings of what is beta
    import pipelines.definitions  # noqa: F401
    from tests.worlds.preload import preload

    preload()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line), Path(sys.argv[1]))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(arguments: list[str], folder: Path) -> None:
    """Run a command as its own process would, and end this process."""
    from pipelines.cli.main import main as cippus

    code: object = 1
    try:
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        sys.argv = ["cippus", *arguments]
        cippus()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)  # a plain exit would join native threads that no fork has


if __name__ == "__main__":
    main()
