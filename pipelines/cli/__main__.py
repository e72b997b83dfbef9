"""The entry point of the `cippus` command, and of `python -m pipelines.cli`."""

import gc
import io
import os
import sys

from pipelines.cli.supervisor import supervise

_NO_WRITE_FOR_OTHERS = 0o022
_GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""Objects made between two collections, instead of 700: imports make a million that stay, and looking at them again
and again was 15 % of the CPU of a search."""


def main() -> None:
    """Run the command under a supervisor, which is there before any import that takes time."""
    keep_others_from_writing()
    write_any_text()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    supervise("cippus")
    from pipelines.cli import main as command

    command.main()


def keep_others_from_writing() -> None:
    """Let no other user write to new files, or connect to new sockets, of this process and its children.

    Dagster's servers have sockets without a password in the temporary folder.
    """
    os.umask(os.umask(0) | _NO_WRITE_FOR_OTHERS)


def write_any_text() -> None:
    """Let the output have characters that its encoding lacks, as ``\\u201c``: a locale may be ASCII or Latin-1."""
    for stream in (sys.stdout, sys.stderr):  # a closed one is None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
