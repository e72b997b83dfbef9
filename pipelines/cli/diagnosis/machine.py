"""This machine: Python, the home folder and its disk, the request governors."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.cli.diagnosis.registry import Finding, Parts, diagnosis
from resources.s3.governor.process import HOME_FOLDER, running
from resources.settings import is_governed

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
_GIB = 1 << 30
LITTLE_BYTES, TOO_LITTLE_BYTES = 5 * _GIB, _GIB // 2
_SECRETS = ("settings.json", "stack.json", "erasure.key")


@diagnosis("python", "Install a supported Python.")
def python(_parts: Parts) -> Iterator[Finding]:
    """Test the version of Python."""
    found = sys.version_info[:2]
    text = f"Python {found[0]}.{found[1]}"
    if OLDEST_PYTHON <= found <= NEWEST_PYTHON:
        yield Finding.ok(f"{text} is supported.")
    else:
        yield Finding.error(f"{text} is not supported.", "Use Python 3.11, 3.12 or 3.13, and run make setup again.")


@diagnosis("home", "Set CIPPUS_HOME to a folder that this user can write.")
def home_folder(parts: Parts) -> Iterator[Finding]:
    """Test that the home can be written and locked, and that nobody else reads its secrets."""
    home = parts.home
    if not home.exists():
        yield _may_be_made(home)
        return
    probe = home / f".cippus-probe-{os.getpid()}"
    try:
        with probe.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Finding.ok(f"{home} can be written and locked.")
    except OSError as error:
        fix = "Change its owner or its file system, or set CIPPUS_HOME to another folder."
        yield Finding.error(f"{home} cannot be written or locked: {error.strerror}.", fix)
    finally:
        probe.unlink(missing_ok=True)
    open_secrets = [name for name in _SECRETS if (home / name).exists() and (home / name).stat().st_mode & 0o077]
    if open_secrets:
        files = " ".join(str(home / name) for name in open_secrets)
        yield Finding.warning(f"Other users of this machine may read {', '.join(open_secrets)}.", f"chmod 600 {files}")


def _may_be_made(home: Path) -> Finding:
    parent = next(folder for folder in home.parents if folder.exists())
    if os.access(parent, os.W_OK):
        return Finding.ok(f"{home} does not exist yet; the first command makes it.")
    fix = "Set CIPPUS_HOME to a folder that this user can write."
    return Finding.error(f"{home} does not exist, and {parent} cannot be written.", fix)


@diagnosis("disk", "Free some space on the disk of CIPPUS_HOME.")
def disk(parts: Parts) -> Iterator[Finding]:
    """Test the free space of the home's disk."""
    folder = next(folder for folder in (parts.home, *parts.home.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    text = f"The disk of {parts.home} has {free / _GIB:,.1f} GiB free."
    fix = "Free some space, or set CIPPUS_HOME to another disk."
    if free < TOO_LITTLE_BYTES:
        yield Finding.error(text, fix)
    else:
        yield Finding.warning(text, fix) if free < LITTLE_BYTES else Finding.ok(text)


@diagnosis("governor", "Run cippus down, and repeat the command.")
def governor(parts: Parts) -> Iterator[Finding]:
    """Test the request governors of this home."""
    if not is_governed():
        fix = "Remove CIPPUS_S3_GOVERNOR=off, unless S3 has no request limits."
        yield Finding.warning("The request governor is off; S3 may reject requests above its limits.", fix)
        return
    found = [status.status()["upstream"] for status in running(parts.home / HOME_FOLDER)]
    yield Finding.ok(
        f"Request governors run for {', '.join(found)}." if found else "No request governor runs; a command starts it."
    )
