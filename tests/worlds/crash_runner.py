"""Run a world's lineage in a child process, and kill it at a chosen event."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from resources.local_stack import EmbeddedStack
from tests.worlds.lineage import World


class Child(Protocol):
    """Run the lineage or some groups of it, or erase an account, and kill it at the n-th matching event."""

    def __call__(self, world: World, pattern: str, nth: int, erase: str = "", groups: Sequence[str] = ()) -> int:
        """Return the exit code."""
        ...


@contextmanager
def crash_runner(stack: EmbeddedStack) -> Iterator[Child]:
    """Start the process, and end it afterwards."""
    command = [sys.executable, str(Path(__file__).with_name("crashing_child.py"))]
    root = Path(__file__).parents[2]
    environment = {name: os.environ[name] for name in ("CIPPUS_VERTICALS", "CIPPUS_ENCODER", "OPENBLAS_NUM_THREADS")}
    environment["PYTHONPATH"] = str(root)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        jobs, answers = process.stdin, process.stdout

        def run(world: World, pattern: str, nth: int, erase: str = "", groups: Sequence[str] = ()) -> int:
            job = {"name": world.name, "folder": str(world.folder), "stack": asdict(stack)}
            killed = {"pattern": pattern, "nth": nth, "quantization": world.quantization, "erase": erase}
            jobs.write(json.dumps({**job, **killed, "groups": groups}) + "\n")
            jobs.flush()
            return int(answers.readline())

        yield run
        jobs.close()
