"""Serve the Dagster UI as a child process, and end with a sentence when it cannot be served."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from pipelines.local.server_process import ServerError

# `dg dev`, which Dagster asks for, starts the same processes, but is a package for development only.
DAGSTER_DEV = (sys.executable, "-W", "ignore:Function `dev_command` is superseded", "-m", "dagster", "dev")
_POLL_SECONDS = 1.0
_END_SECONDS = 10.0


def serve(command: Sequence[str], port: int, variables: Mapping[str, str]) -> int:
    """Run a command that serves the port, and return its exit code.

    Raise ServerError when another program listens there first: Dagster's webserver would stay without serving anything.
    """
    process = subprocess.Popen(command, env=dict(variables))
    strangers = False
    try:
        while (code := process.poll()) is None:
            listening = _listeners(port)
            if listening & _family(process):
                return process.wait()
            # Once proves nothing: a socket that is opened or closed during the look has no owner yet, or none any more.
            if listening and strangers:
                message = f"Another program took port {port} of 127.0.0.1 meanwhile. Choose another: --port {port + 1}"
                raise ServerError(message)
            strangers = bool(listening)
            time.sleep(_POLL_SECONDS)
        return code
    finally:
        _end(process)


def _listeners(port: int) -> set[int | None]:
    """Return the pids of the processes that listen on the port; None stands for those of other users."""
    found = psutil.net_connections("tcp4")
    return {each.pid for each in found if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port}


def _family(process: subprocess.Popen[bytes]) -> set[int]:
    with suppress(psutil.NoSuchProcess):
        return {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    return {process.pid}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and what it started, if it still runs: it has nothing to lose."""
    if process.poll() is not None:
        return
    family = [psutil.Process(pid) for pid in _family(process) if psutil.pid_exists(pid)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(family, _END_SECONDS)
    process.wait()
