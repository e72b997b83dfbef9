"""The command, run as a process or in a fork, on a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.worlds.forked_commands import ForkedCommands

ROOT = Path(__file__).parents[2]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


@dataclass(frozen=True)
class Printed:
    """What a command wrote."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Cippus:
    """The command, on a home folder of its own, with few buckets."""

    home: Path
    forks: ForkedCommands | None = None

    @property
    def variables(self) -> dict[str, str]:
        """Its environment, with a proxy that does not answer: all its servers and clients are on loopback."""
        home = {"CIPPUS_HOME": str(self.home), "CIPPUS_BUCKETS": "2", "CIPPUS_ENCODER": "english"}
        proxies = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
        return {**home, **proxies, "PATH": os.environ["PATH"], "COLUMNS": "200", "LANG": "C.UTF-8"}

    def process(self, *arguments: str, code: int = 0) -> Printed:
        """Run it as a process, as users do."""
        command = [sys.executable, "-m", "pipelines.cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.variables, capture_output=True, text=True, check=False)
        return _printed(done, code)

    def fork(self, *arguments: str, code: int = 0) -> Printed:
        """Run it in a fork: for commands that load the definitions, which belong to one home and its governor."""
        assert self.forks is not None
        return _printed(self.forks.run(*arguments), code)


def _printed(done: subprocess.CompletedProcess[str], code: int) -> Printed:
    assert done.returncode == code, done.stdout + done.stderr
    return Printed(done.stdout, done.stderr)


Call = Callable[..., Printed]
