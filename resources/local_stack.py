"""The addresses and credentials of the embedded stack: `cippus up` writes them, the resources read them."""

import json
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from resources.errors import InputError


class StackNotUpError(InputError):
    """The embedded stack is needed and is not up."""


@dataclass(frozen=True)
class EmbeddedStack:
    """Addresses and credentials of the servers of one home folder. All addresses are on loopback."""

    postgres_dsn: str
    s3_endpoint: str
    s3_access_key_id: str
    s3_secret_access_key: str
    s3_region: str = "us-east-1"

    def write(self, path: Path) -> None:
        """Write the stack file, readable by its owner only, in one step."""
        write_private(path, json.dumps(asdict(self), indent=2))

    @classmethod
    def read(cls, path: Path) -> "EmbeddedStack":
        """Read the stack file. Raise StackNotUpError if there is none."""
        try:
            return cls(**json.loads(path.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            message = f"The embedded stack of {path.parent} is not up: start it with `cippus up`."
            raise StackNotUpError(message) from None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step."""
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)


def private_home(path: Path) -> Path:
    """Create a home folder that only its owner can enter, or close an existing one to others. Return its path.

    It holds payloads, run history and logs with personal data. Raise InputError for a folder that all users share.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & stat.S_ISVTX:
        message = f"CIPPUS_HOME is {path}, which all users of this machine share: name a folder of its own."
        raise InputError(message)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        with suppress(PermissionError):  # a folder of another user, who decides
            path.chmod(mode & stat.S_IRWXU)
    return path
