"""Room for the files and connections of the embedded stack and of runs."""

import resource

from resources.errors import InputError

LEAST = 1_024
"""The usual limit of Linux. The governor of a run with eight steps at a time has 330 open."""


def require_open_files() -> None:
    """Let this process and its children open LEAST files. Raise InputError where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST:
        message = f"This shell allows {hard} open files, and Cippus needs {LEAST}: raise its hard limit (`ulimit -Hn`)."
        raise InputError(message)
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST, hard))
